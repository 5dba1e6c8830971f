"""Look for a data set in a fixed order, and list every place searched if it is not found.

The order: the folder the user names, ``STRESS_LAB_DATA``, ``./data``, system folders, then a download.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stress_lab.data.images import ImageData
from stress_lab.data.sources.partial import partial_folder
from stress_lab.errors import DataError

log = logging.getLogger(__name__)

NETWORK_TIMEOUT = 20  # seconds without an answer before a download is abandoned


@dataclass(frozen=True)
class Format:
    """One layout of a data set on disk.

    Attributes:
        label: for people, such as ``cifar-10-batches-py``.
        locate: maps a folder to the data in it, or None.
        read: verify and decode; raises DataError when the data is incomplete or broken.
    """

    label: str
    locate: Callable[[Path], Path | None]
    read: Callable[[Path], ImageData]


@dataclass(frozen=True)
class Download:
    """How to fetch a data set.

    Attributes:
        fetch: fills an empty folder; verifies checksums.
        folder: its subfolder that is moved into place once complete.
    """

    fetch: Callable[[Path], object]
    folder: str


def find_data(
    name: str,
    formats: Sequence[Format],
    root: str | None,
    system: Sequence[Path] = (),
    download: Download | None = None,
) -> ImageData:
    """Read a data set from the first place that has it.

    Args:
        name: for people, such as ``CIFAR-10``.
        formats: tried in order in each folder.
        root: the folder the user named, or None.
        system: folders where a system package may have put the data.
        download: None forbids it.

    Raises:
        DataError: the named folder does not exist, what was found is broken, or nothing was found.
    """
    if root is not None and not Path(root).expanduser().is_dir():
        raise DataError(f"data.root={root} is not a folder: give the folder that holds {name}, or leave data.root out")
    looked: list[str] = []
    for folder in [*_user_folders(root), *system]:
        found = _look(folder, formats, looked)
        if found is not None:
            return found
    if download is not None:
        destination = _user_folders(root)[0]
        failure = _download(name, download, destination)
        found = _look(destination, formats, looked if failure is None else [])
        if found is not None:  # also if another process was first, so that its place was taken
            return found
        looked.append(f"download into {destination}: {failure or 'contained no data'}")
    else:
        looked.append("download: switched off by data.download=false")
    kinds = " or ".join(form.label for form in formats)
    raise DataError(
        f"{name} was not found: put {kinds} into a folder and set data.root=FOLDER (looked in {'; '.join(looked)})"
    )


def _user_folders(root: str | None) -> list[Path]:
    """The user's folders, the most specific first; a download goes to the first."""
    named = [root, os.environ.get("STRESS_LAB_DATA"), "data"]
    return [Path(folder).expanduser() for folder in named if folder]


def _look(folder: Path, formats: Sequence[Format], looked: list[str]) -> ImageData | None:
    """Read the first format found in a folder, or note that none was."""
    if not folder.is_dir():
        looked.append(f"{folder}: no such folder")
        return None
    for form in formats:
        where = form.locate(folder)
        if where is not None:
            return form.read(where)
    looked.append(f"{folder}: holds neither " + " nor ".join(form.label for form in formats))
    return None


def _download(name: str, download: Download, destination: Path) -> str | None:
    """Fetch into a temporary folder and move the result into place; returns why it failed, or None."""
    log.info("%s is not on this machine: downloading it to %s", name, destination)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        with partial_folder(destination) as partial:
            download.fetch(partial)
            os.replace(partial / download.folder, destination / download.folder)
    except (
        OSError,
        RuntimeError,
    ) as error:  # URLError is an OSError; torchvision raises RuntimeError on a wrong checksum
        return " ".join(str(error).split())
    finally:
        socket.setdefaulttimeout(before)
    return None


def first_folder(*candidates: Path, holding: Sequence[str]) -> Path | None:
    """The first candidate that holds any of the named files or folders, or None."""
    return next((path for path in candidates if any((path / name).exists() for name in holding)), None)
