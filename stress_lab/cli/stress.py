"""Predict a finished run's test images under harder conditions, and report what they cost.

stress-lab stress run=multirun/demo/2026-11-21_10-00-00/0_baseline_seed42
stress-lab stress run=… suite=full reference=…
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stress_lab.cli.app import leave_cleanly, open_door
from stress_lab.errors import ConfigError, RunError
from stress_lab.preflight.configs import config_folder
from stress_lab.preflight.finished_run import check_evaluation
from stress_lab.preflight.values import check_value
from stress_lab.runs.find import is_run, list_absent
from stress_lab.runs.folder import CHECKPOINTS, RunDir
from stress_lab.runtime.locks import LOCK, hold
from stress_lab.runtime.terminal import name_opener, open_terminal, print_line
from stress_lab.storage.filesets import recover

PATIENCE = 10.0  # seconds for another process that writes the run
WAIT = "wait until it has ended, then stress the run"


def main() -> None:
    """The command ``stress-lab stress``."""
    with leave_cleanly("run the same command again: finished cells are kept"):
        open_door("stress", stress)


def stress(cfg: DictConfig) -> dict[str, Any]:
    """Check the config, run what is missing of the suite, and print; returns the summary.

    Raises:
        StressLabError: a key has a value that cannot work, or another process writes the run.
    """
    run = _find_run(cfg, "run")
    _check_values(cfg)
    reference = None if cfg.reference is None else _find_run(cfg, "reference")
    with hold(run.path / LOCK, PATIENCE, WAIT, doing="stressed"):
        check_evaluation(OmegaConf.create({**cfg, "layer": None}), run.path)
        summary, files = _stress(cfg, run, reference)
    _print(summary)
    for file in files:
        print_line(open_terminal(), f"{name_opener()}{shlex.quote(str(file))}")
    return summary


def _find_run(cfg: DictConfig, key: str) -> RunDir:
    """The run that a key names; raises a StressLabError where there is none."""
    if not isinstance(cfg[key], str) or not cfg[key]:
        raise ConfigError(f"say which run: {key}=FOLDER, the one that holds config.yaml and checkpoints")
    recover(Path(cfg[key]))
    if not is_run(Path(cfg[key])):
        raise RunError(f"{key}={cfg[key]} is not a run folder: it lacks {list_absent(Path(cfg[key]))}")
    run = RunDir(cfg[key])
    if run.is_audit:
        raise ConfigError(f"{key}={cfg[key]} is an audit, and only nets that were trained here can be stressed")
    return run


def _check_values(cfg: DictConfig) -> None:
    """Raise ConfigError for a value that cannot work."""
    suites = sorted(path.stem for path in (config_folder() / "stress").glob("*.yaml"))
    check_value(cfg, "suite", lambda v: v in suites, ", ".join(suites))
    check_value(cfg, "checkpoint", lambda v: v in CHECKPOINTS, " or ".join(CHECKPOINTS))
    check_value(cfg, "seed", lambda v: _is_count(v) and v >= 0, "a whole number from 0")
    check_value(cfg, "resamples", lambda v: _is_count(v) and v >= 100, "a whole number from 100")
    check_value(cfg, "level", lambda v: isinstance(v, float) and 0 < v < 1, "a fraction between 0 and 1")
    check_value(cfg, "trust", lambda v: isinstance(v, bool), "true or false")
    check_value(cfg, "threads", lambda v: v is None or (_is_count(v) and v >= 1), "null or a whole number from 1")
    for key in ("root", "frost"):
        check_value(cfg, key, lambda v: v is None or (isinstance(v, str) and v != ""), "null or a folder")


def _is_count(value: object) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _stress(cfg: DictConfig, run: RunDir, reference: RunDir | None) -> tuple[dict[str, Any], list[Path]]:
    """Load images and net, run the suite, write the summary and the figure."""
    from stress_lab.publishing.stressed import Plan, check_reference, publish, stress_run
    from stress_lab.runtime import hardware
    from stress_lab.stress.frost import load_frost
    from stress_lab.stress.suite import plan_cells
    from stress_lab.training import build
    from stress_lab.training.fit import quieten_lightning

    suite: Any = OmegaConf.load(config_folder() / "stress" / f"{cfg.suite}.yaml")
    quieten_lightning()
    hardware.set_threads(cfg.threads)
    source = build.load_datamodule(run, cfg.root, cfg.trust)
    corruptions, severities, occlusion = (_plain(suite[key]) for key in ("corruptions", "severities", "occlusion"))
    cells = plan_cells(corruptions, severities, occlusion, source.spec.channels)
    frost = None if cfg.frost is None else str(Path(cfg.frost).absolute())
    if frost is not None:
        load_frost(Path(frost), 1.0, source.spec.channels)  # a missing photograph is reported now
    plan = Plan(cfg.suite, cells, suite.images, cfg.seed, frost, cfg.checkpoint)
    if reference is not None:
        check_reference(reference, plan)
    model = build.load_classifier(run, cfg.checkpoint, source.spec, cfg.trust)
    model = model.to(hardware.choose_accelerator(cfg.accelerator, "accelerator"))
    found = stress_run(run, model, source, plan)
    return publish(run, found, plan, cfg.level, cfg.resamples, reference)


def _plain(value: Any) -> Any:
    """A list of a config as a plain one."""
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _print(summary: Mapping[str, Any]) -> None:
    """Print the table of cells and the mean over the suite."""
    console, clean = open_terminal(), summary["cells"][0]
    low, high = clean["accuracy_interval"]
    print_line(console, f"clean: {_range(clean['accuracy'], low, high)} right of {summary['n']:,} images")
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for cell in summary["cells"][1:]:
        rows.setdefault(cell["condition"], []).append(cell)
    for condition, cells in rows.items():
        shown = "  ".join(f"{_severity(cell)} {100 * cell['accuracy']:5.1f}" for cell in cells)
        print_line(console, f"{condition.replace('_', ' '):18} {shown}")
    if "mean" in summary:
        print_line(console, _describe_mean(summary["mean"]))
    for line in _describe_contrast(summary):
        print_line(console, line)


def _severity(cell: Mapping[str, Any]) -> str:
    """A severity, or a hidden share in percent."""
    return f"{100 * cell['severity']:.0f} %:" if cell["condition"] == "occlusion" else f"{cell['severity']:g}:"


def _range(value: float, low: float, high: float) -> str:
    """A rate and its interval, in percent."""
    return f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _describe_mean(mean: Mapping[str, Any]) -> str:
    """The mean over the corruptions and what they cost."""
    low, high = mean["drop_interval"]
    text = (
        f"mean over {mean['cells']} corrupted cells: {_range(mean['accuracy'], *mean['accuracy_interval'])}; "
        f"a drop of {100 * mean['drop']:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
    )
    if mean["relative_drop"] is None:
        return text
    return f"{text}, which is {_range(mean['relative_drop'], *mean['relative_drop_interval'])} of the clean accuracy"


def _describe_contrast(summary: Mapping[str, Any]) -> list[str]:
    """The differences from the reference run, if there is one."""
    contrast = summary.get("contrast")
    if contrast is None or "mean" not in contrast:
        return []
    mean, told = contrast["mean"], sum(cell["p_adjusted"] < 0.05 for cell in contrast["cells"])
    low, high = mean["interval"]
    lines = [
        f"minus {summary['reference']}: {100 * mean['difference']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}) "
        f"in the mean; {told} of {len(contrast['cells'])} cells differ (Benjamini and Hochberg, 5 %)"
    ]
    if contrast["mce"] is not None:
        lines.append(f"mean corruption error against that run: {contrast['mce']:.3f}; below 1 this run is better")
    return lines


if __name__ == "__main__":
    main()
