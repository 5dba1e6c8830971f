"""The result of a search: patterns with the counts behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stress_lab.records import BoolArray, FloatArray, IntArray

BOUND = 1.0  # standard errors below the estimate: the lower bound used for ranking


@dataclass(frozen=True)
class Pattern:
    """A set of images and how it fails, counted on the confirmation half only.

    Attributes:
        key: stable name, such as ``contrast:low``, ``true:Shirt``, ``contrast:low & true:Shirt``, ``pair:Coat<>Shirt``
            (each mistaken for the other), ``pair:Shirt>Coat`` (Shirts mistaken for Coats).
        words: the same for a reader.
        rule: what ``is_member`` needs, writable as JSON.
        n, events, rate: images inside, how many have the event, and their share. For a pair the event is narrower: the
            image is mistaken for the other class of the pair.
        n_outside, events_outside, rate_outside: the same for all other images. For a pair the outside is every other
            way to go wrong: each image has K-1 wrong classes, one of which is the other one of its pair.
        compared_with: the outside, in words.
        ratio: rate over rate_outside, with its 95 % interval (``ratio_interval_method``: Katz et al. 1978, by scipy;
            not corrected for the number of patterns, approximate for a pair); None where no image outside, or none
            inside, has the event.
        p: one-sided; for a set with several comparisons the largest (see ``PatternSearch``). ``p_adjusted``: Holm's.
        confirmed: ``p_adjusted`` is below alpha and the ratio at least ``min_ratio``.
        found_rate_ratio: the ratio on the discovery half, too high by selection; None without events outside.
    """

    key: str
    words: str
    rule: dict[str, Any]
    n: int
    events: int
    rate: float
    n_outside: int
    events_outside: int
    rate_outside: float
    compared_with: str
    ratio: float | None
    ratio_interval: tuple[float, float] | None
    p: float
    p_adjusted: float
    confirmed: bool
    found_rate_ratio: float | None
    ratio_interval_method: str | None = None  # older records lack it


@dataclass(frozen=True)
class Asked:
    """A class or a fifth that was tested, and the outcome; counted on the confirmation half.

    Attributes:
        key, words: as in :class:`Pattern`.
        outcome: ``confirmed``, or why not.
        n, events, rate, interval: images inside and how many have the event, with the 95 % interval of the rate.
        rate_outside, interval_outside: the same for all other images. All are None where the set could not be built.
        interval_method: of both intervals.
    """

    key: str
    words: str
    outcome: str
    n: int | None = None
    events: int | None = None
    rate: float | None = None
    interval: tuple[float, float] | None = None
    rate_outside: float | None = None
    interval_outside: tuple[float, float] | None = None
    interval_method: str | None = None


@dataclass(frozen=True)
class Patterns:
    """The result of a search.

    Attributes:
        found: every pattern that was tested, the best of the discovery half first; ``confirmed`` marks those that hold.
        asked: every class and every fifth, found or not.
        n_discovery, n_confirmation: images in each half.
        note: one sentence: how many were tested and hold, or why nothing could be tested.
        discovery: (N,) True for the images that the search saw.
    """

    found: list[Pattern]
    asked: list[Asked]
    n_discovery: int
    n_confirmation: int
    note: str
    discovery: BoolArray


class Counts(NamedTuple):
    """Events of M candidates against three outsides each: the rest of all images, and the rest of each part."""

    events: IntArray  # (M,)
    n: IntArray  # (M,)
    events_outside: IntArray  # (M, 3)
    n_outside: IntArray  # (M, 3)

    def lower_bounds(self) -> FloatArray:
        """(M,) lower bound of the log rate ratio, the least over the outsides; ½ is added to every cell."""
        inside, n = self.events[:, None] + 0.5, self.n[:, None] + 0.5
        outside, m = self.events_outside + 0.5, self.n_outside + 0.5
        error = np.sqrt(np.maximum(0, 1 / inside - 1 / n + 1 / outside - 1 / m))
        return np.asarray((np.log(inside / n) - np.log(outside / m) - BOUND * error).min(axis=1))

    def ratio(self, row: int) -> float | None:
        """Rate inside over the rate among the rest of all; None without events there."""
        events, n = int(self.events_outside[row, 0]), int(self.n_outside[row, 0])
        return float(self.events[row] / self.n[row] * n / events) if events and self.n[row] else None

    def take(self, rows: IntArray) -> Counts:
        """The candidates of some rows."""
        return Counts(*(values[rows] for values in self))
