"""Which labels are checked: half suspects, mixed at random, none twice."""

import numpy as np
import pytest

from stress_lab.labels.sampling import choose_checks


@pytest.mark.parametrize(
    ("suspects", "n", "count", "expected"),
    [(50, 1_000, 40, 20), (5, 1_000, 40, 5), (90, 100, 40, 30), (10, 20, 99, 10)],
)
def test_half_are_suspects_where_there_are_enough_of_both(suspects, n, count, expected):
    is_suspect = np.arange(n) < suspects
    rows = choose_checks(is_suspect, count)
    assert len(rows) == len(set(rows)) == min(n, count)
    assert is_suspect[rows].sum() == expected
    assert not np.isin(choose_checks(is_suspect, count, np.isin(np.arange(n), rows)), rows).any()


def test_whoever_stops_early_has_checked_a_random_part_of_both():
    """The share of suspects in the first quarter, over many seeds, is that of all."""
    is_suspect = np.arange(500) < 100
    shares = [is_suspect[choose_checks(is_suspect, 80, seed=seed)[:20]].mean() for seed in range(400)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    first = [choose_checks(is_suspect, 80, seed=seed)[0] for seed in range(400)]
    assert len(set(first)) > 200
