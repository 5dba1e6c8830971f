"""What two variants mistake for what: the confusions that differ most, however many classes there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stress_lab.comparison.changes import ConfusionChange
from stress_lab.comparison.loading import LoadedRun
from stress_lab.records import BoolArray

LISTED = 40  # confusions, and classes, that a record holds


def list_changes(
    runs: Sequence[LoadedRun], a: str, b: str
) -> tuple[tuple[ConfusionChange, ...], tuple[ConfusionChange, ...]]:
    """The confusions, and the classes' right answers, whose mean counts a run differ most between two variants.

    Only pairs of classes that occur are counted, so that ten thousand classes take no matrix.
    """
    classes = runs[0].classes
    chosen = [run for run in runs if run.variant in (a, b)]
    codes = np.stack([run.scores.label.astype(np.int64) * len(classes) + run.scores.pred for run in chosen])
    pairs, places = np.unique(codes, return_inverse=True)
    places = places.reshape(codes.shape)
    of_b = np.array([run.variant == b for run in chosen])
    before, after = (
        np.bincount(places[mine].ravel(), minlength=len(pairs)) / mine.sum() for mine in (~of_b, of_b)
    )  # (pairs,) images a run
    true, predicted = np.divmod(pairs, len(classes))
    order = np.lexsort((pairs, -np.maximum(before, after), -np.abs(after - before)))

    def pick(wanted: BoolArray) -> tuple[ConfusionChange, ...]:
        """The first of the order that are wanted."""
        return tuple(
            ConfusionChange(
                true=classes[true[place]],
                predicted=classes[predicted[place]],
                before=float(before[place]),
                after=float(after[place]),
            )
            for place in order[wanted[order]][:LISTED]
        )

    return pick(true != predicted), pick(true == predicted)
