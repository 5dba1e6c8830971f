"""The numbers of one run on one split, each with its n and interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from stress_lab.calibration.bins import bin_confidence
from stress_lab.failures import count_failures
from stress_lab.records import Predictions
from stress_lab.stats.rates import wilson_interval


def evaluate_predictions(predictions: Predictions, classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """Accuracy, loss, calibration, confident failures, per-class figures and the confusion matrix.

    ``confusion`` counts images by true class (rows) and predicted class (columns). ``recall`` and ``precision`` are
    None where a class has no images or no predictions.
    """
    matrix = confusion_matrix(predictions.label, predictions.pred, labels=range(len(classes)))
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
        "per_class": [
            {
                "class": name,
                "n": int(matrix[k].sum()),
                "recall": float(matrix[k, k] / matrix[k].sum()) if matrix[k].sum() else None,
                "precision": float(matrix[k, k] / matrix[:, k].sum()) if matrix[:, k].sum() else None,
            }
            for k, name in enumerate(classes)
        ],
        "confusion": matrix.tolist(),
    }
