"""Bootstrap over images, the same resampled images for all runs, and intervals for recipes based on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit
from threadpoolctl import threadpool_limits

from stress_lab.records import FloatArray
from stress_lab.stats.clusters import sum_clusters

GROUPS = 20_000  # more images than this are resampled in random groups
PERCENTILE = "percentile bootstrap over images"  # name of ``percentile_interval`` over images in records
HIERARCHICAL = "bootstrap over images, t over runs"  # and of ``hierarchical_interval``
CHUNK = 1_000_000  # entries of a block of weights: 8 MB of float64


def bootstrap_means(values: FloatArray, resamples: int, seed: int = 0, clusters: ArrayLike | None = None) -> FloatArray:
    """Means of every row over images drawn with replacement, the same images for all rows.

    Because the draws depend on N, ``resamples`` and ``seed`` only, rows may be split over several calls. Beyond 20,000
    images these are put at random into 20,000 groups whose sizes differ by at most one, and groups are drawn instead
    (random groups: Wolter 2007, Introduction to Variance Estimation, chapter 2); the mean weights each by its size.

    Args:
        values: (M, N) one row per run or metric, one column per image, such as 0 and 1 for wrong and right.
        clusters: (N,) which images belong together, such as those of one patient: whole clusters are drawn.

    Returns:
        (M, resamples) float64. Blocks of weights take some 30 MB beside the result and two copies of the values.
    """
    rng = np.random.default_rng(seed)
    centre = values.mean(axis=1, keepdims=True, dtype=np.float64)
    sums, sizes = _gather(values - centre, rng, clusters)
    groups = len(sizes)
    draws = np.empty((len(values), resamples))
    with threadpool_limits(1, user_api="blas"):  # the products are small: threads would mostly wait for each other
        for start in range(0, resamples, max(1, CHUNK // groups)):
            rows = min(resamples - start, max(1, CHUNK // groups))
            drawn = rng.integers(0, groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
            weights = np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)
            draws[:, start : start + rows] = (sums @ weights.T) / (weights @ sizes)
    draws += centre
    return draws


def _gather(values: FloatArray, rng: np.random.Generator, clusters: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Sums (M, G) of the values in each cluster or random group, and these groups' sizes (G,)."""
    sums, sizes = (values, np.ones(values.shape[1])) if clusters is None else sum_clusters(values, clusters)
    n = len(sizes)
    if n <= GROUPS:
        return sums, sizes.astype(np.float64)
    starts = np.arange(GROUPS) * n // GROUPS
    order = rng.permutation(n)
    gathered = np.add.reduceat(sums[:, order], starts, axis=1)
    return gathered, np.add.reduceat(sizes[order], starts).astype(np.float64)


