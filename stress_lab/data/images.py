"""Decoded images of a data set, as arrays, with facts computed from their pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stress_lab.data.duplicates import find_duplicates
from stress_lab.errors import DataError
from stress_lab.records import IntArray

BYTES_AT_ONCE = 1 << 24  # of images processed together: data may be larger than memory


@dataclass(frozen=True)
class ImageSplit:
    """The images of one official split.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64 class numbers.
        files: path of each image within the data folder, or None where images have no files.
    """

    images: NDArray[np.uint8]
    labels: IntArray
    files: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(
                f"images must be uint8 (N, C, H, W), got {self.images.dtype} {tuple(self.images.shape)}"
                f"{_describe_conversion(self.images)}"
            )
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images, but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """The :func:`fingerprint` of this split."""
        return fingerprint(self)


@dataclass(frozen=True)
class ImageData:
    """A data set as found, before validation is split off train.

    Attributes:
        splits: ``train``, ``test`` and, if the user has one, ``val``.
        classes: K names; labels are positions in it.
        source: where it was found, for people.
        index_order: what a position in a split means.
    """

    splits: dict[str, ImageSplit]
    classes: tuple[str, ...]
    source: str
    index_order: str

    def __post_init__(self) -> None:
        for name, split in self.splits.items():
            if not len(split):
                raise DataError(f"{self.source}: the {name} split is empty")

    @cached_property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The :func:`pixel_statistics` of the training images."""
        return pixel_statistics(self.splits["train"].images)

    @cached_property
    def duplicates(self) -> dict[str, int]:
        """The :func:`find_duplicates` of train and test."""
        train, test = self.splits["train"], self.splits["test"]
        return find_duplicates(train.images, train.labels, test.images, test.labels)


def _describe_conversion(images: Any) -> str:
    """How to convert arrays to images, if that is clear."""
    if not isinstance(images, np.ndarray):
        return ": use np.asarray(images)"
    if images.ndim == 3:
        return ": use images[:, None] for (N, 1, H, W)"
    if images.ndim != 4 or images.size == 0:
        return ""
    if images.dtype.kind == "f":
        known = images.min() >= 0 and images.max() <= 1
        return ": use (images * 255).round().astype(np.uint8)" if known else ": give pixels from 0 to 255"
    known = images.min() >= 0 and images.max() <= 255
    return ": use images.astype(np.uint8)" if known else ": give pixels from 0 to 255"


def split_up(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Consecutive parts of ``images (N, C, H, W)`` of some megabytes, at least one image."""
    step = max(1, BYTES_AT_ONCE // (images[:1].nbytes or 1))
    for start in range(0, len(images), step):
        yield images[start : start + step]


def pixel_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels, of values scaled to [0, 1].

    Sums are exact integers, so the result does not depend on the order of the images. This is the pixel deviation
    (CIFAR-10: 0.2470 0.2435 0.2616), not the smaller mean of per-image deviations that some repositories use.

    Args:
        images: (N, C, H, W) uint8.
    """
    total = np.zeros(images.shape[1], dtype=np.int64)
    squares = np.zeros(images.shape[1], dtype=np.int64)
    for part in split_up(images):
        chunk = part.astype(np.uint32)
        total += chunk.sum(axis=(0, 2, 3), dtype=np.int64)
        squares += (chunk * chunk).sum(axis=(0, 2, 3), dtype=np.int64)
    count = images.size // images.shape[1]
    mean = total / count
    std = np.sqrt(squares / count - mean**2)
    if (std == 0).all():
        raise DataError("all training images have the same colour: there is nothing to learn")
    std[std == 0] = 255  # a constant channel carries no information and is only centred
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def fingerprint(split: ImageSplit) -> str:
    """SHA-256 of the shape, pixels and labels of a split, in order; equal only for the same data in the same order."""
    digest = hashlib.sha256(repr(split.images.shape).encode())
    for part in split_up(split.images):
        digest.update(np.ascontiguousarray(part).data)
    digest.update(np.ascontiguousarray(split.labels, dtype=np.int64).data)
    return digest.hexdigest()
