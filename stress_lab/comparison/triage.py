"""Label triage: which test labels the models contradict, what people say, and what the verdicts would be without them.

The suspects are found by the mean probabilities of all variants, each with the same weight: taken from one of them,
leaving them out would favour it. Even so the numbers without suspects are no estimate of the accuracy on right labels.
They flatter every variant, since an image that most models get wrong is suspect more often, whatever its label.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab.comparison.evidence import Question
from stress_lab.comparison.label_findings import (
    PEOPLE,
    SUSPECT,
    TWIN,
    LabelEffect,
    LabelFindings,
    LabelIssue,
    VerdictWithout,
)
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.measured import Measured
from stress_lab.comparison.measures import kept_predictions, measure_run
from stress_lab.comparison.options import Options
from stress_lab.comparison.run_numbers import Estimate
from stress_lab.comparison.variants import ask_questions
from stress_lab.labels.confident_learning import LabelIssues, find_label_issues
from stress_lab.labels.error_rate import Stratum, estimate_error_rate
from stress_lab.prediction_files.label_files import read_soft_labels
from stress_lab.records import BoolArray, FloatArray, IntArray, Scores
from stress_lab.stats.rates import WILSON, wilson_interval
from stress_lab.stats.resampling import PERCENTILE, bootstrap_means, percentile_interval
from stress_lab.storage.limits import count_available

LISTED = 10_000  # images in the record
FEW = 0.8  # people disagree where fewer than this share of them gave the label
JUDGED = ("accuracy", "confident_failures_matched", "confident_failures")  # measures that are counted again


@dataclass(frozen=True)
class LabelEvidence:
    """What is known about labels besides predictions, each (N,) in the order of the runs, or None.

    Attributes:
        people: share of people who gave the label. ``majority``: the class that most gave.
        has_twin: whether an image has a near-duplicate in train; ``twin``: its label where that is another, else -1.
    """

    people: FloatArray | None = None
    majority: IntArray | None = None
    has_twin: BoolArray | None = None
    twin: IntArray | None = None


def read_evidence(first: LoadedRun, soft: Path | None) -> LabelEvidence:
    """What a file of soft labels says about the test images; raises RunError where it cannot be read."""
    if soft is None:
        return LabelEvidence()
    ids = first.scores.index if first.ids is None else first.ids
    return LabelEvidence(*read_soft_labels(soft, ids, first.scores.label, first.classes))


def triage_labels(
    measured: Measured,
    options: Options,
    questions: Sequence[Question] = (),
    useless: Collection[str] = (),
    evidence: LabelEvidence | None = None,
) -> tuple[LabelFindings | None, list[str]]:
    """Which labels may be wrong, and what that changes.

    Args:
        measured: the comparable runs.
        options: of the comparison.
        questions: with their verdicts, which are asked again without the suspects.
        useless: variants with a run that learnt nothing; their probabilities do not count.
        evidence: what else is known about the labels.

    Returns:
        None where no run has probabilities, and a sentence where that has a reason that can be removed.
    """
    runs, evidence = measured.runs, evidence or LabelEvidence()
    used = [run for run in runs if run.variant not in useless and run.stream_probs() is not None]
    if not used:
        return None, []
    n, k = len(runs[0].scores), len(runs[0].classes)
    free = count_available()
    if free is not None and 4 * n * k > free / 2:
        return None, [f"labels are not checked: the probabilities of {n:,} images and {k:,} classes need more memory"]
    probs, label = _average(used, n, k), runs[0].scores.label
    issues = find_label_issues([probs], label)
    seen = runs[0].checked
    suspect = issues.is_suspect if seen is None else issues.is_suspect & ~seen
    failed = _any_failure(runs)
    findings = LabelFindings(
        n=n,
        runs=len(used),
        failures=None if failed is None else int(failed.sum()),
        suspects=int(suspect.sum()),
        suspect_failures=_count(suspect, failed),
        disagreed_failures=_count(_disagree(evidence), failed),
        twin_failures=_count(None if evidence.twin is None else evidence.twin >= 0, failed),
        estimated_error_rate=issues.error_rate,
        effects=_weigh_effects(measured, suspect, options),
        verdicts=_ask_again(measured, suspect, options, questions, useless),
        twins=None if evidence.has_twin is None else int(evidence.has_twin.sum()),
        twin_effects=() if evidence.has_twin is None else _weigh_effects(measured, evidence.has_twin, options),
        issues=_list_issues(runs[0], issues, suspect, failed, evidence),
    )
    return _add_checks(findings, runs[0], probs, options.level), []


def _average(runs: Sequence[LoadedRun], n: int, k: int) -> FloatArray:
    """(N, K) mean probabilities over the runs, each variant with the same weight."""
    names = [run.variant for run in runs]
    total = np.zeros((n, k), dtype=np.float32)
    for run in runs:
        weight = np.float32(1 / (len(set(names)) * names.count(run.variant)))
        for rows, probs in run.stream_probs() or ():
            total[rows] += weight * probs
    return total


def _any_failure(runs: Sequence[LoadedRun]) -> BoolArray | None:
    """(N,) whether any run fails an image with confidence; None where a run has no confidences."""
    failed = [run.failed for run in runs if run.failed is not None]
    return np.any(failed, axis=0) if len(failed) == len(runs) else None


def _disagree(evidence: LabelEvidence) -> BoolArray | None:
    """(N,) whether people disagree with a label."""
    return None if evidence.people is None else np.asarray(evidence.people < FEW)


def _count(found: BoolArray | None, failed: BoolArray | None) -> int | None:
    """Failures with a finding; None where either is not known."""
    return None if found is None or failed is None else int((found & failed).sum())


def _restrict(run: LoadedRun, rows: BoolArray) -> LoadedRun:
    """A run on some of its images, with what the verdicts need."""
    scores = run.scores
    confidence = None if scores.confidence is None else scores.confidence[rows]
    kept = Scores(scores.index[rows], scores.label[rows], scores.pred[rows], confidence)
    ids = None if run.ids is None else run.ids[rows]
    return replace(run, scores=kept, ids=ids, predictions={}, source=None, given=None, checked=None)


def _measure(runs: Sequence[LoadedRun], resamples: int) -> Measured:
    """Only what the verdicts need, of every run."""
    kept = kept_predictions([run for run in runs if run.variant == runs[0].variant])
    every = [measure_run(run, kept) for run in runs]
    contributions = [{name: one[name] for name in JUDGED if name in one} for one in every]
    means = iter(bootstrap_means(np.stack([row for one in contributions for row in one.values()]), resamples))
    return Measured(runs, contributions, [{name: next(means) for name in one} for one in contributions], kept)


def _weigh_effects(measured: Measured, without: BoolArray, options: Options) -> tuple[LabelEffect, ...]:
    """Each variant's accuracy and confident failures with all images, and without those marked."""
    every = np.ones(len(without), dtype=bool)
    keep = ~without if not without.all() else every
    return tuple(_weigh(measured, variant, every, keep, options) for variant in measured.variants)


