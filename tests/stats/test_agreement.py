import numpy as np
import pytest

from stress_lab.errors import PairingError
from stress_lab.records import Predictions
from stress_lab.stats.agreement import check_paired, list_disagreements, outcomes, select_cases

LABEL = np.zeros(8, int)


def model(preds, confidence):
    """Two classes; class 1 is wrong."""
    probs = np.array([[c, 1 - c] if p == 0 else [1 - c, c] for p, c in zip(preds, confidence, strict=True)])
    return Predictions(np.arange(10, 18), LABEL, np.log(probs).astype(np.float32))


A = model([0, 1, 1, 0, 0, 1, 1, 0], [0.9, 0.8, 0.95, 0.7, 0.6, 0.9, 0.7, 0.9])
B = model([0, 0, 0, 1, 1, 1, 1, 0], [0.9, 0.8, 0.60, 0.7, 0.9, 0.6, 0.8, 0.8])


def test_outcomes_by_hand():
    assert outcomes(A.correct, B.correct).tolist() == [0, 1, 1, 2, 2, 3, 3, 0]


def test_disagreements_list_fixed_and_broken():
    rows = list_disagreements(A, B, ("good", "bad"))
    assert [(row["index"], row["outcome"]) for row in rows] == [
        (11, "fixed"),
        (12, "fixed"),
        (13, "broken"),
        (14, "broken"),
    ]
    assert rows[0]["pred_a"] == "bad"
    assert rows[0]["pred_b"] == "good"


def test_cases_are_the_most_confident_of_each_outcome():
    assert select_cases(A, B, 1) == [("fixed", 2), ("broken", 4), ("both_wrong", 6)]
    assert len(select_cases(A, B, 5)) == 6


def test_other_images_or_labels_are_refused():
    other = Predictions(np.arange(8), LABEL, A.logits)
    with pytest.raises(PairingError, match="other images"):
        check_paired(A, other)
    relabelled = Predictions(A.index, np.array([0, 0, 0, 0, 0, 0, 1, 1]), A.logits)
    with pytest.raises(PairingError, match="2 of 8 images have other labels"):
        check_paired(A, relabelled)
