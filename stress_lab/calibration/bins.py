"""Confidence bins: the reliability diagram and the expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stress_lab.records import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class ReliabilityBins:
    """Examples grouped by confidence into M bins of equal width, ((m-1)/M, m/M]; confidence 0 is in the first.

    Attributes:
        count: (M,) examples. ``right``: (M,) correct ones. ``confidence``: (M,) mean confidence, 0 in empty bins.
    """

    count: IntArray
    right: IntArray
    confidence: FloatArray

    @property
    def accuracy(self) -> FloatArray:
        """(M,) share of correct examples, 0 in empty bins."""
        return np.asarray(self.right / np.maximum(self.count, 1))

    @property
    def ece(self) -> float:
        """Expected calibration error Σ |B_m|/n |acc - conf| (Naeini 2015, Guo 2017); biased upwards for small n."""
        return float((self.count * np.abs(self.accuracy - self.confidence)).sum() / self.count.sum())


def bin_confidence(confidence: FloatArray, correct: BoolArray, bins: int = 15) -> ReliabilityBins:
    """Group ``confidence (N,)`` in [0, 1] and ``correct (N,)``."""
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.searchsorted(edges, confidence.astype(np.float64), side="left") - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    total = np.bincount(which, weights=confidence, minlength=bins)
    right = np.bincount(which, weights=correct, minlength=bins).astype(np.int64)
    return ReliabilityBins(count, right, total / np.maximum(count, 1))
