"""A folder filled beside its place and moved there when complete; leftovers of killed processes are removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PREFIX = ".partial-"
ABANDONED = 3600  # seconds without a change until a folder that no living process holds is removed


@contextmanager
def partial_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in ``parent``, removed at the end unless it was moved; leftovers of dead processes go first.

    The process holds a lock on it meanwhile, which the system releases when the process dies. If a file system
    has no locks, a folder unchanged for an hour counts as dead; if its process only slept, its next step fails
    as on a full disk.

    Raises:
        OSError: nothing can be written there.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = _try_lock(folder)
    try:
        _remove_abandoned(parent, folder.stat().st_mtime)
        yield folder
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file, link or folder atomically for observers; raises OSError where that fails."""
    aside = Path(tempfile.mkdtemp(prefix=PREFIX, dir=path.parent))
    try:
        path.rename(aside / "old")
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _try_lock(folder: Path) -> int | None:
    """A descriptor that locks a folder, or None where that is impossible; raises BlockingIOError if it is locked."""
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None  # ENOLCK, EOPNOTSUPP, EBADF: this file system locks no folders
    return descriptor


def _remove_abandoned(parent: Path, now: float) -> None:
    """Remove temporary folders and files that are unchanged and not held.

    Args:
        parent: their folder.
        now: by the file system's clock, which may be another machine's.
    """
    for path in (parent / name for name in os.listdir(parent) if name.startswith(PREFIX)):
        with contextlib.suppress(OSError):  # removed meanwhile, in use, or somebody else's
            if now - path.lstat().st_mtime > ABANDONED and now - _last_change(path) > ABANDONED:
                _remove_unless_held(path)


def _last_change(path: Path) -> float:
    """The last write to a file, or to a folder or anything in it, in seconds since 1970."""
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    return max(float(one.lstat().st_mtime) for one in (path, *inside))


def _remove_unless_held(path: Path) -> None:
    """Remove it; raises BlockingIOError where a living process holds it."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    lock = _try_lock(path)
    try:
        shutil.rmtree(path, ignore_errors=True)
    finally:
        if lock is not None:
            os.close(lock)
