"""Confident failures: the images a model gets wrong with high confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from stress_lab.records import BoolArray, Failure, FloatArray
from stress_lab.stats.pairing import Answers


class Sure(Answers, Protocol):
    """Answers whose confidences are known; ``Predictions`` qualifies."""

    @property
    def confidence(self) -> FloatArray:
        """(N,) probability of the predicted class."""

    @property
    def probs(self) -> FloatArray:
        """(N, K) probabilities."""

    def __len__(self) -> int: ...


def is_confident_failure(predictions: Sure, threshold: float) -> BoolArray:
    """(N,) True where the prediction is wrong and its confidence is strictly above ``threshold`` (a fraction)."""
    return np.asarray(~predictions.correct & (predictions.confidence > threshold))


def mine_failures(
    predictions: Sure,
    threshold: float,
    classes: Sequence[str],
    files: Sequence[str] | None = None,
    limit: int | None = None,
) -> list[Failure]:
    """List the confident failures, the most confident first.

    Ties in confidence are broken by index, so that the list is the same on every run.

    Args:
        predictions: N images of one split.
        threshold: strict lower bound of the confidence, a fraction in [0, 1].
        classes: K names.
        files: path of each image by index, if images have files.
        limit: keep at most this many; None keeps all.
    """
    rows = np.flatnonzero(is_confident_failure(predictions, threshold))
    order = np.lexsort((predictions.index[rows], -predictions.confidence[rows]))
    return [
        Failure(
            rank=rank,
            index=int(predictions.index[row]),
            label=int(predictions.label[row]),
            pred=int(predictions.pred[row]),
            label_name=classes[predictions.label[row]],
            pred_name=classes[predictions.pred[row]],
            confidence=float(predictions.confidence[row]),
            true_confidence=float(predictions.probs[row, predictions.label[row]]),
            file=files[predictions.index[row]] if files else "",
        )
        for rank, row in enumerate(rows[order][:limit], start=1)
    ]


def count_failures(predictions: Sure, threshold: float) -> dict[str, float]:
    """The counts and rates that belong together, so that none is read in isolation.

    Returns:
        ``n`` images, ``errors``, ``count`` of confident failures N(τ), ``rate`` N(τ)/n, ``share_of_errors``
        N(τ)/errors (0 without errors), and ``selective_risk`` N(τ)/#{confidence > τ} (0 where nothing is above).
    """
    count = int(is_confident_failure(predictions, threshold).sum())
    errors = int((~predictions.correct).sum())
    above = int((predictions.confidence > threshold).sum())
    return {
        "threshold": threshold,
        "n": len(predictions),
        "errors": errors,
        "count": count,
        "rate": count / len(predictions),
        "share_of_errors": count / errors if errors else 0.0,
        "selective_risk": count / above if above else 0.0,
    }
