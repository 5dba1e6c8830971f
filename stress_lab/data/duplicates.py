"""Test images that are also training images, pixel by pixel."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from stress_lab.records import IntArray


def find_duplicates(
    train: NDArray[np.uint8], train_label: IntArray, test: NDArray[np.uint8], test_label: IntArray
) -> dict[str, int]:
    """Count the test images whose pixels equal those of a training image.

    Near duplicates (Barz and Denzler 2020: 3.3 % of CIFAR-10's test images) are not found: they differ in some pixels.

    Args:
        train: ``(N, H, W, C)`` images.
        train_label: ``(N,)`` their labels.
        test: ``(M, H, W, C)`` images.
        test_label: ``(M,)`` their labels.

    Returns:
        ``n`` test images; ``in_train``: how many are training images too; ``other_label``: for how many of those no
        equal training image has the same label.
    """
    labels: dict[bytes, set[int]] = {}
    for key, label in zip(_digests(train), train_label.tolist(), strict=True):
        labels.setdefault(key, set()).add(label)
    seen = [
        label in labels[key] for key, label in zip(_digests(test), test_label.tolist(), strict=True) if key in labels
    ]
    return {"n": len(test), "in_train": len(seen), "other_label": len(seen) - sum(seen)}


def _digests(images: NDArray[np.uint8]) -> list[bytes]:
    """A digest of each image's pixels (some 3 µs each)."""
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in images]
