"""The numbers of one run, and of a variant's runs, as frozen dataclasses.

Rates are fractions, intervals are (low, high). None stands for what the sources do not support, such as anything about
confidence where there are only hard labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stress_lab.comparison.evidence import Interval


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measure of one run, with its interval over images."""

    value: float
    low: float
    high: float
    method: str | None = None  # missing in older records


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A measure of a variant over its runs; ``sd`` None for one run."""

    mean: float
    sd: float | None
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Accuracy on one split minus that on another, with its interval, z and p-value."""

    gap: float
    low: float
    high: float
    z: float
    p: float
    method: str | None = None


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Confident failures above a threshold; the interval is of their rate."""

    threshold: float
    count: int
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """A bin of confidence; ``band`` is where its accuracy would lie if the run were calibrated."""

    bin: int
    count: int
    confidence: float
    accuracy: float
    interval: Interval
    band: Interval


@dataclass(frozen=True, kw_only=True)
class CalibratedEce:
    """The ECE that a calibrated net would have by chance."""

    mean: float
    high: float


@dataclass(frozen=True, kw_only=True)
class RiskPoint:
    """Error rate among the most confident share of the images."""

    coverage: float
    risk: float


@dataclass(frozen=True, kw_only=True)
class Curves:
    """How reliable the confidences of one run are."""

    interval_method: str | None = None
    failure_curve: tuple[CurvePoint, ...]
    reliability: tuple[ReliabilityBin, ...]
    ece_if_calibrated: CalibratedEce
    risk_coverage: tuple[RiskPoint, ...]
    excess_aurc: float
    coverage_at_5_percent_risk: float
    risk_at_80_percent_coverage: float


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run's numbers; those of training are None or empty for a file of predictions.

    Attributes:
        n: test images. ``errors`` and ``failures``: wrong ones, and wrong ones above the threshold.
        metrics: by measure; empty where the run is not comparable.
        gaps: between splits, by name, such as ``train-test``.
        seconds: of training. ``overrides``: what was typed for it.
    """

    name: str
    variant: str
    seed: int
    folder: str
    n: int
    accuracy: float
    accuracy_interval: Interval
    accuracy_interval_method: str | None = None  # missing in older records
    errors: int
    failures: int | None
    failure_rate: float | None
    failure_rate_interval: Interval | None
    failure_rate_interval_method: str | None = None
    nll: float | None
    ece: float | None
    split_accuracy: Mapping[str, float]
    gaps: Mapping[str, Gap]
    threshold: float
    temperature: float | None
    epochs: int | None
    max_epochs: int | None = None
    epochs_to_90_percent: int | None
    epochs_to_95_percent: int | None
    seconds: float | None
    hardware: Mapping[str, Any]
    versions: Mapping[str, str]
    overrides: tuple[str, ...] = ()
    majority_rate: float | None = None
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    curves: Curves | None = None


@dataclass(frozen=True, kw_only=True)
class VariantSummary:
    """Means over a variant's runs; ``confusion`` (K, K) mean counts with the true class in rows, None for many K."""

    variant: str
    k: int
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    metrics: Mapping[str, Spread]
    confusion: tuple[tuple[float, ...], ...] | None = None
