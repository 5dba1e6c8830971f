"""Rates on separate sets of images: intervals, and the gap between two splits."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm

WILSON = "Wilson score"  # name of ``wilson_interval`` in records
UNPAIRED = "Wald, two independent rates"  # and of the interval of ``rate_gap``


def wilson_interval(count: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a rate (Wilson 1927), the numbers of scipy's ``binomtest`` without its exact test.

    >>> [round(bound, 4) for bound in wilson_interval(9398, 10_000)]
    [0.935, 0.9443]
    """
    rate, z = count / n, float(ndtri(0.5 + level / 2))
    scale = 2 * (n + z**2)
    centre, half = (2 * n * rate + z**2) / scale, z / scale * sqrt(4 * n * rate * (1 - rate) + z**2)
    return (0.0 if count == 0 else float(centre - half)), (1.0 if count == n else float(centre + half))


def rate_gap(count_a: int, n_a: int, count_b: int, n_b: int, level: float = 0.95) -> dict[str, float]:
    """Rate on set a minus rate on set b, for two sets that share no image.

    Returns:
        ``gap``, ``low`` and ``high`` of its unpooled Wald interval, ``z`` and two-sided ``p`` of the pooled test of no
        gap (p is 1 where both rates are 0 or both are 1).

    >>> studied = rate_gap(9208, 10_000, 8817, 10_000)
    >>> round(studied["gap"], 4), round(studied["z"], 1)
    (0.0391, 9.3)
    """
    rate_a, rate_b = count_a / n_a, count_b / n_b
    gap = rate_a - rate_b
    half = norm.ppf(0.5 + level / 2) * gap_error(rate_a, n_a, rate_b, n_b)
    pooled = (count_a + count_b) / (n_a + n_b)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b))
    z = gap / error if error > 0 else 0.0
    return {
        "gap": gap,
        "low": float(gap - half),
        "high": float(gap + half),
        "z": float(z),
        "p": float(2 * norm.sf(abs(z))),
    }


def gap_error(rate_a: float, n_a: int, rate_b: float, n_b: int) -> float:
    """Standard error of the difference of two independent rates."""
    return float(np.sqrt(rate_a * (1 - rate_a) / n_a + rate_b * (1 - rate_b) / n_b))


def epochs_to_reach(values: Sequence[tuple[int, float]], share: float) -> int | None:
    """First epoch whose value is at least ``share`` of the last one; None for an empty history.

    A plain measure of convergence: it depends on the final value, so a model that ends low reaches it early.

    Args:
        values: (epoch, value) of the epochs that have one, in order.
        share: of the last value.

    >>> epochs_to_reach([(1, 0.5), (2, 0.80), (3, 0.86), (4, 0.90)], 0.95)
    3
    """
    return next((epoch for epoch, value in values if value >= share * values[-1][1]), None)
