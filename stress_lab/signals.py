"""Leave cleanly when told to: Ctrl-C, and the SIGTERM of a scheduler that takes the machine away."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Turn SIGTERM into the KeyboardInterrupt that Ctrl-C raises, so that both end a run in one way.

    What was saved stays, the status says "interrupted", and the same command goes on from the last whole epoch. The
    handler that was there comes back. Outside the main thread, where Python allows no handlers, nothing changes; nor
    under a launcher that handles SIGTERM itself, as submitit does to queue the job again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    if before[signal.SIGTERM] is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():  # Lightning ignores SIGINT while it shuts down
            signal.signal(number, handler)


@cache
def end_with(parent: int) -> None:
    """End when the process that started this one is gone, even in the middle of a collective operation."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
