"""Two models on the same images: what only one of them gets right, and how certain the difference is.

These statements are about two trained networks on the population the images were drawn from. They do not say how the
recipes would compare under other seeds (Dietterich 1998): for that, run several seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, norm

from stress_lab.errors import PairingError
from stress_lab.records import BoolArray

TANGO = "Tango score"  # name of ``tango_interval`` in records


@dataclass(frozen=True)
class PairedTable:
    """Counts of images by whether the event holds under model A and under model B; the event may be "is right".

    Attributes:
        both: holds under both. ``only_a``, ``only_b``: under one only. ``neither``: under none.
    """

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def n(self) -> int:
        """All images."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def difference(self) -> float:
        """Rate under B minus rate under A, in [-1, 1]."""
        return (self.only_b - self.only_a) / self.n


def tabulate(event_a: BoolArray, event_b: BoolArray) -> PairedTable:
    """Count the four cells.

    Args:
        event_a, event_b: (N,) whether the event holds for each image under each model, in the same order.

    Raises:
        PairingError: they do not both have one entry per image.
    """
    if event_a.shape != event_b.shape or event_a.ndim != 1 or not len(event_a):
        raise PairingError(f"two models must be compared on the same images, got {event_a.shape} and {event_b.shape}")
    return PairedTable(
        both=int((event_a & event_b).sum()),
        only_a=int((event_a & ~event_b).sum()),
        only_b=int((~event_a & event_b).sum()),
        neither=int((~event_a & ~event_b).sum()),
    )


def mcnemar_exact(table: PairedTable) -> float:
    """Two-sided exact McNemar p-value: is an image on which the models differ equally likely to favour either?

    ``min(1, 2 P(Bin(m, ½) ≤ min(b, c)))`` with b and c the discordant counts and m = b + c (McNemar 1947).

    >>> round(mcnemar_exact(PairedTable(both=5, only_a=1, only_b=7, neither=2)), 4)
    0.0703
    """
    b, c = table.only_a, table.only_b
    return float(min(1.0, 2 * binom.cdf(min(b, c), b + c, 0.5)))


def mcnemar_mid_p(table: PairedTable) -> float:
    """McNemar's mid-p value: the exact one less the probability of the observed split, which is less conservative.

    Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91, who recommend it; 1 - P/2 for b = c.
    Where no image differs there is no evidence at all, and the value is 1.

    >>> round(mcnemar_mid_p(PairedTable(both=5, only_a=1, only_b=7, neither=2)), 4)
    0.0391
    """
    b, c = table.only_a, table.only_b
    if b + c == 0:
        return 1.0
    observed = float(binom.pmf(min(b, c), b + c, 0.5))
    return 1 - observed / 2 if b == c else 2 * float(binom.cdf(min(b, c), b + c, 0.5)) - observed


def wald_interval(table: PairedTable, level: float = 0.95) -> tuple[float, float]:
    """Wald interval of the difference of paired rates, B minus A; too narrow for a handful of discordant images.

    ``d ± z √(b + c - (b - c)²/n) / n`` (definitions: Fleiss, Levin and Paik 2003, section 13.1).
    """
    b, c, n = table.only_a, table.only_b, table.n
    half = float(norm.ppf(0.5 + level / 2)) * np.sqrt(max(0.0, b + c - (b - c) ** 2 / n)) / n
    return float(table.difference - half), float(table.difference + half)


