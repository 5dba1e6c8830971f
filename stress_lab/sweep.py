"""Hydra callback: check every job before the first one starts, and compare them when the last one has ended."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.compose import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from stress_lab.check import check_config
from stress_lab.door import explain, stop_with_sentence, wants_traceback
from stress_lab.errors import ConfigError
from stress_lab.preflight.ahead import check_ahead
from stress_lab.resume import claim_folder, release_folders
from stress_lab.runs import RunDir, load_runs

log = logging.getLogger(__name__)

GATE_FAILED = 3  # exit status

_failed: list[str] = []  # runs of this process's sweep that did not finish
_gates: list[str] = []  # gates that failed


def forget() -> None:
    """Start anew; one process may run several sweeps."""
    _failed.clear()
    _gates.clear()
    release_folders()


def exit_status() -> int:
    """0, or 1 where a run of the sweep failed, or 3 where a gate did."""
    return 1 if _failed else GATE_FAILED if _gates else 0


class SweepCallback(Callback):
    """Stops at the door, and opens the comparison; instantiated by ``hydra.callbacks``."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a wrong config before a folder is made for it."""
        if wants_traceback():
            return  # Hydra would swallow it here; the job's own check raises it
        try:
            job = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            check_config(job)
            check_ahead([job], Path(config.hydra.run.dir))
            folder = Path(config.hydra.run.dir).parent
            if folder.parent == Path("multirun") / str(config.name):  # not a folder of the user's choice
                claim_folder(folder)
        except Exception as error:
            stop_with_sentence(error)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Build what every job needs, short of training, so that a mistake in the last job is found before the first.

        Hydra turns errors of callbacks into warnings, hence the exit.
        """
        if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
            return  # its jobs are not known ahead
        try:
            rehearse(list_jobs(config), Path(config.hydra.sweep.dir))
            claim_folder(Path(config.hydra.sweep.dir))
        except Exception as error:
            stop_with_sentence(error)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare the runs that finished, and name those that did not; whatever goes wrong, the exit status says so."""
        from stress_lab.compare import compare_sweep, list_failed_gates, make_options

        folder = Path(config.hydra.sweep.dir)
        try:
            infos = {run.path.name: run.load_info() for run in load_runs(folder)}
            _failed[:] = [f"{name}: {info.error}" for name, info in infos.items() if info.state != "finished"]
            comparison = compare_sweep(folder, make_options(config.comparison))
            _gates[:] = list_failed_gates(comparison)
        except Exception as error:
            _failed.append(f"no comparison: {explain(error) or f'{type(error).__name__}: {error}'}")
            if explain(error) is None:
                log.exception("the comparison failed; the runs are safe in %s", folder)
        for line in _failed:
            log.error("failed: %s", line)
        for line in _gates:
            log.error("%s", line)


def compare_alone(cfg: DictConfig, run_dir: Path) -> None:
    """Write the page of a run that is no part of a sweep into the run's own folder."""
    from stress_lab.compare import compare, list_failed_gates, make_options

    comparison = compare([RunDir(run_dir)], run_dir, str(cfg.name), make_options(cfg.comparison), strict=True)
    _gates[:] = list_failed_gates(comparison)
    for line in _gates:
        log.error("%s", line)


def list_jobs(config: DictConfig) -> list[DictConfig]:
    """The config of every job that Hydra's own sweeper is about to launch."""
    params = config.hydra.sweeper.params or {}
    arguments = [f"{key}={value}" for key, value in params.items()] + list(config.hydra.overrides.task)
    overrides = OverridesParser.create().parse_overrides(arguments)
    jobs = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
    return [compose(config.hydra.job.config_name, list(job)) for job in jobs]


def rehearse(jobs: list[DictConfig], folder: Path) -> None:
    """Check each config, then find the data and build the net of each that differs in more than its seed.

    Args:
        jobs: in launch order.
        folder: of the sweep.

    Raises:
        StressLabError: the first mistake found.
    """
    if not jobs:
        raise ConfigError("the sweep has no jobs: give each key of it one value or more")
    configs: dict[str, int] = {}
    for number, cfg in enumerate(jobs):
        check_config(cfg)
        twin = configs.setdefault(OmegaConf.to_yaml(cfg, resolve=True), number)
        if twin != number:
            raise ConfigError(f"jobs {twin} and {number} of the sweep are the same: name each value once")
    shapes = {OmegaConf.to_yaml(OmegaConf.merge(cfg, {"seed": 0}), resolve=True): cfg for cfg in reversed(jobs)}
    distinct = list(reversed(shapes.values()))
    check_ahead(distinct, folder)
    for cfg in distinct:
        _build(cfg)


def _build(cfg: DictConfig) -> None:
    """Build all but the Trainer."""
    from stress_lab import build, hardware

    hardware.choose_accelerator(cfg.trainer.accelerator)
    source = build.build_datamodule(cfg)
    source.setup("fit")
    classifier = build.build_classifier(cfg, source.spec)
    build.check_layer(cfg, classifier, source.spec)
