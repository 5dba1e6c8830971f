"""Which images a change fixed or broke, and how similar two models' errors are."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from stress_lab.records import BoolArray, FloatArray, IntArray
from stress_lab.stats.paired import tabulate
from stress_lab.stats.pairing import Answers, check_paired

OUTCOMES = ("both_right", "fixed", "broken", "both_wrong")


def outcomes(correct_a: BoolArray, correct_b: BoolArray) -> IntArray:
    """(N,) number of each image's outcome in OUTCOMES: both right, fixed by B, broken by B, both wrong."""
    return np.where(correct_a, np.where(correct_b, 0, 2), np.where(correct_b, 1, 3))


def list_disagreements(a: Answers, b: Answers, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row for each image that exactly one model gets right, or that both mistake for different classes.

    An unknown confidence is None.
    """
    check_paired(a, b)
    outcome = outcomes(a.correct, b.correct)
    rows = np.flatnonzero((a.correct != b.correct) | (a.pred != b.pred))
    return [
        {
            "index": int(a.index[row]),
            "outcome": OUTCOMES[outcome[row]],
            "label": classes[a.label[row]],
            "pred_a": classes[a.pred[row]],
            "pred_b": classes[b.pred[row]],
            "confidence_a": None if a.confidence is None else float(a.confidence[row]),
            "confidence_b": None if b.confidence is None else float(b.confidence[row]),
        }
        for row in rows
    ]


def select_cases(a: Answers, b: Answers, per_outcome: int) -> list[tuple[str, int]]:
    """Images worth seeing under both models, chosen by a fixed rule.

    For each outcome fixed, broken and both_wrong: the ``per_outcome`` images with the highest confidence of a wrong
    prediction (A's where B fixed it, B's where B broke it, the lower of the two where both are wrong); ties by index,
    and by index alone where confidences are unknown.

    Returns:
        ``(outcome, row)`` with row a position in the predictions.

    Raises:
        PairingError: the two do not hold the same images in the same order.
    """
    check_paired(a, b)
    outcome = outcomes(a.correct, b.correct)
    unknown = np.zeros(len(a.index))
    of_a = unknown if a.confidence is None else a.confidence
    of_b = unknown if b.confidence is None else b.confidence
    score = {1: of_a, 2: of_b, 3: np.minimum(of_a, of_b)}
    cases = []
    for number, confidence in score.items():
        rows = np.flatnonzero(outcome == number)
        order = np.lexsort((a.index[rows], -confidence[rows]))
        cases += [(OUTCOMES[number], int(row)) for row in rows[order][:per_outcome]]
    return cases


def error_consistency(correct_a: BoolArray, correct_b: BoolArray) -> float | None:
    """Error consistency κ: agreement on which images are right, beyond that of independent models equally accurate.

    ``κ = (c_obs - c_exp) / (1 - c_exp)`` with ``c_exp = p_A p_B + (1 - p_A)(1 - p_B)`` (Geirhos, Meding and Wichmann
    2020, arXiv:2006.16736, section 2); Cohen's κ of the two indicators. 1 when they fail on the same images, 0 when
    independently. Its attainable range depends on the accuracies. None where both are always right or always wrong.

    Args:
        correct_a, correct_b: (N,) in the same order.

    >>> round(error_consistency(np.array([1, 1, 1, 0, 0, 1], bool), np.array([1, 1, 1, 0, 1, 0], bool)), 6)
    0.25
    """
    table = tabulate(correct_a, correct_b)
    kappa = float(consistency_of_cells(np.array([[table.both, table.only_a, table.only_b, table.neither]]))[0])
    return None if np.isnan(kappa) else kappa


def consistency_interval(
    correct_a: BoolArray, correct_b: BoolArray, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean ``error_consistency`` of all pairs of runs, over images.

    The images are resampled, the same ones for every pair (Klein et al. 2025, arXiv:2507.06645). κ depends only on how
    many images each set of runs gets right, so one multinomial draw of these counts replaces resampling images.
    Resamples and pairs in which κ is undefined are left out. The runs stay as they are: other seeds are not covered.

    Args:
        correct_a, correct_b: (N,), or (k_A, N) and (k_B, N) for several runs.

    Returns:
        The interval, which holds the mean itself; None where κ is undefined in every pair.
    """
    right = np.concatenate([np.atleast_2d(correct_a), np.atleast_2d(correct_b)])
    k_a, n = len(np.atleast_2d(correct_a)), right.shape[1]
    patterns, counts = np.unique(right.T, axis=0, return_counts=True)  # (P, k_A + k_B), (P,)
    observed = _mean_kappa(patterns, counts[None], k_a)[0]
    if np.isnan(observed):
        return None
    rng, sizes = np.random.default_rng(seed), [len(part) for part in np.array_split(np.arange(resamples), 8)]
    draws = [_mean_kappa(patterns, rng.multinomial(n, counts / n, size=size), k_a) for size in sizes]  # memory
    low, high = np.nanquantile(np.concatenate(draws), [0.5 - level / 2, 0.5 + level / 2])
    return float(min(low, observed)), float(max(high, observed))


def _mean_kappa(patterns: BoolArray, counts: IntArray, k_a: int) -> FloatArray:
    """(R,) mean κ over the pairs, from the images (R, P) with each pattern of right answers; nan if never defined."""
    images, k = counts.astype(np.float64), patterns.shape[1]
    n, right = images.sum(axis=1), images @ patterns
    total, known = np.zeros(len(images)), np.zeros(len(images))
    for a, b in itertools.product(range(k_a), range(k_a, k)):
        both = images @ (patterns[:, a] & patterns[:, b])
        only_a, only_b = right[:, a] - both, right[:, b] - both
        kappa = consistency_of_cells(np.stack([both, only_a, only_b, n - both - only_a - only_b], axis=1))
        total += np.nan_to_num(kappa)
        known += ~np.isnan(kappa)
    return np.asarray(np.where(known > 0, total / np.maximum(known, 1), np.nan))


def consistency_of_cells(cells: IntArray | FloatArray) -> FloatArray:
    """κ of each row of counts (R, 4): both, only A, only B, neither; nan where chance alone gives full agreement."""
    both, only_a, only_b, neither = cells.T / cells.sum(axis=1)
    right_a, right_b = both + only_a, both + only_b
    expected = right_a * right_b + (neither + only_b) * (neither + only_a)
    certain = np.isclose(expected, 1, rtol=0, atol=1e-12)
    return np.asarray(np.where(certain, np.nan, (both + neither - expected) / np.where(certain, 1, 1 - expected)))


def cohen_kappa(pred_a: IntArray, pred_b: IntArray) -> float | None:
    """Cohen's κ of two models' predicted classes, by scikit-learn; chance comes from each one's class frequencies.

    It differs from ``error_consistency``, which asks who is right. None where both always predict the same class.

    Args:
        pred_a, pred_b: (N,) class numbers, in the same order.
    """
    if len(np.union1d(pred_a, pred_b)) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score  # takes seconds; only needed here

    return float(cohen_kappa_score(pred_a, pred_b))


def churn(pred_a: IntArray, pred_b: IntArray) -> float:
    """Share of images whose predicted class changes, right or wrong (Milani Fard et al. 2016, NeurIPS).

    >>> churn(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 0]))
    0.5
    """
    return float((pred_a != pred_b).mean())


def jaccard(event_a: BoolArray, event_b: BoolArray) -> float | None:
    """Images where both models have the event over images where at least one has; None where none has.

    >>> jaccard(np.array([1, 1, 0], bool), np.array([1, 0, 0], bool))
    0.5
    """
    either = int((event_a | event_b).sum())
    return int((event_a & event_b).sum()) / either if either else None
