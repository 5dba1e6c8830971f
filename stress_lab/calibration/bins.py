"""Confidence bins: the reliability diagram, the expected calibration error, and what perfect calibration gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stress_lab.errors import ConfigError, RunError
from stress_lab.records import BoolArray, FloatArray, IntArray

_CHUNK = 2**22  # random numbers held at once


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
    def gap(self) -> FloatArray:
        """(M,) accuracy minus mean confidence, 0 in empty bins; below zero where the model is overconfident."""
        return np.asarray(self.accuracy - self.confidence)

    @property
    def ece(self) -> float:
        """Expected calibration error Σ |B_m|/n |acc - conf| (Naeini 2015, Guo 2017); biased upwards for small n."""
        return float((self.count * np.abs(self.gap)).sum() / self.count.sum())


def require_confidence(confidence: FloatArray, correct: BoolArray | None = None) -> None:
    """Refuse anything but one probability per image, for the same images as ``correct``.

    Raises:
        RunError: there are no images, the shapes differ, or a value is outside [0, 1].
    """
    if confidence.ndim != 1 or not len(confidence) or (correct is not None and correct.shape != confidence.shape):
        shapes = f"{confidence.shape}" if correct is None else f"{confidence.shape} and {correct.shape}"
        raise RunError(f"confidences must have one entry per image and at least one image, got {shapes}")
    outside = ~((confidence >= 0) & (confidence <= 1 + 1e-6))  # a softmax may round up; NaN is outside
    if outside.any():
        place = int(outside.argmax())
        raise RunError(
            f"confidence {confidence[place]} at position {place} is outside [0, 1]: give softmax probabilities, "
            "not logits or percentages"
        )


def bin_numbers(values: FloatArray, bins: int = 15) -> IntArray:
    """(N,) number of the bin ((m-1)/M, m/M] of each value in [0, 1], from 0; 0 is in the first and 1 in the last.

    Raises:
        ConfigError: there is less than one bin.
    """
    if bins < 1:
        raise ConfigError(f"calibration needs at least one bin, got {bins}: 15 is usual")
    edges = np.linspace(0, 1, bins + 1)
    return np.clip(np.searchsorted(edges, values.astype(np.float64), side="left") - 1, 0, bins - 1)


def bin_confidence(confidence: FloatArray, correct: BoolArray, bins: int = 15) -> ReliabilityBins:
    """Group ``confidence (N,)`` in [0, 1] and ``correct (N,)``.

    Raises:
        RunError: the shapes differ, or a confidence is outside [0, 1].
        ConfigError: there is less than one bin.
    """
    require_confidence(confidence, correct)
    which = bin_numbers(confidence, bins)
    count = np.bincount(which, minlength=bins)
    total = np.bincount(which, weights=confidence, minlength=bins)
    right = np.bincount(which, weights=correct, minlength=bins).astype(np.int64)
    return ReliabilityBins(count, right, total / np.maximum(count, 1))


def _calibrated_right(confidence: FloatArray, bins: int, resamples: int, seed: int) -> IntArray:
    """(B, M) correct images in each bin when each is right with probability equal to its confidence."""
    require_confidence(confidence)
    if resamples < 1:
        raise ConfigError(f"resampling needs at least one draw, got {resamples}: 1000 is usual")
    which = bin_numbers(confidence, bins)
    order = np.argsort(which, kind="stable")
    chances = confidence[order].astype(np.float32)
    filled, starts = np.unique(which[order], return_index=True)
    rng, right = np.random.default_rng(seed), np.zeros((resamples, bins), np.int64)
    rows = max(1, _CHUNK // len(chances))
    for first in range(0, resamples, rows):
        size = (min(rows, resamples - first), len(chances))
        draws = rng.random(size, dtype=np.float32) < chances
        right[first : first + rows, filled] = np.add.reduceat(draws, starts, axis=1, dtype=np.int64)
    return right


def consistency_band(
    confidence: FloatArray, bins: int = 15, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Range of each bin's accuracy if the confidences were perfectly calibrated; a bin outside it is not.

    Images and confidences stay, and each label is redrawn as right with probability equal to the confidence;
    Bröcker and Smith 2007 (Weather and Forecasting 22:651, section 3) draw the forecasts with replacement as well. Each
    bin has its own ``level``: of 15 bins of a perfect model about 0.75 lie outside by chance.

    Args:
        confidence: (N,) in [0, 1].
        bins, level: number of bins and probability of the range in each.
        resamples, seed: number of redraws of all labels, and their seed.

    Returns:
        Lower and upper ends, each (M,), fractions; 0 in empty bins, as in ``ReliabilityBins``.

    Raises:
        RunError: a confidence is outside [0, 1]. ConfigError: no bin or no draw is asked for.
    """
    right = _calibrated_right(confidence, bins, resamples, seed)
    accuracy = right / np.maximum(np.bincount(bin_numbers(confidence, bins), minlength=bins), 1)
    tails = [0.5 - level / 2, 0.5 + level / 2]
    low, high = np.quantile(accuracy, tails, axis=0, method="inverted_cdf")  # counts: never less than the level
    return low, high


def expected_ece(
    confidence: FloatArray, bins: int = 15, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Mean and ``level`` quantile of the ECE that a perfectly calibrated model with these confidences would show.

    The mean is the bias of the ECE at this n; an ECE above the quantile is more than chance. The draws are those of
    ``consistency_band`` (Bröcker and Smith 2007; Vaicenavicius et al. 2019 test calibration this way).

    Raises:
        RunError: a confidence is outside [0, 1]. ConfigError: no bin or no draw is asked for.
    """
    right = _calibrated_right(confidence, bins, resamples, seed)
    total = np.bincount(bin_numbers(confidence, bins), weights=confidence, minlength=bins)
    errors = np.abs(right - total).sum(axis=1) / len(confidence)
    return float(errors.mean()), float(np.quantile(errors, level))