def percentile_interval(draws: FloatArray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval: the range that leaves out (1 - level)/2 of all draws on either side (Efron 1979)."""
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def hierarchical_interval(
    draws_a: FloatArray,
    draws_b: FloatArray,
    level: float = 0.95,
    seed: int = 0,
    means: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[float, float]:
    """Interval of the difference of two recipes' means, B minus A; see :func:`contrast_interval`.

    Args:
        draws_a, draws_b: (k_A, B) and (k_B, B) ``bootstrap_means`` of each run, of the same resampled images.
        means: (k_A,) and (k_B,) the runs' own values, the centre of the interval; None takes the means of the draws.
    """
    return contrast_interval((draws_a, draws_b), (-1, 1), level, seed, means)


def contrast_interval(
    draws: Sequence[FloatArray],
    weights: Sequence[float],
    level: float = 0.95,
    seed: int = 0,
    means: Sequence[FloatArray] | None = None,
) -> tuple[float, float]:
    """Interval of a weighted sum of recipes' means, over other images and other seeds together.

    Two parts add up. *Images*: the weighted sum of the recipes' means in each resample, with its spread reduced by what
    comes from single runs rather than from the images they share; else the runs' own noise would count twice, the known
    excess of resampling rows and columns (Owen 2007, Annals of Applied Statistics 1:386). *Runs*: a t quantile with as
    many degrees of freedom as there are runs beyond the first of each recipe, times the pooled standard error of the
    runs. Drawing the runs themselves with replacement gives intervals far too narrow for two to five runs, and widening
    those (Hesterberg 2015, The American Statistician 69:371) still fails where the recipes have different numbers of
    runs.

    In simulations of two recipes of 2, 3, 5 and 10 runs, equal or not, the 95 % interval of their difference covers the
    truth about as often as promised whether seeds, images or both dominate; a little more often if both matter and runs
    are few. It assumes the spread over seeds is the same under all recipes: if the one with fewer runs spreads much
    more, it covers far too rarely. Runs that happen to end alike still flip single images: where the spread of those
    flips alone is wider than the t interval (two runs that disagree on a share d of n images spread by √(d/2n)), it is
    taken. Two runs then cover up to 99 %.
    One run each leaves the spread over seeds unknown: then this is the paired bootstrap of these networks.

    Args:
        draws: of each recipe, (k, B) ``bootstrap_means`` of each run, of the same resampled images.
        weights: of each recipe's mean, such as -1 and 1 for a difference.
        means: of each recipe, (k,) the runs' own values, the centre; None takes the means of the draws.
    """
    image = np.asarray(sum(weight * arm.mean(axis=0) for weight, arm in zip(weights, draws, strict=True)))
    freedom = sum(map(len, draws)) - len(draws)
    if freedom == 0:
        return percentile_interval(image, level)
    known = [arm.mean(axis=1) for arm in draws] if means is None else means
    share = _share(draws, weights)
    between_runs = sum(float(((arm - arm.mean()) ** 2).sum()) for arm in known) / freedom * share
    own_noise = _own_noise(draws, weights)
    spread = image.var()
    shrink = np.sqrt(max(0.0, 1 - own_noise / spread)) if spread > 0 else 0.0
    runs = np.sqrt(between_runs) * _shuffled(freedom, len(image), seed)
    flips = np.sqrt(own_noise) * _shuffled(None, len(image), seed)
    widest = runs if np.quantile(runs, 0.5 + level / 2) > np.quantile(flips, 0.5 + level / 2) else flips
    centre = sum(weight * arm.mean() for weight, arm in zip(weights, known, strict=True))
    return percentile_interval(centre + shrink * (image - image.mean()) + widest, level)


def _share(arms: Sequence[FloatArray], weights: Sequence[float]) -> float:
    """Variance of the weighted sum of means, where each run has variance 1."""
    return sum(weight**2 * (1 / len(arm)) for weight, arm in zip(weights, arms, strict=True))


def _own_noise(draws: Sequence[FloatArray], weights: Sequence[float]) -> float:
    """Variance of the weighted sum of means that comes from each run's own flips of images; one recipe has two runs."""
    deviations = np.concatenate([arm - arm.mean(axis=0) for arm in draws])  # (all runs, B)
    freedom = len(deviations) - len(draws)
    return float(deviations.var(axis=1).sum() / freedom * _share(draws, weights))


def shared_spread(draws_a: FloatArray, draws_b: FloatArray) -> float:
    """Standard deviation of the difference of recipes over other images that no number of seeds would remove.

    Args:
        draws_a, draws_b: as for :func:`hierarchical_interval`, three runs or more in total.
    """
    image = draws_b.mean(axis=0) - draws_a.mean(axis=0)
    return float(np.sqrt(max(0.0, image.var() - _own_noise((draws_a, draws_b), (-1, 1)))))


@lru_cache(maxsize=64)  # a comparison asks for the same few, once for each measure and pair of variants
def _shuffled(freedom: int | None, draws: int, seed: int) -> FloatArray:
    """(draws,) evenly spaced quantiles in random order, a sample without sampling noise: of Student's t, or normal."""
    places = (np.arange(draws) + 0.5) / draws
    quantiles = ndtri(places) if freedom is None else stdtrit(freedom, places)
    sample = np.random.default_rng(seed).permutation(quantiles)
    sample.flags.writeable = False
    return np.asarray(sample)
