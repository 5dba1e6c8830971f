"""Rates of single classes, and their mean, with intervals that hold for small classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from stress_lab.errors import ConfigError
from stress_lab.records import FloatArray, IntArray

EFFECTIVE = "Wilson score at the effective number of images"  # name of ``mean_rate_interval`` in records


def wilson_bounds(count: FloatArray, n: FloatArray | IntArray, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Wilson score intervals (Wilson 1927) of many rates at once, and of mean counts over several runs.

    A mean over runs on the same images varies no more over other images than one run does, so its interval is at
    least as wide as it should be; it holds nothing of what other seeds would change.

    Args:
        count: (K,) events, whole or a mean over runs. ``n``: (K,) trials, each at least 1.
        level: of each interval.

    Returns:
        Lower and upper bounds, each (K,).

    >>> low, high = wilson_bounds(np.array([9398.0]), np.array([10_000]))
    >>> round(float(low[0]), 4), round(float(high[0]), 4)
    (0.935, 0.9443)
    """
    trials = np.asarray(n, dtype=np.float64)
    z2, rate = float(norm.ppf(0.5 + level / 2)) ** 2, np.asarray(count, dtype=np.float64) / trials
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = np.sqrt(z2 * (rate * (1 - rate) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    # at 0 and 1 the bound is the rate itself, which rounding would miss
    return np.clip(np.minimum(centre - half, rate), 0, 1), np.clip(np.maximum(centre + half, rate), 0, 1)


def mean_rate_interval(count: FloatArray, n: FloatArray | IntArray, level: float = 0.95) -> tuple[float, float]:
    """Interval of the unweighted mean of independent rates, such as balanced accuracy from each class's recall.

    Wilson's score interval at the effective number of images: as many as would give one rate the variance of this mean
    (as Korn and Graubard 1998 and Franco et al. 2019 do for surveys), with Student's t at Satterthwaite's degrees of
    freedom (1946). The variances come from rates moved towards one half, (x + 1)/(n + 2), so that five right answers of
    five do not count as certain. A bootstrap over images and MOVER (Zou and Donner 2008) cover too rarely where classes
    have five to twenty images: ``benchmarks/simulate_classes.py`` measures all three.

    Args:
        count: (K,) right answers by class, whole or a mean over runs. ``n``: (K,) images, each at least 1.
        level: of the interval.

    Raises:
        ConfigError: there is no class, or one has no image.

    >>> [round(bound, 3) for bound in mean_rate_interval(np.array([10.0, 5.0]), np.array([10, 10]))]
    [0.538, 0.886]
    """
    if not len(n) or np.min(n) < 1:
        raise ConfigError("a mean over classes needs at least one image of each: leave out the classes without images")
    trials = np.asarray(n, dtype=np.float64)
    smoothed, mean = (count + 1) / (trials + 2), float((count / trials).mean())
    variances = smoothed * (1 - smoothed) / trials / len(trials) ** 2
    variance, middle = float(variances.sum()), float(smoothed.mean())
    freedom = variance**2 / float((variances**2 / np.maximum(trials - 1, 1)).sum())
    return _score_interval(mean, middle * (1 - middle) / variance, float(student.ppf(0.5 + level / 2, freedom)))


def _score_interval(rate: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's bounds of a rate of n images, z standard errors wide."""
    centre, share = (rate + z**2 / (2 * n)) / (1 + z**2 / n), 1 + z**2 / n
    half = z * float(np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))) / share
    return max(0.0, min(centre - half, rate)), min(1.0, max(centre + half, rate))


def worst_class(recall: Sequence[float | None], n: Sequence[int]) -> int | None:
    """Position of the class with the lowest recall, the one with more images on ties; None if no class has images."""
    known = [place for place, one in enumerate(recall) if one is not None]
    return min(known, key=lambda place: (recall[place], -n[place], place), default=None)
