"""Scores per image, and metrics as means of contributions per image.

Each metric comes with a vector of N contributions. Their mean is the metric, and their variance over N its asymptotic
variance, so one resampling of images gives intervals of all metrics, of paired differences and of many runs. Resampling
contributions does not repeat the upward bias that ECE has in resampled data; ``bins.expected_ece`` estimates that bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stress_lab.calibration.bins import bin_numbers, require_confidence
from stress_lab.calibration.selective import augrc_contributions, aurc_contributions
from stress_lab.errors import ConfigError, RunError
from stress_lab.records import BoolArray, FloatArray, IntArray, Predictions, Scores


def score_predictions(predictions: Predictions) -> Scores:
    """Score each image: confidence (float32), NLL (natural logarithm, probability clipped at 1e-12), Brier, classwise.

    The Brier score is Σ_k (p_k − 1[y = k])², from 0 to 2 (Brier 1950); half of it is the two-class convention.
    """
    probs, label = predictions.probs, predictions.label
    true = probs[np.arange(len(label)), label].astype(np.float64)
    squares = np.einsum("nk,nk->n", probs, probs, dtype=np.float64)
    return Scores(
        index=predictions.index,
        label=label,
        pred=predictions.pred,
        confidence=predictions.confidence,
        nll=-np.log(np.maximum(true, 1e-12)),
        brier=np.maximum(squares - 2 * true + 1, 0),
        classwise=classwise_contributions(probs, label),
    )


class ClasswiseBins:
    """Gaps between frequency and probability for each class and bin, gathered part by part.

    First ``add`` every part of a file, then ask for the ``contributions`` of each, so a file need not fit in memory.

    Attributes:
        gap: (K, M) sum of 1[y = k] − p_k over the images whose p_k is in the bin ((m−1)/M, m/M]; 0 is in the first.
    """

    def __init__(self, classes: int, bins: int = 15) -> None:
        self.gap = np.zeros((classes, bins))

    def _residuals(self, probs: FloatArray, label: IntArray) -> Iterator[tuple[int, IntArray, FloatArray]]:
        """For each class k: bin of p_k and 1[y = k] − p_k, each (N,)."""
        classes, bins = self.gap.shape
        if probs.ndim != 2 or probs.shape[1] != classes or label.shape != probs.shape[:1]:
            raise RunError(
                f"probabilities {probs.shape} and labels {label.shape} do not match: give (N, {classes}) and (N,)"
            )
        for k in range(classes):
            column = probs[:, k].astype(np.float64)  # (N,): one class at a time is held in float64
            yield k, bin_numbers(column, bins), (label == k) - column

    def add(self, probs: FloatArray, label: IntArray) -> None:
        """Gather ``probs (N, K)`` and ``label (N,)``; raises RunError where they do not match."""
        for k, which, residual in self._residuals(probs, label):
            self.gap[k] += np.bincount(which, weights=residual, minlength=self.gap.shape[1])

    def contributions(self, probs: FloatArray, label: IntArray) -> FloatArray:
        """(N,) Σ_k sign(gap in the bin of p_k) (1[y = k] − p_k) / K; the mean over everything added is the error."""
        total, sign = np.zeros(len(label)), np.sign(self.gap)
        for k, which, residual in self._residuals(probs, label):
            total += sign[k, which] * residual
        return total / len(self.gap)


def classwise_contributions(probs: FloatArray, label: IntArray, bins: int = 15) -> FloatArray:
    """(N,) values whose mean is the classwise calibration error (Kull et al. 2019, section 2).

    (1/K) Σ_k Σ_m |B_mk|/n |freq_k − mean p_k|, with the bins of ``bins.py`` for each class's probability.

    Args:
        probs: (N, K) in [0, 1].
        label: (N,) class numbers in [0, K).

    Raises:
        RunError: the shapes differ. ConfigError: there is less than one bin.
    """
    gathered = ClasswiseBins(probs.shape[-1], bins)
    gathered.add(probs, label)
    return gathered.contributions(probs, label)


def _signed_residuals(group: IntArray, residual: FloatArray) -> FloatArray:
    """(N,) residuals times the sign of their group's sum: the mean is Σ_g |sum| / n."""
    return np.asarray(np.sign(np.bincount(group, weights=residual))[group] * residual)


def ece_contributions(confidence: FloatArray, correct: BoolArray, bins: int = 15) -> FloatArray:
    """(N,) values whose mean is the ECE of ``bins.py``: sign(acc − conf of the bin) · (correct − confidence).

    Raises:
        RunError: the shapes differ, or a confidence is outside [0, 1]. ConfigError: no bin is asked for.
    """
    require_confidence(confidence, correct)
    return _signed_residuals(bin_numbers(confidence, bins), correct - confidence.astype(np.float64))


