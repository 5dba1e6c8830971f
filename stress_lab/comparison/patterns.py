"""Measured patterns of the reference's failures, and whether the fix helped there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.options import Options
from stress_lab.records import BoolArray, FloatArray, IntArray
from stress_lab.slices.discovery import find_patterns
from stress_lab.slices.inside import compare_inside, example_rows
from stress_lab.slices.rules import event_inside, is_member


def find_failures(runs: Sequence[LoadedRun]) -> tuple[BoolArray, IntArray]:
    """What a variant fails, and as what: one event and one answer an image over all its runs.

    Returns:
        ``event (N,)``: at least half of the runs fail with confidence, or are wrong where confidences are not known.
        ``pred (N,)``: of these images the answer that most failing runs give, of the others that of the first run.
    """
    failed = np.stack([~run.scores.correct if run.failed is None else run.failed for run in runs])
    answers = np.stack([run.scores.pred for run in runs])
    event, pred = failed.mean(axis=0) >= 0.5, answers[0].copy()
    for row in np.flatnonzero(event) if len(runs) > 1 else ():
        pred[row] = np.bincount(answers[failed[:, row], row]).argmax()
    return event, pred


def describe_patterns(
    runs: Sequence[LoadedRun], properties: Mapping[str, FloatArray] | None, options: Options
) -> dict[str, Any]:
    """Patterns found on one half of the test images and confirmed on the other; every number is of the other half.

    Args:
        runs: the reference variant's first.
        properties: (N,) of each test image by name; None where the images are not known.
        options: risk of a false confirmation.
    """
    reference = [run for run in runs if run.variant == runs[0].variant]
    first, scores = reference[0], reference[0].scores
    event, pred = find_failures(reference)
    known = properties or {}
    search = find_patterns(event, scores.label, pred, first.classes, known, alpha=options.alpha)
    variants = list(dict.fromkeys(run.variant for run in runs))[1:]
    confidence = np.ones(len(scores)) if scores.confidence is None else scores.confidence
    treated = {variant: find_failures([run for run in runs if run.variant == variant]) for variant in variants}
    found = []
    for pattern in search.found:
        # of every variant, the reference first: which images have the pattern's event
        inside, *others = (
            event_inside(pattern.rule, failed, scores.label, said, first.classes)
            for failed, said in [(event, pred), *treated.values()]
        )
        member = is_member(pattern.rule, scores.label, known, first.classes)
        shown = example_rows(member, inside, confidence)
        found.append(
            {
                **dataclasses.asdict(pattern),
                "fix": {
                    variant: compare_inside(member, inside, other, ~search.discovery)
                    for variant, other in zip(treated, others, strict=True)
                },
                "examples": first.name_images(np.isin(np.arange(len(scores)), shown)),
            }
        )
    return {
        "event": "wrong" if first.failed is None else "confident failure",
        "variant": first.variant,
        "runs": len(reference),
        "properties": sorted(known),
        "n_discovery": search.n_discovery,
        "n_confirmation": search.n_confirmation,
        "note": search.note,
        "found": found,
    }
