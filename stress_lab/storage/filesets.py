"""Several files of a folder that appear together or not at all.

A set is written into a staging folder ``.next-<id>`` inside the folder it is for. When it is complete, ``commit.json``
is written there, listing the files to move and to remove; then they are moved. A process killed
before ``commit.json`` leaves the old files, one killed after it leaves the new ones: whoever opens the folder
next finishes the move. So a reader sees the old set or the new one, never a mixture.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from stress_lab.errors import RunError
from stress_lab.files import load_json, save_json
from stress_lab.runtime.locks import COMPARISON_LOCK, LOCK, HeldError, NoLockError, hold

T = TypeVar("T")

COMMIT = "commit.json"
LAST = ("comparison.json", "report.html", "status.json", "seal.json")  # moved after all others, in this order
ATTEMPTS = 20  # to read a folder while it is rewritten
PATIENCE = 30.0  # seconds to wait for a process that is moving a set
READ = ("*.json", "config.yaml", "*/*.parquet", "failures/*.json")  # files of a folder whose change a reader notices
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Kind(NamedTuple):
    """Sets of one kind: their ``lock``, held by the writer, and the ``prefix`` of staging folders."""

    lock: str
    prefix: str


RECORDS = Kind(LOCK, ".next-")  # of a run
COMPARISON = Kind(COMPARISON_LOCK, ".next-comparison-")


@dataclass(frozen=True)
class FileSet:
    """A set that is being written.

    Attributes:
        folder: the destination. ``path``: the staging folder, which holds the files under the same relative paths.
        gone: files of ``folder`` to remove; a file that the set contains stays.
    """

    folder: Path
    path: Path
    gone: set[Path] = field(default_factory=set)

    def remove(self, files: Iterable[Path]) -> None:
        """Remove files of the folder when the set appears."""
        self.gone.update(files)

    def has(self, name: str) -> bool:
        """Whether a file of the set was written."""
        return (self.path / name).is_file()


@contextmanager
def stage(folder: Path, kind: Kind = RECORDS) -> Iterator[FileSet]:
    """Let a block write a set; it appears when the block ends, and leaves nothing behind if the block fails.

    The caller holds the folder's lock. Leftovers of an earlier process are completed or removed first.

    Raises:
        RunError: there is a folder in the place of a file of the set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    complete(folder, kind)
    files = FileSet(folder, folder / f"{kind.prefix}{uuid.uuid4().hex}")
    files.path.mkdir()
    try:
        yield files
        _commit(files)
        _refuse_links(folder, files.path, "that link")
    except BaseException:
        (files.path / COMMIT).unlink(missing_ok=True)  # first: an incomplete set must not count
        shutil.rmtree(files.path, ignore_errors=True)
        raise
    _move(folder, files.path)


def _commit(files: FileSet) -> None:
    """Write the list of files to move and to remove; from then on the set counts."""
    there = [path.relative_to(files.path).as_posix() for path in files.path.rglob("*") if _is_whole(path)]
    for name in there:
        if (files.folder / name).is_dir():
            raise RunError(f"{files.folder / name} is a folder, but a file of that name must be written: rename it")
    moved = sorted(there, key=lambda name: (LAST.index(name) if name in LAST else -1, name))
    gone = {path.relative_to(files.folder).as_posix() for path in files.gone} - set(there)
    save_json(files.path / COMMIT, {"format": 1, "move": moved, "remove": sorted(gone)})


def _is_whole(path: Path) -> bool:
    """Whether a path is a file of the set."""
    return path.is_file() and not path.name.startswith(".partial-")


def _move(folder: Path, staging: Path) -> None:
    """Move a committed set into its folder, or the rest of it."""
    record = _load_commit(staging)
    for name in record["remove"]:
        (folder / name).unlink(missing_ok=True)
        if (folder / name).parent != folder:
            with suppress(OSError):  # it holds other files
                (folder / name).parent.rmdir()
    for name in record["move"]:
        if (staging / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / name, folder / name)
    (staging / COMMIT).unlink()
    shutil.rmtree(staging, ignore_errors=True)


