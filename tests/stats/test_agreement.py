import warnings

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import cohen_kappa_score, jaccard_score
from statsmodels.stats.inter_rater import cohens_kappa

from stress_lab.errors import PairingError
from stress_lab.records import Predictions, Scores
from stress_lab.stats.agreement import (
    churn,
    cohen_kappa,
    consistency_interval,
    error_consistency,
    jaccard,
    list_disagreements,
    outcomes,
    select_cases,
)
from stress_lab.stats.pairing import check_paired

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
    with pytest.raises(PairingError, match="different images"):
        check_paired(A, other)
    relabelled = Predictions(A.index, np.array([0, 0, 0, 0, 0, 0, 1, 1]), A.logits)
    with pytest.raises(PairingError, match="2 of 8 images have different labels"):
        check_paired(A, relabelled)


def test_scores_serve_like_predictions():
    a, b = (Scores(model.index, model.label, model.pred, model.confidence) for model in (A, B))
    assert list_disagreements(a, b, ("good", "bad")) == list_disagreements(A, B, ("good", "bad"))
    assert select_cases(a, b, 1) == select_cases(A, B, 1)


def test_hard_labels_have_no_confidence_and_go_by_index():
    a, b = (Scores(model.index, model.label, model.pred) for model in (A, B))
    assert {row["confidence_a"] for row in list_disagreements(a, b, ("good", "bad"))} == {None}
    assert select_cases(a, b, 1) == [("fixed", 1), ("broken", 3), ("both_wrong", 5)]


def draw_copies(copied, n=40_000, accuracy_a=0.9, accuracy_b=0.9, seed=0):
    """B copies A's outcome on a share of images and is right independently on the others."""
    rng = np.random.default_rng(seed)
    a = rng.random(n) < accuracy_a
    return a, np.where(rng.random(n) < copied, a, rng.random(n) < accuracy_b)


def test_consistency_is_cohens_kappa_of_being_right():
    for copied in (0.0, 0.3, 0.9):
        a, b = draw_copies(copied, n=500, accuracy_b=0.7)
        assert abs(error_consistency(a, b) - cohen_kappa_score(a, b)) < 1e-12


@pytest.mark.parametrize("copied", [0.0, 0.25, 0.6, 1.0])
def test_consistency_finds_the_share_of_copied_outcomes(copied):
    """With equal accuracies κ is the probability of copying."""
    assert abs(error_consistency(*draw_copies(copied)) - copied) < 0.02


def test_consistency_of_opposites_and_where_it_is_undefined():
    a = np.array([1, 0, 1, 0], bool)
    assert error_consistency(a, ~a) == -1
    assert error_consistency(np.ones(5, bool), np.ones(5, bool)) is None
    assert error_consistency(np.zeros(5, bool), np.zeros(5, bool)) is None
    assert error_consistency(np.ones(4, bool), a) == 0
    assert consistency_interval(np.ones(5, bool), np.ones(5, bool)) is None


def test_consistency_interval_equals_scipys_bootstrap_of_images():
    a, b = draw_copies(0.5, n=800)
    theirs = bootstrap(
        (a.astype(float), b.astype(float)),
        lambda x, y: cohen_kappa_score(x, y),
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=400,
        rng=np.random.default_rng(0),
    ).confidence_interval
    np.testing.assert_allclose(consistency_interval(a, b, resamples=20_000), [theirs.low, theirs.high], atol=0.03)


def test_consistency_interval_is_as_wide_as_the_asymptotic_one():
    a, b = draw_copies(0.5, n=3000)
    table = np.array([[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]])
    found = cohens_kappa(table)
    low, high = consistency_interval(a, b, resamples=20_000)
    np.testing.assert_allclose([low, high], [found.kappa_low, found.kappa_upp], atol=0.006)


def test_resamples_without_any_error_are_left_out():
    right = np.ones(30, bool)
    one_wrong = right.copy()
    one_wrong[0] = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert consistency_interval(one_wrong, one_wrong, resamples=500) == (1.0, 1.0)


def test_kappa_of_labels_is_another_number():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 5, 3000)
    a, b = (np.where(rng.random(3000) < 0.8, label, rng.integers(0, 5, 3000)) for _ in range(2))
    observed = np.mean(a == b)
    expected = sum(np.mean(a == k) * np.mean(b == k) for k in range(5))
    assert abs(cohen_kappa(a, b) - (observed - expected) / (1 - expected)) < 1e-12
    assert abs(cohen_kappa(a, b) - error_consistency(a == label, b == label)) > 0.1
    assert churn(a, b) == pytest.approx(1 - observed)
    assert cohen_kappa(np.ones(4, int), np.ones(4, int)) is None


def test_jaccard_equals_sklearn():
    rng = np.random.default_rng(2)
    a, b = rng.random((2, 200)) < 0.2
    assert jaccard(a, b) == jaccard_score(a, b)
    assert jaccard(np.zeros(3, bool), np.zeros(3, bool)) is None


def test_the_interval_of_several_runs_is_of_the_mean_over_all_pairs():
    """A plain bootstrap of images, every pair's kappa by scikit-learn, gives the same; it holds the mean itself."""
    rng = np.random.default_rng(3)
    hard = rng.random(400)
    a, b = rng.random((2, 400)) < hard, rng.random((3, 400)) < hard
    pairs = [(one, other) for one in a for other in b]
    mean = np.mean([error_consistency(one, other) for one, other in pairs])
    low, high = consistency_interval(a, b, resamples=4000)
    assert low < mean < high
    draws = [
        np.mean([cohen_kappa_score(one[rows], other[rows]) for one, other in pairs])
        for rows in rng.integers(0, 400, (300, 400))
    ]
    np.testing.assert_allclose([low, high], np.quantile(draws, [0.025, 0.975]), atol=0.02)
    first = consistency_interval(a[0], b[0], resamples=4000)
    assert high - low < first[1] - first[0]


def test_the_interval_holds_its_estimate_even_where_few_images_decide():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        a, b = rng.random((2, 30)) < 0.95, rng.random((2, 30)) < 0.95
        known = [one for one in (error_consistency(x, y) for x in a for y in b) if one is not None]
        found = consistency_interval(a, b, resamples=50)
        assert (found is None) == (not known)
        if found is not None:
            assert found[0] <= np.mean(known) <= found[1]
