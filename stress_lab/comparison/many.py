"""What a comparison of many variants found, as frozen dataclasses: the leaderboard and its pairs, crossed factors.

Rates are fractions, intervals are (low, high).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stress_lab.comparison.evidence import Interval


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The place of one variant.

    Attributes:
        value: of the measure, the mean over ``k`` runs. ``failures``: mean confident failures per run, if known.
        rank_low, rank_high: ranks that the pairs told apart leave open.
        letters: of the tie groups it belongs to, the first group being ``a``.
    """

    variant: str
    k: int
    value: float
    interval: Interval
    interval_method: str
    failures: float | None
    rank_low: int
    rank_high: int
    letters: str


@dataclass(frozen=True, kw_only=True)
class PairTest:
    """Two variants, the better placed one first.

    Attributes:
        a, b: their places on the leaderboard, from 0. ``lead``: how much better ``a`` is, 0 or more.
        only_a, only_b: images that only one of them gets right, or fails; None with several runs.
        p_adjusted: Holm's, over all pairs. ``apart``: whether it is at most ``alpha``.
        error_consistency: κ, the mean over pairs of runs; None where it is undefined.
    """

    a: int
    b: int
    lead: float
    interval: Interval
    only_a: int | None
    only_b: int | None
    p: float
    p_adjusted: float
    apart: bool
    error_consistency: float | None


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Two clusters that join, each a place on the leaderboard or, from the number of variants on, an earlier merge."""

    a: int
    b: int
    error_consistency: float


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """All variants sorted by one measure, and every pair of them tested.

    Attributes:
        measure, title, better: of the measure. ``unit``: ``models`` with one run each, else ``recipes``.
        standings: the best first. ``pairs``: of every two, row by row.
        ties: maximal runs of neighbours, as (first, last) places, within which no pair is told apart.
        apart: number of pairs told apart.
        smallest_p: that the test can give for the pair with most runs, ``smallest_adjusted_p`` after Holm over all
            pairs; None with one run each. ``seeds_to_reach``: runs of each variant that could tell a pair apart.
        likeness_order: places, so that variants with the same mistakes stand side by side. ``merges``: how they join.
    """

    measure: str
    title: str
    better: str
    unit: str
    n: int
    level: float
    alpha: float
    test: str
    interval_method: str
    standings: tuple[Standing, ...]
    pairs: tuple[PairTest, ...]
    ties: tuple[tuple[int, int], ...]
    apart: int
    smallest_p: float | None = None
    smallest_adjusted_p: float | None = None
    seeds_to_reach: int | None = None
    likeness_order: tuple[int, ...] = ()
    merges: tuple[Merge, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A combination of levels, and the variant that has it; ``values``: of each measure, the mean over its runs."""

    variant: str
    levels: Mapping[str, str]
    values: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A contrast of crossed variants, on one measure.

    Attributes:
        kind: ``main``: ``level`` of ``factor`` minus ``base``, averaged over the other factors' levels. ``simple``: the
            same where ``other`` is at ``other_level``. ``interaction``: how much that difference changes when ``other``
            goes from ``other_base`` to ``other_level``.
        difference: of rates, with its interval.
        p: of no effect, by ``test``. ``p_adjusted``: Holm's, over the main effects and interactions of all measures;
            None for simple ones.
        apart: whether ``p_adjusted`` is at most alpha and the interval leaves out zero.
    """

    measure: str
    kind: str
    factor: str
    level: str
    base: str
    other: str | None = None
    other_level: str | None = None
    other_base: str | None = None
    difference: float
    interval: Interval
    interval_method: str
    test: str
    p: float
    p_adjusted: float | None = None
    apart: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Factors:
    """Crossed variants: every combination of the factors' levels was run.

    Attributes:
        levels: by factor, the first one being the base. ``cells``: of each combination.
        measures: titles by name. ``better``: ``higher`` or ``lower``, by measure.
        effects: main effects, interactions, and with two factors the simple effects.
    """

    levels: Mapping[str, tuple[str, ...]]
    cells: tuple[Cell, ...]
    measures: Mapping[str, str]
    better: Mapping[str, str]
    effects: tuple[Effect, ...]
    level: float
    alpha: float
