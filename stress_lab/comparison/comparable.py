"""Which runs may be compared; separate from the statistics, which take seconds to import."""

from __future__ import annotations

from collections.abc import Sequence

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
