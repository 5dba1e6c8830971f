"""What changed between two variants, image by image: agreement, tags, confusions, where the images went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stress_lab.comparison.evidence import Interval


@dataclass(frozen=True, kw_only=True)
class PairAgreement:
    """Two runs: error consistency κ, churn of predictions, overlap (Jaccard) of their confident failures."""

    a: str
    b: str
    same_variant: bool
    error_consistency: float | None
    churn: float
    failure_overlap: float | None


@dataclass(frozen=True, kw_only=True)
class MeanAgreement:
    """Means over pairs of runs."""

    pairs: int
    error_consistency: float | None
    churn: float | None
    failure_overlap: float | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Means over the pairs of runs across two variants and within each.

    Attributes:
        across_interval: of κ in ``across``, over images. Older records have that of their first pair instead.
    """

    across: MeanAgreement | None
    within: MeanAgreement | None
    across_interval: Interval | None = None
    across_interval_method: str | None = None
    first_pair: tuple[str, str] | None = None
    first_pair_interval: Interval | None = None
    first_pair_interval_method: str | None = None


@dataclass(frozen=True, kw_only=True)
class Stability:
    """Images by what happened to their confident failure over all runs (:func:`stress_lab.stats.stability.tag_images`).

    Attributes:
        counts, images: by tag. ``still_wrong``: in older records, whose *fixed* holds what is no longer confident
            and whose *broken* holds what is newly confident, fixed images that a run of B still gets wrong.
        by_chance: images of each change that relabelled runs would give. ``k_a``, ``k_b``: runs.
    """

    counts: Mapping[str, int]
    images: Mapping[str, tuple[Any, ...]]
    still_wrong: int | None = None
    by_chance: Mapping[str, float]
    k_a: int
    k_b: int


@dataclass(frozen=True, kw_only=True)
class ConfusionChange:
    """Images of class ``true`` answered with ``predicted``: mean counts a run ``before`` (A) and ``after`` (B)."""

    true: str
    predicted: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Where the images went: (S, S) mean counts over pairs of runs, state under A in rows, under B in columns.

    Attributes:
        states: ``right``, ``wrong, unsure`` and ``wrong, sure`` by the threshold; without confidences only two.
        pairs: of runs, all of A with all of B.
        counts: of images. ``within``: the same between two runs of one variant; None with one run each.
    """

    states: tuple[str, ...]
    pairs: int
    counts: tuple[tuple[float, ...], ...]
    within: tuple[tuple[float, ...], ...] | None = None
