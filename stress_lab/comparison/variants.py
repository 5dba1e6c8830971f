"""Variants against the reference, over all their seeds: every measure, the verdicts, and the control A/A beside A/B."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from stress_lab.calibration.equal_coverage import split_change
from stress_lab.comparison.measured import Measured
from stress_lab.comparison.measures import (
    JUDGED_BY,
    MEASURES,
    Measure,
)
from stress_lab.comparison.options import Options
from stress_lab.comparison.summary import summarize_metrics
from stress_lab.comparison.verdict import decide, interval_over_runs, judge_models, judge_recipes, paired_t
from stress_lab.records import FloatArray
from stress_lab.stats.paired import TANGO, mcnemar_mid_p, tabulate, tango_interval
from stress_lab.stats.resampling import HIERARCHICAL, PERCENTILE, hierarchical_interval, percentile_interval
from stress_lab.stats.seeds import outperformance, permutation_p


def summarize_variants(measured: Measured) -> list[dict[str, Any]]:
    """Mean, spread and every seed's value of each measure, by variant."""
    found = []
    for variant in measured.variants:
        rows = measured.rows(variant)
        metrics = {}
        for name in measured.shared(rows):
            values = measured.values(variant, name)
            metrics[name] = {
                "mean": float(values.mean()),
                "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
                "values": values.tolist(),
            }
        found.append(
            {
                "variant": variant,
                "k": len(rows),
                "seeds": [measured.runs[row].seed for row in rows],
                "runs": [measured.runs[row].name for row in rows],
                "metrics": metrics,
            }
        )
    return found


def run_metrics(measured: Measured, level: float) -> list[dict[str, Any]]:
    """Value and interval of each measure, by run."""
    return [
        summarize_metrics(contributions, draws, level)
        for contributions, draws in zip(measured.contributions, measured.draws, strict=True)
    ]


def ask_questions(measured: Measured, options: Options) -> tuple[list[dict[str, Any]], list[str]]:
    """The primary questions with their verdicts, and a note for each that could not be asked."""
    reference, *others = measured.variants
    notes: list[str] = []
    asked = []
    for variant in others:
        shared = measured.shared(measured.rows(reference) + measured.rows(variant))
        for name in options.primary:
            if JUDGED_BY[name] not in shared:
                notes.append(f"{variant} against {reference}: no confidences, so nothing is said of {name}")
            elif name == "confident_failures" and not measured.kept:
                notes.append(f"no prediction of {reference} is above the threshold, so nothing is said of {name}")
            else:
                asked.append((variant, name))
    questions = [_ask(measured, reference, variant, name, options, len(asked)) for variant, name in asked]
    if questions:
        decide(questions, options)
    return questions, notes


def _ask(measured: Measured, a: str, b: str, name: str, options: Options, questions: int) -> dict[str, Any]:
    """One question of so many, with its evidence."""
    measure, margin = MEASURES[JUDGED_BY[name]], options.margins[name]
    rows_a, rows_b = measured.rows(a), measured.rows(b)
    values_a, values_b = measured.values(a, measure.name), measured.values(b, measure.name)
    n = len(measured.runs[0].scores)
    if len(rows_a) == len(rows_b) == 1:
        images = [measured.contributions[row][measure.name] for row in (*rows_a, *rows_b)]
        evidence = judge_models(images[0], images[1], margin, options, questions)
    else:
        draws_a, draws_b = measured.resampled(a, measure.name), measured.resampled(b, measure.name)
        evidence = judge_recipes((values_a, values_b), (draws_a, draws_b), n, margin, options, questions)
    if name == "confident_failures" and (measured.kept or 0) <= margin * n:
        evidence["equivalent"] = False  # so few predictions are kept that nothing could differ by the margin
    return {
        "question": name,
        "measure": measure.name,
        "better": measure.better,
        "a": a,
        "b": b,
        "k_a": len(rows_a),
        "k_b": len(rows_b),
        "n": n,
        "outperformance": _outperformance(measure, values_a, values_b),
        "mean_a": float(values_a.mean()),
        "mean_b": float(values_b.mean()),
        "margin": margin,
        **evidence,
        "control": control(measured, (a, b), measure.name, options.alpha),
        "fair": fair_counts(measured, a, b) if name == "confident_failures" else None,
    }


def _outperformance(measure: Measure, values_a: FloatArray, values_b: FloatArray) -> float | None:
    """Probability that a run of B is better than one of A; None where a variant has one run only."""
    if min(len(values_a), len(values_b)) < 2:
        return None
    sign = 1 if measure.better == "higher" else -1
    return outperformance(sign * values_a, sign * values_b)


