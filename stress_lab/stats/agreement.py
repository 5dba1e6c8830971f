"""Which images a fix mended and which it broke."""

from __future__ import annotations

from typing import Any

import numpy as np

from stress_lab.errors import PairingError
from stress_lab.records import BoolArray, IntArray, Predictions

OUTCOMES = ("both_right", "fixed", "broken", "both_wrong")


def check_paired(a: Predictions, b: Predictions) -> None:
    """Raise PairingError unless both hold the same images with the same labels, in the same order."""
    if not np.array_equal(a.index, b.index):
        raise PairingError(f"the two runs predicted other images ({len(a)} and {len(b)}): evaluate both on one split")
    if not np.array_equal(a.label, b.label):
        raise PairingError(
            f"{int((a.label != b.label).sum())} of {len(a)} images have other labels in the two runs: use one data set"
        )


def outcomes(correct_a: BoolArray, correct_b: BoolArray) -> IntArray:
    """(N,) number of each image's outcome in OUTCOMES: both right, fixed by B, broken by B, both wrong."""
    return np.where(correct_a, np.where(correct_b, 0, 2), np.where(correct_b, 1, 3))


def list_disagreements(a: Predictions, b: Predictions, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row for each image that exactly one model gets right, or that both get wrong as different classes."""
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
            "confidence_a": float(a.confidence[row]),
            "confidence_b": float(b.confidence[row]),
        }
        for row in rows
    ]


def select_cases(a: Predictions, b: Predictions, per_outcome: int) -> list[tuple[str, int]]:
    """Images worth seeing under both models, by a rule fixed beforehand.

    Of each outcome fixed, broken and both_wrong: the ``per_outcome`` images with the highest confidence of a wrong
    prediction (A's where B fixed it, B's where B broke it, the lower of the two where both are wrong); ties by index.

    Returns:
        ``(outcome, row)`` with row a position in the predictions.
    """
    outcome = outcomes(a.correct, b.correct)
    score = {1: a.confidence, 2: b.confidence, 3: np.minimum(a.confidence, b.confidence)}
    cases = []
    for number, confidence in score.items():
        rows = np.flatnonzero(outcome == number)
        order = np.lexsort((a.index[rows], -confidence[rows]))
        cases += [(OUTCOMES[number], int(row)) for row in rows[order][:per_outcome]]
    return cases
