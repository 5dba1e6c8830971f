"""Two recipes over several seeds: do their runs differ by more than the seed does?

The functions take one value per run, ``a (k_A,)`` and ``b (k_B,)``, such as test accuracies, and give B minus A. Runs
of two recipes count as independent samples: sharing a seed does not pair them unless it shares all random numbers.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from itertools import combinations
from math import comb, sqrt

import numpy as np
from scipy.stats import nct, permutation_test, ttest_ind
from scipy.stats import t as student

from stress_lab.records import FloatArray, IntArray

ENUMERATED = 200_000  # up to this many relabelings, all are tried
RESAMPLED = 99_999  # random ones drawn above that


def permutation_p(a: FloatArray, b: FloatArray) -> float:
    """Permutation test of the run labels: how often is |difference of means| at least as large as observed?

    Exact up to 200,000 relabelings, beyond that 99,999 random ones of a fixed seed, the observed one counted (Phipson
    and Smyth 2010). Differences equal up to rounding count as equal. It is valid when the recipes do not differ at
    all, in spread either; see ``smallest_p`` for what a few runs can reach.

    >>> round(permutation_p(np.array([0.90, 0.91, 0.92, 0.93]), np.array([0.94, 0.95, 0.96, 0.97])), 4)
    0.0286
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    pooled = np.concatenate([a, b])
    observed = abs(b.mean() - a.mean()) - 1e-9 * np.ptp(pooled)
    if is_exact(len(a), len(b)):
        sums = pooled[_relabel(len(pooled), len(a))].sum(axis=1)
        differences = np.abs((pooled.sum() - sums) / len(b) - sums / len(a))
        return float((differences >= observed).mean())
    drawn = permutation_test((a, b), _distance, n_resamples=RESAMPLED, vectorized=True, rng=np.random.default_rng(0))
    return float(((drawn.null_distribution >= observed).sum() + 1) / (RESAMPLED + 1))


@lru_cache(maxsize=4)  # many pairs of recipes have the same numbers of runs
def _relabel(runs: int, k: int) -> IntArray:
    """(relabelings, k) every choice of the runs that could have been A's."""
    return np.array(list(combinations(range(runs), k)))


def is_exact(k_a: int, k_b: int) -> bool:
    """Whether ``permutation_p`` tries all relabelings."""
    return comb(k_a + k_b, k_a) <= ENUMERATED


def _distance(a: FloatArray, b: FloatArray, axis: int) -> FloatArray:
    """|difference of means|."""
    return np.asarray(np.abs(b.mean(axis=axis) - a.mean(axis=axis)))


def smallest_p(k_a: int, k_b: int) -> float:
    """Smallest p-value that ``permutation_p`` can give: 2/C(2k, k) for k runs each, else 1/C(k_A + k_B, k_A).

    With equal numbers the relabeling that swaps the recipes is always as extreme as the observed one.

    >>> [round(smallest_p(k, k), 4) for k in (3, 4, 5)]
    [0.1, 0.0286, 0.0079]
    """
    relabelings = comb(k_a + k_b, k_a)
    if not is_exact(k_a, k_b):
        return 1 / (RESAMPLED + 1)
    return (2 if k_a == k_b else 1) / relabelings


def seeds_to_reach(alpha: float) -> int:
    """Fewest runs per recipe for which the permutation test can reach a p-value of at most ``alpha``.

    Raises:
        ValueError: alpha is below what any number of runs gives, or not below 1.

    >>> seeds_to_reach(0.05), seeds_to_reach(0.01)
    (4, 5)
    """
    if not 1 / (RESAMPLED + 1) <= alpha < 1:
        raise ValueError(f"alpha must be from {1 / (RESAMPLED + 1):g} to below 1, not {alpha:g}")
    k = 1
    while smallest_p(k, k) > alpha:
        k += 1
    return k


def welch_interval(a: FloatArray, b: FloatArray, level: float = 0.95) -> tuple[float, float] | None:
    """Welch's t interval of the difference of means, B minus A, by scipy.

    None where a recipe has a single run, or where neither shows any spread. The images are fixed: it covers
    other seeds, not other images.
    """
    if min(len(a), len(b)) < 2 or (np.ptp(a) == 0 and np.ptp(b) == 0):
        return None
    with warnings.catch_warnings():  # scipy warns when one recipe's runs are all equal, which is fine
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = ttest_ind(b, a, equal_var=False).confidence_interval(level)
    return float(interval.low), float(interval.high)


def outperformance(a: FloatArray, b: FloatArray) -> float:
    """Probability that a run of B is above a run of A, ties counted half, over all pairs of runs.

    Mann-Whitney's U over k_A k_B; Bouthillier et al. 2021 (MLSys, section 4) call B meaningfully better from
    0.75 on.

    >>> outperformance(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.875
    """
    gap = np.asarray(b)[:, None] - np.asarray(a)[None, :]
    return float((gap > 0).mean() + (gap == 0).mean() / 2)


def seeds_needed(
    a: FloatArray, b: FloatArray, difference: float, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Runs per recipe that a two-sample t test needs to detect a difference of means, given the spread seen so far.

    The spread is the pooled standard deviation of the given runs; from a handful of runs it is itself a rough guess.
    Never fewer than ``seeds_to_reach(alpha)``.

    Returns:
        None if no recipe has two runs, the runs show no spread, or 1,000 runs would not be enough.
    """
    freedom = len(a) + len(b) - 2
    squares = sum(float(((np.asarray(arm) - np.mean(arm)) ** 2).sum()) for arm in (a, b))
    if freedom < 1 or squares == 0:
        return None
    spread = sqrt(squares / freedom)
    enough = (
        k for k in range(seeds_to_reach(alpha), 1001) if k > 1 and _t_power(k, difference / spread, alpha) >= power
    )
    return next(enough, None)


def _t_power(k: int, effect: float, alpha: float) -> float:
    """Power of the two-sided two-sample t test with k runs each; effect in standard deviations."""
    critical = student.ppf(1 - alpha / 2, 2 * k - 2)
    centre = abs(effect) * sqrt(k / 2)
    return float(nct.sf(critical, 2 * k - 2, centre) + nct.cdf(-critical, 2 * k - 2, centre))
