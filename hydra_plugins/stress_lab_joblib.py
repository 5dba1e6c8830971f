"""Hydra launcher: jobs side by side on this machine, each in a loky process of joblib.

Each slot has its own worker: joblib's usual pool ends all its workers, and healthy runs with them, when one dies.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

from stress_lab.runtime.cores import count_cores
from stress_lab.runtime.signals import ignore_interrupts, keep_interrupts_out
from stress_lab.sweeps.jobs import Job, ProcessLauncher

IDLE = 30  # seconds after which a worker without a job ends
GRACE = 10  # seconds a job gets to end after SIGTERM
QUIET = "ignore:resource_tracker"  # it reports on the terminal what it cleans up after a killed process


@dataclass
class JoblibConfig:
    """Keys of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.stress_lab_joblib.JoblibLauncher"
    n_jobs: int = -1  # jobs at a time; -1 for one per core


ConfigStore.instance().store(group="hydra/launcher", name="stress_lab_joblib", node=JoblibConfig)


class JoblibLauncher(ProcessLauncher):
    """Runs ``n_jobs`` jobs at a time."""

    one_machine = True

    def __init__(self, n_jobs: int) -> None:
        self._slots = n_jobs if n_jobs > 0 else count_cores()
        self._workers: SimpleQueue[Any] = SimpleQueue()  # one per slot, kept for the next jobs; None until needed
        for _ in range(self._slots):
            self._workers.put(None)
        self._busy: list[Any] = []  # workers that have a job
        self._stopping = False

    def describe(self) -> str:
        """Where the jobs run."""
        return f"{self._slots} at a time on this machine"

    def run_jobs(self, jobs: Sequence[Job]) -> Sequence[JobReturn | BaseException]:
        """Run every job in one of the slots."""
        if QUIET not in sys.warnoptions:
            sys.warnoptions.append(QUIET)
        with ThreadPoolExecutor(min(self._slots, len(jobs)), initializer=keep_interrupts_out) as slots:
            futures = [slots.submit(self._run, job) for job in jobs]
            try:
                return [future.result() for future in futures]
            except BaseException:  # Ctrl-C or SIGTERM: nothing more may start or outlive this process
                self._stopping = True
                slots.shutdown(wait=False, cancel_futures=True)
                self._end_workers([future for future in futures if not future.cancelled()])
                raise

    def _end_workers(self, futures: Sequence[Future[Any]]) -> None:
        """Signal the workers, which did not get Ctrl-C, to leave cleanly; then kill those that do not."""
        for worker in list(self._busy):
            for process in list(worker._processes):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
        if wait(futures, timeout=GRACE).not_done:
            for worker in list(self._busy):
                worker.shutdown(wait=False, kill_workers=True)

    def _run(self, job: Job) -> JobReturn | BaseException:
        """Run one job in a free worker."""
        from joblib.externals.loky import ProcessPoolExecutor

        worker = self._workers.get() or ProcessPoolExecutor(1, timeout=IDLE, initializer=ignore_interrupts)
        self._busy.append(worker)
        kept = None
        try:
            if self._stopping:
                raise KeyboardInterrupt
            returned: JobReturn = worker.submit(job).result()
            kept = worker
        except BaseException as error:  # KeyboardInterrupt too: sent to the worker, not to this process
            worker.shutdown()
            return error
        finally:
            self._busy.remove(worker)
            self._workers.put(kept)
        return returned
