"""Images that belong together, such as those of one patient: intervals, tests and the design effect.

Images of one patient, site or video resemble each other, so n of them hold less information than n independent ones.
Everything here takes ``clusters (N,)``, any value that images of one cluster share, and resamples or swaps whole
clusters. Below some ten clusters every interval is rough; ``describe_clusters`` says how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import fftconvolve
from scipy.stats import binom, norm
from scipy.stats import t as student

from stress_lab.records import FloatArray, IntArray
from stress_lab.stats.rates import wilson_interval

ENUMERATED = 1 << 22  # sums of whole numbers up to this size are all counted
FLIPS = 99_999  # random ones of sums that are not whole numbers
CLUSTERED_WILSON = "Wilson score, effective number of images"  # names of intervals in records
CLUSTERED_T = "t over clusters"
FEW = 10  # clusters below which intervals are rough
CHUNK = 1 << 21  # signs drawn at a time: 16 MB as float64


@dataclass(frozen=True)
class ClusterSize:
    """How much less independent information clustered images hold.

    Attributes:
        images: n. ``clusters``: g.
        design_effect: variance of the mean of clusters over that of independent images; 1 where clusters tell nothing.
        effective_images: n over the design effect, at most n.
    """

    images: int
    clusters: int
    design_effect: float
    effective_images: float

    @property
    def is_rough(self) -> bool:
        """Whether there are too few clusters for intervals to keep what they promise."""
        return self.clusters < FEW


def number_clusters(clusters: ArrayLike) -> IntArray:
    """(N,) the same clusters as numbers from 0, in sorted order of their names."""
    return np.asarray(np.unique(np.asarray(clusters), return_inverse=True)[1]).ravel()


def sum_clusters(values: FloatArray, clusters: ArrayLike) -> tuple[FloatArray, IntArray]:
    """Sums (…, G) of values (…, N) over each cluster, and the clusters' sizes (G,)."""
    number = number_clusters(clusters)
    order, sizes = np.argsort(number, kind="stable"), np.bincount(number)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.add.reduceat(np.asarray(values, dtype=np.float64)[..., order], starts, axis=-1), sizes


def describe_clusters(values: ArrayLike, clusters: ArrayLike) -> ClusterSize:
    """The design effect of a mean of values (N,), such as 1 and 0 for right and wrong (Kish 1965, chapter 8).

    The variance of clusters is the usual linearised one of a ratio of sums. With a single cluster, or values that are
    all equal, the effect is 1, for nothing can be estimated.

    >>> describe_clusters([1, 1, 0, 0, 1, 1, 0, 0], [1, 1, 2, 2, 3, 3, 4, 4]).design_effect
    2.3333333333333335
    """
    values = np.asarray(values, dtype=np.float64)
    sums, sizes = sum_clusters(values - values.mean(), clusters)
    g, n, spread = len(sizes), len(values), float(values.var(ddof=1)) if len(values) > 1 else 0.0
    if g < 2 or spread == 0:
        return ClusterSize(n, g, 1.0, float(n))
    effect = float((sums**2).sum()) * g / (g - 1) / (n * spread)
    return ClusterSize(n, g, effect, n / max(effect, 1.0))


