"""The numbers of one run on one split, each with its n and interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stress_lab.calibration.bins import bin_confidence
from stress_lab.failures import count_failures
from stress_lab.records import IntArray, Predictions
from stress_lab.stats.rates import wilson_interval


def evaluate_predictions(predictions: Predictions, classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """Accuracy, loss, calibration, confident failures, per-class figures and the confusion matrix.

    ``confusion`` counts images by true class (rows) and predicted class (columns). ``recall`` and ``precision`` are
    None where a class has no images or no predictions.
    """
    matrix = count_confusions(predictions.label, predictions.pred, len(classes))
    right, n = int(predictions.correct.sum()), len(predictions)
    log_probs = np.log(np.clip(predictions.probs[np.arange(n), predictions.label].astype(np.float64), 1e-12, None))
    return {
        "n": n,
        "accuracy": right / n,
        "accuracy_interval": wilson_interval(right, n),
        "errors": n - right,
        "nll": float(-log_probs.mean()),
        "ece": bin_confidence(predictions.confidence, predictions.correct).ece,
        "confident_failures": count_failures(predictions, threshold),
        "per_class": describe_classes(matrix, classes),
        "confusion": matrix.tolist(),
    }


def count_confusions(label: IntArray, pred: IntArray, classes: int) -> IntArray:
    """(K, K) images by true class (rows) and predicted class (columns).

    >>> count_confusions(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    return np.bincount(label * classes + pred, minlength=classes**2).reshape(classes, classes)


def describe_classes(matrix: IntArray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Images, recall and precision of each class; None where a class has no images or no predictions."""
    images, named, right = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    return [
        {
            "class": name,
            "n": int(images[k]),
            "recall": float(right[k] / images[k]) if images[k] else None,
            "precision": float(right[k] / named[k]) if named[k] else None,
        }
        for k, name in enumerate(classes)
    ]