def bootstrap_interval(
    table: PairedTable, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the difference over resampled images, the same images for both models.

    Drawing N images with replacement and counting them is one multinomial draw of the four cells, so this is the paired
    bootstrap itself and costs nothing in N.
    """
    cells = np.array([table.both, table.only_a, table.only_b, table.neither])
    draws = np.random.default_rng(seed).multinomial(table.n, cells / table.n, size=resamples)
    low, high = np.quantile((draws[:, 2] - draws[:, 1]) / table.n, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def tango_score(table: PairedTable, difference: float) -> float:
    """Score statistic z of the hypothesis that rate B minus rate A is ``difference``, in [-1, 1].

    ``z = (c - b - n δ) / √(n (2 q + δ (1 - δ)))`` with b only A, c only B and q the constrained maximum-likelihood
    probability of the cell only A (Tango 1998, Statistics in Medicine 17:891, section 3). It falls as δ rises; at δ = 0
    its square is McNemar's χ². Where the hypothesis leaves no variance, z is 0 or a very large number.
    """
    b, c, n = table.only_a, table.only_b, table.n
    linear = -b - c + (2 * n - c + b) * difference
    constant = -b * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear * linear - 8 * n * constant))
    # the same root of the quadratic twice, neither by subtracting nearly equal numbers
    q = -2 * constant / (linear + root) if linear > 0 else (root - linear) / (4 * n)
    variance = n * (2 * q + difference * (1 - difference))
    return (c - b - n * difference) / math.sqrt(max(variance, 1e-30))


def tango_interval(table: PairedTable, level: float = 0.95) -> tuple[float, float]:
    """Score interval of the difference of paired rates, B minus A: every difference whose score is within ±z.

    Tango 1998, Statistics in Medicine 17:891; recommended for small counts by Fagerland, Lydersen and Laake 2014,
    Statistics in Medicine 33:2850. Within [-1, 1]; ``± z² / (n + z²)`` where no image differs.

    >>> lens = PairedTable(both=43, only_a=1, only_b=0, neither=0)  # Tango's cross-over trial of contact lenses
    >>> [round(bound, 3) for bound in tango_interval(lens, level=0.90)]
    [-0.096, 0.037]
    """
    z, d = float(norm.ppf(0.5 + level / 2)), table.difference
    low = -1.0 if d == -1 else brentq(lambda bound: tango_score(table, bound) - z, -1, d, xtol=1e-12)
    high = 1.0 if d == 1 else brentq(lambda bound: tango_score(table, bound) + z, d, 1, xtol=1e-12)
    return float(low), float(high)


def equivalence_p(table: PairedTable, margin: float) -> float:
    """P-value of two one-sided score tests (TOST): is the difference of paired rates within ±margin?

    The larger p-value of the tests of δ ≤ -margin and of δ ≥ margin (Schuirmann 1987; score: Tango 1998). It is below α
    exactly where the 1 - 2α interval of ``tango_interval`` lies within (-margin, margin).
    """
    return float(max(norm.sf(tango_score(table, -margin)), norm.cdf(tango_score(table, margin))))


def images_needed(discordant: float, difference: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Images that McNemar's test needs to see a difference of paired rates.

    ``(z_{1-α/2} √ψ + z_power √(ψ - d²))² / d²`` with ψ the share of images on which the models differ and d the
    difference of rates (Connor 1987, Biometrics 43:207).

    Raises:
        ValueError: the difference is 0, or larger than the share of images on which the models differ.

    >>> images_needed(discordant=0.06, difference=0.01)
    4707
    """
    if difference == 0:
        raise ValueError("no number of images shows a difference of 0")
    _check_discordant(discordant, difference)
    spread = math.sqrt(discordant - difference**2)
    root = float(norm.ppf(1 - alpha / 2)) * math.sqrt(discordant) + float(norm.ppf(power)) * spread
    return math.ceil(root**2 / difference**2)


def mcnemar_power(n: int, discordant: float, difference: float, alpha: float = 0.05) -> float:
    """Probability that McNemar's test of n images rejects; ``images_needed`` solved for the power (Connor 1987).

    A normal approximation that leaves out rejections towards the wrong side, so that it is α/2 at a difference of 0.

    Raises:
        ValueError: the difference is larger than the share of images on which the models differ, or that share is 0.

    >>> round(mcnemar_power(4707, discordant=0.06, difference=0.01), 3)
    0.8
    """
    _check_discordant(discordant, difference)
    spread = math.sqrt(max(discordant - difference**2, 1e-30))
    distance = abs(difference) * math.sqrt(n) - float(norm.ppf(1 - alpha / 2)) * math.sqrt(discordant)
    return float(norm.cdf(distance / spread))


def _check_discordant(discordant: float, difference: float) -> None:
    """Raise ValueError unless |difference| ≤ discordant ≤ 1 and discordant > 0."""
    if not (abs(difference) <= discordant <= 1 and discordant > 0):
        raise ValueError(f"models that differ on a share {discordant:g} of images cannot differ by {difference:g}")
