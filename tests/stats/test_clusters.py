"""Clustered images: against enumeration, scipy, statsmodels, and simulated clusters."""

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import norm

from stress_lab.stats.clusters import (
    clustered_mcnemar,
    clustered_wilson_interval,
    describe_clusters,
    number_clusters,
    paired_permutation_p,
    sum_clusters,
)
from stress_lab.stats.paired import mcnemar_exact, tabulate
from stress_lab.stats.rates import wilson_interval
from stress_lab.stats.resampling import bootstrap_means, percentile_interval


def draw_clusters(rng, g=40, largest=50, shared=0.8):
    """Right and wrong of two equal models (N,), and clusters (N,) whose images share much of their difficulty."""
    clusters = np.repeat(np.arange(g), rng.integers(2, largest + 1, g))
    shift = [shared * rng.normal(size=g)[clusters] for _ in range(2)]
    right = [rng.normal(size=len(clusters)) * (1 - shared**2) ** 0.5 + one > -0.8 for one in shift]
    return *right, clusters


def enumerate_signs(sums):
    """Slow and plain: every combination of signs."""
    every = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=len(sums))]
    return float(np.mean(np.array(every) >= abs(np.sum(sums)) - 1e-9))


@pytest.mark.parametrize("seed", range(6))
def test_swapping_counts_every_combination_of_signs(seed):
    rng = np.random.default_rng(seed)
    differences, clusters = rng.integers(-1, 2, 40), rng.integers(0, 11, 40)
    sums = [differences[clusters == one].sum() for one in np.unique(clusters)]
    assert paired_permutation_p(differences, clusters) == pytest.approx(enumerate_signs(sums), rel=1e-9)
    few = rng.normal(size=12)  # no whole numbers: random swaps
    assert paired_permutation_p(few) == pytest.approx(enumerate_signs(few), abs=0.005)


@pytest.mark.parametrize(("n", "better"), [(200, 0.0), (3_000, 0.01), (10_000, 0.02)])
def test_images_on_their_own_are_mcnemars_exact_test(n, better):
    rng = np.random.default_rng(n)
    a, b = rng.random(n) < 0.9, rng.random(n) < 0.9 + better
    expected = mcnemar_exact(tabulate(a, b))
    assert paired_permutation_p(b.astype(int) - a) == pytest.approx(expected, rel=1e-6, abs=1e-13)


def test_five_clusters_cannot_reach_five_percent():
    differences = np.ones(500)
    assert paired_permutation_p(differences, np.arange(500) % 5) == pytest.approx(2 / 2**5)
    assert paired_permutation_p(differences, np.zeros(500)) == 1.0
    assert paired_permutation_p(np.zeros(10), np.arange(10)) == 1.0


def test_names_of_clusters_do_not_matter():
    names = np.array(["c", "a", "c", "b", "a"])
    assert number_clusters(names).tolist() == [2, 0, 2, 1, 0]
    sums, sizes = sum_clusters(np.arange(5.0), names)
    assert sums.tolist() == [5.0, 3.0, 2.0]
    assert sizes.tolist() == [2, 1, 2]


def test_the_design_effect_is_the_one_of_a_regression_with_clustered_errors():
    right, _, clusters = draw_clusters(np.random.default_rng(3))
    fitted = sm.OLS(right.astype(float), np.ones(len(right)))
    clustered = fitted.fit(cov_type="cluster", cov_kwds={"groups": clusters})
    plain = right.var(ddof=1) / len(right)
    n, g = len(right), len(np.unique(clusters))
    expected = float(clustered.cov_params()[0, 0]) * (n - 1) / n / plain  # statsmodels: (n - 1)/(n - k) = 1 more
    found = describe_clusters(right, clusters)
    assert found.design_effect == pytest.approx(expected, rel=2 / n)
    assert (found.images, found.clusters, found.is_rough) == (n, g, False)
    assert found.effective_images == pytest.approx(n / found.design_effect)


