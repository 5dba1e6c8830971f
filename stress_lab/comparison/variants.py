"""Variants against the reference, over all their seeds: every measure, the verdicts, and the A/A control beside A/B."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stress_lab.calibration.equal_coverage import split_change
from stress_lab.comparison.evidence import Control, FairCounts, ModelsEvidence, Question, RecipesEvidence
from stress_lab.comparison.measured import Measured
from stress_lab.comparison.measures import (
    JUDGED_BY,
    MEASURES,
    Measure,
)
from stress_lab.comparison.options import Options
from stress_lab.comparison.result import MeasureDifference
from stress_lab.comparison.run_numbers import Estimate, Spread, VariantSummary
from stress_lab.comparison.summary import summarize_metrics
from stress_lab.comparison.verdict import (
    decide,
    interval_over_runs,
    judge_clustered_models,
    judge_models,
    judge_recipes,
    paired_t,
)
from stress_lab.records import FloatArray, IntArray
from stress_lab.stats.clusters import CLUSTERED_T, clustered_mean_interval, paired_permutation_p
from stress_lab.stats.paired import TANGO, mcnemar_mid_p, tabulate, tango_interval
from stress_lab.stats.resampling import HIERARCHICAL, PERCENTILE, hierarchical_interval, percentile_interval
from stress_lab.stats.seeds import outperformance, permutation_p


def summarize_variants(measured: Measured) -> list[VariantSummary]:
    """Mean, spread and every seed's value of each measure, by variant; confusions are added later."""
    return [
        VariantSummary(
            variant=variant,
            k=len(rows),
            seeds=tuple(measured.runs[row].seed for row in rows),
            runs=tuple(measured.runs[row].name for row in rows),
            metrics={name: _spread(measured.values(variant, name)) for name in measured.shared(rows)},
        )
        for variant in measured.variants
        for rows in [measured.rows(variant)]
    ]


def _spread(values: FloatArray) -> Spread:
    """Mean and standard deviation over runs."""
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(values.mean()), sd=sd, values=tuple(values.tolist()))


def run_metrics(measured: Measured, level: float) -> list[dict[str, Estimate]]:
    """Value and interval of each measure, by run."""
    return [
        summarize_metrics(contributions, draws, level, measured.clusters)
        for contributions, draws in zip(measured.contributions, measured.draws, strict=True)
    ]


def ask_questions(
    measured: Measured, options: Options, useless: Collection[str] = ()
) -> tuple[list[Question], list[str]]:
    """The primary questions with their verdicts, and a note for each that could not be asked.

    Args:
        measured: all runs.
        options: which questions, and the confidence level.
        useless: variants with a run that learnt nothing.
    """
    reference, *others = measured.variants
    notes: list[str] = []
    asked = []
    for variant in others:
        shared = measured.shared(measured.rows(reference) + measured.rows(variant))
        for name in options.primary:
            words = name.replace("_", " ")
            if JUDGED_BY[name] not in shared:
                notes.append(f"{variant} against {reference}: no confidences, so there is no verdict on {words}")
            elif name == "confident_failures" and not measured.kept:
                notes.append(f"no prediction of {reference} is above the threshold, so there is no verdict on {words}")
            else:
                asked.append((variant, name))
    questions = [_ask(measured, reference, variant, name, options, len(asked)) for variant, name in asked]
    return decide(questions, options, useless) if questions else [], notes


def _ask(measured: Measured, a: str, b: str, name: str, options: Options, questions: int) -> Question:
    """One of several questions, with its evidence."""
    measure, margin = MEASURES[JUDGED_BY[name]], options.margins[name]
    rows_a, rows_b = measured.rows(a), measured.rows(b)
    values_a, values_b = measured.values(a, measure.name), measured.values(b, measure.name)
    n = len(measured.runs[0].scores)
    evidence: ModelsEvidence | RecipesEvidence
    if len(rows_a) == len(rows_b) == 1:
        images = [measured.contributions[row][measure.name] for row in (*rows_a, *rows_b)]
        evidence = _judge_images(images[0], images[1], measured.clusters, margin, options, questions)
    else:
        draws_a, draws_b = measured.resampled(a, measure.name), measured.resampled(b, measure.name)
        evidence = judge_recipes((values_a, values_b), (draws_a, draws_b), n, margin, options, questions)
    if name == "confident_failures" and (measured.kept or 0) <= margin * n:
        evidence = replace(evidence, equivalent=False)  # too few predictions are kept to differ by the margin
    return Question(
        question=name,
        measure=measure.name,
        better=measure.better,
        a=a,
        b=b,
        k_a=len(rows_a),
        k_b=len(rows_b),
        n=n,
        outperformance=_outperformance(measure, values_a, values_b),
        mean_a=float(values_a.mean()),
        mean_b=float(values_b.mean()),
        margin=margin,
        evidence=evidence,
        control=control(measured, (a, b), measure.name, options.alpha),
        fair=fair_counts(measured, a, b) if name == "confident_failures" else None,
    )


def _judge_images(
    a: FloatArray, b: FloatArray, clusters: IntArray | None, margin: float, options: Options, questions: int
) -> ModelsEvidence:
    """Evidence about two trained networks, image by image or by clusters of images."""
    if clusters is None:
        return judge_models(a, b, margin, options, questions)
    return judge_clustered_models(a, b, clusters, margin, options, questions)


