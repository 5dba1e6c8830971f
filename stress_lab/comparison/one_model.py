"""The audit of one model as frozen dataclasses; ``comparison.json`` has these names below ``one_model``.

Counts are means over the runs. Rates are fractions, intervals are (low, high) over images.
"""

from __future__ import annotations

from dataclasses import dataclass

from stress_lab.comparison.evidence import Interval
from stress_lab.comparison.run_numbers import Estimate


@dataclass(frozen=True, kw_only=True)
class ClassRates:
    """One class; counts are means over the runs, intervals are Wilson's over images.

    Attributes:
        n: test images of the class. ``predicted``: images given this answer.
        recall: share of its images that are right. ``precision``: share of its answers that are right.
        confident_failures: its images that are wrong above the threshold; None without confidences.
        taken_for: the most frequent wrong answer for its images, and ``taken`` how many; None where all are right.
    """

    name: str
    n: int
    predicted: float
    recall: float | None
    recall_interval: Interval | None
    precision: float | None
    precision_interval: Interval | None
    confident_failures: float | None
    taken_for: str | None
    taken: float


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Images of one class that get the answer of another; counts are means over the runs."""

    true: str
    predicted: str
    count: float
    share: float  # of the images of the true class
    confident: float | None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far one run's confidences can be taken as probabilities.

    Attributes:
        run: its name. ``ece``: of 15 bins; ``ece_high``: what 95 of 100 calibrated nets would stay below.
        gap: mean confidence minus accuracy, above zero for an overconfident net.
        verdict: ``calibrated``, ``overconfident``, ``underconfident`` or ``miscalibrated`` (both, in places).
        ece_scaled: after temperature scaling fitted on val; None without val.
    """

    run: str
    ece: float
    ece_high: float
    mean_confidence: float
    gap: float
    gap_interval: Interval
    gap_interval_method: str
    verdict: str
    temperature: float | None
    ece_scaled: float | None


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """The confidence from which one run may answer, and what that gives on other images.

    Attributes:
        max_risk: the share of answers that may be wrong. ``level``: of the promise and of the intervals.
        chosen_on: ``val``, or ``half of test`` where there is none; it is checked on test, or on the other half.
        threshold: None where no threshold keeps the promise. ``needed``: images that any promise needs.
        start: images that the highest threshold tried keeps.
        chosen_n, checked_n: images. ``coverage``: share of the checked ones that is answered.
        risk: share of the answers that is wrong.
    """

    run: str
    max_risk: float
    level: float
    chosen_on: str
    chosen_n: int
    needed: int
    start: int
    threshold: float | None
    checked_n: int
    answered: int | None = None
    wrong: int | None = None
    coverage: Estimate | None = None
    risk: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class OneModel:
    """The audit of one model, over one run or several.

    Attributes:
        name: of the model. ``runs``: how many. ``n``: test images. ``threshold``: of confident failures.
        accuracy: mean over the runs. ``accuracy_sd``: over the runs, None for one.
        errors, failures: images a run; ``failures`` None without confidences. ``failure_rate``: of all images.
        balanced_accuracy: mean of the classes' recalls (macro recall), over the classes that have images.
        worst_class: name; ``worst_recall`` has a simultaneous interval, since the data chose the class.
        classes: worst recall first, those without images last. ``absent``: those without images.
        confusions: the most frequent ones.
        calibration, abstention: of each run that has confidences.
    """

    name: str
    runs: int
    n: int
    threshold: float
    accuracy: Estimate
    accuracy_sd: float | None
    errors: float
    failures: float | None
    failure_rate: Estimate | None
    balanced_accuracy: Estimate
    worst_class: str
    worst_recall: Estimate
    classes: tuple[ClassRates, ...]
    absent: tuple[str, ...]
    confusions: tuple[Confusion, ...]
    calibration: tuple[Calibration, ...]
    abstention: tuple[Abstention, ...]