def _weigh(measured: Measured, variant: str, every: BoolArray, keep: BoolArray, options: Options) -> LabelEffect:
    """One variant with all images and with those that are kept."""
    rows = measured.rows(variant)
    known = "confident_failures" in measured.shared(rows)
    right = [measured.contributions[row]["accuracy"] for row in rows]
    failed = [measured.contributions[row]["confident_failures"] for row in rows] if known else None
    return LabelEffect(
        variant=variant,
        accuracy=_estimate(right, every, options),
        accuracy_without=_estimate(right, keep, options),
        failure_rate=None if failed is None else _estimate(failed, every, options),
        failure_rate_without=None if failed is None else _estimate(failed, keep, options),
        failures=None if failed is None else float(np.sum(failed) / len(rows)),
        failures_without=None if failed is None else float(np.sum(np.stack(failed)[:, keep]) / len(rows)),
    )


def _estimate(runs: Sequence[FloatArray], keep: BoolArray, options: Options) -> Estimate:
    """Mean over the runs on some images: Wilson's interval for one run, for several the bootstrap over images."""
    values = np.mean([run[keep] for run in runs], axis=0)
    if len(runs) == 1:
        (low, high), method = wilson_interval(int(values.sum()), len(values), options.level), WILSON
    else:
        draws = bootstrap_means(values[None], min(options.resamples, 1_000))[0]
        (low, high), method = percentile_interval(draws, options.level), PERCENTILE
    return Estimate(value=float(values.mean()), low=low, high=high, method=method)


