"""A GPU for each run, where several run side by side on one machine."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from stress_lab.runtime.locks import Lock, hold, is_held, try_acquire

PATIENCE = 120.0  # seconds to wait for other runs that are choosing, which is quick

_held: list[Lock] = []  # of the run in this process


def name_gpus(number: int) -> list[str]:
    """The machine-wide names of the GPUs this process sees; position 0 is torch's cuda:0."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible if len(visible) == number else [str(place) for place in range(number)]


def _name_user() -> str:
    """The numeric user id, which works in a container without a user list too."""
    return str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()


def claim_gpu(names: Sequence[str], folder: Path | None = None) -> int:
    """Take the GPU that the fewest of this user's runs hold; it is held until the process ends, however it ends.

    Args:
        names: of the GPUs, see ``name_gpus``; at least one.
        folder: of the lock files; by default the system's temporary one.

    Returns:
        Position in ``names``; the first of those that are equally busy.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"stress_lab_gpus_{_name_user()}"
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder / "choosing.lock", PATIENCE, "run the same command again"):  # one at a time
        loads = [sum(is_held(path) for path in folder.glob(f"gpu_{name}_*.lock")) for name in names]
        chosen = loads.index(min(loads))
        for number in count():
            lock = try_acquire(folder / f"gpu_{names[chosen]}_{number}.lock")
            if lock is not None:
                _held.append(lock)
                return chosen
    raise AssertionError("unreachable")


@contextmanager
def releasing() -> Iterator[None]:
    """Release what the run in the block claims; one process may run several."""
    try:
        yield
    finally:
        while _held:
            _held.pop().release()
