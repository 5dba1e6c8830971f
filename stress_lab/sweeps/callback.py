"""Hydra callback: check every job before the first one starts, and compare them when the last one has ended."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from stress_lab.errors import RunError
from stress_lab.preflight.ahead import check_ahead
from stress_lab.preflight.classes import list_inherited
from stress_lab.preflight.messages import GATE_FAILED, USAGE_ERROR, explain, stop_with_sentence, wants_traceback
from stress_lab.preflight.rules import check_config
from stress_lab.preflight.unused import check_typed_in_training
from stress_lab.runs.checkpoints import find_loss
from stress_lab.runs.find import is_run
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.streams import print_traceback
from stress_lab.runtime.terminal import open_terminal, print_line
from stress_lab.storage.keys import share_key
from stress_lab.storage.launches import (
    DAMAGED,
    GOOD,
    RECORD,
    VARIABLE,
    Outcome,
)
from stress_lab.sweeps.jobs import forget_lost
from stress_lab.sweeps.outcomes import Launch, collect_outcomes, describe_failed
from stress_lab.sweeps.placement import check_launch, check_single, runs_here, spread_runs
from stress_lab.sweeps.plan import (
    check_reference_of,
    find_refused,
    is_search,
    list_corners,
    plan_jobs,
    refuse_other_images,
    refuse_other_run,
    rehearse,
)
from stress_lab.sweeps.resume import claim_folder, release_folders
from stress_lab.sweeps.slurm import print_submission

log = logging.getLogger(__name__)


_failed: list[str] = []  # runs of this process's sweep that did not finish
_gates: list[str] = []  # gates that failed
_going: list[Launch] = []  # the sweep that began and has not ended


def forget() -> None:
    """Reset the state; one process may run several sweeps."""
    _failed.clear()
    _gates.clear()
    _going.clear()
    forget_lost()
    release_folders()


def exit_status() -> int:
    """0, or 1 where a run of the sweep failed, or 3 where a gate did."""
    return 1 if _failed else GATE_FAILED if _gates else 0


class SweepCallback(Callback):
    """Refuses wrong configs and starts the comparison; instantiated by ``hydra.callbacks``."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a wrong config before it gets a folder."""
        try:
            check_single(config)
            job = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            check_config(job)
            check_typed_in_training(config, [job])
            check_ahead([job], Path(config.hydra.run.dir))
            _warn_inherited(config)
            folder = Path(config.hydra.run.dir).parent
            if folder.parent == Path("multirun") / str(config.name):  # not a folder the user chose
                claim_folder(folder, config)
        except Exception as error:
            _stop(error)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Build all that the jobs need, without training: a mistake in the last is found before the first starts.

        Hydra turns errors of callbacks into warnings, hence the exit.
        """
        try:
            check_launch(config)
            folder, planned = Path(config.hydra.sweep.dir), plan_jobs(config)
            jobs = list_corners(config) if is_search(config) else list(planned.values())
            for job in jobs:
                check_config(job)
            check_typed_in_training(config, jobs)
            check_reference_of(config, jobs)
            _warn_inherited(config)
            _stop_where_refused(config, planned, refuse_other_run)
            sources, need = rehearse(jobs, folder, runs_here(config))
            if config.hydra.launcher.get("dry"):
                print_submission(config, jobs)
                sys.exit(0)
            _stop_where_refused(config, planned, functools.partial(refuse_other_images, sources=sources))
            names = [name for name in planned if is_run(folder / name)] if is_search(config) else [*planned]
            if is_search(config):
                _warn_lost(folder, names)
            share_key()
            _going.append(_begin(config, names, names if is_search(config) else ()))
            spread_runs(config, jobs, need)
        except Exception as error:
            _stop(error)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Release the job's config: Hydra would keep two copies until the sweep ends, and nobody reads them."""
        job_return.cfg = job_return.hydra_cfg = None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare what finished."""
        end_sweep(_going.pop())


def _stop_where_refused(
    config: DictConfig, planned: Mapping[str, DictConfig], refuse: Callable[[RunDir, DictConfig], None]
) -> None:
    """End with a table and status 1 if no job may train in its folder; if only some may not, each says so later."""
    refused = find_refused(config, planned, refuse)
    if refused and len(refused) == len(planned):
        _report_failed(Path(config.hydra.sweep.dir), refused)
        sys.exit(1)


def _warn_inherited(config: DictConfig) -> None:
    """Warn which values the user's own class inherits from another class's file."""
    for sentence in list_inherited(config):
        log.warning("%s", sentence)


def _warn_lost(folder: Path, names: Sequence[str]) -> None:
    """Warn of finished trials, which no job visits again, that have lost a checkpoint."""
    for name in names:
        with contextlib.suppress(RunError):  # a broken record is reported elsewhere
            if (loss := find_loss(RunDir(folder / name))) is not None:
                log.warning("%s: %s", name, loss)


def _begin(config: DictConfig, jobs: Sequence[str], verified: Sequence[str]) -> Launch:
    """Claim the folder of a sweep, and put the launch's id into the config that every job is made from."""
    folder = Path(config.hydra.sweep.dir)
    before = {file: file.read_bytes() for file in (folder / RECORD, folder / "multirun.yaml") if file.is_file()}
    launch = Launch(config, claim_folder(folder, config, jobs), jobs, verified, before)
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.overrides.hydra.append(f"++hydra.job.env_set.{VARIABLE}={launch.id}")
    return launch


