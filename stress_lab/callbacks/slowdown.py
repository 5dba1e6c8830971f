"""Detect CPU steps that take several times as long as before, because something else uses the same cores."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Hashable
from pathlib import Path
from statistics import median

FACTOR = 2.5  # of the usual time of a step
STEPS, SECONDS = 20, 10.0  # minimum duration of a slowdown
USUAL = 200  # first steps of a kind, which set the baseline
STARVED = 0.2  # seconds per second that threads wait for a core


def count_waiting(tasks: Path = Path("/proc/self/task")) -> float | None:
    """Seconds that the threads of this process were ready but had no core, in total; None where unknown."""
    total = 0.0
    for file in tasks.glob("*/schedstat"):
        try:
            total += int(file.read_text(encoding="utf-8").split()[1]) / 1e9
        except (OSError, IndexError, ValueError):  # the thread has ended, or the kernel does not count
            continue
    return total or None


class Slowdown:
    """Compares the steps of a run with its own earlier ones; reports a slowdown once.

    Args:
        threads: CPU threads of the run; a single thread waits for no other and shares a core fairly.
        waiting: returns the seconds that they have waited for a core so far.
        clock: seconds.
    """

    def __init__(
        self,
        threads: int,
        waiting: Callable[[], float | None] = count_waiting,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.threads, self.waiting, self.clock = threads, waiting, clock
        self.usual: dict[Hashable, list[float]] = {}
        self.recent: dict[Hashable, deque[float]] = {}
        self.steps: dict[Hashable, int] = {}
        self.seen = clock(), waiting()
        self.found = threads < 2

    def add(self, kind: Hashable, seconds: float) -> float | None:
        """Add a step; returns the slowdown factor if it lasts and other programs cause it.

        Args:
            kind: steps of different kinds, such as those of larger images, are not compared.
            seconds: that it took.
        """
        if self.found:
            return None
        usual, recent = self.usual.setdefault(kind, []), self.recent.setdefault(kind, deque())
        self.steps[kind] = count = self.steps.get(kind, 0) + 1
        if len(usual) < USUAL:
            usual.append(seconds)
        recent.append(seconds)
        while len(recent) > STEPS and sum(recent) - recent[0] >= SECONDS:
            recent.popleft()
        if count % STEPS:
            return None
        starved = self._is_starved()
        earlier = usual[: count - len(recent)]
        if not starved or len(earlier) < STEPS or sum(recent) < SECONDS:
            return None
        factor = median(recent) / median(earlier)
        self.found = factor >= FACTOR
        return factor if self.found else None

    def _is_starved(self) -> bool:
        """Whether threads waited for cores since the last call; if unknown, whether there are more of them."""
        (then, before), self.seen = self.seen, (self.clock(), self.waiting())
        now, after = self.seen
        if before is None or after is None:
            return hasattr(os, "getloadavg") and os.getloadavg()[0] > self.threads + 0.5
        return after - before > STARVED * (now - then)
