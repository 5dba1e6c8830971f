"""Leave cleanly on request: Ctrl-C, the SIGTERM of a scheduler, and the SIGHUP of a terminal that is closed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from types import FrameType

INTERRUPTED = 130  # exit status after each of them, as shells have it after Ctrl-C
PATIENCE = 3  # signals until a process that is still cleaning up ends immediately


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into the KeyboardInterrupt that Ctrl-C raises, so that all end a run the same way.

    What was saved stays, the status says "interrupted", and the same command resumes from the last complete epoch.
    During cleanup a second signal is ignored, and a third ends the process immediately. The previous handlers
    are restored. Nothing changes outside the main thread, where Python allows no handlers, or for a signal that
    is already handled or ignored, as submitit does to requeue the job, ``nohup`` for SIGHUP, and a shell for the
    SIGINT of background jobs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = count(1)

    def interrupt(number: int, frame: FrameType | None) -> None:
        at = next(heard)
        if at == 1:
            raise KeyboardInterrupt
        if at >= PATIENCE:
            os._exit(INTERRUPTED)

    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if hasattr(signal, "SIGHUP"):
        usual[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.getsignal(number) for number in usual}
    for number, handler in usual.items():
        if before[number] is handler:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():  # Lightning ignores SIGINT while it shuts down
            signal.signal(number, handler)


def end_at_next_signal() -> None:
    """Let Ctrl-C end this process immediately, since its work is done; Python would print a traceback."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))


def ignore_interrupts() -> None:
    """Ignore Ctrl-C, which a terminal sends to every process; the parent handles it and ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def keep_interrupts_out() -> None:
    """Shield the processes that this thread starts from Ctrl-C, even while they start."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


@cache
def end_with(parent: int) -> None:
    """End when the process that started this one is gone, even in the middle of a collective operation."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