def _load_commit(staging: Path) -> dict[str, list[str]]:
    """The lists of a committed set; raises RunError where they are not valid."""
    record: Any = load_json(staging / COMMIT)
    lists: list[Any] = [record.get(key) for key in ("move", "remove")] if isinstance(record, dict) else []
    if not lists or not all(isinstance(one, list) and all(map(_is_inside, one)) for one in lists):
        raise RunError(f"{staging / COMMIT} was edited: remove {staging} and run the command that wrote it again")
    return {"move": lists[0], "remove": lists[1]}


def _is_inside(name: Any) -> bool:
    """Whether a name is the relative path of a file, without any step upwards."""
    path = PurePosixPath(name) if isinstance(name, str) else PurePosixPath("/")
    return path.parts != () and not path.is_absolute() and ".." not in path.parts


def _refuse_links(folder: Path, staging: Path, cause: str) -> None:
    """Raise RunError where a set found on disk would write or remove outside its folder."""
    lists, top = _load_commit(staging), folder.resolve()
    for name in (*lists["move"], *lists["remove"]):
        if not (folder / name).parent.resolve().is_relative_to(top):
            raise RunError(f"{folder / name} leads outside {folder} through a link: remove {cause}")
    for name in lists["move"]:
        if not (staging / name).parent.resolve().is_relative_to(staging.resolve()):
            raise RunError(f"{staging / name} leads outside {staging} through a link: remove {cause}")


def complete(folder: Path, kind: Kind = RECORDS) -> None:
    """Move the committed sets that a killed process left in a folder, and remove the others.

    The caller holds the folder's lock.
    """
    for staging in _list_staged(folder, kind):
        if (staging / COMMIT).is_file():
            _refuse_links(folder, staging, str(staging))
            _move(folder, staging)
        else:
            shutil.rmtree(staging, ignore_errors=True)


def _list_staged(folder: Path, kind: Kind) -> list[Path]:
    """Staging folders of a kind."""
    found = [path for path in folder.glob(f"{kind.prefix}*") if path.is_dir() and not path.is_symlink()]
    return sorted(path for path in found if "-" not in path.name.removeprefix(kind.prefix))


def list_committed(folder: Path, kind: Kind = RECORDS) -> list[Path]:
    """Staging folders whose sets are committed but not completely moved."""
    return [path for path in _list_staged(folder, kind) if (path / COMMIT).is_file()]


def recover(folder: Path, kind: Kind = RECORDS, patience: float = PATIENCE) -> Path | None:
    """Complete or remove what a killed process left in a folder, before reading there.

    Returns:
        If the folder cannot be written: the staging folder whose files replace those in the folder.

    Raises:
        HeldError: another process is moving a set and does not finish.
    """
    if not _list_staged(folder, kind):
        return None
    committed = list_committed(folder, kind)
    try:
        with hold(folder / kind.lock, patience if committed else 0, "wait for it"):
            complete(folder, kind)
    except HeldError:
        if list_committed(folder, kind):
            raise
    except NoLockError:
        return next(iter(committed), None)
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        return next(iter(committed), None)
    return None


def read_whole(folder: Path, read: Callable[[Path | None], T], kind: Kind = RECORDS) -> T:
    """What ``read`` returns, all from one set: it is called again if a set appeared meanwhile.

    Args:
        folder: to read in.
        read: gets the staging folder to look into first, or None.
        kind: of the sets.

    Raises:
        RunError: what ``read`` raises, or the folder keeps changing.
    """
    for _ in range(ATTEMPTS):
        staging = recover(folder, kind)
        before, error, value = _stamp(folder), None, None
        try:
            value = read(staging)
        except RunError as caught:
            error = caught
        if _stamp(folder) == before and list_committed(folder, kind) == ([staging] if staging else []):
            if error is not None:
                raise error
            return value  # type: ignore[return-value]
    raise RunError(f"{folder} keeps changing while it is read: wait for the process that writes it")


def _stamp(folder: Path) -> list[tuple[str, int, int, int]]:
    """A stamp that changes when a record of a folder is replaced."""
    found = []
    for path in (path for pattern in READ for path in folder.glob(pattern)):
        with suppress(OSError):  # it was just replaced
            about = path.stat()
            found.append((str(path), about.st_ino, about.st_mtime_ns, about.st_size))
    return sorted(found)
