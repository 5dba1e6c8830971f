import numpy as np
import pytest
import torch
from scipy.stats import binom, poisson_binom
from torchmetrics.functional.classification import binary_calibration_error

from stress_lab.calibration.bins import bin_confidence, bin_numbers, consistency_band, expected_ece
from stress_lab.errors import ConfigError, RunError
from tests.references import ece_by_loop


def test_ece_equals_the_loop():
    rng = np.random.default_rng(0)
    confidence = rng.random(3000).astype(np.float32)
    correct = rng.random(3000) < confidence**2
    for bins in (1, 10, 15):
        result = bin_confidence(confidence, correct, bins)
        assert result.count.sum() == 3000
        assert abs(result.ece - ece_by_loop(confidence.astype(float), correct, bins)) < 1e-9


def test_edges_belong_to_the_lower_bin_and_one_to_the_last():
    confidence = np.array([0.0, 0.25, 0.2500001, 0.5, 1.0])
    result = bin_confidence(confidence, np.ones(5, bool), bins=4)
    assert result.count.tolist() == [2, 2, 0, 1]


def test_perfect_and_overconfident_models():
    sure = np.ones(100)
    assert bin_confidence(sure, np.ones(100, bool)).ece == 0
    assert abs(bin_confidence(sure, np.arange(100) < 60).ece - 0.4) < 1e-12


def test_the_error_equals_torchmetrics():
    rng = np.random.default_rng(1)
    confidence = (0.3 + 0.7 * rng.random(2000)).astype(np.float32)  # the lower bins are empty
    correct = rng.random(2000) < confidence**2
    theirs = binary_calibration_error(torch.tensor(confidence), torch.tensor(correct).int(), n_bins=15, norm="l1")
    assert abs(bin_confidence(confidence, correct).ece - float(theirs)) < 1e-5


def test_band_holds_the_exact_law_of_each_bin():
    """Given the confidences, the right images of a bin are Poisson binomial."""
    confidence = np.random.default_rng(2).beta(4, 1, 400).astype(np.float32)
    low, high = consistency_band(confidence, bins=10, resamples=4000)
    which = bin_numbers(confidence, 10)
    for m in np.unique(which):
        law, n = poisson_binom(confidence[which == m].astype(float)), int((which == m).sum())
        first, last = round(low[m] * n), round(high[m] * n)
        assert law.cdf(last) - law.cdf(first - 1) > 0.94
        assert law.cdf(first) > 0.02
        assert law.cdf(last - 1) < 0.98
    empty = np.setdiff1d(np.arange(10), which)
    assert len(empty)
    assert not low[empty].any()
    assert not high[empty].any()


def test_band_of_equal_confidences_is_binomial():
    low, high = consistency_band(np.full(100, 0.9), bins=1, resamples=8000, seed=4)
    np.testing.assert_allclose([low[0], high[0]], binom.ppf([0.025, 0.975], 100, 0.9) / 100, atol=0.011)


def test_expected_ece_equals_the_sum_over_exact_laws():
    confidence = np.random.default_rng(3).beta(4, 1, 300).astype(np.float32)
    which, total = bin_numbers(confidence, 15), 0.0
    for m in np.unique(which):
        chances = confidence[which == m].astype(float)
        right = np.arange(len(chances) + 1)
        total += (poisson_binom(chances).pmf(right) * abs(right - chances.sum())).sum()
    mean, upper = expected_ece(confidence, resamples=4000)
    assert abs(mean - total / 300) < 0.02 * mean
    assert upper > mean


def test_a_calibrated_model_exceeds_the_upper_ece_in_one_of_twenty():
    rng = np.random.default_rng(5)
    confidence = rng.beta(4, 1, 500).astype(np.float32)
    upper = expected_ece(confidence, resamples=4000)[1]
    above = sum(bin_confidence(confidence, rng.random(500) < confidence).ece > upper for _ in range(1000))
    assert 25 < above < 78  # binomial 99.9 % band around 50
    assert bin_confidence(confidence, rng.random(500) < confidence - 0.1).ece > upper


def test_draws_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    confidence = np.random.default_rng(6).random(50).astype(np.float32)
    whole = consistency_band(confidence, resamples=101)
    monkeypatch.setattr("stress_lab.calibration.bins._CHUNK", 350)
    np.testing.assert_array_equal(consistency_band(confidence, resamples=101), whole)


@pytest.mark.parametrize("confidence", [np.array([]), np.array([0.5, np.nan]), np.array([2.5, 0.1]), np.ones((2, 2))])
def test_what_is_no_confidence_is_refused(confidence):
    with pytest.raises(RunError, match="confidence"):
        bin_confidence(confidence, np.ones(confidence.shape, bool))


def test_other_bad_input_is_refused():
    with pytest.raises(RunError, match=r"\(3,\) and \(2,\)"):
        bin_confidence(np.ones(3), np.ones(2, bool))
    with pytest.raises(ConfigError, match="at least one bin"):
        bin_confidence(np.ones(3), np.ones(3, bool), bins=0)
    with pytest.raises(ConfigError, match="at least one draw"):
        expected_ece(np.ones(3), resamples=0)
