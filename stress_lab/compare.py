"""Compare the variants of a sweep, or two runs, from their records; nothing is trained.

stress-lab-compare sweep=multirun/demo/2026-11-21_10-00-00
stress-lab-compare 'runs=[multirun/a/0_baseline_seed42,multirun/b/0_cutout_seed42]'
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from stress_lab.check import check_value
from stress_lab.door import config_folder, open_door
from stress_lab.errors import ConfigError, RunError
from stress_lab.runs import RunDir, is_run, load_runs

log = logging.getLogger(__name__)

DISAGREEMENT_COLUMNS = ("index", "outcome", "label", "pred_a", "pred_b", "confidence_a", "confidence_b")


def main() -> None:
    """The command ``stress-lab-compare``."""
    open_door("compare", _task)


def _task(cfg: DictConfig) -> None:
    """Compare what the config names."""
    if (cfg.sweep is None) == (not cfg.runs):
        raise ConfigError("say either sweep=FOLDER or 'runs=[FOLDER,FOLDER]'")
    check_value(cfg, "level", lambda v: isinstance(v, float) and 0.5 <= v < 1, "a fraction such as 0.95")
    check_value(cfg, "resamples", lambda v: isinstance(v, int) and v >= 100, "a whole number from 100")
    check_value(cfg, "cases_per_outcome", lambda v: isinstance(v, int) and v >= 0, "a whole number, 0 for none")
    if cfg.sweep is not None:
        compare_sweep(Path(cfg.sweep), cfg)
        return
    for folder in cfg.runs:
        if not is_run(Path(folder)):
            raise RunError(f"{folder} is not a run folder: it lacks status.json or config.yaml")
    if len(cfg.runs) < 2:
        raise ConfigError("runs needs two folders or more, the reference first")
    compare(list(map(RunDir, cfg.runs)), Path(cfg.out or "comparison"), "comparison", cfg, strict=True)


def compare_sweep(folder: Path, cfg: DictConfig | None = None) -> dict[str, Any]:
    """Compare the runs below a sweep's folder; a function of that folder, repeatable at will."""
    options = OmegaConf.load(config_folder() / "compare.yaml") if cfg is None else cfg
    runs = load_runs(folder)
    title = str(runs[0].config["name"])
    return compare(runs, Path(options.out or folder), title, options, strict=False)  # type: ignore[arg-type]


def compare(runs: Sequence[RunDir], out: Path, title: str, cfg: DictConfig, strict: bool) -> dict[str, Any]:
    """Write comparison.json and .csv, the lists of disagreements, the summary and the cases; print the table.

    Args:
        runs: in launch order; those that did not finish are left out.
        out: folder to write into.
        title: of the figures.
        cfg: of ``conf/compare.yaml``.
        strict: raise where two runs cannot be compared, instead of leaving the pair out with a note.
    """
    from stress_lab.cases import draw_cases
    from stress_lab.comparison import compare_runs, find_pairs, list_unfinished, load_finished, pair_name
    from stress_lab.figures.style import save_figure
    from stress_lab.figures.summary import draw_summary
    from stress_lab.runs import flatten, save_csv, save_json
    from stress_lab.stats.agreement import list_disagreements

    unfinished = list_unfinished(runs)
    if strict and unfinished:
        raise RunError(f"only finished runs can be compared: {unfinished[0]}")
    loaded = load_finished(runs)
    comparison = compare_runs(loaded, title, cfg.level, cfg.resamples, strict, unfinished)
    for stale in [*(out / "cases").glob("*/case_*.png"), *(out / "disagreements").glob("*.csv")]:
        stale.unlink()
    save_json(out / "comparison.json", comparison)
    rows = flatten_pairs(comparison)
    save_csv(out / "comparison.csv", rows, list(rows[0]) if rows else ["a", "b", "seed", "metric"])
    summaries = [flatten(run) for run in comparison["runs"]]
    save_csv(out / "runs.csv", summaries, list(dict.fromkeys(key for row in summaries for key in row)))
    pairs, _ = find_pairs(loaded, strict=False)
    for a, b in pairs:
        disagreements = list_disagreements(a.predictions["test"], b.predictions["test"], a.spec.classes)
        save_csv(out / "disagreements" / f"{pair_name(a, b)}.csv", disagreements, DISAGREEMENT_COLUMNS)
    save_figure(draw_summary(comparison, {run.name: run.history for run in loaded}), out / "comparison_summary.png")
    cases = (
        draw_cases(pairs, out / "cases", cfg.cases_per_outcome, cfg.layer, cfg.root) if cfg.cases_per_outcome else []
    )
    _print(comparison, out, bool(cases))
    return comparison


def flatten_pairs(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each pair and metric."""
    return [
        {
            "a": pair["a"],
            "b": pair["b"],
            "seed": pair["seed"],
            "metric": metric,
            "n": pair["n"],
            **{key: pair[metric][key] for key in ("rate_a", "rate_b", "difference")},
            "low": pair[metric]["bootstrap_interval"][0],
            "high": pair[metric]["bootstrap_interval"][1],
            **{key: pair[metric][key] for key in ("mcnemar_exact_p", "mcnemar_mid_p")},
            **{f"table_{cell}": count for cell, count in pair[metric]["table"].items()},
        }
        for pair in comparison["pairs"]
        for metric in ("accuracy", "confident_failures")
    ]


def _print(comparison: dict[str, Any], out: Path, has_cases: bool) -> None:
    """The table, the differences and the paths to open."""
    from stress_lab.report.table import describe_pairs, make_table

    console = Console(width=None if Console().is_terminal else 110, highlight=False)
    console.print(make_table(comparison))
    for line in describe_pairs(comparison):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"\nopen {out / 'comparison_summary.png'}", markup=False, soft_wrap=True)
    if has_cases:
        console.print(f"     {out / 'cases'}  (the same image under both models)", markup=False, soft_wrap=True)
    for run in comparison["runs"]:
        sheet = out / run["folder"] / "gradcam" / "contact_sheet.png"
        if sheet.is_file():
            console.print(f"     {sheet}", markup=False, soft_wrap=True)
    console.print(f"     tensorboard --logdir {out}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