def test_independent_images_have_a_design_effect_near_one():
    rng = np.random.default_rng(1)
    found = describe_clusters(rng.random(20_000) < 0.9, np.arange(20_000) // 4)
    assert 0.93 < found.design_effect < 1.07


def test_drawing_clusters_spreads_as_their_variance_says():
    right, _, clusters = draw_clusters(np.random.default_rng(5), g=200)
    found = describe_clusters(right, clusters)
    draws = bootstrap_means(right[None].astype(float), 4_000, clusters=clusters)[0]
    independent = right.var() / len(right)
    assert draws.var() / independent == pytest.approx(found.design_effect, rel=0.1)
    assert found.design_effect > 5


def test_clusters_of_one_image_change_no_draw():
    values = (np.random.default_rng(0).random((3, 500)) < 0.9).astype(float)
    np.testing.assert_array_equal(bootstrap_means(values, 50), bootstrap_means(values, 50, clusters=np.arange(500)))


def test_equal_models_are_called_different_as_rarely_as_promised():
    """The image-level test fails here, which is why groups are asked for."""
    rng, found = np.random.default_rng(0), {"images": 0, "clusters": 0}
    trials = 300
    for _ in range(trials):
        a, b, clusters = draw_clusters(rng)
        found["images"] += mcnemar_exact(tabulate(a, b)) < 0.05
        found["clusters"] += paired_permutation_p(b.astype(int) - a, clusters) < 0.05
    assert found["clusters"] / trials < 0.09  # 0.05 and three standard errors
    assert found["images"] / trials > 0.3


def test_durkalskis_test_by_hand():
    """Clusters (differences): (1, 1, 0), (-1), (0, 1), (0): means 2/3, -1, 1/2, 0."""
    a, b = [0, 0, 1, 1, 0, 0, 1], [1, 1, 1, 0, 0, 1, 1]
    found = clustered_mcnemar(a, b, [0, 0, 0, 1, 2, 2, 3])
    means = np.array([2 / 3, -1, 1 / 2])
    assert found["statistic"] == pytest.approx(means.sum() ** 2 / (means**2).sum())
    assert clustered_mcnemar(a, a, [0] * 7) == {"statistic": 0.0, "p": 1.0}


def test_both_tests_agree_on_many_clusters():
    a, b, clusters = draw_clusters(np.random.default_rng(2), g=2_000, largest=4)
    b = b | (np.random.default_rng(3).random(len(b)) < 0.03)
    one, other = paired_permutation_p(b.astype(int) - a, clusters), clustered_mcnemar(a, b, clusters)["p"]
    assert one < 0.05
    assert other < 0.05


def test_intervals_of_clusters_cover_the_truth():
    rng, covered, trials = np.random.default_rng(4), np.zeros(3), 150
    truth = norm.cdf(0.8)
    for _ in range(trials):
        right, _, clusters = draw_clusters(rng)
        draws = bootstrap_means(right[None].astype(float), 300, clusters=clusters)[0]
        few = right[clusters < 8]
        found = (percentile_interval(draws), clustered_wilson_interval(right, clusters))
        found = (*found, clustered_wilson_interval(few, clusters[clusters < 8]))
        covered += [low <= truth <= high for low, high in found]
    assert (covered / trials > [0.86, 0.89, 0.89]).all()


def test_independent_images_get_wilsons_interval():
    right = np.random.default_rng(7).random(5_000) < 0.9
    expected = wilson_interval(int(right.sum()), 5_000)
    assert clustered_wilson_interval(right, np.arange(5_000)) == pytest.approx(expected, abs=1e-5)
    assert clustered_wilson_interval([1, 0, 1], ["a"] * 3) == (0.0, 1.0)
    low, high = clustered_wilson_interval(np.ones(40), np.arange(40) // 4)
    assert low < wilson_interval(40, 40)[0] < high == 1.0