def control(measured: Measured, variants: Sequence[str], measure: str, alpha: float) -> dict[str, Any] | None:
    """A/A: every two runs of one variant, compared as if they were two variants; None with one seed each.

    Returns:
        ``pairs`` compared, ``mean`` and ``largest`` absolute difference between them, and of counts ``significant``:
        how many of the pairs McNemar's test (uncorrected) would have called different. ``of_means`` is the largest one
        scaled to a difference of means of as many runs as the two variants have.
    """
    pairs = [two for variant in variants for two in itertools.combinations(measured.rows(variant), 2)]
    if not pairs:
        return None
    sizes, significant = [], 0
    for a, b in pairs:
        first, second = (measured.contributions[row][measure] for row in (a, b))
        sizes.append(abs(float(second.mean() - first.mean())))
        if MEASURES[measure].counts:
            significant += mcnemar_mid_p(tabulate(first > 0, second > 0)) < alpha
    return {
        "pairs": len(pairs),
        "mean": float(np.mean(sizes)),
        "largest": max(sizes),
        "of_means": max(sizes) * float(np.sqrt(np.mean([1 / len(measured.rows(variant)) for variant in variants]))),
        "significant": int(significant) if MEASURES[measure].counts else None,
    }


def fair_counts(measured: Measured, a: str, b: str) -> dict[str, Any]:
    """Mean count of confident failures a run: raw, at equal coverage, calibrated; and what the change is made of.

    ``by_ranking`` is the change at equal coverage, which a mere change of confidence cannot make; ``by_confidence`` is
    the rest of the raw change. The equal coverage here is that of each of A's runs; the split is our own definition.
    """
    rows_a, rows_b = measured.rows(a), measured.rows(b)
    parts = [
        split_change(measured.runs[i].scores, measured.runs[j].scores, measured.runs[i].threshold)
        for i, j in itertools.product(rows_a, rows_b)
    ]
    found = {key: float(np.mean([part[key] for part in parts])) for key in parts[0]}
    n = len(measured.runs[0].scores)
    calibrated = "confident_failures_calibrated"
    known = calibrated in measured.shared(rows_a + rows_b)
    for side, variant in (("a", a), ("b", b)):
        found[f"calibrated_{side}"] = float(n * measured.values(variant, calibrated).mean()) if known else None  # type: ignore[assignment]
        matched = measured.values(variant, "confident_failures_matched")
        found[f"equal_coverage_{side}"] = float(n * matched.mean())
    return {**found, "kept": measured.kept}


def compare_measures(measured: Measured, options: Options) -> list[dict[str, Any]]:
    """Each variant against the reference on every measure; exploratory, without correction.

    ``improvement`` is the difference with the sign that makes better positive.
    """
    reference, *others = measured.variants
    found = []
    for variant in others:
        shared = measured.shared(measured.rows(reference) + measured.rows(variant))
        metrics = [_compare_measure(measured, reference, variant, name, options) for name in shared]
        found.append({"a": reference, "b": variant, "metrics": metrics})
    return found


def _compare_measure(measured: Measured, a: str, b: str, name: str, options: Options) -> dict[str, Any]:
    """Difference B - A of one measure, its interval, its p-value and its control."""
    measure = MEASURES[name]
    values_a, values_b = measured.values(a, name), measured.values(b, name)
    single = len(values_a) == len(values_b) == 1
    found = (_estimate_networks if single else _estimate_recipes)(measured, a, b, measure, options)
    sign = 1 if measure.better == "higher" else -1
    low, high = sorted(sign * bound for bound in found["interval"])
    return {
        "metric": name,
        "title": measure.title,
        "definition": measure.definition,
        "better": measure.better,
        "mean_a": float(values_a.mean()),
        "mean_b": float(values_b.mean()),
        **found,
        "improvement": sign * found["difference"],
        "improvement_interval": (low, high),
        "outperformance": _outperformance(measure, values_a, values_b),
        "control": control(measured, (a, b), name, options.alpha),
    }


def _estimate_networks(measured: Measured, a: str, b: str, measure: Measure, options: Options) -> dict[str, Any]:
    """Difference of two trained networks, its interval and its p-value; of counts the same as the verdict's."""
    row_a, row_b = measured.rows(a)[0], measured.rows(b)[0]
    first, second = (measured.contributions[row][measure.name] for row in (row_a, row_b))
    if measure.counts:
        table = tabulate(first > 0, second > 0)
        found = {"difference": table.difference, "interval": tango_interval(table, options.level)}
        return {**found, "interval_method": TANGO, "p": mcnemar_mid_p(table)}
    draws = measured.draws[row_b][measure.name] - measured.draws[row_a][measure.name]
    found = {"difference": float(second.mean() - first.mean()), "interval": percentile_interval(draws, options.level)}
    return {**found, "interval_method": PERCENTILE, "p": paired_t(first, second)}


def _estimate_recipes(measured: Measured, a: str, b: str, measure: Measure, options: Options) -> dict[str, Any]:
    """Difference of two recipes over their runs, its interval and its p-value; of counts the same as the verdict's."""
    rates = measured.values(a, measure.name), measured.values(b, measure.name)
    draws = measured.resampled(a, measure.name), measured.resampled(b, measure.name)
    if measure.counts:
        interval = interval_over_runs(rates, draws, len(measured.runs[0].scores), options.level)
    else:
        interval = hierarchical_interval(*draws, options.level, means=rates)
    difference = float(rates[1].mean() - rates[0].mean())
    return {
        "difference": difference,
        "interval": interval,
        "interval_method": HIERARCHICAL,
        "p": permutation_p(*rates),
    }