def adaptive_contributions(confidence: FloatArray, correct: BoolArray, bins: int = 15) -> FloatArray:
    """(N,) values whose mean is the adaptive top-label ECE: bins of equal size (they differ by at most one image).

    This is not the ACE of Nixon et al. 2019, which goes over all classes. Images of equal confidence may fall into two
    neighbouring bins; the earlier position goes to the lower one. The estimation error of the bin borders is
    neglected.

    Raises:
        RunError: the shapes differ, or a confidence is outside [0, 1]. ConfigError: no bin is asked for.
    """
    require_confidence(confidence, correct)
    if bins < 1:
        raise ConfigError(f"calibration needs at least one bin, got {bins}: 15 is usual")
    group = np.empty(len(confidence), dtype=np.int64)
    group[np.argsort(confidence, kind="stable")] = np.arange(len(confidence)) * bins // len(confidence)
    return _signed_residuals(group, correct - confidence.astype(np.float64))


@dataclass(frozen=True)
class Metric:
    """A number about a model that is the mean of one contribution per image.

    Attributes:
        name: key in files and on the command line. ``title``: for people.
        better: whether ``higher`` or ``lower`` is better.
        needs: fields of ``Scores`` that must not be None.
        unit: of the value; ``fraction`` becomes percent for readers.
        contributions: from scores to (N,) float64.
        definition: one sentence, with the source.
    """

    name: str
    title: str
    better: Literal["higher", "lower"]
    needs: tuple[str, ...]
    unit: str
    contributions: Callable[[Scores], FloatArray]
    definition: str


def _field(name: str) -> Callable[[Scores], FloatArray]:
    """Contributions that are a field of the scores."""
    return lambda scores: np.asarray(getattr(scores, name), dtype=np.float64)


def _of_confidence(contributions: Callable[[FloatArray, BoolArray], FloatArray]) -> Callable[[Scores], FloatArray]:
    """Contributions computed from confidence and correctness."""
    return lambda scores: contributions(np.asarray(scores.confidence), scores.correct)


_ALL = (
    Metric(
        "accuracy",
        "Accuracy",
        "higher",
        (),
        "fraction",
        _field("correct"),
        "Share of images whose prediction is the label.",
    ),
    Metric(
        "nll",
        "Negative log-likelihood",
        "lower",
        ("nll",),
        "nats",
        _field("nll"),
        "Mean of −ln p of the true class, with p clipped at 1e-12 (Good 1952).",
    ),
    Metric(
        "brier",
        "Brier score",
        "lower",
        ("brier",),
        "0 to 2",
        _field("brier"),
        "Mean squared distance of the probabilities from the one-hot label, 0 to 2 (Brier 1950).",
    ),
    Metric(
        "ece",
        "ECE",
        "lower",
        ("confidence",),
        "fraction",
        _of_confidence(ece_contributions),
        "Mean gap between confidence and accuracy in 15 bins of equal width (Naeini et al. 2015, Guo et al. 2017).",
    ),
    Metric(
        "adaptive_ece",
        "Adaptive ECE",
        "lower",
        ("confidence",),
        "fraction",
        _of_confidence(adaptive_contributions),
        "Mean gap between confidence and accuracy in 15 bins of equally many images (top-label; Nixon et al. 2019).",
    ),
    Metric(
        "classwise_ece",
        "Classwise ECE",
        "lower",
        ("classwise",),
        "fraction",
        _field("classwise"),
        "Mean gap between probability and frequency in 15 bins of each class's probability (Kull et al. 2019). "
        "Biased upwards for few images: compare it between variants, not with zero.",
    ),
    Metric(
        "aurc",
        "AURC",
        "lower",
        ("confidence",),
        "fraction",
        _of_confidence(aurc_contributions),
        "Mean error rate among the k most confident predictions, over all k (Geifman and El-Yaniv 2017).",
    ),
    Metric(
        "augrc",
        "AUGRC",
        "lower",
        ("confidence",),
        "fraction",
        _of_confidence(augrc_contributions),
        "Mean share of images that are kept and wrong, over all coverages (Traub et al. 2024).",
    ),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric that is a mean over images, in the order of a table."""


def metric_contributions(scores: Scores, names: Sequence[str] | None = None) -> dict[str, FloatArray]:
    """Contributions (N,) of each metric; metrics whose fields are None are left out.

    Args:
        scores: of one model.
        names: metrics to return, in this order; None returns all.

    Raises:
        ConfigError: a name is not a metric.
    """
    unknown = [name for name in names or () if name not in METRICS]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)} is not a metric: choose from {', '.join(METRICS)}")
    chosen = [METRICS[name] for name in (METRICS if names is None else names)]
    return {
        metric.name: metric.contributions(scores)
        for metric in chosen
        if all(getattr(scores, needed) is not None for needed in metric.needs)
    }
