"""Distances of maps against scipy and by hand; a planted shift beyond seeds is found, and none where there is none."""

import math

import numpy as np
import pytest
from scipy.stats import entropy, spearmanr

from stress_lab.errors import RunError
from stress_lab.saliency.attention import (
    border_share,
    centre_shift,
    compare_attention,
    measure_shift,
    rank_correlation,
    spread,
    top_overlap,
)
from stress_lab.saliency.maps import Cam


def drawn(n=20, side=4, seed=0):
    return Cam(np.random.default_rng(seed).normal(size=(n, side, side)).astype(np.float32))


def one(rows):
    return Cam(np.array([rows], np.float32))


def test_distances_are_those_of_scipy():
    a, b = drawn(seed=1), drawn(seed=2)
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a.raw, b.raw, strict=True)]
    np.testing.assert_allclose(rank_correlation(a, b), expected, atol=1e-12)
    np.testing.assert_allclose(spread(a), [entropy(x.clip(min=0).ravel()) for x in a.raw], atol=1e-6)


def test_worked_examples():
    corner, right = one([[4, 0, 0], [0, 0, 0], [0, 0, 0]]), one([[0, 0, 4], [0, 0, 0], [0, 0, 0]])
    middle = one([[-1, 0, 0], [0, 3, 0], [0, 0, 0]])
    assert centre_shift(corner, right, (30, 60)).tolist() == [40]  # two cells of 20 pixels
    assert border_share(corner).tolist() == [1]
    assert border_share(middle).tolist() == [0]
    assert spread(corner).tolist() == [0]
    assert spread(one([[1, 1], [1, 1]])) == pytest.approx([math.log(4)])
    a, b = one(np.arange(10).reshape(2, 5)), one(np.arange(10)[::-1].reshape(2, 5))
    assert top_overlap(a, a).tolist() == [1]
    assert top_overlap(a, b).tolist() == [0]
    assert rank_correlation(a, b) == pytest.approx([-1])


def test_empty_and_flat_maps_have_no_numbers():
    empty = one([[-1, -2], [-1, -1]])
    assert np.isnan([*spread(empty), *border_share(empty), *centre_shift(empty, empty, (2, 2))]).all()
    assert np.isnan(rank_correlation(one([[1, 1], [1, 1]]), one([[1, 2], [3, 4]]))).all()


def make_runs(shift, seed):
    """Six runs of 40 images: a common map, noise of each run, and for the last three another place too."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(40, 5, 5))
    moved = np.roll(common, 2, axis=2)
    runs = [
        common * (1 - shift * (k > 2)) + moved * shift * (k > 2) + 0.5 * rng.normal(size=(40, 5, 5)) for k in range(6)
    ]
    return [Cam(run.astype(np.float32)) for run in runs]


def test_a_planted_shift_is_found_and_none_where_there_is_none():
    is_b = [False] * 3 + [True] * 3
    found = compare_attention(make_runs(0.8, 0), is_b, (20, 20))
    assert found["rank"].excess > 0.3
    assert found["rank"].p == pytest.approx(2 / 20)  # the least that three runs each allow
    low = []
    for seed in range(60):
        runs = make_runs(0, seed)
        distances = [[1 - rank_correlation(a, b).mean() for a in runs] for b in runs]
        low.append(measure_shift(np.array(distances), is_b))
    assert abs(np.mean([shift.excess for shift in low])) < 0.01
    assert np.mean([shift.p <= 0.1 for shift in low]) < 0.25


def test_the_excess_is_an_energy_distance():
    distances = np.array([[0, 1, 5, 6], [1, 0, 7, 8], [5, 7, 0, 3], [6, 8, 3, 0]], float)
    found = measure_shift(distances, [False, False, True, True])
    assert (found.across, found.within, found.excess) == (6.5, 2, 4.5)
    assert found.p == pytest.approx(2 / 6)
    with pytest.raises(RunError, match="two runs"):
        measure_shift(distances, [False, False, False, True])
