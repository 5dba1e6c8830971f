"""Every number that runs are compared by, as one contribution per image whose mean is the number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stress_lab.calibration.equal_coverage import count_confident, matched_failures
from stress_lab.calibration.scores import METRICS, metric_contributions
from stress_lab.comparison.loading import LoadedRun
from stress_lab.records import BoolArray, FloatArray

Contributions = dict[str, FloatArray]


@dataclass(frozen=True)
class Measure:
    """A number of a run.

    Attributes:
        better: ``higher`` or ``lower``.
        counts: whether the contribution is 0 or 1, so that McNemar's test applies.
    """

    name: str
    title: str
    better: str
    definition: str
    counts: bool = False


FAILURES = (
    Measure(
        "confident_failures_matched",
        "Confident failures, equal coverage",
        "lower",
        "wrong among the k most confident predictions, k being what the reference has above the threshold",
        counts=True,
    ),
    Measure(
        "confident_failures",
        "Confident failures, raw",
        "lower",
        "wrong with confidence above the threshold",
        counts=True,
    ),
    Measure(
        "confident_failures_calibrated",
        "Confident failures, calibrated",
        "lower",
        "wrong with confidence above the threshold after temperature scaling fitted on val (Guo 2017)",
        counts=True,
    ),
)
SCORES = tuple(
    Measure(metric.name, metric.title, metric.better, metric.definition, counts=metric.name == "accuracy")
    for metric in METRICS.values()
)
MEASURES = {measure.name: measure for measure in (SCORES[0], *FAILURES, *SCORES[1:])}
JUDGED_BY = {"accuracy": "accuracy", "confident_failures": "confident_failures_matched"}  # question: its measure


def kept_predictions(reference: Sequence[LoadedRun]) -> int | None:
    """Average number of predictions above the threshold in the reference's runs; None without confidences."""
    counts = [
        count_confident(run.scores.confidence, run.threshold) for run in reference if run.scores.confidence is not None
    ]
    return round(float(np.mean(counts))) if len(counts) == len(reference) else None


def fails_matched(run: LoadedRun, kept: int) -> BoolArray:
    """(N,) wrong among the ``kept`` most confident predictions of a run, whose confidences are known."""
    assert run.scores.confidence is not None
    return matched_failures(run.scores.confidence, run.scores.correct, kept)


def measure_run(run: LoadedRun, kept: int | None) -> Contributions:
    """Contributions (N,) of each measure that the run's source allows, in the order of MEASURES.

    Args:
        run: one model.
        kept: predictions kept by the matched count, the same for all compared runs.
    """
    found: Contributions = dict(metric_contributions(run.scores))
    confidence = run.scores.confidence
    if confidence is not None and kept is not None and run.failed is not None:
        found["confident_failures"] = run.failed.astype(np.float64)
        found["confident_failures_matched"] = fails_matched(run, kept).astype(np.float64)
    if run.calibrated_confidence is not None:
        calibrated = ~run.scores.correct & (run.calibrated_confidence > run.threshold)
        found["confident_failures_calibrated"] = calibrated.astype(np.float64)
    return {name: found[name] for name in MEASURES if name in found}
