"""Hydra launcher: jobs side by side on this machine, each in a process of joblib's loky.

A worker of its own for each slot: joblib's usual pool ends all its workers, and with them healthy runs, when one dies.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

from stress_lab.launching import Job, ProcessLauncher, count_cores


@dataclass
class JoblibConfig:
    """Keys of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.stress_lab_joblib.JoblibLauncher"
    n_jobs: int = -1  # jobs at a time; -1 for one a core


ConfigStore.instance().store(group="hydra/launcher", name="stress_lab_joblib", node=JoblibConfig)


class JoblibLauncher(ProcessLauncher):
    """Runs ``n_jobs`` jobs at a time."""

    def __init__(self, n_jobs: int) -> None:
        self.slots = n_jobs if n_jobs > 0 else count_cores()
        self._worker = threading.local()

    def describe(self) -> str:
        """Where the jobs run."""
        return f"{self.slots} at a time on this machine"

    def run_jobs(self, jobs: Sequence[Job]) -> Sequence[JobReturn | BaseException]:
        """Run every job in one of the slots; a worker is used again until it dies."""
        workers: list[Any] = []
        with ThreadPoolExecutor(min(self.slots, len(jobs))) as slots:
            futures = [slots.submit(self._run, job, workers) for job in jobs]
            try:
                return [future.result() for future in futures]
            except BaseException:  # Ctrl-C: nothing more may start, and what runs ends
                slots.shutdown(wait=False, cancel_futures=True)
                for worker in workers:
                    worker.shutdown(kill_workers=True)
                raise
            finally:
                for worker in workers:
                    worker.shutdown()

    def _run(self, job: Job, workers: list[Any]) -> JobReturn | BaseException:
        """Run one job in this slot's worker."""
        from joblib.externals.loky import ProcessPoolExecutor

        worker = getattr(self._worker, "pool", None)
        if worker is None:
            worker = self._worker.pool = ProcessPoolExecutor(
                1, env={"GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "0")}
            )
            workers.append(worker)
        try:
            returned: JobReturn = worker.submit(job).result()
            return returned
        except BaseException as error:  # KeyboardInterrupt too: what the worker was sent, not this process
            self._worker.pool = None
            return error