def end_sweep(launch: Launch) -> None:
    """Compare the runs of this launch that finished, and report those that did not, in the exit status too.

    If no job of this launch finished, the comparison of an earlier one stays as it is.
    """
    outcomes: dict[str, Outcome] = {}
    try:
        outcomes = collect_outcomes(launch)
        if any(one.state in GOOD for one in outcomes.values()):
            _compare(launch, outcomes)
    except Exception as error:
        _failed.append("comparison")
        log.error("no comparison: %s", explain(error) or f"{type(error).__name__}: {error}")
        if explain(error) is None:
            log.exception("the comparison failed; the runs are safe in %s", launch.folder)
    for line in _gates:
        log.error("%s", line)
    _report_failed(launch.folder, outcomes)


def _compare(launch: Launch, outcomes: Mapping[str, Outcome]) -> None:
    """Compare the jobs that finished, and list the others."""
    from stress_lab.preflight.comparison_rules import make_options
    from stress_lab.publishing.compare import compare_sweep, list_failed_gates
    from stress_lab.publishing.trackers import log_comparison

    left_out = {
        name: f"{name} is left out: {one.error if one.state == DAMAGED else f'failed ({one.error})'}"
        for name, one in outcomes.items()
        if one.state not in GOOD
    }
    comparison = compare_sweep(launch.folder, make_options(launch.config.comparison), left_out, trust=True)
    log_comparison(comparison, launch.config, launch.folder)
    _failed.extend(comparison.lost)
    _gates[:] = list_failed_gates(comparison)


def _report_failed(folder: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Print a table of the jobs that failed, and why."""
    from stress_lab.report.table import make_failure_table

    failed = {name: one for name, one in outcomes.items() if one.state not in GOOD}
    _failed.extend(failed)
    console = open_terminal()
    if failed:
        infos = {name: describe_failed(RunDir(folder / name), one) for name, one in failed.items()}
        console.print(make_failure_table(infos))
        print_line(console, "Run the same command to retry these; it skips what finished.")
    if len(failed) == len(outcomes):
        if not outcomes:
            _failed.append("the sweep")
        kept = "; the comparison in its folder is an earlier one, unchanged"
        log.error("no run of this command finished%s", kept if (folder / "comparison.json").is_file() else "")


def _stop(error: Exception) -> NoReturn:
    """End with the sentence of a mistake, or with the traceback; Hydra turns what a callback raises into a warning."""
    if wants_traceback() or explain(error) is None:
        print_traceback(type(error), error, error.__traceback__)
        sys.exit(USAGE_ERROR if explain(error) else 1)
    stop_with_sentence(error)


def finish_after(error: Exception | SystemExit) -> bool:
    """End a sweep that an error stopped the way every sweep ends; returns whether there was one.

    An exit with a status that is not an error's, such as 137 of a killed process, ends the command
    at once: the same command resumes.
    """
    if not _going or (isinstance(error, SystemExit) and error.code not in (1, USAGE_ERROR)):
        return False
    if not isinstance(error, SystemExit):  # its sentence is printed already
        log.error("the sweep ended early (%s: %s)", type(error).__name__, error)
    end_sweep(_going.pop())
    _failed.append("the sweep")
    return True


def compare_alone(cfg: DictConfig, run_dir: Path) -> None:
    """Write the page of a run that is not part of a sweep into the run's own folder."""
    from stress_lab.preflight.comparison_rules import make_options
    from stress_lab.publishing.compare import compare, list_failed_gates

    options = make_options(cfg.comparison)
    options.reference = None  # one variant has nothing to be compared with
    comparison = compare([RunDir(run_dir)], run_dir, str(cfg.name), options, strict=True, trust=True)
    if options.report:
        from stress_lab.training.loggers import log_page

        log_page(run_dir / "report.html")
    _gates[:] = list_failed_gates(comparison)
    for line in _gates:
        log.error("%s", line)
