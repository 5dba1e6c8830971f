"""The error rate from a checked part: against Wilson, whole strata, and how often intervals hold the truth."""

from functools import cache

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from stress_lab.errors import RunError
from stress_lab.labels.error_rate import Stratum, estimate_error_rate


def stratum(size, checked, wrong):
    return Stratum(name="any", size=size, checked=checked, wrong=wrong)


def test_one_large_stratum_is_wilsons():
    found = estimate_error_rate([stratum(10**9, 400, 12)], 0.9)
    assert (found.low, found.high) == pytest.approx(proportion_confint(12, 400, 0.1, "wilson"), abs=1e-6)


def test_what_was_checked_whole_is_known():
    found = estimate_error_rate([stratum(50, 50, 20), stratum(950, 950, 5)])
    assert found.rate == pytest.approx(0.025)
    assert (found.low, found.high) == pytest.approx((0.025, 0.025))


def test_what_nobody_looked_at_may_hold_none_or_only_wrong_labels():
    found = estimate_error_rate([stratum(100, 100, 60), stratum(900, 0, 0)])
    assert found.rate is None
    assert (found.low, found.high) == pytest.approx((0.06, 0.96))
    assert found.checked == 100
    with pytest.raises(RunError):
        estimate_error_rate([stratum(10, 11, 0)])


def test_intervals_hold_the_truth_as_often_as_they_promise():
    """300 suspects of which 40 % are wrong, 9,700 others of which 0.5 % are; 60 and 300 of them are checked."""
    rng = np.random.default_rng(0)
    kinds = [(300, 120, 60), (9_700, 48, 300)]
    truth, held = 168 / 10_000, []

    @cache
    def estimate(*wrong):
        return estimate_error_rate([stratum(s, c, w) for (s, _, c), w in zip(kinds, wrong, strict=True)])

    for _ in range(2_000):
        found = estimate(*(int(rng.hypergeometric(bad, size - bad, checked)) for size, bad, checked in kinds))
        held.append(found.low <= truth <= found.high)
    assert 0.94 <= np.mean(held) <= 0.99
