"""What to do about a file that cannot be read or written: which disk it is on, how full that is, and what to type."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = 1 << 16  # bytes: with less left a disk is full
AGAIN = "and run the same command again"


def explain_disk(error: OSError) -> str | None:
    """The sentence for an error of the file system; None for another error, or one that gives neither file nor cause.

    >>> explain_disk(OSError(errno.ENAMETOOLONG, "File name too long", "/x" + 300 * "y")).partition(": ")[2]
    'its name is too long for this file system; choose a shorter one, or a folder with a shorter path'
    """
    describe = SENTENCES.get(error.errno or 0)
    if describe is not None and (error.filename is not None or error.errno in NAMELESS):
        return describe(error)
    if error.filename is None:
        return None
    return f"{error.filename}: {error.strerror or error}; choose another folder, or make this one usable"


def _describe_full(error: OSError) -> str:
    """No space, or no room for one more file."""
    if error.filename is None:
        return f"the disk is full: free some space {AGAIN}"
    place = _find_folder(error.filename)
    if _count_free_files(place) == 0:
        return (
            f"the disk is full at {error.filename}: {find_mount(place)} takes no more files, however small (no inodes "
            f"are left); remove some that you no longer need {AGAIN}"
        )
    return f"the disk is full at {error.filename}: {_describe_free(place)}; free some space there {AGAIN}"


def _describe_quota(error: OSError) -> str:
    """The disk has room, but this user has used up the quota."""
    on = f" on {find_mount(_find_folder(error.filename))}" if error.filename is not None else ""
    at = f" at {error.filename}" if error.filename is not None else ""
    return (
        f"the disk is full for you{at}: your quota{on} is used up, which the command quota shows; remove some of "
        f"your files there, or ask for more, {AGAIN}"
    )


def _describe_large(error: OSError) -> str:
    """A file would be larger than the process or the file system allows."""
    return (
        f"{error.filename or 'a file'} would be larger than is allowed here: ulimit -f shows the limit of this shell, "
        f"and ulimit -f unlimited lifts it (FAT takes files of up to 4 GB); lift it, or choose another folder, {AGAIN}"
    )


def _describe_read_only(error: OSError) -> str:
    """The file system is read-only, perhaps since a disk error."""
    if error.filename is None:
        return f"the disk has become read-only: choose another folder, or have it mounted for writing, {AGAIN}"
    return (
        f"{error.filename}: {find_mount(_find_folder(error.filename))} is read-only; choose another folder, or have it "
        f"mounted for writing (dmesg shows whether an error made it so) {AGAIN}"
    )


def _describe_faulty(error: OSError) -> str:
    """The disk does not answer."""
    on = f"{error.filename}: " if error.filename is not None else ""
    which = find_mount(_find_folder(error.filename)) if error.filename is not None else "a disk"
    return (
        f"{on}{which} reports an input/output error: save what you need from it, have it checked (dmesg shows more), "
        "and run the same command again, in another folder if it stays"
    )


def _describe_stale(error: OSError) -> str:
    """A network file system was replaced under an open folder."""
    on = f"{error.filename}: " if error.filename is not None else ""
    return (
        f"{on}the server of this network folder no longer knows it (stale file handle): leave the folder and enter it "
        f"again, or have it remounted, {AGAIN}"
    )


def _describe_forbidden(error: OSError) -> str:
    """Permissions."""
    reason = f"{error.strerror or 'Permission denied'}{_name_owner(error.filename)}"
    return f"{error.filename}: {reason}; choose another folder, or make this one usable"


def _describe_long(error: OSError) -> str:
    """A name that is too long."""
    name = str(error.filename)
    shown = name if len(name) <= 100 else f"{name[:50]}…{name[-40:]}"
    return f"{shown}: its name is too long for this file system; choose a shorter one, or a folder with a shorter path"


SENTENCES: dict[int, Callable[[OSError], str]] = {
    errno.ENOSPC: _describe_full,
    errno.EDQUOT: _describe_quota,
    errno.EFBIG: _describe_large,
    errno.EROFS: _describe_read_only,
    errno.EIO: _describe_faulty,
    errno.ESTALE: _describe_stale,
    errno.EACCES: _describe_forbidden,
    errno.EPERM: _describe_forbidden,
    errno.ENAMETOOLONG: _describe_long,
}
NAMELESS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.ESTALE,
    errno.EIO,
}  # clear even without a file's name


def _describe_free(folder: Path) -> str:
    """How much is left, and where."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return f"{find_mount(folder)} has no room"
    return f"{find_mount(folder)} has {format_size(free)} left"


