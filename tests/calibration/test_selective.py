import itertools

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

from stress_lab.calibration.selective import (
    augrc_contributions,
    aurc,
    aurc_contributions,
    coverage_at_risk,
    excess_aurc,
    optimal_aurc,
    risk_at_coverage,
    risk_coverage,
)
from stress_lab.errors import ConfigError, RunError
from tests.references import augrc_by_trapezoid

METRICS = [(aurc, aurc_contributions), (augrc_by_trapezoid, augrc_contributions)]


def sample(n, rng, tied):
    """Confidences of a net that is too sure; ``tied`` rounds them and puts four of ten at 1."""
    confidence = 1 - 0.9 * rng.beta(0.6, 3, n)
    if tied:
        confidence = np.where(rng.random(n) < 0.4, 1.0, confidence.round(2))
    return confidence.astype(np.float32), rng.random(n) < 0.98 * confidence**2


def risks_by_loop(correct_in_order):
    """Selective risk of the first k, one after the other."""
    errors, risks = 0, []
    for k, right in enumerate(correct_in_order, start=1):
        errors += not right
        risks.append(errors / k)
    return risks


def test_curve_equals_the_loop():
    confidence, correct = sample(500, np.random.default_rng(0), tied=False)
    coverage, risk = risk_coverage(confidence, correct)
    np.testing.assert_allclose(risk, risks_by_loop(correct[np.argsort(-confidence)]), rtol=1e-12)
    np.testing.assert_allclose(coverage, np.arange(1, 501) / 500)
    assert abs(aurc(confidence, correct) - np.mean(risks_by_loop(correct[np.argsort(-confidence)]))) < 1e-12


def test_ties_are_the_mean_over_all_orders():
    confidence = np.array([0.9, 0.5, 0.7, 0.5, 0.7, 0.7, 0.2])
    correct = np.array([0, 1, 1, 0, 0, 1, 1], bool)
    orders = [
        order for order in itertools.permutations(range(7)) if all(np.diff(confidence[list(order)]) <= 0)
    ]  # 3! 2! of them
    assert len(orders) == 12
    expected = np.mean([risks_by_loop(correct[list(order)]) for order in orders], axis=0)
    np.testing.assert_allclose(risk_coverage(confidence, correct)[1], expected, rtol=1e-12)
    assert abs(aurc(confidence, correct) - expected.mean()) < 1e-12


@pytest.mark.parametrize("tied", [False, True])
def test_augrc_equals_the_trapezoid_and_its_relation_to_auroc(tied):
    confidence, correct = sample(400, np.random.default_rng(1), tied)
    augrc = augrc_contributions(confidence, correct).mean()
    error = 1 - correct.mean()
    by_auroc = error * (1 - error) * (1 - roc_auc_score(correct, confidence)) + error**2 / 2
    assert abs(augrc - augrc_by_trapezoid(confidence, correct)) < 1e-12
    assert abs(augrc - by_auroc) < 1e-12


def test_rankings_without_information():
    correct = np.arange(200) % 5 != 0
    constant = np.full(200, 0.8)
    assert abs(aurc(constant, correct) - 0.2) < 1e-12
    assert abs(augrc_contributions(constant, correct).mean() - 0.1) < 1e-12


def test_a_perfect_ranking_reaches_the_optimum():
    correct = np.arange(1000) < 870
    confidence = np.linspace(1, 0.1, 1000)
    assert abs(excess_aurc(confidence, correct)) < 1e-12
    assert abs(aurc(confidence, correct) - optimal_aurc(130, 1000)) < 1e-12
    assert abs(optimal_aurc(130, 1000) - (0.13 + 0.87 * np.log(0.87))) < 0.001
    assert excess_aurc(confidence[::-1], correct) > 0.3
    assert optimal_aurc(0, 10) == 0


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("metric", "contributions"), [(aurc, aurc_contributions), (augrc_by_trapezoid, augrc_contributions)]
)
def test_contributions_carry_the_value_and_its_standard_error(metric, contributions, tied):
    n = 400
    confidence, correct = sample(n, np.random.default_rng(2), tied)
    values = contributions(confidence, correct)
    error = values.std(ddof=1) / np.sqrt(n)
    assert abs(values.mean() - metric(confidence, correct)) < 1e-12
    left_out = [metric(np.delete(confidence, i), np.delete(correct, i)) for i in range(n)]
    assert abs(np.std(left_out) * np.sqrt(n - 1) / error - 1) < 0.02  # jackknife
    drawn = bootstrap(
        (confidence, correct),
        metric,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(3),
    )
    assert abs(drawn.standard_error / error - 1) < 0.1


@pytest.mark.parametrize(
    ("metric", "contributions"), [(aurc, aurc_contributions), (augrc_by_trapezoid, augrc_contributions)]
)
def test_intervals_from_contributions_cover_the_truth(metric, contributions):
    rng, covered = np.random.default_rng(4), 0
    truth = metric(*sample(400_000, rng, tied=True))
    for _ in range(400):
        values = contributions(*sample(800, rng, tied=True))
        covered += abs(values.mean() - truth) < 1.96 * values.std(ddof=1) / np.sqrt(800)
    assert 0.905 < covered / 400 < 0.98  # binomial 99.9 % band around 0.95


def test_nothing_depends_on_the_order_of_the_file():
    rng = np.random.default_rng(5)
    confidence, correct = sample(300, rng, tied=True)
    order = rng.permutation(300)
    for contributions in (aurc_contributions, augrc_contributions):
        np.testing.assert_allclose(
            contributions(confidence, correct)[order], contributions(confidence[order], correct[order]), atol=1e-12
        )


def test_two_operating_points_by_hand():
    confidence = np.linspace(0.99, 0.6, 40)
    correct = np.ones(40, bool)
    correct[[10, 30, 32]] = False  # risk: 1/11 at 11, 1/20 at 20, 2/31 at 31, 3/33 at 33
    assert coverage_at_risk(confidence, correct, 0.05) == 30 / 40
    assert coverage_at_risk(confidence, correct, 0.07) == 32 / 40
    assert coverage_at_risk(confidence, ~correct, 0.05) == 0
    assert risk_at_coverage(confidence, correct, 0.8) == 2 / 32
    assert risk_at_coverage(confidence, correct, 0.801) == 3 / 33
    assert risk_at_coverage(confidence, correct, 1) == 3 / 40
    last_wrong = np.arange(20) < 19
    assert coverage_at_risk(np.linspace(0.9, 0.5, 20), last_wrong, 0.05) == 1  # a risk of 1/20 is allowed
    assert risk_at_coverage(np.linspace(0.9, 0.5, 100), np.arange(100) != 54, 0.55) == 1 / 55  # 0.55 · 100 > 55


def test_bad_input_is_refused():
    with pytest.raises(RunError, match="one entry per image"):
        aurc(np.ones(3), np.ones(4, bool))
    with pytest.raises(ConfigError, match="coverage"):
        risk_at_coverage(np.ones(3), np.ones(3, bool), 80)
    with pytest.raises(ConfigError, match="4 errors among 3"):
        optimal_aurc(4, 3)
