"""Hydra launcher: jobs side by side on this machine, each in a process of joblib's loky.

A worker of its own for each slot: joblib's usual pool ends all its workers, and with them healthy runs, when one dies.
"""

import contextlib
import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

from stress_lab.cores import count_cores
from stress_lab.launching import Job, ProcessLauncher

IDLE = 30  # seconds after which a worker without a job ends
SEEN, TOLD = 2, 10  # seconds that a job has to end after Ctrl-C, and after SIGTERM


@dataclass
class JoblibConfig:
    """Keys of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.stress_lab_joblib.JoblibLauncher"
    n_jobs: int = -1  # jobs at a time; -1 for one a core


ConfigStore.instance().store(group="hydra/launcher", name="stress_lab_joblib", node=JoblibConfig)


class JoblibLauncher(ProcessLauncher):
    """Runs ``n_jobs`` jobs at a time."""

    one_machine = True

    def __init__(self, n_jobs: int) -> None:
        self._slots = n_jobs if n_jobs > 0 else count_cores()
        self._workers: SimpleQueue[Any] = SimpleQueue()  # one a slot, kept for the next jobs; None until it is needed
        for _ in range(self._slots):
            self._workers.put(None)
        self._busy: list[Any] = []  # workers that have a job
        self._stopping = False

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
                self._stopping = True
                slots.shutdown(wait=False, cancel_futures=True)
                self._end_workers([future for future in futures if not future.cancelled()])
                raise

    def _end_workers(self, futures: Sequence[Future[Any]]) -> None:
        """Wait for the workers, which saw a Ctrl-C too; then tell them, so that they leave cleanly; then kill them."""
        for patience, kill in ((SEEN, False), (TOLD, True)):
            if not wait(futures, timeout=patience).not_done:
                return
            for worker in list(self._busy):
                if kill:
                    worker.shutdown(wait=False, kill_workers=True)
                    continue
                for process in list(worker._processes):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGTERM)

    def _run(self, job: Job) -> JobReturn | BaseException:
        """Run one job in a worker that is free."""
        from joblib.externals.loky import ProcessPoolExecutor

        worker = self._workers.get() or ProcessPoolExecutor(1, timeout=IDLE)
        self._busy.append(worker)
        kept = None
        try:
            if self._stopping:
                raise KeyboardInterrupt
            returned: JobReturn = worker.submit(job).result()
            kept = worker
        except BaseException as error:  # KeyboardInterrupt too: what the worker was sent, not this process
            worker.shutdown()
            return error
        finally:
            self._busy.remove(worker)
            self._workers.put(kept)
        return returned
