"""Confident learning (Northcutt, Jiang and Chuang 2021): which labels the predicted probabilities contradict.

The probabilities must be out of sample: those of test images, or of training images from nets that did not see them. A
net that saw a wrong label in training repeats it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stress_lab.errors import RunError
from stress_lab.records import BoolArray, FloatArray, IntArray

VALUES = 1 << 22  # probabilities that are looked at in one go
ROUNDING = 1e-6  # a mean of equal float32 probabilities may come out a little above each of them


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """How far the predictions support each of N labels, of K classes.

    Attributes:
        label: (N,) class numbers as given.
        suggestion: (N,) the class that the label may be instead; the label itself where it is not suspect.
        is_suspect: (N,) whether some class reaches its threshold, and the most probable one that does is another.
        self_confidence: (N,) probability of the label.
        normalized_margin: (N,) that minus the probability of the most probable other class, -1 to 1.
        thresholds: (K,) mean probability of a class over the images labelled so; infinite for a class without images.
        confident_joint: (K, K) images by label (row) and by the most probable class that reaches its threshold.
    """

    label: IntArray
    suggestion: IntArray
    is_suspect: BoolArray
    self_confidence: FloatArray
    normalized_margin: FloatArray
    thresholds: FloatArray
    confident_joint: IntArray

    @property
    def ranked(self) -> IntArray:
        """Rows of the suspects, the lowest normalised margin first, ties by row."""
        rows = np.flatnonzero(self.is_suspect)
        return np.asarray(rows[np.argsort(self.normalized_margin[rows], kind="stable")])

    @property
    def error_rate(self) -> float:
        """Estimated share of wrong labels: what lies off the diagonal of the estimated joint (section 3.1).

        It is the models' opinion, not a count of checked labels: classes that the models confuse raise it.
        """
        return float(1 - np.trace(estimate_joint(self.confident_joint, self.label)))

    def __len__(self) -> int:
        return len(self.label)


def find_label_issues(runs: Sequence[FloatArray], label: IntArray) -> LabelIssues:
    """Find the labels that the predictions contradict.

    A class reaches its threshold t_k in an image where p_k >= t_k, t_k being the mean of p_k over the images labelled
    k; so a class that the models are unsure of needs less (Northcutt et al. 2021, equations 1 and 2). It takes some
    millions of numbers at a time beside the arrays, which may be memory maps.

    Args:
        runs: (N, K) probabilities of each run, averaged here.
        label: (N,) class numbers in [0, K).

    Raises:
        RunError: the shapes differ, there is only one class, or a label is out of range.
    """
    k = _check(runs, label)
    totals, counts = np.zeros(k), np.bincount(label, minlength=k)
    for rows, probs in _average(runs):
        totals += np.bincount(label[rows], weights=_take(probs, label[rows]), minlength=k)
    thresholds = np.full(k, np.inf)
    np.divide(totals, counts, out=thresholds, where=counts > 0)
    n, joint = len(label), np.zeros((k, k), dtype=np.int64)
    suggestion, own, margin = label.astype(np.int64), np.empty(n, np.float32), np.empty(n, np.float32)
    for rows, probs in _average(runs):
        given = label[rows]
        own[rows] = _take(probs, given)
        margin[rows] = own[rows] - _rival(probs, given)
        best, reached = _most_probable(probs, thresholds)
        joint += np.bincount(given[reached] * k + best[reached], minlength=k * k).reshape(k, k)
        suggestion[rows] = np.where(reached, best, given)
    return LabelIssues(label, suggestion, suggestion != label, own, margin, thresholds, joint)


def estimate_joint(confident_joint: IntArray, label: IntArray) -> FloatArray:
    """(K, K) estimated shares of images by label (row) and true class (equation 3); the sum is 1.

    Each row of the confident joint is scaled to the images with that label; a row without counts is taken as right.
    """
    k = len(confident_joint)
    counts = np.bincount(label, minlength=k).astype(np.float64)
    rows = np.where(confident_joint.any(axis=1, keepdims=True), confident_joint, np.eye(k))
    return np.asarray(rows / rows.sum(axis=1, keepdims=True) * (counts / counts.sum())[:, None])


def _check(runs: Sequence[FloatArray], label: IntArray) -> int:
    """The number of classes; raises RunError where the arrays do not fit."""
    shapes = {run.shape for run in runs}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2 or next(iter(shapes))[0] != len(label) or not len(label):
        raise RunError(
            f"probabilities {', '.join(map(str, sorted(shapes))) or '(none)'} and labels {label.shape} do not match: "
            "give (N, K) for each run and (N,)"
        )
    k = next(iter(shapes))[1]
    if k < 2 or label.min() < 0 or label.max() >= k:
        raise RunError(f"labels run from {label.min()} to {label.max()}, but there are {k} columns: give one per class")
    return int(k)


def _average(runs: Sequence[FloatArray]) -> Iterator[tuple[slice, FloatArray]]:
    """Mean probabilities (B, K) over the runs, part by part."""
    n, k = runs[0].shape
    step = max(1, VALUES // k)
    for start in range(0, n, step):
        rows = slice(start, min(n, start + step))
        probs = np.array(runs[0][rows], dtype=np.float32)
        for run in runs[1:]:
            probs += run[rows]
        yield rows, probs / len(runs) if len(runs) > 1 else probs


def _take(probs: FloatArray, label: IntArray) -> FloatArray:
    """(B,) probability of each label."""
    return np.asarray(probs[np.arange(len(label)), label])


def _rival(probs: FloatArray, label: IntArray) -> FloatArray:
    """(B,) probability of the most probable class other than the label."""
    others = probs.copy()
    others[np.arange(len(label)), label] = -1
    return np.asarray(others.max(axis=1))


def _most_probable(probs: FloatArray, thresholds: FloatArray) -> tuple[IntArray, BoolArray]:
    """(B,) the most probable class that reaches its threshold, and whether any does."""
    reaching = np.where(probs >= thresholds - ROUNDING, probs, np.float32(-1))
    best = reaching.argmax(axis=1)
    return best, np.asarray(_take(reaching, best) >= 0)
