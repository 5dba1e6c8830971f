"""Jobs of a sweep in separate processes: what our launchers share.

A launcher (``hydra_plugins/stress_lab_*.py``) only decides where jobs run. What a job is, and what happens when its
process dies, is defined here: the other jobs continue, the comparison follows, and the exit status is 1.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import sys
import textwrap
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict

from stress_lab.errors import ConfigError, RunError
from stress_lab.runs.find import is_run
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.signals import end_with
from stress_lab.runtime.streams import take_over_streams
from stress_lab.sweeps.resume import hold_run

log = logging.getLogger(__name__)

UNNOTICED = "interrupted: its process ended without an error message, probably killed or out of memory"
NEVER = "no process of this command completed it"

_lost: list[tuple[str, str]] = []  # folder name of each job whose process died in this process's sweep, and why


def forget_lost() -> None:
    """Reset the state; one process may run several sweeps."""
    _lost.clear()


@dataclass(frozen=True)
class Job:
    """One job of a sweep, picklable: calling it in another process runs it.

    Attributes:
        number: in the sweep. ``overrides``: its own.
        folder: of the sweep. ``place``: working directory.
        typed: command line of the sweep, for the run's record.
        parent: id of the process that it must not outlive and with which it shares a terminal, or None.
    """

    number: int
    overrides: tuple[str, ...]
    context: HydraContext
    config: DictConfig
    task: TaskFunction
    singletons: dict[Any, Any]
    folder: str
    place: str
    typed: tuple[str, ...]
    parent: int | None = None

    def __call__(self) -> JobReturn:
        """Run it in this process, which Hydra has not touched before."""
        if self.parent is not None:
            end_with(self.parent)
        take_over_streams()
        os.environ.setdefault("GOMP_SPINCOUNT", "0")  # before torch: spinning threads slow down neighbours
        os.chdir(self.place)
        sys.argv[1:] = self.typed
        setup_globals()
        Singleton.set_state(self.singletons)
        config = self._compose()
        HydraConfig.instance().set_config(config)
        return run_job(
            hydra_context=self.context,
            task_function=self.task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )

    def checkpoint(self) -> Any:
        """What submitit requeues after a pre-emption: the same job, which resumes from its last complete epoch."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)

    def _compose(self) -> DictConfig:
        """The sweep's config with this job's overrides."""
        config = self.context.config_loader.load_sweep_config(self.config, list(self.overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = self.number  # as Hydra's own launcher has it
            config.hydra.sweep.dir = self.folder  # as the first process named it: the name contains the time
            if self.parent is not None:
                name_lines(config.hydra.job_logging, str(config.hydra.sweep.subdir))
        return config

    def name_folder(self) -> str:
        """Name of its folder within the sweep's."""
        return str(OmegaConf.select(self._compose(), "hydra.sweep.subdir"))


def name_lines(logging_config: DictConfig, name: str) -> None:
    """Prefix each line on the screen with the run's name; its log file stays as it is."""
    handler = OmegaConf.select(logging_config, "handlers.console")
    known = OmegaConf.select(logging_config, f"formatters.{handler.get('formatter')}") if handler else None
    if not known or not known.get("format"):  # the user's own logging, or none
        return
    named = copy.deepcopy(known)
    named.format = named.format.replace("%(message)s", f"{name.replace('%', '%%')}  %(message)s")
    with flag_override(logging_config, ["struct", "readonly"], [False, False]):
        logging_config.formatters.named = named
        handler.formatter = "named"


class ProcessLauncher(Launcher):
    """Runs each job in its own process; subclasses decide where.

    Hydra's plugins for joblib and submitit abandon the whole sweep when one process dies. Here such a job counts as
    failed, and the others continue.
    """

    one_machine = False  # whether jobs are children of this process and share its terminal

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store what Hydra passes to every launcher."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; returns their results in the same order, None for the result of one that failed."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        jobs = [self._describe(initial_job_idx + place, one) for place, one in enumerate(job_overrides)]
        log.info("launching %d jobs: %s", len(jobs), self.describe())
        for job in jobs:
            log.info("\t#%d : %s", job.number, " ".join(filter_overrides(job.overrides)))
        returned = self.run_jobs(jobs)
        return [_collect(job, one) for job, one in zip(jobs, returned, strict=True)]

    def _describe(self, number: int, overrides: Sequence[str]) -> Job:
        """A job with everything its process needs."""
        return Job(
            number,
            tuple(overrides),
            self.context,
            self.config,
            self.task,
            Singleton.get_state(),
            folder=str(self.config.hydra.sweep.dir),
            place=os.getcwd(),
            typed=tuple(sys.argv[1:]),
            parent=os.getpid() if self.one_machine else None,
        )

    @abstractmethod
    def describe(self) -> str:
        """Where the jobs run, for the log."""

    @abstractmethod
    def run_jobs(self, jobs: Sequence[Job]) -> Sequence[JobReturn | BaseException]:
        """Run every job to its end; an exception takes the place of a result that did not come back."""


def _collect(job: Job, returned: JobReturn | BaseException) -> JobReturn:
    """A job's result; None, and a note, for one that did not return."""
    if isinstance(returned, JobReturn) and returned.status == JobStatus.COMPLETED:
        return returned
    error = returned._return_value if isinstance(returned, JobReturn) else returned
    reason = f"interrupted: its process died ({_shorten(error)})"
    log.error("#%d %s", job.number, reason)
    _lost.append((job.name_folder(), reason))
    nothing = JobReturn(overrides=list(job.overrides), status=JobStatus.COMPLETED)
    nothing.return_value = None
    return nothing


def report(job: Job, returned: JobReturn | BaseException) -> JobReturn | BaseException:
    """Log that a job ended, since its own lines go elsewhere; returns what it returned."""
    good = (
        isinstance(returned, JobReturn) and returned.status == JobStatus.COMPLETED and returned.return_value is not None
    )
    log.info("#%d %s", job.number, "finished" if good else "failed")
    return returned


def _shorten(error: BaseException) -> str:
    """An error in one line: its first sentence, or the last line of a traceback."""
    text = str(error).strip()
    lines = text.splitlines() or [""]
    line = lines[-1] if "Traceback" in text else lines[0].split(". ")[0]
    return f"{type(error).__name__}: {textwrap.shorten(line, 200)}"


def record_lost(folder: Path, names: Collection[str] | None = None) -> dict[str, str]:
    """Mark every run whose status is still "started" as failed, now that the sweep's jobs are over.

    Args:
        folder: of the sweep.
        names: of the folders of its jobs; None takes every run there.

    Returns:
        Folder name of each job that died before it wrote any record, or that a process outside this sweep is still
        training, and why.
    """
    reasons, alive = dict(_lost), {}
    chosen = [path.name for path in folder.iterdir()] if names is None else names
    for name in [name for name in chosen if is_run(folder / name)]:
        run = RunDir(folder / name)
        with contextlib.suppress(RunError):  # a broken record is reported elsewhere
            if (info := run.load_info()).state != "started":
                continue
            try:
                with hold_run(run.path, patience=0):
                    run.save_info(replace(info, state="failed", error=reasons.get(name, UNNOTICED)))
            except RunError as error:
                alive[name] = str(error)
    return {**{name: reason for name, reason in reasons.items() if not is_run(folder / name)}, **alive}


def list_lost() -> dict[str, str]:
    """Folder name of each job whose process did not return in this process's sweep, and why."""
    return dict(_lost)


def compose_jobs(config: DictConfig, numbered: Mapping[int, Sequence[str]]) -> dict[str, DictConfig]:
    """The configs of a sweep's jobs as their processes will have them, by the names of their folders.

    Args:
        config: of the sweep, with the node ``hydra``.
        numbered: overrides of each job, by its number.

    Raises:
        ConfigError: two of them have one folder.
    """
    found: dict[str, tuple[int, DictConfig]] = {}
    settings = HydraConfig.instance()
    before = settings.cfg
    try:
        for number, overrides in numbered.items():
            job = GlobalHydra.instance().config_loader().load_sweep_config(config, list(overrides))
            with open_dict(job):
                job.hydra.job.id, job.hydra.job.num = number, number
            settings.set_config(job)
            name = str(OmegaConf.select(job, "hydra.sweep.subdir"))
            if name in found:
                raise ConfigError(
                    f"jobs {found[name][0]} and {number} of the sweep have the same folder, {name}: "
                    "let hydra.sweep.subdir hold ${hydra.job.num}"
                )
            found[name] = number, OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"])
    finally:
        settings.cfg = before
    return {name: cfg for name, (_, cfg) in found.items()}
