"""Fashion-MNIST (Xiao et al. 2017): the four original files, compressed or not, and the sample inside this package."""

from __future__ import annotations

import gzip
import hashlib
import logging
import zlib
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources.cache import cached
from stress_lab.data.sources.search import Download, Format, find_data, first_folder
from stress_lab.data.sources.snapshot import once
from stress_lab.errors import DataError

log = logging.getLogger(__name__)

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
PREFIXES = {"train": "train", "test": "t10k"}
CHECKSUMS = {  # MD5 of the uncompressed content, independent of the compression
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
LARGEST = 16 + 60_000 * 28 * 28  # bytes of the longest file
SYSTEM = (Path("/usr/share/datasets/fashion-mnist"),)  # Debian's package dataset-fashion-mnist


@once
def load_fashion_mnist(root: str | None, download: bool = True) -> ImageData:
    """Find and read Fashion-MNIST.

    Raises:
        DataError: nothing was found, or a file is truncated or altered.
    """
    return find_data(
        "Fashion-MNIST",
        [Format("the four *-ubyte files (.gz or not)", _locate, _read)],
        root,
        SYSTEM,
        Download(_download, "FashionMNIST") if download else None,
    )


@once
def load_fashion_sample() -> ImageData:
    """The stratified sample inside the package (see its LICENSE and scripts/make_fashion_sample.py)."""
    with resources.as_file(resources.files("stress_lab") / "data" / "sample" / "fashion_sample.npz") as file:
        arrays = np.load(file, allow_pickle=False)
        splits = {
            name: ImageSplit(arrays[f"{name}_images"][:, None], arrays[f"{name}_labels"].astype(np.int64))
            for name in PREFIXES
        }
    return ImageData(
        splits, CLASSES, "the sample inside stress_lab", "the sample's order; its file keeps the official one"
    )


def _download(folder: Path) -> object:
    """Fetch the four files, which torchvision verifies."""
    from torchvision.datasets import FashionMNIST  # which imports torch

    return FashionMNIST(str(folder), download=True)


def _locate(folder: Path) -> Path | None:
    """The folder of the files: the folder itself, or one in it."""
    candidates = [folder / part for part in ("FashionMNIST/raw", ".", "fashion-mnist", "fashion_mnist")]
    return first_folder(*candidates, holding=[name + suffix for name in CHECKSUMS for suffix in ("", ".gz")])


def _read(folder: Path) -> ImageData:
    """Read the four files, from the cache if already read."""
    files = {}
    for name in CHECKSUMS:
        files[name] = next((file for suffix in ("", ".gz") if (file := folder / (name + suffix)).is_file()), None)
    missing = [name for name, file in files.items() if file is None]
    if missing:
        raise DataError(f"{folder / missing[0]}.gz is missing: put all four files of Fashion-MNIST there")
    found = {name: file for name, file in files.items() if file is not None}
    return cached("fashion_mnist", list(found.values()), "", lambda _: _decode(folder, found))


def _decode(folder: Path, files: dict[str, Path]) -> ImageData:
    """Verify and decode the four files."""
    log.info("reading 70,000 images from %s", folder)
    arrays = {name: read_idx(file, CHECKSUMS[name]) for name, file in files.items()}
    splits = {
        split: ImageSplit(
            arrays[f"{prefix}-images-idx3-ubyte"][:, None], arrays[f"{prefix}-labels-idx1-ubyte"].astype(np.int64)
        )
        for split, prefix in PREFIXES.items()
    }
    return ImageData(splits, CLASSES, str(folder), "the official order")


def read_idx(file: Path, md5: str) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes: two zero bytes, type 8, the number of axes, their lengths, the values.

    Args:
        file: compressed if its name ends in ``.gz``.
        md5: checksum of the uncompressed content.

    Raises:
        DataError: it is truncated, altered or something else.
    """
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content = stream.read(LARGEST + 1)  # a few compressed bytes can expand to many
    except (OSError, EOFError, zlib.error):
        content = b""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{file} is not one of Fashion-MNIST's files, or is truncated or altered: download it again")
    axes = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=axes, offset=4).astype(int)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(tuple(shape))
