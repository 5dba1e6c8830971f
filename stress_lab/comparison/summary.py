"""One run's numbers, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stress_lab.calibration.bins import ReliabilityBins, bin_confidence, bin_numbers, consistency_band, expected_ece
from stress_lab.calibration.equal_coverage import CURVE_THRESHOLDS, failure_curve
from stress_lab.calibration.selective import coverage_at_risk, excess_aurc, risk_at_coverage, risk_coverage
from stress_lab.comparison.alarms import majority
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.measures import MEASURES
from stress_lab.comparison.run_numbers import (
    CalibratedEce,
    CurvePoint,
    Curves,
    Estimate,
    Gap,
    ReliabilityBin,
    RiskPoint,
    RunSummary,
)
from stress_lab.records import BoolArray, FloatArray, IntArray
from stress_lab.stats.class_rates import wilson_bounds
from stress_lab.stats.clusters import CLUSTERED_WILSON, rate_interval
from stress_lab.stats.rates import UNPAIRED, WILSON, epochs_to_reach, rate_gap
from stress_lab.stats.resampling import PERCENTILE, percentile_interval

CURVE_POINTS = 60  # of the risk-coverage curve


def summarize_run(
    loaded: LoadedRun, level: float, metrics: Mapping[str, Estimate], clusters: IntArray | None = None
) -> RunSummary:
    """Accuracy and confident failures, the gaps between splits, and the speed of convergence.

    Args:
        loaded: the run.
        level: of the intervals.
        metrics: by measure, as :func:`summarize_metrics` gives them; empty where the run is not comparable.
        clusters: (N,) which images belong together; None takes each on its own.
    """
    scores, n = loaded.scores, len(loaded.scores)
    right = int(scores.correct.sum())
    failures = None if loaded.failed is None else int(loaded.failed.sum())
    values = [(row["epoch"], row["val/acc"]) for row in loaded.history if "val/acc" in row]
    return RunSummary(
        name=loaded.name,
        variant=loaded.variant,
        seed=loaded.seed,
        folder=loaded.folder,
        n=n,
        accuracy=right / n,
        accuracy_interval=rate_interval(scores.correct, level, clusters),
        accuracy_interval_method=_method(clusters),
        majority_rate=majority(loaded)["majority_rate"],
        errors=n - right,
        failures=failures,
        failure_rate=None if failures is None else failures / n,
        failure_rate_interval=None if loaded.failed is None else rate_interval(loaded.failed, level, clusters),
        failure_rate_interval_method=None if failures is None else _method(clusters),
        nll=None if scores.nll is None else float(scores.nll.mean()),
        ece=_ece(loaded),
        split_accuracy={split: one["accuracy"] for split, one in loaded.evaluation.items()},
        gaps=_list_gaps(loaded, level),
        threshold=loaded.threshold,
        temperature=loaded.temperature,
        epochs=loaded.info.epochs if loaded.info else None,
        max_epochs=loaded.info.max_epochs or None if loaded.info else None,
        epochs_to_90_percent=epochs_to_reach(values, 0.90),
        epochs_to_95_percent=epochs_to_reach(values, 0.95),
        seconds=loaded.info.seconds if loaded.info else None,
        hardware=loaded.info.hardware if loaded.info else {},
        versions=loaded.info.versions if loaded.info else {},
        overrides=tuple(loaded.run.overrides) if loaded.run else (),
        metrics=metrics,
        curves=describe_confidence(loaded, level, clusters),
    )


def _method(clusters: IntArray | None) -> str:
    """Name of a rate's interval in records."""
    return WILSON if clusters is None else CLUSTERED_WILSON


def estimate_rate(count: float, n: int, level: float) -> Estimate:
    """A rate with Wilson's interval; the count may be a mean over runs."""
    low, high = wilson_bounds(np.array([count]), np.array([n]), level)
    return Estimate(value=count / n, low=float(low[0]), high=float(high[0]), method=WILSON)


def _ece(loaded: LoadedRun) -> float | None:
    """Expected calibration error of 15 bins."""
    confidence = loaded.scores.confidence
    return None if confidence is None else bin_confidence(confidence, loaded.scores.correct).ece


