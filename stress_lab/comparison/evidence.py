"""A question about two variants, its evidence and its verdict, as frozen dataclasses.

Rates are fractions, intervals are (low, high), ``a`` is the reference. Fields with a
default are missing in older records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from stress_lab.stats.paired import PairedTable

Interval = tuple[float, float]
Verdict = Literal["helped", "hurt", "equivalent", "cannot tell"]


@dataclass(frozen=True, kw_only=True)
class MoreImages:
    """Test images that would show a difference of ``target`` between two trained networks.

    Attributes:
        images: in total. ``images_more``: in addition. ``alpha``: risk of one of ``corrected_for`` questions.
        moot: whether a net has learnt so little that more data would not help.
    """

    target: float
    images: int
    images_more: int
    power: float | None = None
    alpha: float | None = None
    corrected_for: int = 1
    moot: bool = False


@dataclass(frozen=True, kw_only=True)
class MoreSeeds:
    """Seeds per variant that would show a difference of ``target`` between two recipes.

    Attributes:
        seeds: per variant; None where up to 1,000 are not enough. ``seeds_more``: in addition.
        images: needed instead, where no number of seeds helps. ``spread``: whether runs of a variant differ at all.
        seeds_to_reach: enough for the permutation test to reach ``alpha``. ``out_of_reach``: whether it cannot now, its
            smallest p-value after Holm being ``smallest_adjusted_p``.
    """

    target: float
    power: float | None = None
    seeds: int | None
    seeds_more: int | None
    images: int | None
    spread: bool
    seeds_to_reach: int | None = None
    alpha: float | None = None
    corrected_for: int = 1
    smallest_adjusted_p: float | None = None
    out_of_reach: bool = False
    moot: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelsEvidence:
    """Two trained networks on the same images: McNemar's test, Tango's interval, two one-sided tests of equivalence.

    Attributes:
        clusters: of images, whose answers were swapped together; None where each image stands on its own.
        design_effect: of the difference.
    """

    unit: Literal["models"] = "models"
    difference: float
    interval: Interval
    interval_method: str | None = None
    test: str
    p: float
    equivalent: bool
    table: PairedTable
    exact_p: float
    more: MoreImages
    corrected_for: int = 1
    equivalence_p_uncorrected: float | None = None
    equivalence_p_bonferroni: float | None = None
    clusters: int | None = None
    design_effect: float | None = None


@dataclass(frozen=True, kw_only=True)
class RecipesEvidence:
    """Two recipes over several seeds: permutation of the runs, an interval over images and runs."""

    unit: Literal["recipes"] = "recipes"
    difference: float
    interval: Interval
    interval_method: str | None = None
    test: str
    p: float
    equivalent: bool
    smallest_p: float
    more: MoreSeeds
    corrected_for: int = 1
    equivalence_interval: Interval | None = None
    equivalence_interval_level: float | None = None
    equivalence_interval_method: str | None = None


Evidence = ModelsEvidence | RecipesEvidence


@dataclass(frozen=True, kw_only=True)
class Control:
    """A/A: every pair of runs of one variant, compared as if they were two variants.

    Attributes:
        pairs: compared. ``mean`` and ``largest``: absolute difference within a pair.
        of_means: the largest one, scaled to a difference of means over as many runs as the two variants have.
        significant: of the pairs of counts, how many McNemar's test (uncorrected) would have called different.
    """

    pairs: int
    mean: float
    largest: float
    of_means: float
    significant: int | None


@dataclass(frozen=True, kw_only=True)
class FairCounts:
    """Mean count of confident failures per run: raw, at equal coverage, calibrated; and the parts of the change.

    ``by_ranking`` is the change at equal coverage, which a mere change of confidence cannot cause; ``by_confidence`` is
    the rest of the raw change.
    """

    raw_a: float
    raw_b: float
    change: float
    matched_b: float
    by_ranking: float
    by_confidence: float
    calibrated_a: float | None
    calibrated_b: float | None
    equal_coverage_a: float
    equal_coverage_b: float
    kept: int | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """A primary question about a variant ``b`` and the reference ``a``, and its verdict.

    Attributes:
        question: ``accuracy`` or ``confident_failures``. ``measure``: the one that answers it.
        better: ``higher`` or ``lower``.
        k_a, k_b: runs. ``n``: images. ``mean_a``, ``mean_b``: of the measure over the runs.
        margin: the largest difference that counts as none.
        outperformance: probability that a run of B is better than one of A; None with one run.
        evidence: difference, interval, test.
        p_adjusted: Holm's, over all primary questions. ``alpha``: what it is compared with.
    """

    FLAT: ClassVar = ("evidence",)

    question: str
    measure: str
    better: str
    a: str
    b: str
    k_a: int
    k_b: int
    n: int
    mean_a: float
    mean_b: float
    margin: float
    outperformance: float | None
    evidence: Evidence
    control: Control | None
    fair: FairCounts | None
    p_adjusted: float = 1.0
    alpha: float = 0.05
    verdict: Verdict = "cannot tell"
