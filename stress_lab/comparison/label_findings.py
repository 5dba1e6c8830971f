"""Which labels may be wrong, and what that changes, as frozen dataclasses; a part of ``comparison.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stress_lab.comparison.run_numbers import Estimate
from stress_lab.labels.error_rate import ErrorRate, Stratum

SUSPECT = "label suspect"
PEOPLE = "people disagree"
TWIN = "near-duplicate in train with another label"


@dataclass(frozen=True, kw_only=True)
class LabelIssue:
    """One image with a reason to doubt its label.

    Attributes:
        index: name of the image. ``label``: as scored. ``suggestion``: what it may be; None where nothing suggests one.
        found: of ``label suspect``, ``people disagree``, ``near-duplicate in train with another label``.
        failed: whether any run gets it wrong with confidence.
        normalized_margin: mean probability of the label minus that of the most probable other class, -1 to 1.
        self_confidence: mean probability of the label.
        people: share of people who gave it this label; None where not known.
    """

    index: Any
    label: str
    suggestion: str | None
    found: tuple[str, ...]
    failed: bool
    normalized_margin: float
    self_confidence: float
    people: float | None = None


@dataclass(frozen=True, kw_only=True)
class LabelEffect:
    """A variant's accuracy and rate of confident failures, with all images and without some, such as the suspects.

    Attributes:
        failures, failures_without: confident failures, mean per run.
    """

    variant: str
    accuracy: Estimate
    accuracy_without: Estimate
    failure_rate: Estimate | None
    failure_rate_without: Estimate | None
    failures: float | None
    failures_without: float | None


@dataclass(frozen=True, kw_only=True)
class VerdictWithout:
    """The verdict on a question with all images, and ``without`` the suspects; None where it cannot be asked."""

    question: str
    a: str
    b: str
    verdict: str
    without: str | None


@dataclass(frozen=True, kw_only=True)
class LabelFindings:
    """Label triage of the test images.

    Attributes:
        n: images. ``runs``: whose probabilities are averaged, each variant with the same weight.
        failures: images that any run gets wrong with confidence; None without confidences.
        suspects: images that are ``label suspect``; ``suspect_failures``: of the failures.
        disagreed_failures, twin_failures: of the failures with the other findings; None where not looked at.
        estimated_error_rate: share of wrong labels by the confident joint, which is the models' opinion.
        corrected: labels that the file of corrections changed, ``checked``: that it names; None without a file.
        strata, error_rate: share of wrong labels by what was checked; None without a file.
        effects: by variant. ``verdicts``: by question.
        twins: test images with a near-duplicate in train, ``twin_effects`` by variant; None where not looked for.
        issues: images with a finding, those that fail first, then the lowest margin first; at most 10,000.
    """

    n: int
    runs: int
    failures: int | None
    suspects: int
    suspect_failures: int | None
    disagreed_failures: int | None = None
    twin_failures: int | None = None
    estimated_error_rate: float
    corrected: int | None = None
    checked: int | None = None
    strata: tuple[Stratum, ...] = ()
    error_rate: ErrorRate | None = None
    effects: tuple[LabelEffect, ...] = ()
    verdicts: tuple[VerdictWithout, ...] = ()
    twins: int | None = None
    twin_effects: tuple[LabelEffect, ...] = ()
    issues: tuple[LabelIssue, ...] = ()

    @property
    def turned(self) -> tuple[VerdictWithout, ...]:
        """Verdicts that are others without the suspects."""
        return tuple(one for one in self.verdicts if one.without not in (None, one.verdict))
