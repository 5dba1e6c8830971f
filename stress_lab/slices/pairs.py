"""Pairs of classes that are mistaken for one another, one way or both."""

from __future__ import annotations

import numpy as np

from stress_lab.records import BoolArray, IntArray
from stress_lab.slices.asked import MIN_EVENTS

BOTH_WAYS = 0.25  # share of one way's confusions that the other way needs before two classes count as look-alikes


def orient_pairs(confusion: IntArray) -> IntArray:
    """(p, 3) pairs of classes that are confused often enough to be tested: true class, predicted class, both ways.

    The third is 1 where each way has at least a quarter of the other's images, and both occur; the two are then in
    their own order. Otherwise it is 0, and only the direction with more images counts.

    Args:
        confusion: (K, K) events by true class (rows) and predicted class.

    >>> orient_pairs(np.array([[0, 9, 0], [3, 0, 1], [0, 8, 0]])).tolist()
    [[0, 1, 1], [2, 1, 0]]
    """
    a, b = np.nonzero(np.triu(confusion + confusion.T, 1) >= MIN_EVENTS)
    there, back = confusion[a, b], confusion[b, a]
    both = _both_ways(there, back)
    turned = ~both & (back > there)
    return np.stack([np.where(turned, b, a), np.where(turned, a, b), both.astype(np.int64)], axis=1)


def _both_ways(there: IntArray, back: IntArray) -> BoolArray:
    """Whether two classes are mistaken for each other, given the counts of either way."""
    less, more = np.minimum(there, back), np.maximum(there, back)
    return np.asarray((less > 0) & (less >= BOTH_WAYS * more))


def hold_both_ways(pairs: IntArray, confusion: IntArray) -> list[bool]:
    """Whether each pair (p, 3) is mistaken for each other in a confusion (K, K)."""
    a, b, _ = pairs.T
    return [bool(both) for both in _both_ways(confusion[a, b], confusion[b, a])]
