"""Decode once: arrays kept as files that later starts map into memory.

An entry is a folder named after what it was made from (paths, sizes and times of every file). It is written under
another name and moved into place when complete, and holds only plain arrays and JSON: nothing in it is executed. Images
may be decoded straight into it, so that they need not fit into memory.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.errors import DataError

log = logging.getLogger(__name__)

FORMAT = 1  # raise when the layout of an entry changes

Allocate = Callable[[str, tuple[int, ...]], NDArray[np.uint8]]  # an array for the images of a split, given name, shape


def cache_folder() -> Path:
    """``STRESS_LAB_CACHE``, or the user's cache folder of this platform."""
    named = os.environ.get("STRESS_LAB_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("stress_lab")


def cached(
    name: str, files: Sequence[Path | os.DirEntry[str]], options: str, decode: Callable[[Allocate], ImageData]
) -> ImageData:
    """Return what ``decode`` returned the last time for the same files and options, or call it now and keep the result.

    Args:
        name: begins the entry's folder name, for a person.
        files: everything the result is made from; entries of a folder, once listed, are not asked for again.
        options: whatever else changes the result.
        decode: makes the images; it may put those of a split into an array that the function it is given makes, which
            lies in the cache, or in memory where the cache cannot be written. It may ask for a split's again.
    """
    digest, here = hashlib.sha256(f"{FORMAT}|{options}".encode()), os.getcwd()
    for file in files:
        stat = file.stat()
        digest.update(f"|{os.path.join(here, file)}|{stat.st_size}|{stat.st_mtime_ns}".encode(errors="surrogateescape"))
    entry = cache_folder() / f"{name}-{digest.hexdigest()[:16]}"
    if entry.is_dir():
        try:
            return _load(entry)
        except (OSError, ValueError, KeyError, EOFError, DataError) as error:
            log.warning("the cache %s is broken (%s) and is made again", entry, error)
            shutil.rmtree(entry, ignore_errors=True)
    try:
        _make(entry, decode)
        return _load(entry)
    except OSError as error:
        log.warning("decoded images are not cached: %s cannot be written (%s)", cache_folder(), error)
        return decode(lambda _, shape: np.empty(shape, np.uint8))


def _make(entry: Path, decode: Callable[[Allocate], ImageData]) -> None:
    """Decode into an entry under a temporary name, then move it into place."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=entry.parent))
    try:
        data = decode(lambda name, shape: _allocate(partial / f"{name}_images.npy", shape))
        for name, split in data.splits.items():
            if isinstance(split.images, np.memmap):
                split.images.flush()  # before the entry counts as whole
            if not (partial / f"{name}_images.npy").exists():
                np.save(partial / f"{name}_images.npy", split.images)
            np.save(partial / f"{name}_labels.npy", split.labels)
        meta = {
            "classes": data.classes,
            "source": data.source,
            "index_order": data.index_order,
            "files": {name: split.files for name, split in data.splits.items()},
        }
        (partial / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        try:
            partial.rename(entry)
        except OSError:  # another process was first
            if not entry.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _allocate(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A file mapped into memory, whose place on the disk is taken at once: a full disk would kill the process later."""
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return images


def _load(entry: Path) -> ImageData:
    """Map an entry's images into memory."""
    meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
    splits = {
        name: ImageSplit(
            images=np.load(entry / f"{name}_images.npy", mmap_mode="r", allow_pickle=False),
            labels=np.load(entry / f"{name}_labels.npy", allow_pickle=False),
            files=None if files is None else tuple(files),
        )
        for name, files in meta["files"].items()
    }
    return ImageData(splits, tuple(meta["classes"]), meta["source"], meta["index_order"])
