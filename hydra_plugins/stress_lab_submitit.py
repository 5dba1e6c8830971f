"""Hydra launcher: jobs as a SLURM array through submitit, as local processes to try that out, or only printed."""

import logging
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from omegaconf import MISSING, DictConfig, OmegaConf

from stress_lab.errors import RunError
from stress_lab.sweeps.jobs import Job, ProcessLauncher, report

log = logging.getLogger(__name__)


@dataclass
class SubmititConfig:
    """Keys of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.stress_lab_submitit.SubmititLauncher"
    cluster: str = MISSING  # slurm, or local: processes on this machine
    dry: bool = False  # print the batch script, and submit nothing
    folder: str = "${hydra.sweep.dir}/.submitit/%j"  # of pickles and logs; shared by all nodes
    at_a_time: int = 256  # jobs
    max_num_timeout: int = 3  # how often a job that reached its time limit is requeued
    parameters: dict[str, Any] = field(default_factory=dict)  # of submitit.AutoExecutor


ConfigStore.instance().store(group="hydra/launcher", name="stress_lab_submitit", node=SubmititConfig)


class SubmititLauncher(ProcessLauncher):
    """Submits the jobs and waits for all of them."""

    def __init__(
        self, cluster: str, dry: bool, folder: str, at_a_time: int, max_num_timeout: int, parameters: DictConfig
    ) -> None:
        self.cluster, self.folder, self.at_a_time, self.max_num_timeout = cluster, folder, at_a_time, max_num_timeout
        self.parameters: dict[str, Any] = OmegaConf.to_container(parameters, resolve=True)  # type: ignore[assignment]

    def describe(self) -> str:
        """Where the jobs run."""
        return f"submitit, {self.cluster}"

    def run_jobs(self, jobs: Sequence[Job]) -> Sequence[JobReturn | BaseException]:
        """Submit every job; SLURM itself enforces ``at_a_time``; local processes run in batches of that size."""
        size = self.at_a_time if self.cluster == "local" else len(jobs)
        batches = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        return [returned for batch in batches for returned in self._run_batch(batch)]

    def _run_batch(self, jobs: Sequence[Job]) -> list[JobReturn | BaseException]:
        """Submit jobs and wait for each; raises RunError where SLURM rejects them."""
        import submitit
        from submitit.slurm.slurm import SlurmJob

        with listening(SacctReports()) as reports:
            if self.cluster == "slurm" and not has_accounting():
                reports.warn()
                # sacct would complain every few seconds
                SlurmJob.watcher._make_command = lambda: None  # type: ignore[method-assign]
            chosen = {f"{self.cluster}_max_num_timeout": self.max_num_timeout}
            executor = submitit.AutoExecutor(self.folder, cluster=self.cluster, **chosen)
            executor.update_parameters(**self.parameters, slurm_array_parallelism=self.at_a_time)
            try:
                with executor.batch():
                    submitted = [executor.submit(job) for job in jobs]
            except submitit.core.utils.FailedJobError as error:  # from sbatch
                raise RunError(f"SLURM refused the jobs ({error}): see the script with launcher=slurm_dry") from None
            try:
                return [report(job, _wait(one)) for job, one in zip(jobs, submitted, strict=True)]
            except BaseException:  # Ctrl-C or SIGTERM: the same command will start these jobs again
                for one in submitted:
                    one.cancel(check=False)
                raise


def has_accounting() -> bool:
    """Whether SLURM here has accounting, which submitit queries for jobs without a result."""
    try:
        asked = subprocess.run(["sacct", "--noheader", "--starttime=now"], capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return False
    return asked.returncode == 0


class SacctReports(logging.Filter):
    """Passes one line about a failing sacct, instead of submitit's two every few seconds."""

    said = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether submitit may log this."""
        if "sacct error" not in record.getMessage():
            return True
        self.warn()
        return False

    def warn(self) -> None:
        """Warn once about the consequences."""
        if not self.said:
            self.said = True
            log.warning(
                "SLURM cannot report how jobs ended here (sacct fails), so this command waits forever for a job "
                "killed before it reports: if squeue no longer lists it, press Ctrl-C and run this command again"
            )


@contextmanager
def listening(reports: SacctReports) -> Iterator[SacctReports]:
    """Filter what submitit logs, and no longer than its jobs are waited for."""
    watched = logging.getLogger("submitit")
    watched.addFilter(reports)
    try:
        yield reports
    finally:
        watched.removeFilter(reports)


def _wait(submitted: Any) -> JobReturn | BaseException:
    """What a submitted job returned, or its error."""
    try:
        returned: JobReturn = submitted.result()
        return returned
    except Exception as error:
        return error
