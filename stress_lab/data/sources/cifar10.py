"""CIFAR-10 (Krizhevsky 2009): the official batches, verified before they are opened, or a class-folder tree."""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources.cache import cached
from stress_lab.data.sources.folder import read_tree
from stress_lab.data.sources.listing import LAYOUT
from stress_lab.data.sources.search import Download, Format, find_data, first_folder
from stress_lab.data.sources.snapshot import once
from stress_lab.errors import DataError

log = logging.getLogger(__name__)

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_CLASS = {"train": 5000, "test": 1000}
OFFICIAL = "cifar-10-batches-py"
CHECKSUMS = {  # the published MD5 of each batch
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
LARGEST = 1 << 25  # bytes; a published batch has 31 million
ARRAY_PARTS = {  # every name in a pickled numeric array, old and new in NumPy
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


@once
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
        download=Download(_download, OFFICIAL) if download else None,
    )


def _download(folder: Path) -> object:
    """Fetch the archive, which torchvision verifies before it unpacks it."""
    from torchvision.datasets import CIFAR10  # which imports torch

    return CIFAR10(str(folder), download=True)


def _locate_official(folder: Path) -> Path | None:
    """The folder of the batches: the folder itself, or one in it."""
    return first_folder(folder / OFFICIAL, folder, holding=["data_batch_1", "test_batch"])


def _locate_tree(folder: Path) -> Path | None:
    """The folder of the tree: the folder itself, or one in it."""
    classes = [f"{split}/{name}" for split in PER_CLASS for name in CLASSES]
    return first_folder(folder, folder / "cifar10", folder / "cifar-10", holding=classes)


def _read_official(folder: Path) -> ImageData:
    """Verify and decode every batch, or map them from the cache."""
    files = [folder / name for name in CHECKSUMS]
    for file in files:
        if not file.is_file():
            raise DataError(f"{file} is missing: remove {folder} and unpack or download CIFAR-10 again")
    return cached("cifar10-official", files, "", lambda _: _decode_official(folder))


def _decode_official(folder: Path) -> ImageData:
    """Decode the five batches of train and the one of test."""
    log.info("reading 60,000 images from %s", folder)
    batches = {name: _decode_batch(folder / name, md5) for name, md5 in CHECKSUMS.items()}
    parts = {"train": [name for name in batches if name != "test_batch"], "test": ["test_batch"]}
    splits = {}
    for split, names in parts.items():
        images = np.concatenate([batches[name]["data"] for name in names]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([batches[name]["labels"] for name in names]).astype(np.int64)
        splits[split] = ImageSplit(images, labels)
    return ImageData(splits, CLASSES, str(folder), "the official order")


def _decode_batch(file: Path, md5: str) -> dict[str, Any]:
    """Open a pickle only if it is the published one, byte for byte, and even then load only arrays."""
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)  # a longer file is not one of them
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror}): make it readable, or download CIFAR-10 again"
        ) from None
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(
            f"{file} does not have its published checksum (truncated or altered): "
            f"remove {file.parent} and unpack or download CIFAR-10 again"
        )
    batch: dict[str, Any] = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    return batch


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows only numeric arrays, so that no pickle can call anything else."""

    def find_class(self, module: str, name: str) -> Any:
        """A constructor of arrays; raises DataError for any other name."""
        if (module, name) not in ARRAY_PARTS:
            raise DataError(f"a batch of CIFAR-10 names {module}.{name}, which no batch needs: download it again")
        return super().find_class(module, name)


def _read_cifar_tree(folder: Path) -> ImageData:
    """A tree with exactly the images of CIFAR-10."""
    data = read_tree(folder)
    if data.classes != CLASSES or data.splits["train"].images.shape[1:] != (3, 32, 32):
        raise DataError(f"{folder} is not CIFAR-10 (other classes, or not 32×32 colour): use data=image_folder for it")
    for name, expected in PER_CLASS.items():
        counts = np.bincount(data.splits[name].labels, minlength=len(CLASSES))
        if (counts != expected).any():
            worst = int(np.argmax(np.abs(counts - expected)))
            raise DataError(
                f"{folder / name / CLASSES[worst]} has {counts[worst]:,} of {expected:,} images: "
                f"unpack CIFAR-10 again, or use data=image_folder for a subset"
            )
    return data
