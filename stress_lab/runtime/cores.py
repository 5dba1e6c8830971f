"""How many cores and how much memory this process may use, and how a sweep shares them among its runs.

It reads Linux control groups, both versions, since containers and schedulers set their limits there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def count_cores(root: Path = Path("/")) -> int:
    """CPU cores that this process may use: those it may run on, capped by the CPU time its control groups allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _list_quotas(root))]))


def share_cores(jobs: int) -> int:
    """CPU threads for each of ``jobs`` parallel jobs, at least 1; -1 means one job per core.

    >>> share_cores(-1), share_cores(10**6), share_cores(1) == count_cores()
    (1, 1, True)
    """
    return 1 if jobs < 0 else max(1, count_cores() // max(1, jobs))


def count_free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process and its children may still take, on the machine and in its groups; None if unknown."""
    lines = _read(root / "proc/meminfo").splitlines()
    available = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return min([*available, *_list_free(root)], default=None)


def _list_quotas(root: Path) -> list[float]:
    """Cores' worth of time that each control group around this process may use, where it has a limit."""
    quotas = [_read(group / "cpu.max").split() for group in _list_groups(root, "")]
    quotas += [
        [*_read(group / "cpu.cfs_quota_us").split(), *_read(group / "cpu.cfs_period_us").split()]
        for group in _list_groups(root, "cpu")
    ]
    return [int(one[0]) / int(one[1]) for one in quotas if len(one) == 2 and one[0].isdigit()]


def _list_free(root: Path) -> list[int]:
    """Bytes left in each control group around this process that has a limit; its file cache can be dropped."""
    files = [(group, "memory.max", "memory.current", "inactive_file") for group in _list_groups(root, "")]
    files += [
        (group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        for group in _list_groups(root, "memory")
    ]
    free = []
    for group, limit, usage, key in files:
        most, used = _read(group / limit).strip(), _read(group / usage).strip()
        if most.isdigit() and used.isdigit():
            stat = dict(line.split() for line in _read(group / "memory.stat").splitlines() if len(line.split()) == 2)
            free.append(max(0, int(most) - int(used) + int(stat.get(key, 0))))
    return free


def _list_groups(root: Path, controller: str) -> list[Path]:
    """Folders of the control groups this process is in, the innermost first; ``controller`` is empty for version 2."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller not in names.split(","):
            continue
        top = root / "sys/fs/cgroup" / controller
        inner = top / path.lstrip("/")
        return [folder for folder in (inner, *inner.parents) if folder.is_relative_to(top)]
    return []


def _read(path: Path) -> str:
    """A small kernel file; empty where it is missing or unreadable."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class Share:
    """What each run of a sweep gets.

    Attributes:
        at_a_time: runs side by side; 1 for sequential runs in this process.
        threads: CPU threads of each, None for the number in its own config.
    """

    at_a_time: int = 1
    threads: int | None = None


def share_machine(runs: int, threads: Sequence[int], todo: int, need: int) -> Share:
    """Fill the cores with runs that train on the CPU, each with as few threads as possible.

    Threads of one run wait for each other many times per step, so one that is not scheduled holds up the others;
    a single-threaded process waits for nobody (benchmarks/contention.py).

    Args:
        runs: of the sweep.
        threads: thread counts typed for them, or that they began with; empty where any will do.
        todo: runs not yet finished.
        need: bytes of memory that one may use.

    >>> share_machine(1, [], 1, 0)
    Share(at_a_time=1, threads=None)
    """
    cores, free = count_cores(), count_free_memory()
    fitting = runs if free is None else max(1, free // max(1, need))
    together = min(runs, cores, fitting)
    each = max(threads, default=cores // together)
    at_a_time = max(1, min(together, todo, cores // each))
    return Share(at_a_time, each if threads or at_a_time > 1 else None)
