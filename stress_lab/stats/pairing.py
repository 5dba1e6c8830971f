"""Two models predicted the same images in the same order: what every paired statistic requires."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from stress_lab.errors import PairingError
from stress_lab.records import BoolArray, FloatArray, IntArray


class Answers(Protocol):
    """What these functions read of a model, one entry per image; ``Predictions`` and ``Scores`` both qualify."""

    @property
    def index(self) -> IntArray:
        """(N,) position in the official split."""

    @property
    def label(self) -> IntArray:
        """(N,) true class."""

    @property
    def pred(self) -> IntArray:
        """(N,) predicted class."""

    @property
    def confidence(self) -> FloatArray | None:
        """(N,) probability of the predicted class; None where only hard labels are known."""

    @property
    def correct(self) -> BoolArray:
        """(N,) whether the prediction is right."""


def check_paired(a: Answers, b: Answers) -> None:
    """Raise PairingError unless both hold the same images with the same labels, in the same order."""
    if not np.array_equal(a.index, b.index):
        raise PairingError(
            f"the two runs predicted different images ({len(a.index)} and {len(b.index)}): evaluate both on one split"
        )
    if not np.array_equal(a.label, b.label):
        raise PairingError(
            f"{int((a.label != b.label).sum())} of {len(a.index)} images have different labels in the two runs: "
            "use one data set"
        )


def rows_of(index: IntArray, wanted: IntArray) -> IntArray:
    """(n,) position in ``index`` (N,) of each of the ``wanted`` images (n,), in any order.

    Raises:
        PairingError: one is missing.

    >>> rows_of(np.array([7, 2, 5]), np.array([5, 7])).tolist()
    [2, 0]
    """
    order = np.argsort(index, kind="stable")
    place = np.searchsorted(index, wanted, sorter=order)
    rows = order[np.minimum(place, len(index) - 1)]
    missing = np.asarray(index)[rows] != wanted
    if missing.any():
        raise PairingError(
            f"{int(missing.sum()):,} of {len(wanted):,} images are not among the {len(index):,} that were predicted "
            f"(first index {np.asarray(wanted)[missing][0]}): evaluate both on one split"
        )
    return np.asarray(rows)
