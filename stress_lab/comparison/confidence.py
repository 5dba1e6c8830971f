"""How far one run's confidences can be trusted: calibration, and the threshold above which it may answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import t as student

from stress_lab.calibration.abstention import choose_threshold
from stress_lab.calibration.bins import bin_confidence
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.one_model import Abstention, Calibration
from stress_lab.comparison.options import Options
from stress_lab.comparison.summary import estimate_rate
from stress_lab.records import BoolArray, FloatArray

HALVES = 0  # seed of the split of test images where there is no val
STUDENT = "Student's t over images"  # name of the interval of the gap between confidence and accuracy


def describe_calibration(run: LoadedRun, level: float, ece_high: float) -> Calibration:
    """Calibration of one run."""
    confidence, correct = run.scores.confidence, run.scores.correct
    assert confidence is not None
    gaps = confidence.astype(np.float64) - correct
    half = _half_width(gaps, level)
    gap, ece = float(gaps.mean()), bin_confidence(confidence, correct).ece
    scaled = run.calibrated_confidence
    return Calibration(
        run=run.name,
        ece=ece,
        ece_high=ece_high,
        mean_confidence=float(confidence.mean(dtype=np.float64)),
        gap=gap,
        gap_interval=(gap - half, gap + half),
        gap_interval_method=STUDENT,
        verdict=_judge_calibration(ece > ece_high, gap - half, gap + half),
        temperature=run.temperature,
        ece_scaled=None if scaled is None else bin_confidence(scaled, correct).ece,
    )


def _half_width(values: FloatArray, level: float) -> float:
    """Half of the t interval of a mean; 0 for one image, whose spread is unknown."""
    n = len(values)
    return float(student.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def _judge_calibration(is_off: bool, low: float, high: float) -> str:
    """One word for the ECE's test and the sign of the gap."""
    if not is_off:
        return "calibrated"
    return "overconfident" if low > 0 else "underconfident" if high < 0 else "miscalibrated"


def describe_abstention(run: LoadedRun, options: Options) -> Abstention:
    """The threshold of one run, chosen on val, or else on a random half of the test images."""
    confidence, correct = run.scores.confidence, run.scores.correct
    assert confidence is not None
    val, checked = run.predictions.get("val"), np.ones(len(correct), dtype=bool)
    if val is None:
        checked = np.random.default_rng(HALVES).permutation(len(correct)) % 2 == 0
        chosen = choose_threshold(confidence[~checked], correct[~checked], options.max_risk, options.level)
    else:
        chosen = choose_threshold(val.confidence, val.correct, options.max_risk, options.level)
    described = Abstention(
        run=run.name,
        max_risk=options.max_risk,
        level=options.level,
        chosen_on="half of test" if val is None else "val",
        chosen_n=chosen.n,
        needed=chosen.needed,
        start=chosen.start,
        threshold=chosen.threshold,
        checked_n=int(checked.sum()),
    )
    if chosen.threshold is None:
        return described
    return _check_threshold(described, confidence[checked] >= chosen.threshold, correct[checked], options.level)


def _check_threshold(described: Abstention, kept: BoolArray, correct: BoolArray, level: float) -> Abstention:
    """The same with what the threshold gives on images that did not choose it."""
    answered, wrong = int(kept.sum()), int((kept & ~correct).sum())
    return replace(
        described,
        answered=answered,
        wrong=wrong,
        coverage=estimate_rate(answered, len(kept), level),
        risk=estimate_rate(wrong, answered, level) if answered else None,
    )
