"""What a comparison found, as frozen dataclasses; :mod:`stress_lab.comparison.codec` turns them into JSON and back.

``comparison.json`` has these names. Rates are fractions, intervals are (low, high), ``a`` is the reference. None stands
for what the sources do not support, such as anything about confidence where there are only hard labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from stress_lab.comparison.changes import Agreement, ConfusionChange, Flow, PairAgreement, Stability
from stress_lab.comparison.evidence import Control, Interval, Question
from stress_lab.comparison.label_findings import LabelFindings
from stress_lab.comparison.many import Factors, Leaderboard
from stress_lab.comparison.one_model import OneModel
from stress_lab.comparison.run_numbers import RunSummary, VariantSummary
from stress_lab.slices.patterns import Asked, Pattern
from stress_lab.stats.paired import PairedTable


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is shown above the verdicts (``alarm``) or noted beside them.

    Attributes:
        check: what was checked. ``sentence``: what was found.
        runs: names of the runs concerned; empty for all.
        facts: the numbers in the sentence, by name.
    """

    FLAT: ClassVar = ("facts",)

    check: str
    alarm: bool
    sentence: str
    runs: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Data:
    """The test images; ``majority_rate`` is the accuracy of always answering ``majority_class``."""

    name: str
    source: str
    classes: tuple[str, ...]
    majority_class: str | None = None
    majority_rate: float | None = None
    test_fingerprint: str | None = None
    sizes: Mapping[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class MeasureDifference:
    """One measure of a variant against the reference's; exploratory, without correction.

    Attributes:
        improvement: the difference with the sign that makes better positive.
        p: of no difference, uncorrected. ``outperformance``: probability that a run of B is better than one of A.
    """

    metric: str
    title: str
    definition: str
    better: str
    mean_a: float
    mean_b: float
    difference: float
    interval: Interval
    interval_method: str | None = None
    p: float
    improvement: float
    improvement_interval: Interval
    outperformance: float | None
    control: Control | None


@dataclass(frozen=True, kw_only=True)
class VariantComparison:
    """A variant against the reference: every measure, which images the two agree on, what they mistake for what.

    Attributes:
        confusions: that changed most, the largest change first; empty in older records. ``answers_right``: the same
            for right answers.
    """

    a: str
    b: str
    metrics: tuple[MeasureDifference, ...]
    agreement: Agreement
    stability: Stability | None
    confusions: tuple[ConfusionChange, ...] = ()
    answers_right: tuple[ConfusionChange, ...] = ()
    flow: Flow | None = None  # missing in older records


@dataclass(frozen=True, kw_only=True)
class EventComparison:
    """One event per image, such as being right, under two models: the paired table, its tests and its interval."""

    table: PairedTable
    rate_a: float
    rate_b: float
    difference: float
    interval: Interval | None = None  # older records have a different one
    interval_method: str | None = None
    mcnemar_exact_p: float
    mcnemar_mid_p: float
    clustered_p: float | None = None


@dataclass(frozen=True, kw_only=True)
class GapChange:
    """Change of the gap between train and test accuracy; ``overfitting`` is reduced, increased, or cannot tell."""

    change: float
    interval: Interval
    interval_method: str | None = None
    overfitting: str
    n_train: int
    n_test: int


@dataclass(frozen=True, kw_only=True)
class PairComparison:
    """Two runs of one seed, image by image; what needs confidences is None without them.

    Attributes:
        differs_in: dotted config keys. ``outcomes``: images by both_right, fixed, broken, both_wrong.
        other_prediction: images that get another answer.
        fixed, broken, failures_gone, failures_new: names of these images.
    """

    a: str
    b: str
    seed: int
    n: int
    differs_in: tuple[str, ...]
    accuracy: EventComparison
    outcomes: Mapping[str, int]
    other_prediction: int
    fixed: tuple[Any, ...]
    broken: tuple[Any, ...]
    confident_failures: EventComparison | None
    confident_failures_matched: EventComparison | None = None
    failures_gone: tuple[Any, ...]
    failures_new: tuple[Any, ...]
    train_test_gap_change: GapChange | None


@dataclass(frozen=True, kw_only=True)
class FoundPattern:
    """A pattern of the reference's failures; ``fix`` compares each variant with the reference inside it."""

    FLAT: ClassVar = ("pattern",)

    pattern: Pattern
    fix: Mapping[str, Mapping[str, Any]]
    examples: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class PatternFindings:
    """Patterns found on one half of the test images and confirmed on the other.

    Attributes:
        event: ``confident failure`` or ``wrong``. ``variant``: the reference. ``runs``: of it.
        fix_runs: of each variant, runs that ``fix`` uses. ``asked``: every class and fifth, found or not.
    """

    event: str
    variant: str
    runs: int
    fix_runs: Mapping[str, int] = field(default_factory=dict)
    properties: tuple[str, ...]
    n_discovery: int
    n_confirmation: int
    note: str
    found: tuple[FoundPattern, ...]
    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A threshold for continuous integration: what was measured, and whether it passed."""

    gate: str
    variant: str | None
    limit: Any
    value: Any
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every number of a comparison.

    Attributes:
        level: of every interval. ``margins``, ``primary``: by question, as asked.
        weights: which weights made the predictions.
        guard: findings about the splits. ``alarms``: those of all findings shown above the verdicts.
        runs: in launch order, the reference variant first. ``comparisons``: of each other variant.
        agreement: between every two runs. ``pairs``: runs of one seed.
        left_out: a sentence for each run left out. ``notes``: what else a reader should know.
        labels: which labels may be wrong, and what that changes; None without probabilities, and in older records.
        lost: those of ``left_out`` whose results are lost; not in the record.
        reference: the variant named as the one that the others are compared against; None where the first one is it.
        leaderboard: of more than four variants. ``shown``: those of them shown image by image, empty for all.
        factors: where the variants are every combination of several keys' values.
        id: a digest of this record and of the gallery's.
        one_model: the audit of the only variant; None where several are compared, and in older records.
    """

    title: str
    data: Data
    level: float
    resamples: int
    margins: Mapping[str, float]
    primary: tuple[str, ...]
    weights: str
    guard: tuple[Finding, ...]
    questions: tuple[Question, ...]
    runs: tuple[RunSummary, ...]
    variants: tuple[VariantSummary, ...]
    comparisons: tuple[VariantComparison, ...]
    agreement: tuple[PairAgreement, ...]
    pairs: tuple[PairComparison, ...]
    patterns: PatternFindings
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    alarms: tuple[Finding, ...] = ()
    gates: tuple[Gate, ...] = ()
    labels: LabelFindings | None = None
    lost: tuple[str, ...] = ()
    reference: str | None = None
    leaderboard: Leaderboard | None = None
    shown: tuple[str, ...] = ()
    factors: Factors | None = None
    id: str = ""
    one_model: OneModel | None = None
