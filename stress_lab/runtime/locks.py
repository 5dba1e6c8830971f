"""Who writes a folder: the only module that knows filelock.

The system releases a lock when its process ends, however it ends. Where a file system has no such locks, a marker
beside the lock's file takes their place: it names its process, so that the marker of a process killed on this machine
is ignored. Whoever is refused learns which process holds the lock.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from stress_lab.errors import RunError

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"  # of a folder's run, or of its sweep
COMPARISON_LOCK = ".lock-comparison"
MARKER = "-soft"  # after the name of a lock, where the file system has no locks
WITHOUT_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


Lock = BaseFileLock  # what ``acquire`` returns


class HeldError(RunError):
    """Another process holds the lock."""


class NoLockError(RunError):
    """The lock's file cannot be written: the folder is read-only, or something else is in its place."""


def acquire(path: Path, patience: float, sentence: str, doing: str = "written") -> Lock:
    """Take the lock of a folder; the caller releases it, or the end of the process does.

    Args:
        path: of the lock, in the folder.
        patience: seconds to wait for another process.
        sentence: what to type instead, for whoever is refused.
        doing: what the holder does to the folder, shown to those who wait.

    Raises:
        HeldError: another process holds it all that time.
        NoLockError: the lock's file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = _choose(path)
        lock.acquire(timeout=patience)
    except Timeout:
        raise HeldError(f"{path.parent} {_describe_holder(path)}: {sentence}{_advise(lock)}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoLockError(
            f"{path} cannot be locked ({error.strerror or error}): make {path.parent} writable, or remove what is at "
            "that path, or choose another folder"
        ) from None
    try:
        _sign(path, doing)
    except OSError:  # the lock works without it
        pass
    except BaseException:
        lock.release()
        raise
    return lock


@contextmanager
def hold(path: Path, patience: float, sentence: str, doing: str = "written") -> Iterator[None]:
    """Hold the lock of a folder within a block; arguments and errors are those of :func:`acquire`."""
    lock = acquire(path, patience, sentence, doing)
    try:
        yield
    finally:
        lock.release()


def try_acquire(path: Path) -> Lock | None:
    """The lock, or None where another process holds it now."""
    lock = _choose(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def is_held(path: Path) -> bool:
    """Whether another process holds a lock now; False where that cannot be found out."""
    if not path.is_file():
        return False
    try:
        lock = try_acquire(path)
    except OSError:
        return False
    if lock is not None:
        lock.release()
    return lock is None


def _choose(path: Path) -> Lock:
    """A lock that works on the file system of a path."""
    if has_locks(path.parent):
        return FileLock(path)
    return SoftFileLock(path.with_name(f"{path.name}{MARKER}"))


def has_locks(folder: Path) -> bool:
    """Whether the file system of a folder has locks that end with their process."""
    if sys.platform == "win32":
        return True
    with tempfile.TemporaryFile(prefix=".partial-", dir=folder) as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            return False
    return True


def _sign(path: Path, doing: str) -> None:
    """Write into a lock's file who holds it, for those who wait."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o666)
    with os.fdopen(file, "w", encoding="utf-8") as text:
        text.write(f"{os.getpid()}\n{socket.gethostname()}\n{doing}\n")


def _describe_holder(path: Path) -> str:
    """What the holder of a lock does, and which process it is, as far as its file says so."""
    try:
        process, host, doing = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return "is being written by another process"
    return f"is being {doing} by another process ({process} on {host})"


def _advise(lock: Lock) -> str:
    """What to do about a stale marker."""
    if not isinstance(lock, SoftFileLock):
        return ""
    return f" (remove {lock.lock_file} if that process no longer runs)"
