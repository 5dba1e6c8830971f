import itertools

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import bootstrap, norm
from statsmodels.stats.contingency_tables import mcnemar

from stress_lab.errors import PairingError
from stress_lab.stats.paired import (
    PairedTable,
    bootstrap_interval,
    equivalence_p,
    images_needed,
    mcnemar_exact,
    mcnemar_mid_p,
    mcnemar_power,
    tabulate,
    tango_interval,
    tango_score,
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


@pytest.mark.parametrize(
    "interval", [wald_interval, tango_interval, lambda table: bootstrap_interval(table, resamples=1000)]
)
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


@pytest.mark.parametrize(
    ("cells", "level", "published"),
    [
        ((43, 0, 1, 0), 0.90, (-0.096, 0.037)),  # Tango 1998, cross-over trial of soft contact lenses
        ((4, 9, 3, 16), 0.95, (-0.027, 0.390)),  # Tango 1998, as checked by the R package ratesci
        ((53, 16, 8, 9), 0.95, (-0.020, 0.207)),  # Agresti and Min 2005
        ((1, 1, 7, 12), 0.95, (-0.517, -0.026)),  # Fagerland, Lydersen and Laake 2014: Bentur et al. 2009
        ((59, 6, 16, 80), 0.95, (-0.124, -0.005)),  # Fagerland, Lydersen and Laake 2017: Cavo et al. 2012
    ],
)
def test_tango_gives_published_intervals(cells, level, published):
    """In these papers the difference is the first condition less the second, so the two are swapped here."""
    both, first, second, neither = cells
    ours = tango_interval(PairedTable(both, only_a=second, only_b=first, neither=neither), level)
    assert tuple(round(bound, 3) for bound in ours) == published


def slow_score(table, difference):
    """Score statistic with the probability of the cell only A found by maximising the likelihood numerically."""

    def negative_log_likelihood(q):
        cells = [
            (table.only_a, q),
            (table.only_b, q + difference),
            (table.both + table.neither, 1 - 2 * q - difference),
        ]
        return -sum(count * np.log(p) for count, p in cells if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    found = minimize_scalar(negative_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
    spread = np.sqrt((2 * found.x + difference - difference**2) / table.n)
    return (table.difference - difference) / spread


TABLES = [
    PairedTable(80, 3, 9, 8),
    PairedTable(40, 0, 6, 4),
    PairedTable(10, 7, 1, 2),
    PairedTable(900, 30, 41, 29),
    PairedTable(30, 12, 12, 6),
]


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_tango_score_equals_a_numerical_likelihood(table):
    for difference in (-0.6, -0.2, -0.01, 0.03, 0.25, 0.7):
        np.testing.assert_allclose(tango_score(table, difference), slow_score(table, difference), rtol=1e-4)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_tango_interval_equals_inversion_on_a_grid(table):
    step = 0.002
    grid = np.arange(-0.999, 1, step)
    kept = grid[[abs(slow_score(table, difference)) <= norm.ppf(0.975) for difference in grid]]
    low, high = tango_interval(table)
    assert kept[0] - step <= low <= kept[0]
    assert kept[-1] <= high <= kept[-1] + step


def test_tango_ends_have_the_scores_of_the_level():
    for table in TABLES:
        for level in (0.8, 0.95, 0.99):
            scores = [tango_score(table, bound) for bound in tango_interval(table, level)]
            np.testing.assert_allclose(scores, [norm.ppf(0.5 + level / 2), -norm.ppf(0.5 + level / 2)], atol=1e-6)


def test_tango_score_of_no_difference_is_mcnemars():
    for table in TABLES:
        statistic = mcnemar([[table.both, table.only_a], [table.only_b, table.neither]], exact=False, correction=False)
        np.testing.assert_allclose(tango_score(table, 0) ** 2, statistic.statistic, rtol=1e-9, atol=1e-12)


def test_tango_at_the_edges():
    z2 = norm.ppf(0.975) ** 2
    for n in (1, 44, 10_000):
        same = tango_interval(PairedTable(n, 0, 0, 0))
        np.testing.assert_allclose(same, [-z2 / (n + z2), z2 / (n + z2)], atol=1e-9)  # Tango 1998, equation 29
        low, high = tango_interval(PairedTable(0, 0, n, 0))
        assert -1 <= low < high == 1
        assert tango_interval(PairedTable(0, n, 0, 0)) == pytest.approx((-high, -low))
    forward, back = tango_interval(PairedTable(5, 2, 11, 4)), tango_interval(PairedTable(5, 11, 2, 4))
    np.testing.assert_allclose(forward, [-back[1], -back[0]], atol=1e-9)


def test_equivalence_agrees_with_the_90_percent_interval():
    rng, verdicts = np.random.default_rng(3), []
    for _ in range(300):
        table = PairedTable(*map(int, rng.multinomial(400, [0.85, 0.04, 0.05, 0.06])))
        low, high = tango_interval(table, 0.90)
        verdicts.append(low > -0.03 and high < 0.03)
        assert (equivalence_p(table, 0.03) < 0.05) == verdicts[-1]
    assert 20 < sum(verdicts) < 280  # both answers occur


def test_equivalence_by_hand_and_against_a_plain_z_test():
    table = PairedTable(8000, 300, 320, 1380)
    standard_error = np.sqrt(620 - 20**2 / 10_000) / 10_000
    expected = norm.sf((0.01 - 0.002) / standard_error)
    assert abs(equivalence_p(table, 0.01) - expected) < 3e-4
    assert equivalence_p(table, 0.001) > 0.5
    assert equivalence_p(table, 1.0) < 1e-9


def test_images_needed_and_power_are_inverse():
    for discordant, difference in ((0.06, 0.01), (0.2, -0.05), (0.5, 0.5), (0.03, 0.002)):
        for power in (0.5, 0.8, 0.95):
            n = images_needed(discordant, difference, power=power)
            assert mcnemar_power(n - 1, discordant, difference) < power <= mcnemar_power(n, discordant, difference)


@pytest.mark.parametrize(("n", "discordant", "difference"), [(2000, 0.06, 0.015), (500, 0.2, 0.05)])
def test_power_equals_simulation(n, discordant, difference):
    only_a, only_b = (discordant - difference) / 2, (discordant + difference) / 2
    draws = np.random.default_rng(8).multinomial(n, [only_a, only_b, 1 - discordant], size=4000)
    rejected = np.mean((draws[:, 0] - draws[:, 1]) ** 2 > norm.ppf(0.975) ** 2 * (draws[:, 0] + draws[:, 1]))
    assert abs(rejected - mcnemar_power(n, discordant, difference)) < 0.03  # 4 standard errors of the simulation


def test_impossible_differences_are_refused():
    with pytest.raises(ValueError, match="difference of 0"):
        images_needed(0.05, 0.0)
    with pytest.raises(ValueError, match="cannot differ by"):
        images_needed(0.05, 0.06)
    with pytest.raises(ValueError, match="cannot differ"):
        mcnemar_power(100, 0.0, 0.0)
