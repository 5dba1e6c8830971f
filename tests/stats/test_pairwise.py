"""All pairs at once against one pair at a time, other libraries and slow plain versions."""

import itertools

import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from statsmodels.stats.contingency_tables import mcnemar

from stress_lab.stats.agreement import error_consistency
from stress_lab.stats.paired import mcnemar_mid_p, tabulate
from stress_lab.stats.pairwise import (
    BLOCK,
    consistency_matrix,
    count_only,
    find_ties,
    lay_lanes,
    mid_p_of_counts,
    order_by_likeness,
    rank_bounds,
)

EVENTS = np.random.default_rng(0).random((6, 300)) < np.array([0.9, 0.9, 0.8, 0.5, 1.1, -1])[:, None]


def test_every_pair_is_what_it_is_alone():
    only, kappa = count_only(EVENTS), consistency_matrix(EVENTS)
    for a, b in itertools.permutations(range(len(EVENTS)), 2):
        table = tabulate(EVENTS[a], EVENTS[b])
        assert (only[a, b], only[b, a]) == (table.only_a, table.only_b)
        p = float(mid_p_of_counts(only[a, b], only[b, a]))
        assert p == pytest.approx(mcnemar_mid_p(table), abs=1e-14)
        exact = mcnemar([[table.both, table.only_a], [table.only_b, table.neither]], exact=True).pvalue
        assert p <= exact
        alone = error_consistency(EVENTS[a], EVENTS[b])
        assert np.isnan(kappa[a, b]) if alone is None else kappa[a, b] == pytest.approx(alone, abs=1e-12)


def test_mid_p_is_statsmodels_exact_less_half_of_what_was_seen():
    """The exact p-value counts the observed split twice, the mid-p value once (unless the split is even)."""
    b, c = np.arange(0, 12)[:, None], np.arange(0, 15)[None, :]
    found = mid_p_of_counts(b, c)
    for i, j in itertools.product(range(12), range(15)):
        if i != j:
            seen = mcnemar([[0, i], [j, 0]], exact=True).pvalue
            less = mcnemar([[0, min(i, j) - 1], [max(i, j) + 1, 0]], exact=True).pvalue if min(i, j) else 0.0
            assert found[i, j] == pytest.approx((seen + less) / 2, abs=1e-12)


def test_counts_are_the_same_in_blocks(monkeypatch):
    whole = count_only(EVENTS)
    assert EVENTS.shape[1] < BLOCK
    monkeypatch.setattr("stress_lab.stats.pairwise.BLOCK", 7)
    assert (count_only(EVENTS) == whole).all()


def plain_ties(apart):
    """Every run of neighbours without a pair told apart that no other such run contains."""
    places = range(len(apart))
    runs = [(i, j) for i in places for j in places if i <= j and not apart[i : j + 1, i : j + 1].any()]
    return [one for one in runs if not any(a <= one[0] and one[1] <= b and (a, b) != one for a, b in runs)]


@pytest.mark.parametrize("seed", range(40))
def test_ties_are_those_of_the_plain_version(seed):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((9, 9)) < rng.choice([0.05, 0.2, 0.6]), 1)
    apart = upper | upper.T
    ties = find_ties(apart)
    assert ties == plain_ties(apart)
    bars = lay_lanes(ties)
    for (lane, first, last), (other, begin, end) in itertools.combinations(bars, 2):
        assert lane != other or last < begin or end < first


def test_a_worked_example_of_ties_and_ranks():
    """Five models, a > b > c > d > e: only a-c, a-d, a-e, b-e and c-e are told apart; d and e are not, nor b and d."""
    apart = np.zeros((5, 5), dtype=bool)
    for one, other in ((0, 2), (0, 3), (0, 4), (1, 4), (2, 4)):
        apart[one, other] = apart[other, one] = True
    assert find_ties(apart) == [(0, 1), (1, 3), (3, 4)]  # letters: a a b, a b, b, b c, c
    assert rank_bounds(apart) == [(1, 2), (1, 4), (2, 4), (2, 5), (4, 5)]
    assert find_ties(np.zeros((3, 3), dtype=bool)) == [(0, 2)]
    assert find_ties(~np.eye(3, dtype=bool)) == [(0, 0), (1, 1), (2, 2)]


def test_like_models_stand_side_by_side():
    """Two families of three, shuffled: each stays together, and the merges are those of scipy's average linkage."""
    family = np.array([0, 1, 0, 1, 1, 0])
    noise = np.random.default_rng(1).random((6, 6)) * 0.05
    likeness = np.where(family[:, None] == family[None, :], 0.8, 0.2) + noise + noise.T
    likeness[0, 3] = likeness[3, 0] = np.nan  # counts as 0
    order, merges = order_by_likeness(likeness)
    assert sorted(order) == list(range(6))
    assert len(set(family[order][:3])) == 1
    distance = 1 - np.nan_to_num(likeness)
    np.fill_diagonal(distance, 0)
    joined = cophenet(linkage(squareform(distance, checks=False), "average"))
    assert sorted({round(1 - height, 9) for *_, height in merges}) == sorted({round(x, 9) for x in joined})
    assert order_by_likeness(np.eye(1)) == ([0], [])
