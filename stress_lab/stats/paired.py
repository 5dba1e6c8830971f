"""Two models on the same images: what only one of them gets right, and how sure the difference is.

These statements are about two trained networks on the population the images were drawn from. They do not say how the
recipes would compare under other seeds (Dietterich 1998): for that, run several seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm

from stress_lab.errors import PairingError
from stress_lab.records import BoolArray


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
        PairingError: the two do not have one entry an image each.
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
    """Two-sided exact McNemar p-value: is an image on which the models differ as likely to favour either?

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
