"""Temperature scaling: one number that calibrates a network's confidences without changing its decisions."""

from __future__ import annotations

import numpy as np

from stress_lab.errors import ConfigError, RunError
from stress_lab.records import FloatArray, IntArray, Predictions

TEMPERATURES = (0.05, 20.0)
"""The search range."""

_CHUNK = 2**22  # logits held in float64 at once


def _slope(scale: float, logits: FloatArray, label: IntArray) -> float:
    """Derivative of the summed NLL by the inverse temperature, Σ_i (E_p[z] - z_y), in float64."""
    rows, total = max(1, _CHUNK // logits.shape[1]), 0.0
    for start in range(0, len(logits), rows):
        z = logits[start : start + rows].astype(np.float64)
        z -= z.max(axis=1, keepdims=True)
        weight = np.exp(scale * z)
        mean = (weight * z).sum(axis=1) / weight.sum(axis=1)
        total += float((mean - z[np.arange(len(z)), label[start : start + rows]]).sum())
    return total


def fit_temperature(logits: FloatArray, label: IntArray) -> float:
    """Temperature T that minimises the negative log-likelihood of softmax(logits / T) (Guo et al. 2017, section 4.2).

    The log-likelihood is concave in 1/T, so the zero of its slope is the only optimum. Fit it on validation images:
    fitted on the images it is judged by, it looks better than it is.

    Args:
        logits: (N, K), finite.
        label: (N,) class numbers in [0, K).

    Returns:
        T in ``TEMPERATURES``. An end of the range means that the optimum is beyond it: the lower end where no image
        is wrong, the upper one where the logits do not predict the labels. T is 1 where no temperature makes a
        difference.

    Raises:
        RunError: the shapes differ, a label has no logit, or a logit is not finite.
    """
    if logits.ndim != 2 or not logits.size or label.shape != logits.shape[:1]:
        raise RunError(
            f"a temperature needs logits (N, K) and labels (N,) of the same images, got {logits.shape}, {label.shape}"
        )
    if label.min() < 0 or label.max() >= logits.shape[1] or not np.isfinite(logits).all():
        raise RunError(f"a temperature needs finite logits and labels in 0 … {logits.shape[1] - 1}: some are not")
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    at_low, at_high = _slope(low, logits, label), _slope(high, logits, label)
    if at_low >= 0 or at_high <= 0:
        return 1.0 if at_low >= 0 and at_high <= 0 else TEMPERATURES[int(at_low >= 0)]
    from scipy.optimize import brentq  # takes a second, so only when needed

    return 1 / float(brentq(_slope, low, high, args=(logits, label), xtol=1e-12))


def apply_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """The same predictions with logits divided by ``temperature``, so that the confidences are calibrated.

    The predicted classes stay, except where two probabilities are equal, or nearly, in float32. The
    order of images by confidence can change where K > 2, because it depends on all logits.

    Raises:
        ConfigError: ``temperature`` is not a finite number above zero.
    """
    if not 0 < temperature < np.inf:
        raise ConfigError(f"a temperature must be a finite number above zero, got {temperature}: 1 changes nothing")
    logits = np.asarray(predictions.logits / np.float32(temperature), dtype=np.float32)
    return Predictions(predictions.index, predictions.label, logits)
