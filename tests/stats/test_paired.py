import itertools

import numpy as np
import pytest
from scipy.stats import bootstrap
from statsmodels.stats.contingency_tables import mcnemar

from stress_lab.errors import PairingError
from stress_lab.stats.paired import (
    PairedTable,
    bootstrap_interval,
    mcnemar_exact,
    mcnemar_mid_p,
    tabulate,
    wald_interval,
)

RNG = np.random.default_rng(0)


def test_table_counts_by_hand():
    a = np.array([1, 1, 1, 0, 0, 0], bool)
    b = np.array([1, 1, 0, 1, 0, 0], bool)
    table = tabulate(a, b)
    assert table == PairedTable(both=2, only_a=1, only_b=1, neither=2)
    assert table.n == 6
    assert tabulate(b, ~b).difference == 0


def test_exact_test_equals_statsmodels():
    for b, c in itertools.product(range(0, 40, 3), range(0, 40, 3)):
        theirs = mcnemar([[50, b], [c, 20]], exact=True).pvalue
        assert abs(mcnemar_exact(PairedTable(50, b, c, 20)) - theirs) < 1e-12


def test_mid_p_equals_its_definition():
    """Exact p less the probability of the observed split (Fagerland 2013), with probabilities by counting."""
    from math import comb

    for b, c in itertools.product(range(12), range(12)):
        m, low = b + c, min(b, c)
        tail = sum(comb(m, k) for k in range(low + 1)) / 2**m
        point = comb(m, low) / 2**m
        expected = 1 - point / 2 if b == c else 2 * tail - point
        expected = 1.0 if m == 0 else expected
        assert abs(mcnemar_mid_p(PairedTable(5, b, c, 5)) - expected) < 1e-12


def test_fagerlands_worked_table():
    table = PairedTable(both=59, only_a=1, only_b=7, neither=6)
    assert round(mcnemar_exact(table), 4) == 0.0703
    assert round(mcnemar_mid_p(table), 4) == 0.0391


def test_bootstrap_equals_scipys_paired_resampling():
    a = RNG.random(400) < 0.8
    b = np.where(RNG.random(400) < 0.1, ~a, a)
    theirs = bootstrap(
        (a.astype(float), b.astype(float)),
        lambda x, y, axis: y.mean(axis=axis) - x.mean(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    ours = bootstrap_interval(tabulate(a, b), resamples=20_000)
    np.testing.assert_allclose(ours, [theirs.low, theirs.high], atol=0.003)


def test_wald_is_symmetric_and_close_to_the_bootstrap():
    table = PairedTable(both=800, only_a=60, only_b=90, neither=50)
    low, high = wald_interval(table)
    assert abs((low + high) / 2 - table.difference) < 1e-12
    np.testing.assert_allclose([low, high], bootstrap_interval(table, resamples=50_000), atol=0.0015)


@pytest.mark.parametrize("interval", [wald_interval, lambda table: bootstrap_interval(table, resamples=1000)])
def test_intervals_cover_a_simulated_truth_as_often_as_they_promise(interval):
    cells = np.array([0.80, 0.05, 0.08, 0.07])
    truth, repeats, rng = cells[2] - cells[1], 600, np.random.default_rng(5)
    covered = 0
    for _ in range(repeats):
        low, high = interval(PairedTable(*map(int, rng.multinomial(1000, cells))))
        covered += low <= truth <= high
    assert 0.92 < covered / repeats < 0.975  # binomial 99.9 % band around 0.95


def test_unpaired_events_are_refused():
    with pytest.raises(PairingError, match="same images"):
        tabulate(np.ones(3, bool), np.ones(4, bool))
