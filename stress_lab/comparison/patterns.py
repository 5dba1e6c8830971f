"""Measured patterns of the reference's failures, and whether the fix helped there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.measures import fails_matched, kept_predictions
from stress_lab.comparison.options import Options
from stress_lab.comparison.result import FoundPattern, PatternFindings
from stress_lab.records import BoolArray, FloatArray, IntArray
from stress_lab.slices.discovery import find_patterns
from stress_lab.slices.effect import compare_inside, example_rows
from stress_lab.slices.rules import event_inside, is_member

_Failed = tuple[BoolArray, IntArray]  # which images, and as what


def find_failures(runs: Sequence[LoadedRun], confident: bool, kept: int | None = None) -> tuple[BoolArray, IntArray]:
    """What a variant fails, and as what: one event and one answer per image over all its runs.

    Args:
        runs: of one variant.
        confident: whether the failures are the confident ones, or all errors.
        kept: count failures among this many most confident predictions, instead of those above the threshold.

    Returns:
        ``event (N,)``: at least half of the runs fail.
        ``pred (N,)``: for these images the answer most failing runs give, for the others the first run's.
    """
    failed = np.stack([_fails(run, kept) if confident else ~run.scores.correct for run in runs])
    answers = np.stack([run.scores.pred for run in runs])
    event, pred = failed.mean(axis=0) >= 0.5, answers[0].copy()
    for row in np.flatnonzero(event) if len(runs) > 1 else ():
        pred[row] = np.bincount(answers[failed[:, row], row]).argmax()
    return event, pred


def _fails(run: LoadedRun, kept: int | None) -> BoolArray:
    """(N,) what one run fails confidently; it must report confidences."""
    assert run.failed is not None
    return run.failed if kept is None else fails_matched(run, kept)


def describe_patterns(
    runs: Sequence[LoadedRun], properties: Mapping[str, FloatArray] | None, options: Options
) -> PatternFindings:
    """Patterns found on one half of the test images and confirmed on the other; every number is from the other half.

    ``fix`` compares each variant with the reference at equal coverage, and over equally many runs of both: "at least
    half" of two runs is another event than of three. If a run reports no confidences, all errors are used.

    Args:
        runs: the reference variant's first.
        properties: (N,) of each test image by name; None where the images are not known.
        options: risk of a false confirmation.
    """
    reference = [run for run in runs if run.variant == runs[0].variant]
    first, scores = reference[0], reference[0].scores
    confident = all(run.failed is not None for run in runs)
    event, pred = find_failures(reference, confident)
    known = properties or {}
    search = find_patterns(event, scores.label, pred, first.classes, known, alpha=options.alpha)
    variants = list(dict.fromkeys(run.variant for run in runs))[1:]
    treated = {
        variant: _find_both(reference, [run for run in runs if run.variant == variant], confident)
        for variant in variants
    }
    found = []
    for pattern in search.found:
        member = is_member(pattern.rule, scores.label, known, first.classes)
        fix = {
            variant: compare_inside(member, *_events(pattern.rule, both, first), ~search.discovery)
            for variant, both in treated.items()
        }
        inside = event_inside(pattern.rule, event, scores.label, pred, first.classes)
        found.append(FoundPattern(pattern=pattern, fix=fix, examples=_name_examples(first, member, inside)))
    return PatternFindings(
        event="confident failure" if confident else "wrong",
        variant=first.variant,
        runs=len(reference),
        fix_runs={variant: min(len(reference), sum(run.variant == variant for run in runs)) for variant in variants},
        properties=tuple(sorted(known)),
        n_discovery=search.n_discovery,
        n_confirmation=search.n_confirmation,
        note=search.note,
        asked=tuple(search.asked),
        found=tuple(found),
    )


def _name_examples(run: LoadedRun, member: BoolArray, inside: BoolArray) -> tuple[Any, ...]:
    """Names of the images that show a pattern, given its members and those of them that have the event."""
    n = len(run.scores)
    confidence = np.ones(n) if run.scores.confidence is None else run.scores.confidence
    return tuple(run.name_images(np.isin(np.arange(n), example_rows(member, inside, confidence))))


def _events(rule: Mapping[str, Any], both: tuple[_Failed, _Failed], first: LoadedRun) -> tuple[BoolArray, BoolArray]:
    """(N,) images that have a pattern's event, of the reference and of another variant."""
    a, b = (event_inside(rule, failed, first.scores.label, answer, first.classes) for failed, answer in both)
    return a, b


def _find_both(reference: Sequence[LoadedRun], others: Sequence[LoadedRun], confident: bool) -> tuple[_Failed, _Failed]:
    """What the reference and another variant fail, at equal coverage, over equally many first runs of each."""
    k, kept = min(len(reference), len(others)), kept_predictions(reference)
    return find_failures(reference[:k], confident, kept), find_failures(others[:k], confident, kept)