def _ask_again(
    measured: Measured,
    suspect: BoolArray,
    options: Options,
    questions: Sequence[Question],
    useless: Collection[str],
) -> tuple[VerdictWithout, ...]:
    """The verdict on each question with all images, and without the suspects."""
    if suspect.any() and questions and not suspect.all():
        restricted = [_restrict(run, ~suspect) for run in measured.runs]
        again, _ = ask_questions(_measure(restricted, options.resamples), options, useless)
    else:
        again = list(questions)
    found = {(one.question, one.b): one.verdict for one in again}
    return tuple(
        VerdictWithout(
            question=one.question, a=one.a, b=one.b, verdict=one.verdict, without=found.get((one.question, one.b))
        )
        for one in questions
    )


def _list_issues(
    first: LoadedRun, issues: LabelIssues, suspect: BoolArray, failed: BoolArray | None, evidence: LabelEvidence
) -> tuple[LabelIssue, ...]:
    """The images with a finding: failures first, then the lowest margin first."""
    n = len(suspect)
    none = np.zeros(n, dtype=bool)
    people, twin = _disagree(evidence), None if evidence.twin is None else evidence.twin >= 0
    kinds = {SUSPECT: suspect, PEOPLE: none if people is None else people, TWIN: none if twin is None else twin}
    failures = none if failed is None else failed
    rows = np.flatnonzero(np.any(list(kinds.values()), axis=0))
    order = np.lexsort((rows, issues.normalized_margin[rows], ~failures[rows]))
    names = first.name_images(np.ones(n, dtype=bool))
    return tuple(
        LabelIssue(
            index=names[row],
            label=first.classes[issues.label[row]],
            suggestion=_suggest(first, issues, evidence, row),
            found=tuple(kind for kind, marked in kinds.items() if marked[row]),
            failed=bool(failures[row]),
            normalized_margin=float(issues.normalized_margin[row]),
            self_confidence=float(issues.self_confidence[row]),
            people=None if evidence.people is None else float(evidence.people[row]),
        )
        for row in rows[order][:LISTED].tolist()
    )


def _suggest(first: LoadedRun, issues: LabelIssues, evidence: LabelEvidence, row: int) -> str | None:
    """What a label may be: what most people say, else the models, else a near-duplicate's label."""
    sources: list[Any] = [evidence.majority, issues.suggestion, evidence.twin]
    others = [int(one[row]) for one in sources if one is not None and one[row] not in (-1, issues.label[row])]
    return first.classes[others[0]] if others else None


def _add_checks(findings: LabelFindings, first: LoadedRun, probs: FloatArray, level: float) -> LabelFindings:
    """Add what a file of corrections says about the labels as they were given."""
    if first.given is None or first.checked is None:
        return findings
    doubted, wrong = find_label_issues([probs], first.given).is_suspect, first.scores.label != first.given
    strata = tuple(
        Stratum(
            name=name,
            size=int(inside.sum()),
            checked=int((inside & first.checked).sum()),
            wrong=int((inside & wrong).sum()),
        )
        for name, inside in ((SUSPECT, doubted), ("others", ~doubted))
    )
    rate, corrected, checked = estimate_error_rate(strata, level), int(wrong.sum()), int(first.checked.sum())
    return replace(findings, strata=strata, error_rate=rate, corrected=corrected, checked=checked)