def format_size(size: int) -> str:
    """Bytes as a person reads them.

    >>> [format_size(size) for size in (0, 8192, 3_456_789, 12_300_000_000)]
    ['0 bytes', '8.2 kB', '3.5 MB', '12.3 GB']
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def find_mount(folder: Path) -> Path:
    """Where the file system of a folder begins, such as ``/`` or ``/home``; the folder itself where that is unknown."""
    try:
        place = folder.resolve()
        while not os.path.ismount(place) and place != place.parent:
            place = place.parent
    except OSError:
        return folder
    return place


def _find_folder(file: str | bytes | int) -> Path:
    """The folder of a file, or the nearest existing one above it."""
    path = Path(os.fsdecode(file) if not isinstance(file, int) else ".").absolute()
    return next((one for one in (path, *path.parents) if os.path.isdir(one)), Path("/"))


def _count_free_files(folder: Path) -> int | None:
    """How many more files a file system takes; None where it has no limit or does not report one."""
    try:
        stat = os.statvfs(folder)
    except (OSError, AttributeError):
        return None
    return stat.f_favail if stat.f_files else None


def _name_owner(file: str | bytes | int) -> str:
    """The owner of a file or its folder, as the end of a clause, if it is somebody else."""
    try:
        import pwd

        path = Path(os.fsdecode(file)) if not isinstance(file, int) else Path()
        stat = (path if path.exists() else _find_folder(file)).stat()
        if stat.st_uid == os.geteuid():
            return ""
        return f" (it is {pwd.getpwuid(stat.st_uid).pw_name}'s)"
    except (ImportError, OSError, KeyError):
        return ""


@contextmanager
def naming(path: Path, instead: Path | None = None) -> Iterator[None]:
    """Put this path into a file system error that names no file, such as a failed write.

    Args:
        path: written in the block.
        instead: a file beside it that is written first; an error about it is reported as one about ``path``.
    """
    try:
        yield
    except OSError as error:
        name_file(error, path, instead)
        raise


def name_file(error: OSError, path: Path, instead: Path | None = None) -> None:
    """Put a file's name into an error that has none; one without a number counts as a full disk if the disk is full."""
    if error.errno is None:  # Pillow's and numpy's, which are only text
        if not is_full(_find_folder(str(path))):
            return
        error.errno, error.strerror = errno.ENOSPC, str(error)
    if error.filename is None or (instead is not None and str(error.filename) == str(instead)):
        error.filename = str(path)


def is_full(folder: Path) -> bool:
    """Whether nothing more can be written into a folder."""
    try:
        return shutil.disk_usage(folder).free < FULL or _count_free_files(folder) == 0
    except OSError:
        return False


def find_failing(number: int | None, folders: Iterable[Path]) -> Path | None:
    """The folder that an error without a file name concerns, by the state of its disk; None where all look fine."""
    there = [folder for folder in folders if os.path.isdir(folder)]
    if number == errno.EROFS:
        return next(filter(_is_read_only, there), None)
    return next((folder for folder in there if is_full(folder)), None) if number == errno.ENOSPC else None


def _is_read_only(folder: Path) -> bool:
    """Whether a folder's file system is mounted read-only."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


@contextmanager
def quiet_writers() -> Iterator[None]:
    """Keep TensorBoard's thread from printing the traceback of an error that it passes on to the next writer."""
    before = threading.excepthook

    def hook(details: threading.ExceptHookArgs) -> None:
        if not (isinstance(details.exc_value, OSError) and type(details.thread).__name__ == "_AsyncWriterThread"):
            before(details)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
