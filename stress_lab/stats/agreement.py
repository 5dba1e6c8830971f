"""Which images a change fixed or broke, and how similar two models' errors are."""

from __future__ import annotations

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
    """Percentile bootstrap interval of ``error_consistency`` over images (Klein et al. 2025, arXiv:2507.06645).

    κ depends only on the four cells, so one multinomial draw replaces resampling images. Resamples in which κ is
    undefined are left out; None where the observed κ is undefined.
    """
    table = tabulate(correct_a, correct_b)
    cells = np.array([table.both, table.only_a, table.only_b, table.neither])
    if np.isnan(consistency_of_cells(cells[None]))[0]:
        return None
    draws = consistency_of_cells(np.random.default_rng(seed).multinomial(table.n, cells / table.n, size=resamples))
    low, high = np.nanquantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def consistency_of_cells(cells: IntArray) -> FloatArray:
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