def _outperformance(measure: Measure, values_a: FloatArray, values_b: FloatArray) -> float | None:
    """Probability that a run of B is better than one of A; None where a variant has only one run."""
    if min(len(values_a), len(values_b)) < 2:
        return None
    sign = 1 if measure.better == "higher" else -1
    return outperformance(sign * values_a, sign * values_b)


def _image_p(a: FloatArray, b: FloatArray, clusters: IntArray | None) -> float:
    """The uncorrected test of a count of two networks."""
    if clusters is None:
        return mcnemar_mid_p(tabulate(a > 0, b > 0))
    return paired_permutation_p(b - a, clusters)


def control(measured: Measured, variants: Sequence[str], measure: str, alpha: float) -> Control | None:
    """A/A: every pair of runs of one variant, compared as if they were two variants; None with one seed each."""
    pairs = [two for variant in variants for two in itertools.combinations(measured.rows(variant), 2)]
    if not pairs:
        return None
    sizes, significant = [], 0
    for a, b in pairs:
        first, second = (measured.contributions[row][measure] for row in (a, b))
        sizes.append(abs(float(second.mean() - first.mean())))
        if MEASURES[measure].counts:
            significant += _image_p(first, second, measured.clusters) < alpha
    return Control(
        pairs=len(pairs),
        mean=float(np.mean(sizes)),
        largest=max(sizes),
        of_means=max(sizes) * float(np.sqrt(np.mean([1 / len(measured.rows(variant)) for variant in variants]))),
        significant=int(significant) if MEASURES[measure].counts else None,
    )


def fair_counts(measured: Measured, a: str, b: str) -> FairCounts:
    """Mean count of confident failures per run, and the parts of the change.

    Equal coverage here means that of each of A's runs; the decomposition is our own definition.
    """
    rows_a, rows_b = measured.rows(a), measured.rows(b)
    parts = [
        split_change(measured.runs[i].scores, measured.runs[j].scores, measured.runs[i].threshold)
        for i, j in itertools.product(rows_a, rows_b)
    ]
    n, calibrated = len(measured.runs[0].scores), "confident_failures_calibrated"
    known = calibrated in measured.shared(rows_a + rows_b)

    def count(variant: str, measure: str) -> float:
        return float(n * measured.values(variant, measure).mean())

    return FairCounts(
        **{key: float(np.mean([part[key] for part in parts])) for key in parts[0]},
        calibrated_a=count(a, calibrated) if known else None,
        calibrated_b=count(b, calibrated) if known else None,
        equal_coverage_a=count(a, "confident_failures_matched"),
        equal_coverage_b=count(b, "confident_failures_matched"),
        kept=measured.kept,
    )


def compare_measures(measured: Measured, options: Options) -> dict[str, tuple[MeasureDifference, ...]]:
    """Each variant against the reference on every measure, by variant; exploratory, without correction."""
    reference, *others = measured.variants
    return {
        variant: tuple(
            _compare_measure(measured, reference, variant, name, options)
            for name in measured.shared(measured.rows(reference) + measured.rows(variant))
        )
        for variant in others
    }


def _compare_measure(measured: Measured, a: str, b: str, name: str, options: Options) -> MeasureDifference:
    """Difference B - A of one measure, its interval, its p-value and its control."""
    measure = MEASURES[name]
    values_a, values_b = measured.values(a, name), measured.values(b, name)
    single = len(values_a) == len(values_b) == 1
    found = (estimate_networks if single else estimate_recipes)(measured, a, b, measure, options)
    sign = 1 if measure.better == "higher" else -1
    low, high = sorted(sign * bound for bound in found["interval"])
    return MeasureDifference(
        metric=name,
        title=measure.title,
        definition=measure.definition,
        better=measure.better,
        mean_a=float(values_a.mean()),
        mean_b=float(values_b.mean()),
        **found,
        improvement=sign * found["difference"],
        improvement_interval=(low, high),
        outperformance=_outperformance(measure, values_a, values_b),
        control=control(measured, (a, b), name, options.alpha),
    )


def estimate_networks(measured: Measured, a: str, b: str, measure: Measure, options: Options) -> dict[str, Any]:
    """Difference of two trained networks, its interval and its p-value; for counts the same as the verdict's."""
    row_a, row_b = measured.rows(a)[0], measured.rows(b)[0]
    first, second = (measured.contributions[row][measure.name] for row in (row_a, row_b))
    if measured.clusters is not None:
        differences = second - first
        interval = clustered_mean_interval(differences, measured.clusters, options.level)
        p = paired_permutation_p(differences, measured.clusters)
        return {"difference": float(differences.mean()), "interval": interval, "interval_method": CLUSTERED_T, "p": p}
    if measure.counts:
        table = tabulate(first > 0, second > 0)
        found = {"difference": table.difference, "interval": tango_interval(table, options.level)}
        return {**found, "interval_method": TANGO, "p": mcnemar_mid_p(table)}
    draws = measured.draws[row_b][measure.name] - measured.draws[row_a][measure.name]
    found = {"difference": float(second.mean() - first.mean()), "interval": percentile_interval(draws, options.level)}
    return {**found, "interval_method": PERCENTILE, "p": paired_t(first, second)}


def estimate_recipes(measured: Measured, a: str, b: str, measure: Measure, options: Options) -> dict[str, Any]:
    """Difference of two recipes over their runs, its interval and its p-value; for counts the same as the verdict's."""
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
