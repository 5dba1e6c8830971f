"""CIFAR-10 (Krizhevsky 2009): the official batches, verified before they are opened, or a class-folder tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources.cache import cached
from stress_lab.data.sources.folder import LAYOUT, read_tree
from stress_lab.data.sources.search import Download, Format, find_data, first_folder
from stress_lab.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_CLASS = {"train": 5000, "test": 1000}
OFFICIAL = CIFAR10.base_folder  # cifar-10-batches-py


def load_cifar10(root: str | None, download: bool = True) -> ImageData:
    """Find and read CIFAR-10.

    Raises:
        DataError: nothing was found, a batch fails its published checksum, or a tree is incomplete.
    """
    return find_data(
        "CIFAR-10",
        [
            Format(OFFICIAL, _locate_official, _read_official),
            Format(LAYOUT, _locate_tree, _read_cifar_tree),
        ],
        root,
        download=Download(lambda folder: CIFAR10(str(folder), download=True), OFFICIAL) if download else None,
    )


def _locate_official(folder: Path) -> Path | None:
    """The folder of the batches, in the folder or being it."""
    return first_folder(folder / OFFICIAL, folder, holding=[CIFAR10.train_list[0][0], CIFAR10.test_list[0][0]])


def _locate_tree(folder: Path) -> Path | None:
    """The folder of the tree, in the folder or being it."""
    classes = [f"{split}/{name}" for split in PER_CLASS for name in CLASSES]
    return first_folder(folder, folder / "cifar10", folder / "cifar-10", holding=classes)


def _read_official(folder: Path) -> ImageData:
    """Verify every batch (they are pickles: only the published ones are opened), then decode."""
    lists = [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
    for name, md5 in lists:
        if not check_integrity(folder / name, md5):
            state = (
                "does not have its published checksum (cut or altered)" if (folder / name).exists() else "is missing"
            )
            raise DataError(f"{folder / name} {state}: remove {folder} and unpack or download CIFAR-10 again")
    files = [folder / name for name, _ in lists]
    return cached("cifar10-official", files, "", lambda: _decode_official(folder))


def _decode_official(folder: Path) -> ImageData:
    """Decode verified batches."""
    splits = {}
    for name in ("train", "test"):
        official = CIFAR10(_as_root(folder), train=name == "train", download=False)
        images = np.ascontiguousarray(official.data.transpose(0, 3, 1, 2))
        splits[name] = ImageSplit(images, np.array(official.targets, dtype=np.int64))
    return ImageData(splits, CLASSES, str(folder), "the official order")


def _as_root(folder: Path) -> str:
    """Torchvision takes the parent and insists on the folder's official name."""
    if folder.name != OFFICIAL:
        raise DataError(f"{folder} holds CIFAR-10's batches: rename it to {OFFICIAL}")
    return str(folder.parent)


def _read_cifar_tree(folder: Path) -> ImageData:
    """A tree that has every image of CIFAR-10, no more and no fewer."""
    data = read_tree(folder)
    if data.classes != CLASSES or data.splits["train"].images.shape[1:] != (3, 32, 32):
        raise DataError(f"{folder} is not CIFAR-10 (other classes, or not 32×32 colour): use data=image_folder for it")
    for name, expected in PER_CLASS.items():
        counts = np.bincount(data.splits[name].labels, minlength=len(CLASSES))
        if (counts != expected).any():
            worst = int(np.argmax(np.abs(counts - expected)))
            raise DataError(
                f"{folder / name / CLASSES[worst]} has {counts[worst]:,} of {expected:,} images: "
                f"unpack CIFAR-10 again, or use data=image_folder for a part of it"
            )
    return data
