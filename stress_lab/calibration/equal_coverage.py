"""Confident failures counted so that a change in confidence alone cannot win.

A regulariser that only flattens the softmax pushes wrong predictions below the threshold without making any of them
right. Counting the failures among equally many most confident predictions of both models ignores that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stress_lab.calibration.bins import require_confidence
from stress_lab.errors import ConfigError, PairingError, RunError
from stress_lab.records import BoolArray, FloatArray, Scores

CURVE_THRESHOLDS = (*(round(0.5 + 0.02 * step, 2) for step in range(25)), 0.99)
"""0.50, 0.52, …, 0.98 and 0.99."""


def count_confident(confidence: FloatArray, threshold: float) -> int:
    """Number of images with a confidence strictly above ``threshold``."""
    return int((confidence > float(threshold)).sum())  # a plain float compares at the confidences' precision


def matched_failures(confidence: FloatArray, correct: BoolArray, kept: int) -> BoolArray:
    """(N,) True where the prediction is wrong and among the ``kept`` most confident ones.

    Images with equal confidence come in one random order, the same for every model: files are often sorted by class,
    so position would favour one class.

    Args:
        confidence, correct: (N,) probability of the predicted class, and whether it is the label.
        kept: how many predictions are kept, 0 to N; usually those of another model above the threshold.

    Raises:
        RunError: the shapes differ, or a confidence is outside [0, 1].
        ConfigError: ``kept`` is not in 0 … N.
    """
    require_confidence(confidence, correct)
    if not 0 <= kept <= len(confidence):
        raise ConfigError(f"{kept} most confident of {len(confidence)} predictions cannot be kept: give 0 to N")
    among = np.zeros(len(confidence), dtype=bool)
    order = np.random.default_rng(0).permutation(len(confidence))
    among[np.lexsort((order, -confidence))[:kept]] = True
    return np.asarray(among & np.logical_not(correct))


def failure_curve(
    confidence: FloatArray, correct: BoolArray, thresholds: Sequence[float] = CURVE_THRESHOLDS
) -> list[int]:
    """Confident failures N(τ) at each threshold τ: wrong, with a confidence strictly above it.

    Raises:
        RunError: the shapes differ, or a confidence is outside [0, 1].
    """
    require_confidence(confidence, correct)
    wrong = confidence[np.logical_not(correct)]
    return [count_confident(wrong, threshold) for threshold in thresholds]


def _confidence(scores: Scores, which: str) -> FloatArray:
    """The confidences of a model, or a sentence that they are missing."""
    if scores.confidence is None:
        raise RunError(f"{which} has only hard labels: confident failures need its probabilities or logits")
    return scores.confidence


def split_change(scores_a: Scores, scores_b: Scores, threshold: float) -> dict[str, int]:
    """Split the change of confident failures from A to B into a part due to ranking and a part due to confidence alone.

    With k the predictions of A above the threshold, B's failures among its own k most confident predictions are the
    middle term: ΔN = (N_B^match − N_A) + (N_B − N_B^match). If B only has other confidences in the same order, the
    first part is 0; it counts fewer errors and better ranked ones. (Own definition.) Scaling the logits can reorder
    images where K > 2, so give calibrated scores of both as well: for them scaled logits give a change of 0.

    Args:
        scores_a, scores_b: both models on the same images in the same order, with confidences.
        threshold: strict lower bound of the confidence, a fraction.

    Returns:
        ``raw_a``, ``raw_b`` confident failures, ``change`` = raw_b − raw_a, ``matched_b``, ``by_ranking`` =
        matched_b − raw_a and ``by_confidence`` = raw_b − matched_b; the last two sum to ``change``.

    Raises:
        PairingError: the images are not the same. RunError: one has no confidences.
    """
    if not np.array_equal(scores_a.index, scores_b.index):
        raise PairingError("the two models were not scored on the same images in the same order: align them by index")
    confidence_a, confidence_b = _confidence(scores_a, "model A"), _confidence(scores_b, "model B")
    (raw_a,) = failure_curve(confidence_a, scores_a.correct, [threshold])
    (raw_b,) = failure_curve(confidence_b, scores_b.correct, [threshold])
    kept = count_confident(confidence_a, threshold)
    matched_b = int(matched_failures(confidence_b, scores_b.correct, kept).sum())
    return {
        "raw_a": raw_a,
        "raw_b": raw_b,
        "change": raw_b - raw_a,
        "matched_b": matched_b,
        "by_ranking": matched_b - raw_a,
        "by_confidence": raw_b - matched_b,
    }
