import numpy as np
import pytest
from scipy.stats import bootstrap, ttest_ind

from stress_lab.stats import resampling
from stress_lab.stats.resampling import bootstrap_means, hierarchical_interval, percentile_interval


def test_draws_equal_a_plain_loop_with_the_same_images():
    values = np.random.default_rng(0).normal(5, 1, size=(4, 30))
    drawn = np.random.default_rng(7).integers(0, 30, size=(50, 30))
    expected = np.array([[row[images].mean() for images in drawn] for row in values])
    np.testing.assert_allclose(bootstrap_means(values, 50, seed=7), expected, atol=1e-12)


def test_interval_equals_scipys_bootstrap():
    values = np.random.default_rng(1).exponential(size=(1, 300))
    theirs = bootstrap(
        (values[0],), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    ours = percentile_interval(bootstrap_means(values, 20_000)[0], 0.95)
    np.testing.assert_allclose(ours, [theirs.low, theirs.high], atol=0.006)


def test_rows_share_the_images_in_one_call_and_over_several(monkeypatch):
    values = np.random.default_rng(3).random((3, 200))
    values[2] = values[0] + 0.25
    draws = bootstrap_means(values, 400, seed=5)
    np.testing.assert_allclose(draws[2] - draws[0], 0.25, atol=1e-12)
    np.testing.assert_allclose(bootstrap_means(values[1:2], 400, seed=5), draws[1:2], atol=1e-12)
    monkeypatch.setattr(resampling, "CHUNK", 1000)  # the size of blocks changes nothing
    np.testing.assert_allclose(bootstrap_means(values, 400, seed=5), draws, atol=1e-12)


def test_many_images_are_resampled_in_groups(monkeypatch):
    values = np.random.default_rng(4).random((2, 2037)) < np.array([[0.1], [0.9]])
    whole = bootstrap_means(values, 4000)
    monkeypatch.setattr(resampling, "GROUPS", 300)
    grouped = bootstrap_means(values, 4000)
    np.testing.assert_allclose(grouped.mean(axis=1), values.mean(axis=1), atol=5e-4)
    np.testing.assert_allclose(grouped.std(axis=1), whole.std(axis=1), rtol=0.15)
    constant = bootstrap_means(np.full((1, 2037), 0.3), 50)
    np.testing.assert_allclose(constant, 0.3, atol=1e-12)


def test_leftover_images_weigh_as_much_as_others(monkeypatch):
    monkeypatch.setattr(resampling, "GROUPS", 4)
    sums, sizes = resampling._gather(np.arange(20.0).reshape(2, 10), np.random.default_rng(0), None)
    assert sorted(sizes) == [2, 2, 3, 3]
    np.testing.assert_allclose(sums.sum(axis=1), [45, 145])
    np.testing.assert_allclose(sums[1] - sums[0], 10 * sizes)  # the same images in both rows


def draw_arm(rng, runs, spread, own, image):
    """Bootstrap draws of runs with normal parts: (runs, 400); ``image`` holds truth and draws of the shared part."""
    truth = image[0] + rng.normal(0, spread, (runs, 1)) + rng.normal(0, own, (runs, 1))
    return truth + image[1] + rng.normal(0, own, (runs, 400))


@pytest.mark.parametrize(
    ("spread", "own", "image"),
    [(1.0, 0.05, 0.05), (0.0, 1.0, 0.0), (1.0, 1.0, 0.7), (0.1, 0.3, 1.0)],
    ids=["seeds decide", "independent flips", "both", "images decide"],
)
@pytest.mark.parametrize(("k_a", "k_b"), [(2, 2), (3, 3), (10, 10), (2, 5)])
def test_hierarchical_interval_covers_the_truth(spread, own, image, k_a, k_b):
    rng, covered, repeats = np.random.default_rng(6), 0, 150
    for _ in range(repeats):
        shared = [(rng.normal(0, image), rng.normal(0, image, 400)) for _ in range(2)]
        a, b = draw_arm(rng, k_a, spread, own, shared[0]), draw_arm(rng, k_b, spread, own, shared[1])
        low, high = hierarchical_interval(a, b, 0.95)
        covered += low <= 0 <= high
    widest = 0.995 if min(k_a, k_b) > 2 else 1.0  # two runs make it wide
    assert 0.89 <= covered / repeats <= widest  # binomial 99.9 % band about 0.95


def test_without_image_noise_it_is_the_pooled_t_interval():
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=4), rng.normal(1, size=3)
    theirs = ttest_ind(b, a).confidence_interval(0.9)
    ours = hierarchical_interval(np.repeat(a[:, None], 4000, axis=1), np.repeat(b[:, None], 4000, axis=1), 0.9)
    np.testing.assert_allclose(ours, [theirs.low, theirs.high], atol=0.005)


def test_single_runs_give_the_paired_bootstrap():
    values = (np.random.default_rng(10).random((2, 500)) < 0.9).astype(float)
    draws = bootstrap_means(values, 2000)
    paired = percentile_interval(bootstrap_means(values[1:] - values[:1], 2000)[0], 0.95)
    np.testing.assert_allclose(hierarchical_interval(draws[:1], draws[1:], 0.95), paired, atol=1e-12)


def test_equal_runs_give_a_point():
    draws = np.full((2, 100), 0.5)
    np.testing.assert_allclose(hierarchical_interval(draws, draws + 0.1, 0.95), [0.1, 0.1], atol=1e-12)
