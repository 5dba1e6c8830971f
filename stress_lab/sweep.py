"""Hydra callback: check every job before the first one starts, and compare them when the last one has ended."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.compose import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from stress_lab import launching, search
from stress_lab.check import check_config
from stress_lab.door import USAGE_ERROR, explain, stop_with_sentence, wants_traceback
from stress_lab.errors import ConfigError, RunError
from stress_lab.preflight.ahead import check_ahead
from stress_lab.preflight.classes import list_inherited
from stress_lab.records import RunInfo
from stress_lab.resume import claim_folder, release_folders
from stress_lab.runs import RunDir, load_runs
from stress_lab.world import plan_world

if TYPE_CHECKING:
    from stress_lab.data.datamodules import ImageDataModule

log = logging.getLogger(__name__)

GATE_FAILED = 3  # exit status
UNREADABLE = "unreadable"  # in place of the time at which a run with a damaged record started

_failed: list[str] = []  # runs of this process's sweep that did not finish
_gates: list[str] = []  # gates that failed
_going: list[DictConfig] = []  # config of the sweep that began and did not end


def forget() -> None:
    """Start anew; one process may run several sweeps."""
    _failed.clear()
    _gates.clear()
    _going.clear()
    launching.forget_lost()
    release_folders()


def exit_status() -> int:
    """0, or 1 where a run of the sweep failed, or 3 where a gate did."""
    return 1 if _failed else GATE_FAILED if _gates else 0


class SweepCallback(Callback):
    """Stops at the door, and opens the comparison; instantiated by ``hydra.callbacks``."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a wrong config before a folder is made for it."""
        try:
            launching.check_single(config)
            job = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            check_config(job)
            _warn_inherited(config)
            check_ahead([job], Path(config.hydra.run.dir))
            folder = Path(config.hydra.run.dir).parent
            if folder.parent == Path("multirun") / str(config.name):  # not a folder of the user's choice
                claim_folder(folder, config)
        except Exception as error:
            _stop(error)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Build what every job needs, short of training, so that a mistake in the last job is found before the first.

        Hydra turns errors of callbacks into warnings, hence the exit.
        """
        try:
            launching.check_launch(config)
            jobs = list_jobs(config)
            _warn_inherited(config)
            need = rehearse(jobs, Path(config.hydra.sweep.dir), launching.runs_here(config))
            if config.hydra.launcher.get("dry"):
                launching.print_submission(config, jobs)
                sys.exit(0)
            claim_folder(Path(config.hydra.sweep.dir), config)
            launching.spread_runs(config, jobs, need)
        except Exception as error:
            _stop(error)
        _going.append(config)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Let go of the job's config, of which Hydra would keep two copies until the sweep ends; nobody reads them."""
        job_return.cfg = job_return.hydra_cfg = None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare what finished."""
        _going.clear()
        end_sweep(Path(config.hydra.sweep.dir), config.comparison)


def _warn_inherited(config: DictConfig) -> None:
    """Say what a class of the user's takes over from another class's file."""
    for sentence in list_inherited(config):
        log.warning("%s", sentence)


def end_sweep(folder: Path, chosen: DictConfig) -> None:
    """Compare the runs that finished, and tell of those that did not; whatever goes wrong, the exit status says so.

    Args:
        folder: of the sweep.
        chosen: ``comparison`` of the training's config.
    """
    from stress_lab.compare import compare_sweep, list_failed_gates, make_options
    from stress_lab.report.table import make_failure_table

    failed: dict[str, RunInfo] = {}
    try:
        lost = launching.record_lost(folder)
        failed.update(list_failed(load_runs(folder)))
        failed.update({name: RunInfo("", 0, "failed", "", error=reason) for name, reason in lost.items()})
        damaged = {name: info.error for name, info in failed.items() if info.started == UNREADABLE}
        comparison = compare_sweep(folder, make_options(chosen), damaged)
        _gates[:] = list_failed_gates(comparison)
    except Exception as error:
        _failed.append("comparison")
        log.error("no comparison: %s", explain(error) or f"{type(error).__name__}: {error}")
        if explain(error) is None:
            log.exception("the comparison failed; the runs are safe in %s", folder)
    for line in _gates:
        log.error("%s", line)
    _failed.extend(failed)
    if failed:
        console = Console(width=None if Console().is_terminal else 110, highlight=False)
        console.print(make_failure_table(failed))
        console.print("The same command skips what finished and tries these again.")


def list_failed(runs: Sequence[RunDir]) -> dict[str, RunInfo]:
    """The runs that did not finish, by the names of their folders, and those of which a record cannot be read."""
    failed = {}
    for run in runs:
        try:
            info = run.load_info()
            damage = run.find_damage() if info.state == "finished" else None
        except RunError as error:
            damage = str(error)
        if damage is not None:
            info = RunInfo("", 0, "failed", UNREADABLE, error=damage)
        if info.state != "finished":
            failed[run.path.name] = info
    return failed


def _stop(error: Exception) -> NoReturn:
    """End with the sentence of a mistake, or with the traceback; Hydra makes a warning of what a callback raises."""
    if wants_traceback() or explain(error) is None:
        traceback.print_exception(error)
        sys.exit(USAGE_ERROR if explain(error) else 1)
    stop_with_sentence(error)


def finish_after(error: Exception) -> bool:
    """End a sweep that an error cut short as every sweep ends; returns whether there was one."""
    if not _going:
        return False
    log.error("the sweep was cut short (%s: %s)", type(error).__name__, error)
    end_sweep(Path(_going[0].hydra.sweep.dir), _going[0].comparison)
    _failed.append("the sweep")
    return True


def compare_alone(cfg: DictConfig, run_dir: Path) -> None:
    """Write the page of a run that is no part of a sweep into the run's own folder."""
    from stress_lab.compare import compare, list_failed_gates, make_options

    comparison = compare([RunDir(run_dir)], run_dir, str(cfg.name), make_options(cfg.comparison), strict=True)
    _gates[:] = list_failed_gates(comparison)
    for line in _gates:
        log.error("%s", line)


