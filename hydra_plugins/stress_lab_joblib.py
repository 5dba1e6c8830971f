"""Hydra launcher: jobs side by side on this machine, each in a process of joblib's loky.

A worker of its own for each slot: joblib's usual pool ends all its workers, and with them healthy runs, when one dies.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

from stress_lab.launching import Job, ProcessLauncher, count_cores

IDLE = 30  # seconds after which a worker without a job ends


@dataclass
class JoblibConfig:
    """Keys of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.stress_lab_joblib.JoblibLauncher"
    n_jobs: int = -1  # jobs at a time; -1 for one a core


ConfigStore.instance().store(group="hydra/launcher", name="stress_lab_joblib", node=JoblibConfig)


class JoblibLauncher(ProcessLauncher):
    """Runs ``n_jobs`` jobs at a time."""

    def __init__(self, n_jobs: int) -> None:
        self._slots = n_jobs if n_jobs > 0 else count_cores()
        self._workers: SimpleQueue[Any] = SimpleQueue()  # one a slot, kept for the next jobs; None until it is needed
        for _ in range(self._slots):
            self._workers.put(None)
        self._busy: set[Any] = set()  # workers that have a job

    def describe(self) -> str:
        """Where the jobs run."""
        return f"{self._slots} at a time on this machine"

    def run_jobs(self, jobs: Sequence[Job]) -> Sequence[JobReturn | BaseException]:
        """Run every job in one of the slots."""
        with ThreadPoolExecutor(min(self._slots, len(jobs))) as slots:
            futures = [slots.submit(self._run, job) for job in jobs]
            try:
                return [future.result() for future in futures]
            except BaseException:  # Ctrl-C or SIGTERM: nothing more may start, and nothing go on behind this process
                slots.shutdown(wait=False, cancel_futures=True)
                for worker in list(self._busy):
                    worker.shutdown(wait=False, kill_workers=True)
                raise

    def _run(self, job: Job) -> JobReturn | BaseException:
        """Run one job in a worker that is free."""
        from joblib.externals.loky import ProcessPoolExecutor

        worker = self._workers.get() or ProcessPoolExecutor(1, timeout=IDLE)
        self._busy.add(worker)
        try:
            returned: JobReturn = worker.submit(job).result()
        except BaseException as error:  # KeyboardInterrupt too: what the worker was sent, not this process
            worker.shutdown()
            worker = None
            return error
        finally:
            self._busy.discard(worker)
            self._workers.put(worker)
        return returned
