"""Decode once: arrays kept as files that later starts map into memory.

An entry is a folder named after what it was made from (paths, sizes, times and inode numbers of every file). It is
written under another name and moved into place when complete, and holds only plain arrays and JSON: nothing in it is
executed. Images may be decoded straight into it, so that they need not fit into memory.

The content of an entry is checked whenever it is mapped: ``digests.json`` has the SHA-256 of ``meta.json`` and the
fingerprint of each split, which every run computes anyway. This detects damage, and entries swapped with each
other. It is not a signature: anyone who can write to the cache could forge an entry.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources.partial import partial_folder, remove
from stress_lab.errors import DataError
from stress_lab.storage.limits import refuse_too_large

log = logging.getLogger(__name__)

FORMAT = 2  # raise when the layout of an entry changes
SMALL = 1 << 20  # bytes that digests.json stays below
TRIES = 6  # attempts (look, make) before decoding without the cache; two are enough if nobody interferes
PASSING = {errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.EINTR, getattr(errno, "ESTALE", errno.EIO)}
NO_FALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # from file systems that cannot preallocate

Allocate = Callable[[str, tuple[int, ...]], NDArray[np.uint8]]  # an array for the images of a split, given name, shape
Decode = Callable[[Allocate], ImageData]


def cache_folder() -> Path:
    """``STRESS_LAB_CACHE``, or the user's cache folder of this platform."""
    named = os.environ.get("STRESS_LAB_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("stress_lab")


def cached(name: str, files: Sequence[Path | os.DirEntry[str]], options: str, decode: Decode) -> ImageData:
    """Return what ``decode`` returned last time for the same files and options, or call it and keep the result.

    Several processes may do so at once: each decodes, and all use the entry of the first to finish. If the
    cache cannot be used, the images are decoded into memory.

    Args:
        name: starts the entry's folder name, for people.
        files: everything the result is made from; listed folder entries are not stat'ed again.
        options: whatever else changes the result.
        decode: makes the images; it may put those of a split into an array from the function it is given, which
            is in the cache, or in memory if the cache cannot be written. It may ask for a split's array again.

    Raises:
        DataError: the cache cannot be used, and the images need more memory than is available.
    """
    key = _digest_sources(files, options)
    entry = cache_folder() / f"{_shorten(name)}-{key[:16]}"
    try:
        for _ in range(TRIES):
            found = _find(entry, key) if os.path.lexists(entry) else _make(entry, key, decode)
            if found is not None:
                return found
        raise OSError(f"{entry} keeps changing")
    except OSError as error:
        log.warning("decoded images are not cached: %s cannot be written (%s)", cache_folder(), error)
        return decode(_take_memory)


def _digest_sources(files: Sequence[Path | os.DirEntry[str]], options: str) -> str:
    """The digest that names an entry.

    A content change with the same size and time (``cp -p``, ``touch -r``, ``rsync --times``) leaves another ctime of
    the inode, and files or folders that swap places have other inode numbers.
    """
    digest, here = hashlib.sha256(f"{FORMAT}|{options}".encode()), os.getcwd()
    for file in files:
        s = file.stat()
        marks = f"{s.st_size}|{s.st_mtime_ns}|{s.st_ctime_ns}|{s.st_ino}"
        digest.update(f"|{os.path.join(here, file)}|{marks}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _shorten(name: str) -> str:
    """A name as part of a file name, which file systems limit to 255 bytes."""
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip(".")[:60] or "data"


def _find(entry: Path, key: str) -> ImageData | None:
    """The content of an entry; None where it is damaged, and then it is removed.

    Raises:
        OSError: it cannot be removed, or cannot be read for a temporary reason.
    """
    before = _identify(entry)
    try:
        return _load(entry, key)
    except Exception as error:  # damaged bytes make JSON and NumPy raise many kinds of errors
        if isinstance(error, MemoryError):
            raise OSError(errno.ENOMEM, "it cannot be mapped into memory", str(entry)) from None
        if isinstance(error, OSError) and error.errno in PASSING:  # others may have it mapped
            raise
        if before is not None and _identify(entry) == before:  # else another process has removed or replaced it
            log.warning("the cache %s is broken (%s) and is being recreated", entry, _shorten_error(error))
            with contextlib.suppress(FileNotFoundError):
                remove(entry)
        return None


def _identify(entry: Path) -> tuple[int, int] | None:
    """What distinguishes an entry from another in its place; None where there is none."""
    try:
        found = entry.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns


def _shorten_error(error: Exception) -> str:
    """The start of an error's first line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _make(entry: Path, key: str, decode: Decode) -> ImageData | None:
    """Decode into an entry under a temporary name, then move it into place; None if another process was first."""
    with partial_folder(entry.parent) as partial:
        data = decode(lambda name, shape: _allocate(partial / f"{name}_images.npy", shape))
        _write(partial, key, data)
        fingerprints = {name: split.fingerprint for name, split in data.splits.items()}
        del data  # Windows does not rename folders with mapped files
        try:
            partial.rename(entry)
        except OSError:
            if not os.path.lexists(entry):
                raise
            return None
        made = _map(entry, _read_meta(entry, _read_digests(entry, key)))
    for name, split in made.splits.items():  # the bytes just written: not read and hashed again
        vars(split)["fingerprint"] = fingerprints[name]
    return made


def _write(folder: Path, key: str, data: ImageData) -> None:
    """Write everything in an entry, except images that are already there."""
    for name, split in data.splits.items():
        if isinstance(split.images, np.memmap):
            split.images.flush()  # before the entry counts as complete
        if not (folder / f"{name}_images.npy").exists():
            np.save(folder / f"{name}_images.npy", split.images)
        np.save(folder / f"{name}_labels.npy", split.labels.astype(np.int64, copy=False))
    meta = {
        "classes": data.classes,
        "source": data.source,
        "index_order": data.index_order,
        "files": {name: split.files for name, split in data.splits.items()},
    }
    content = json.dumps(meta).encode()
    (folder / "meta.json").write_bytes(content)
    digests = {
        "made_from": key,
        "meta": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
        "splits": {name: split.fingerprint for name, split in data.splits.items()},
    }
    (folder / "digests.json").write_text(json.dumps(digests), encoding="utf-8")


def _allocate(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A memory-mapped file, preallocated on disk: a full disk would otherwise kill the process later."""
    need, free = int(np.prod(shape, dtype=object)), shutil.disk_usage(path.parent).free
    if need > free:  # before it is full for everybody
        raise OSError(errno.ENOSPC, f"{need / 1e9:,.1f} GB are needed but {free / 1e9:,.1f} GB are free", str(path))
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if error.errno not in NO_FALLOCATE:
                    raise
    return images


def _take_memory(name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array in memory; raises DataError where there is not enough."""
    need = int(np.prod(shape, dtype=object))
    what = f"{shape[0]:,} {name} images of {shape[2]}×{shape[3]} pixels"
    refuse_too_large(what, need, "set data.image_size=PIXELS, or STRESS_LAB_CACHE=FOLDER on a larger disk", DataError)
    return np.empty(shape, np.uint8)


def _load(entry: Path, key: str) -> ImageData:
    """Map an entry's images into memory; raises whatever damaged files cause, DataError where they differ."""
    digests = _read_digests(entry, key)
    data = _map(entry, _read_meta(entry, digests))
    for name, split in data.splits.items():
        if split.fingerprint != digests["splits"][name]:
            raise DataError(f"the {name} images or labels were changed")
    return data


def _read_digests(entry: Path, key: str) -> dict[str, Any]:
    """The expected digests of an entry."""
    digests: dict[str, Any] = json.loads(_read_plain(entry / "digests.json", SMALL))
    if digests["made_from"] != key:
        raise DataError("it was made from other images")
    return digests


def _read_meta(entry: Path, digests: dict[str, Any]) -> dict[str, Any]:
    """Everything in an entry except the arrays."""
    content = _read_plain(entry / "meta.json", digests["meta"]["bytes"])
    if hashlib.sha256(content).hexdigest() != digests["meta"]["sha256"]:
        raise DataError("meta.json was changed")
    meta: dict[str, Any] = json.loads(content)
    if meta["files"].keys() != digests["splits"].keys():
        raise DataError("its splits are not the original ones")
    return meta


def _read_plain(path: Path, most: int) -> bytes:
    """A small file; raises DataError for a larger one, and for anything else, such as a pipe."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > most:
        raise DataError(f"{path.name} is not a file, or too large")
    return path.read_bytes()


def _map(entry: Path, meta: dict[str, Any]) -> ImageData:
    """The arrays of an entry, the images mapped into memory."""
    splits = {
        name: ImageSplit(
            images=_map_array(entry / f"{name}_images.npy", np.uint8, 4),
            labels=np.array(_map_array(entry / f"{name}_labels.npy", np.int64, 1)),
            files=None if files is None else tuple(files),
        )
        for name, files in meta["files"].items()
    }
    return ImageData(splits, tuple(meta["classes"]), meta["source"], meta["index_order"])


def _map_array(path: Path, kind: type[np.generic], axes: int) -> np.memmap[Any, Any]:
    """An array in a file, reading only its header; raises DataError where it has another type."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError(f"{path.name} is not a file")
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):  # later versions may have huge headers
            raise DataError(f"{path.name} is in another version of NumPy's format")
    array = np.lib.format.open_memmap(path, mode="r")
    if array.dtype != kind or array.ndim != axes:
        raise DataError(f"{path.name} holds {array.dtype} of shape {array.shape}")
    return array
