"""Which runs may be compared; separate from the statistics, which take seconds to import."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stress_lab.comparison.loading import LoadedRun
from stress_lab.errors import PairingError
from stress_lab.stats.pairing import check_paired


def keep_comparable(runs: Sequence[LoadedRun], strict: bool) -> tuple[list[LoadedRun], list[str]]:
    """The runs with the first run's test images and threshold that are not copies, and a note for each other run.

    Raises:
        PairingError: with ``strict``, in place of a note.
    """
    kept, notes = [runs[0]], []
    for run in runs[1:]:
        try:
            check_comparable(runs[0], run)
            _check_no_copy(kept, run)
            _check_no_repeat(kept, run)
        except PairingError as error:
            if strict:
                raise
            notes.append(f"{run.name} is not compared with the others: {error}")
        else:
            kept.append(run)
    return kept, notes


def _check_no_copy(kept: Sequence[LoadedRun], run: LoadedRun) -> None:
    """Raise PairingError where a run of the same variant has the same confidences to the last bit."""
    confidence = run.scores.confidence
    kin = [other for other in kept if other.variant == run.variant and other.scores.confidence is not None]
    for other in kin if confidence is not None else ():
        same = np.array_equal(other.scores.confidence, confidence)  # type: ignore[arg-type]
        if same and np.array_equal(other.scores.pred, run.scores.pred):
            raise PairingError(f"{run.folder} predicts exactly what {other.folder} does: a copy is not another seed")


def _check_no_repeat(kept: Sequence[LoadedRun], run: LoadedRun) -> None:
    """Raise PairingError where another run has the same variant and seed."""
    for other in kept:
        if run.run and other.run and (other.variant, other.seed) == (run.variant, run.seed):
            files = f"one: {other.run.predictions_file('test')}, other: {run.run.predictions_file('test')}"
            raise PairingError(
                f"{run.folder} and {other.folder} are both seed {run.seed} of {run.variant}: a repeat is not another "
                f"seed (to compare the two, set 'predictions={{{files}}}')"
            )


def check_comparable(a: LoadedRun, b: LoadedRun) -> None:
    """Raise PairingError unless both runs were tested on the same images under the same threshold."""
    check_same_images(a, b)
    if a.threshold != b.threshold:
        raise PairingError(f"{a.name} has threshold={a.threshold}, {b.name} has {b.threshold}: use one for both")
    check_paired(a.scores, b.scores)


def check_same_images(a: LoadedRun, b: LoadedRun) -> None:
    """Raise PairingError unless both runs have the same test split."""
    if a.ids is not None and b.ids is not None and not np.array_equal(a.ids, b.ids):
        raise PairingError(f"{a.name} and {b.name} have different images, or another order: align them by id")
    if a.spec is None or b.spec is None:
        return  # prediction files
    if a.spec.fingerprint["test"] != b.spec.fingerprint["test"]:
        raise PairingError(
            f"{a.name} ({a.spec.name}) and {b.name} ({b.spec.name}) have different test images: "
            f"compare runs of one data set"
        )


@dataclass(frozen=True)
class MatchedRuns:
    """Runs, and which of them can be compared; determined once for everything a comparison writes.

    Attributes:
        runs: all, in launch order; the first one's variant is the reference.
        comparable: those that saw the first one's test images under its threshold and are not copies.
        left_out: a sentence about each of the others.
        pairs: (reference, other) of one seed. ``notes``: a sentence about each two runs that cannot be paired.
    """

    runs: Sequence[LoadedRun]
    comparable: Sequence[LoadedRun]
    left_out: Sequence[str]
    pairs: Sequence[tuple[LoadedRun, LoadedRun]]
    notes: Sequence[str]


def match_runs(runs: Sequence[LoadedRun], strict: bool) -> MatchedRuns:
    """Find the runs and pairs that can be compared.

    Args:
        runs: in launch order.
        strict: raise where two runs cannot be compared, instead of leaving one out with a note.

    Raises:
        PairingError: with ``strict``, runs saw other images or used another threshold, or are copies.
    """
    pairs, notes = find_pairs(runs, strict)
    comparable, left_out = keep_comparable(runs, strict)
    return MatchedRuns(runs, comparable, left_out, pairs, notes)


def find_pairs(runs: Sequence[LoadedRun], strict: bool) -> tuple[list[tuple[LoadedRun, LoadedRun]], list[str]]:
    """Runs of different variants with the same seed, the first launched variant as the reference.

    If runs repeat a variant and seed, the first one counts.

    Args:
        runs: in launch order.
        strict: raise where two runs cannot be compared, instead of leaving the pair out with a note.

    Raises:
        PairingError: two runs saw other test images or used another threshold.
    """
    pairs, notes = [], []
    if strict:
        for other in runs[1:]:
            check_same_images(runs[0], other)
    firsts = {(run.variant, run.seed): run for run in reversed(runs)}
    for a, b in itertools.combinations([run for run in runs if firsts[run.variant, run.seed] is run], 2):
        if a.seed != b.seed or a.variant == b.variant:
            continue
        try:
            check_comparable(a, b)
        except PairingError as error:
            if strict:
                raise
            notes.append(str(error))
        else:
            pairs.append((a, b))
    if not pairs and not notes and len({run.variant for run in runs}) > 1:
        notes.append("no two variants share a seed, so nothing is compared in pairs")
    return pairs, notes
