"""The rate of wrong labels, estimated from the part that somebody checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stress_lab.errors import RunError
from stress_lab.stats.rates import wilson_interval

STRATIFIED = "Wilson a stratum, variance estimates recovered (Zou and Donner 2008)"


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Labels of one kind, such as the suspects.

    Attributes:
        name: of the kind.
        size: labels in all. ``checked``: of them looked at, drawn at random. ``wrong``: of these.
    """

    name: str
    size: int
    checked: int
    wrong: int


@dataclass(frozen=True, kw_only=True)
class ErrorRate:
    """Share of wrong labels with its interval; ``rate`` is None where a stratum was not looked at.

    Without a look at some stratum, ``low`` counts none of its labels as wrong and ``high`` all.
    """

    rate: float | None
    low: float
    high: float
    checked: int
    wrong: int


def estimate_error_rate(strata: Sequence[Stratum], level: float = 0.95) -> ErrorRate:
    """The share of wrong labels over all strata, from a random part of each.

    The rate is Σ W_h p_h with W_h the share of the labels that a stratum holds. Its interval joins Wilson intervals of
    the strata by recovering variance estimates (Zou and Donner 2008, equation 5), each narrowed by √(1 − checked/size),
    since a stratum that was checked whole is known.

    Raises:
        RunError: there is no label, or more were checked than there are.

    >>> found = estimate_error_rate([Stratum(name="all", size=100_000, checked=100, wrong=5)])
    >>> found.rate, round(found.low, 3), round(found.high, 3)
    (0.05, 0.022, 0.112)
    """
    total = sum(one.size for one in strata)
    if total == 0 or any(not 0 <= one.wrong <= one.checked <= one.size for one in strata):
        raise RunError(f"{strata} cannot be: each stratum needs wrong <= checked <= size, and some label")
    parts = np.array([_describe(one, level) for one in strata])  # (H, 3): rate, distance below, distance above
    share = np.array([one.size / total for one in strata])
    seen = np.array([one.checked > 0 or one.size == 0 for one in strata])
    rate = float(share @ parts[:, 0])
    below, above = (float(np.sqrt(np.sum((share * parts[:, side]) ** 2))) for side in (1, 2))
    unseen = float(share[~seen].sum())
    return ErrorRate(
        rate=rate if seen.all() else None,
        low=max(0.0, rate - below),
        high=min(1.0, rate + above + unseen),
        checked=sum(one.checked for one in strata),
        wrong=sum(one.wrong for one in strata),
    )


def _describe(stratum: Stratum, level: float) -> tuple[float, float, float]:
    """A stratum's rate, and how far its interval reaches below and above; zeros where nothing was checked."""
    if not stratum.checked:
        return 0.0, 0.0, 0.0
    rate, left = stratum.wrong / stratum.checked, np.sqrt(1 - stratum.checked / stratum.size)
    low, high = wilson_interval(stratum.wrong, stratum.checked, level)
    return rate, float(left * (rate - low)), float(left * (high - rate))
