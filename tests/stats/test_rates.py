import numpy as np
from statsmodels.stats.proportion import proportion_confint, proportions_ztest

from stress_lab.stats.rates import epochs_to_reach, rate_gap, wilson_interval


def test_wilson_equals_statsmodels():
    for count, n in ((0, 10), (3, 10), (398, 10_000), (9398, 10_000), (10, 10)):
        np.testing.assert_allclose(wilson_interval(count, n), proportion_confint(count, n, method="wilson"), atol=1e-12)


def test_gap_equals_statsmodels_z_test():
    for a, n_a, b, n_b in ((9208, 10_000, 8817, 10_000), (4400, 5000, 1700, 2000), (10, 20, 12, 30)):
        z, p = proportions_ztest([a, b], [n_a, n_b])
        gap = rate_gap(a, n_a, b, n_b)
        np.testing.assert_allclose([gap["z"], gap["p"]], [z, p], rtol=1e-9)
        assert gap["low"] < gap["gap"] < gap["high"]


def test_seed_b_contradicts_itself_and_then_does_not():
    assert round(rate_gap(9208, 10_000, 8817, 10_000)["z"], 1) == 9.3
    assert round(rate_gap(9388, 10_000, 9370, 10_000)["p"], 2) == 0.60


def test_equal_certainty_is_no_gap():
    assert rate_gap(10, 10, 20, 20)["p"] == 1


def test_epochs_are_counted_from_one():
    assert epochs_to_reach([(1, 0.9), (2, 0.9)], 0.9) == 1
    assert epochs_to_reach([(1, 0.1), (2, 0.5), (3, 1.0)], 0.9) == 3
    assert epochs_to_reach([(5, 0.1), (10, 1.0)], 0.9) == 10  # validated every fifth epoch
    assert epochs_to_reach([], 0.9) is None
