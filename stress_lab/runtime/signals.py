"""Leave cleanly when told to: Ctrl-C, the SIGTERM of a scheduler, and the SIGHUP of a terminal that is closed."""

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
PATIENCE = 3  # signals until a process that is still cleaning up ends at once


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into the KeyboardInterrupt that Ctrl-C raises, so that all end a run in one way.

    What was saved stays, the status says "interrupted", and the same command goes on from the last whole epoch. While
    that is done a second signal is not heard, and a third one ends the process as it stands. The handlers that were
    there come back. Outside the main thread, where Python allows no handlers, nothing changes; nor for a signal that
    somebody handles or ignores, as submitit does to queue the job again, ``nohup`` for SIGHUP, and a shell for the
    SIGINT of what it starts in the background.
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
    """Let Ctrl-C end this process at once, which has nothing left to do; Python would print where it was."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))


def ignore_interrupts() -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the one that started this one and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def keep_interrupts_out() -> None:
    """Let the processes that this thread starts hear no Ctrl-C, not even while they begin."""
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
