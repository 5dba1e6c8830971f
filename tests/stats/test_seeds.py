import itertools

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, permutation_test
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from stress_lab.stats import seeds
from stress_lab.stats.seeds import (
    outperformance,
    permutation_p,
    seeds_needed,
    seeds_to_reach,
    smallest_p,
    welch_interval,
)

RNG = np.random.default_rng(0)


def slow_permutation_p(a, b):
    """All relabelings, with counts of right images as whole numbers, so that ties are exact."""
    pooled, hits, total = [*a, *b], 0, 0
    observed = abs(sum(b) * len(a) - sum(a) * len(b))
    for chosen in itertools.combinations(range(len(pooled)), len(a)):
        of_a = sum(pooled[i] for i in chosen)
        hits += abs((sum(pooled) - of_a) * len(a) - of_a * len(b)) >= observed
        total += 1
    return hits / total


@pytest.mark.parametrize(("k_a", "k_b"), [(1, 1), (1, 4), (2, 2), (3, 3), (2, 5), (5, 5), (6, 4)])
def test_permutation_equals_a_plain_loop_ties_included(k_a, k_b):
    for _ in range(10):
        a, b = RNG.integers(9395, 9400, k_a).tolist(), RNG.integers(9396, 9402, k_b).tolist()
        ours = permutation_p(np.array(a) / 10_000, np.array(b) / 10_000)  # fractions whose sums are not exact
        assert abs(ours - slow_permutation_p(a, b)) < 1e-12


def test_permutation_equals_scipy_without_ties():
    a, b = RNG.normal(size=5), RNG.normal(0.8, size=6)
    theirs = permutation_test(
        (a, b),
        lambda x, y, axis: np.abs(x.mean(axis=axis) - y.mean(axis=axis)),
        n_resamples=np.inf,
        alternative="greater",
        vectorized=True,
    )
    assert abs(permutation_p(a, b) - theirs.pvalue) < 1e-12


def test_equal_runs_are_no_evidence():
    assert permutation_p(np.full(4, 0.9), np.full(4, 0.9)) == 1
    assert permutation_p(np.array([0.1, 0.3]), np.array([0.3, 0.1])) == 1


def test_many_runs_are_sampled_and_agree_with_all_relabelings(monkeypatch):
    a, b = RNG.normal(size=7), RNG.normal(1.0, size=7)
    exact = permutation_p(a, b)
    monkeypatch.setattr(seeds, "ENUMERATED", 10)
    monkeypatch.setattr(seeds, "RESAMPLED", 1999)
    assert abs(permutation_p(a, b) - exact) < 4 * np.sqrt(exact / 1999)
    assert permutation_p(a, b) == permutation_p(a, b)
    assert permutation_p(a, a + 1e9) >= smallest_p(7, 7) == 1 / 2000


@pytest.mark.parametrize(("k_a", "k_b"), [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (1, 6), (4, 4), (3, 6)])
def test_smallest_p_is_reached_by_complete_separation(k_a, k_b):
    """The most extreme relabeling of generic values has the smallest p-value that any labelling can give."""
    values = np.sort(RNG.normal(size=k_a + k_b))
    chosen = list(itertools.combinations(range(k_a + k_b), k_a))
    p = [permutation_p(values[list(rows)], np.delete(values, rows)) for rows in chosen]
    assert abs(min(p) - smallest_p(k_a, k_b)) < 1e-12


def test_seeds_to_reach_follow_the_table():
    assert [round(smallest_p(k, k), 4) for k in (3, 4, 5, 6)] == [0.1, 0.0286, 0.0079, 0.0022]
    assert [seeds_to_reach(alpha) for alpha in (0.4, 0.1, 0.05, 0.025, 0.01, 0.005)] == [2, 3, 4, 5, 5, 6]
    with pytest.raises(ValueError, match="alpha must be"):
        seeds_to_reach(1e-6)


def test_welch_equals_statsmodels():
    a, b = RNG.normal(0.9, 0.01, 4), RNG.normal(0.91, 0.003, 6)
    theirs = CompareMeans(DescrStatsW(b), DescrStatsW(a)).tconfint_diff(alpha=0.1, usevar="unequal")
    np.testing.assert_allclose(welch_interval(a, b, 0.9), theirs, atol=1e-12)


def test_welch_with_little_to_go_by():
    assert welch_interval(np.array([0.9]), np.array([0.91, 0.92]), 0.95) is None
    assert welch_interval(np.full(3, 0.9), np.full(3, 0.91), 0.95) is None
    low, high = welch_interval(np.full(3, 0.9), np.array([0.91, 0.92, 0.93]), 0.95)
    assert low < 0.02 < high


def test_outperformance_equals_mann_whitney():
    for _ in range(20):
        a, b = RNG.integers(0, 6, 5), RNG.integers(1, 7, 4)
        assert outperformance(a, b) == pytest.approx(mannwhitneyu(b, a, method="asymptotic").statistic / 20)
    assert outperformance(np.ones(3), np.ones(2)) == 0.5


@pytest.mark.parametrize(("difference", "power"), [(0.004, 0.8), (0.001, 0.8), (-0.002, 0.9), (0.0003, 0.5)])
def test_seeds_needed_equals_statsmodels(difference, power):
    a, b = RNG.normal(0.90, 0.002, 5), RNG.normal(0.91, 0.002, 3)
    spread = np.sqrt((4 * a.var(ddof=1) + 2 * b.var(ddof=1)) / 6)
    solve = TTestIndPower().power
    slow = next(k for k in range(4, 2000) if solve(abs(difference) / spread, k, 0.05) >= power)
    assert seeds_needed(a, b, difference, power=power) == (slow if slow <= 1000 else None)


def test_seeds_needed_has_a_floor_a_cap_and_unknowns():
    a, b = np.array([0.90, 0.91]), np.array([0.92, 0.93])
    assert seeds_needed(a, b, 10.0) == seeds_to_reach(0.05) == 4
    assert seeds_needed(a, b, 1e-6) is None
    assert seeds_needed(a, b, 0.0) is None
    assert seeds_needed(a[:1], b[:1], 0.01) is None
    assert seeds_needed(a[:1], b, 0.01) is not None
    assert seeds_needed(np.full(3, 0.9), np.full(3, 0.9), 0.01) is None
