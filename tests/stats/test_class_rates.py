"""Rates of classes against statsmodels, scikit-learn and a plain computation."""

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import balanced_accuracy_score
from statsmodels.stats.proportion import proportion_confint

from stress_lab.errors import ConfigError
from stress_lab.stats.class_rates import mean_rate_interval, wilson_bounds, worst_class


@pytest.mark.parametrize("level", [0.9, 0.95, 0.9995])
def test_wilson_bounds_are_statsmodels(level):
    count, n = np.array([0, 1, 5, 7, 20, 20]), np.array([3, 9, 10, 7, 20, 4000])
    low, high = proportion_confint(count, n, 1 - level, method="wilson")
    ours = wilson_bounds(count.astype(float), n, level)
    np.testing.assert_allclose(ours[0], np.maximum(low, 0), atol=1e-12)
    np.testing.assert_allclose(ours[1], np.minimum(high, 1), atol=1e-12)
    assert (ours[0] <= count / n).all()
    assert (count / n <= ours[1]).all()


def test_the_interval_of_balanced_accuracy_by_hand():
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 300, p=[0.6, 0.2, 0.15, 0.05])
    pred = np.where(rng.random(300) < 0.7, labels, rng.integers(0, 4, 300))
    n = np.bincount(labels, minlength=4)
    right = np.bincount(labels[pred == labels], minlength=4).astype(float)
    low, high = mean_rate_interval(right, n)
    mean = balanced_accuracy_score(labels, pred)
    assert low < mean < high
    smooth = [(x + 1) / (k + 2) for x, k in zip(right, n, strict=True)]
    parts = [p * (1 - p) / k / 16 for p, k in zip(smooth, n, strict=True)]
    freedom = sum(parts) ** 2 / sum(part**2 / (k - 1) for part, k in zip(parts, n, strict=True))
    middle = sum(smooth) / 4
    effective = middle * (1 - middle) / sum(parts)
    # Wilson's bounds are where the distance from the mean is t standard errors of the bound itself
    for bound in (low, high):
        assert (bound - mean) ** 2 == pytest.approx(t.ppf(0.975, freedom) ** 2 * bound * (1 - bound) / effective)


def test_certain_looking_classes_keep_an_interval():
    low, high = mean_rate_interval(np.array([5.0, 1.0]), np.array([5, 1]))
    assert 0 < low < 0.8
    assert high == 1


def test_many_large_classes_agree_with_the_normal_interval():
    n, right = np.full(50, 20_000), np.full(50, 16_000.0)
    half = 1.959964 * np.sqrt(0.8 * 0.2 / 20_000 / 50)
    assert mean_rate_interval(right, n) == pytest.approx((0.8 - half, 0.8 + half), abs=1e-5)


def test_a_class_without_images_has_no_mean():
    with pytest.raises(ConfigError, match="leave out the classes without images"):
        mean_rate_interval(np.array([1.0, 0.0]), np.array([2, 0]))


def test_the_worst_class_is_the_larger_one_on_ties():
    assert worst_class([0.5, None, 0.2, 0.2], [10, 0, 5, 9]) == 3
    assert worst_class([None], [0]) is None