def _list_gaps(loaded: LoadedRun, level: float) -> dict[str, Gap]:
    """The gap between each two splits that were evaluated."""
    return {
        f"{first}-{second}": split_gap(loaded, first, second, level)
        for first, second in (("train", "val"), ("train", "test"), ("val", "test"))
        if first in loaded.evaluation and second in loaded.evaluation
    }


def split_gap(loaded: LoadedRun, first: str, second: str, level: float) -> Gap:
    """Accuracy on one split minus that on another, final weights, plain images."""
    a, b = loaded.evaluation[first], loaded.evaluation[second]
    gap = rate_gap(a["n"] - a["errors"], a["n"], b["n"] - b["errors"], b["n"], level)
    return Gap(**gap, method=UNPAIRED)


def summarize_metrics(
    contributions: Mapping[str, FloatArray],
    draws: Mapping[str, FloatArray],
    level: float,
    clusters: IntArray | None = None,
) -> dict[str, Estimate]:
    """Value and interval over images of each measure: Wilson's for a count, the bootstrap's for anything else.

    Args:
        contributions: (N,) by measure. ``draws`` (B,) their means over resampled images.
        level: of the interval.
        clusters: (N,) which images belong together; None takes each on its own.
    """
    found = {}
    for name, values in contributions.items():
        if MEASURES[name].counts:
            (low, high), method = rate_interval(values > 0, level, clusters), _method(clusters)
        else:
            (low, high), method = percentile_interval(draws[name], level), PERCENTILE
        found[name] = Estimate(value=float(values.mean()), low=low, high=high, method=method)
    return found


def describe_confidence(loaded: LoadedRun, level: float, clusters: IntArray | None = None) -> Curves | None:
    """The curves of one run: failures over the threshold, reliability with its band, risk over coverage."""
    confidence, correct = loaded.scores.confidence, loaded.scores.correct
    if confidence is None:
        return None
    n, confident = len(correct), ~correct * confidence  # of wrong answers, else 0
    counts = failure_curve(confidence, correct, CURVE_THRESHOLDS)
    bins = bin_confidence(confidence, correct)
    mean_ece, high_ece = expected_ece(confidence, len(bins.count), level)
    coverage, risk = risk_coverage(confidence, correct)
    rows = np.unique(np.linspace(0, n - 1, min(n, CURVE_POINTS)).round().astype(int))
    return Curves(
        interval_method=_method(clusters),
        failure_curve=tuple(
            CurvePoint(threshold=threshold, count=count, interval=rate_interval(confident > threshold, level, clusters))
            for threshold, count in zip(CURVE_THRESHOLDS, counts, strict=True)
        ),
        reliability=_describe_bins(bins, confidence, correct, level, clusters),
        ece_if_calibrated=CalibratedEce(mean=mean_ece, high=high_ece),
        risk_coverage=tuple(RiskPoint(coverage=float(coverage[row]), risk=float(risk[row])) for row in rows),
        excess_aurc=excess_aurc(confidence, correct),
        coverage_at_5_percent_risk=coverage_at_risk(confidence, correct, 0.05),
        risk_at_80_percent_coverage=risk_at_coverage(confidence, correct, 0.8),
    )


def _describe_bins(
    bins: ReliabilityBins, confidence: FloatArray, correct: BoolArray, level: float, clusters: IntArray | None
) -> tuple[ReliabilityBin, ...]:
    """Each bin that holds an image, with its interval and the band of a calibrated run."""
    low, high = consistency_band(confidence, len(bins.count), level)
    which = bin_numbers(confidence, len(bins.count))
    return tuple(
        ReliabilityBin(
            bin=int(m) + 1,
            count=int(bins.count[m]),
            confidence=float(bins.confidence[m]),
            accuracy=float(bins.accuracy[m]),
            interval=rate_interval(correct[inside], level, None if clusters is None else clusters[inside]),
            band=(float(low[m]), float(high[m])),
        )
        for m in np.flatnonzero(bins.count)
        for inside in [which == m]
    )
