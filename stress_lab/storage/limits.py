"""What a file may take: its declared sizes, checked against each other and the available memory before reading.

A few compressed bytes can promise more than any memory holds. No fixed bound separates it from a large file that
works, so a file is refused only where its declared size, which is the least it would take, exceeds the
memory that is available: on the machine, in this process's control groups and within its limits.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stress_lab.errors import StressLabError
from stress_lab.runtime.cores import count_free_memory

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

VALUE = {"BOOLEAN": 0.125, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12, "BYTE_ARRAY": 4}  # bytes


def count_available(root: Path = Path("/")) -> int | None:
    """Bytes that this process may still take, swap included; None where the system does not report it."""
    free = count_free_memory(root)
    found = [] if free is None else [free + _count_swap(root)]
    if resource is not None:
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            found.append(max(0, soft - _count_mapped(root)))
    return min(found, default=None)


def refuse_too_large(
    what: object, need: int, advice: str, error: type[StressLabError], available: int | None = None
) -> None:
    """Raise ``error`` where something takes more memory than there is.

    Args:
        what: a file, or what it holds; starts the message.
        need: the least bytes it takes.
        advice: what to do instead.
        error: its class.
        available: bytes; None asks the system.
    """
    free = count_available() if available is None else available
    if free is not None and need > free:
        raise error(
            f"{what} would take {_gigabytes(need)} GB of memory or more, but only {_gigabytes(free)} GB is available: "
            f"{advice}"
        )


def measure_chunks(chunks: Iterable[Any]) -> int:
    """The least bytes that chunks of Parquet columns take once decoded, by the footer of their file."""
    return sum(int(chunk.num_values * VALUE.get(chunk.physical_type, 1)) for chunk in chunks)


def _gigabytes(size: int) -> str:
    """Bytes in gigabytes, with a significant digit."""
    return f"{size / 1e9:,.1f}" if size >= 1e8 else f"{size / 1e9:.2g}"


def _count_swap(root: Path) -> int:
    """Bytes of free swap space."""
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("SwapFree:")), 0)


def _count_mapped(root: Path) -> int:
    """Bytes of address space that this process has taken."""
    try:
        return resource.getpagesize() * int((root / "proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 0