def clustered_wilson_interval(event: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval of a rate over clustered images: Wilson's, for the effective number of images.

    That number is n over the design effect, times (z/t)² with t of g - 1 degrees of freedom, as Korn and Graubard
    (1998, Survey Methodology 24:193) do for the exact interval; never more than n.

    Args:
        event: (N,) whether it happened, such as being right.
        clusters: (N,) which images belong together.

    Returns:
        (low, high); (0, 1) for a single cluster, from which nothing can be concluded about others.
    """
    values = np.asarray(event, dtype=np.float64)
    size = describe_clusters(values, clusters)
    if size.clusters < 2:
        return 0.0, 1.0
    z, t = norm.ppf(0.5 + level / 2), student.ppf(0.5 + level / 2, size.clusters - 1)
    n, rate = size.effective_images * (z / t) ** 2, float(values.mean())
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def rate_interval(event: ArrayLike, level: float, clusters: ArrayLike | None = None) -> tuple[float, float]:
    """Wilson's interval of a rate over images (N,), or over clusters of them where they are given."""
    if clusters is not None:
        return clustered_wilson_interval(event, clusters, level)
    values = np.asarray(event)
    return wilson_interval(int(values.sum()), len(values), level)


def clustered_mean_interval(values: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval of a mean over clustered images, such as of differences: Student's t with cluster-robust variance.

    Args:
        values: (N,) contribution of each image.
        clusters: (N,) which images belong together.

    Returns:
        (low, high); infinite for a single cluster, from which nothing can be concluded about others.
    """
    values = np.asarray(values, dtype=np.float64)
    sums, sizes = sum_clusters(values - values.mean(), clusters)
    g, n = len(sizes), len(values)
    if g < 2:
        return -np.inf, np.inf
    half = float(student.ppf(0.5 + level / 2, g - 1) * np.sqrt((sums**2).sum() * g / (g - 1)) / n)
    return float(values.mean()) - half, float(values.mean()) + half


def paired_permutation_p(differences: ArrayLike, clusters: ArrayLike | None = None) -> float:
    """Two-sided p-value that two models are alike: their answers are swapped at random, whole clusters at a time.

    Valid for any mean of contributions, balanced accuracy included. Each sign of a cluster's sum is equally likely if
    the models are alike, so with g clusters that differ the smallest p is 2/2^g: five cannot reach 0.05. Sums of whole
    numbers, as of right minus wrong, are counted exactly (for images on their own this is McNemar's exact test); others
    by 99,999 random swaps of a fixed seed, the observed one counted (Phipson and Smyth 2010).

    Args:
        differences: (N,) contribution of each image under B minus that under A.
        clusters: (N,) which images belong together; None takes each on its own.

    >>> paired_permutation_p([1, 1, 1, 1, 1, 0])
    0.0625
    """
    values = np.asarray(differences, dtype=np.float64)
    sums = values if clusters is None else sum_clusters(values, clusters)[0]
    sizes = np.abs(sums[np.abs(sums) > 1e-12])
    if len(sizes) == 0:
        return 1.0
    observed = abs(float(sums.sum()))
    if (np.rint(sizes) == sizes).all() and sizes.sum() < ENUMERATED:
        return _exact_p(sizes.astype(np.int64), round(observed))
    return _random_p(sizes, observed)


def _exact_p(sizes: IntArray, observed: int) -> float:
    """Share of all signs of whole numbers (G,) whose sum is at least as far from 0 as the observed one."""
    if observed == 0:
        return 1.0
    laws = []  # of each distinct size: how many of its clusters are positive, spread over the sums this gives
    for size, many in zip(*np.unique(sizes, return_counts=True), strict=True):
        law = np.zeros(many * size + 1)
        law[::size] = binom.pmf(np.arange(many + 1), many, 0.5)
        laws.append(law)
    positive = reduce(fftconvolve, sorted(laws, key=len))  # (total + 1,) probability of each sum of the positive ones
    total = len(positive) - 1
    far = (total - observed) // 2  # the sum of all is 2 × positive - total
    return float(np.clip(2 * positive[: far + 1].sum(), 2.0 ** -min(len(sizes) - 1, 1000), 1.0))


def _random_p(sizes: FloatArray, observed: float) -> float:
    """The same by random signs."""
    rng, reached = np.random.default_rng(0), 0
    for start in range(0, FLIPS, rows := max(1, CHUNK // len(sizes))):
        signs = rng.integers(0, 2, (min(rows, FLIPS - start), len(sizes)), dtype=np.int8) * 2 - 1
        reached += int((np.abs(signs @ sizes) >= observed * (1 - 1e-9)).sum())
    return (reached + 1) / (FLIPS + 1)


def clustered_mcnemar(correct_a: ArrayLike, correct_b: ArrayLike, clusters: ArrayLike) -> dict[str, Any]:
    """McNemar's test for clustered images (Durkalski et al. 2003, Statistics in Medicine 22:2417).

    Each cluster adds the mean difference over its images, so large clusters don't outweigh small ones. It
    needs many clusters to keep its level; :func:`paired_permutation_p` holds for any number.

    Args:
        correct_a, correct_b: (N,) whether each model is right.
        clusters: (N,) which images belong together.

    Returns:
        ``statistic``, chi-square with one degree of freedom, and ``p``; 0 and 1 where no cluster differs.
    """
    sums, sizes = sum_clusters(np.asarray(correct_b, dtype=float) - np.asarray(correct_a, dtype=float), clusters)
    means = sums / sizes
    spread = float((means**2).sum())
    if spread == 0:
        return {"statistic": 0.0, "p": 1.0}
    statistic = float(means.sum()) ** 2 / spread
    return {"statistic": statistic, "p": float(2 * norm.sf(np.sqrt(statistic)))}