def list_jobs(config: DictConfig) -> list[DictConfig]:
    """The config of every job that Hydra's own sweeper is about to launch; of the corners of a search.

    The jobs of any other sweeper are not known ahead: none is returned. Raises ConfigError where there are none.
    """
    task = config.hydra.job.config_name
    if config.hydra.sweeper._target_.endswith("OptunaSweeper"):
        search.check_search(config)
        return [compose(task, job) for job in search.list_corners(config)]
    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        return []
    params = config.hydra.sweeper.params or {}
    arguments = [f"{key}={value}" for key, value in params.items()] + list(config.hydra.overrides.task)
    overrides = OverridesParser.create().parse_overrides(arguments)
    jobs = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
    if not jobs:
        raise ConfigError("the sweep has no jobs: give each key of it one value or more")
    return [compose(task, list(job)) for job in jobs]


def rehearse(jobs: list[DictConfig], folder: Path, here: bool = True) -> int:
    """Check each config, then find the data and build the net of each that differs in more than its seed.

    Args:
        jobs: in launch order.
        folder: of the sweep.
        here: whether they will run on this machine, so that its devices matter.

    Returns:
        Bytes of memory that the largest of them may take.

    Raises:
        StressLabError: the first mistake found.
    """
    configs: dict[str, int] = {}
    for number, cfg in enumerate(jobs):
        check_config(cfg)
        twin = configs.setdefault(OmegaConf.to_yaml(cfg, resolve=True), number)
        if twin != number:
            raise ConfigError(f"jobs {twin} and {number} of the sweep are the same: name each value once")
    shapes = {OmegaConf.to_yaml(OmegaConf.merge(cfg, {"seed": 0}), resolve=True): cfg for cfg in reversed(jobs)}
    distinct = list(reversed(shapes.values()))
    check_ahead(distinct, folder, here)
    sources: dict[str, ImageDataModule] = {}
    return max([_build(cfg, here, sources) for cfg in distinct], default=0)


def _build(cfg: DictConfig, here: bool, sources: dict[str, ImageDataModule]) -> int:
    """Build all but the Trainer; ``sources``, by their config, spare the jobs that share one to read it again.

    Returns the bytes of memory that the run may take.
    """
    from stress_lab import build, hardware

    if here:
        accelerator = hardware.choose_accelerator(cfg.trainer.accelerator)
        hardware.choose_precision(cfg.trainer.precision, accelerator)
        plan_world(cfg.trainer)
    source = build.build_datamodule(cfg)
    first = sources.setdefault(OmegaConf.to_yaml(cfg.data, resolve=True), source)
    if first is not source:
        source.images, source.spec = first.images, first.spec
    source.setup("fit")
    classifier = build.build_classifier(cfg, source.spec)
    build.rehearse(cfg, classifier, source)
    build.init_from_data(classifier.net, source)
    return build.estimate_memory(classifier, source)
