"""The whole comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stress_lab.comparison.agreement import (
    agreement_matrix,
    summarize_agreement,
    summarize_stability,
    trace_images,
)
from stress_lab.comparison.alarms import find_alarms, learnt_nothing, majority
from stress_lab.comparison.comparable import MatchedRuns
from stress_lab.comparison.confusions import list_changes
from stress_lab.comparison.factors import cross_variants
from stress_lab.comparison.leaderboard import is_many, rank_variants
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.measured import Measured, measure_runs
from stress_lab.comparison.one_model import OneModel
from stress_lab.comparison.options import Options
from stress_lab.comparison.pairs import compare_pair
from stress_lab.comparison.patterns import describe_patterns
from stress_lab.comparison.reference import put_first
from stress_lab.comparison.result import Comparison, Data, PairComparison, VariantComparison
from stress_lab.comparison.run_numbers import RunSummary, VariantSummary
from stress_lab.comparison.shown import choose_shown, pick_pairs
from stress_lab.comparison.single import audit_model
from stress_lab.comparison.split_checks import inspect_splits, report_near_duplicates
from stress_lab.comparison.summary import summarize_run
from stress_lab.comparison.triage import LabelEvidence, triage_labels
from stress_lab.comparison.variants import ask_questions, compare_measures, run_metrics, summarize_variants
from stress_lab.evaluation import count_confusions
from stress_lab.records import FloatArray, IntArray
from stress_lab.stats.clusters import FEW, describe_clusters

CLASS_LIMIT = 50  # classes whose confusions are kept and shown


def compare_matched(
    matched: MatchedRuns,
    title: str,
    options: Options,
    notes: Sequence[str] = (),
    properties: Mapping[str, FloatArray] | None = None,
    unfinished: Sequence[str] = (),
    clusters: IntArray | None = None,
    evidence: LabelEvidence | None = None,
) -> Comparison:
    """Every number of a comparison.

    Args:
        matched: the runs, and which of them can be compared.
        title: of pages and figures.
        options: confidence level, margins and power.
        notes: put before those found here.
        properties: (N,) of each test image by name, for patterns; None where the images are not known.
        unfinished: a sentence for each run that has no results.
        clusters: (N,) which test images belong together, such as those of one patient; None takes each on its own.
        evidence: what is known about the labels besides predictions.

    Raises:
        RunError: a run selected its weights on the test split.
    """
    runs, kept = matched.runs, matched.comparable
    measured = measure_runs(kept, options, clusters)
    leaderboard = rank_variants(measured, options) if is_many(measured.variants) else None
    shown = choose_shown(leaderboard, options.reference)
    compared = _compare_pairs(matched, shown, measured, options)
    guard, predicted = inspect_splits(runs, options.alpha), find_alarms(kept, options.level)
    learnt = learnt_nothing(predicted)
    useless = {run.variant for run in kept if run.name in learnt}
    questions, unasked = ask_questions(measured, options, useless)
    labels, unchecked = triage_labels(measured, options, questions, useless, evidence)
    guard = [*guard, *report_near_duplicates(labels)]
    found = [*matched.notes, *_note_histories(runs), *_note_differences(compared)]
    found += [*(one.sentence for one in predicted if not one.alarm), *_note_clusters(kept[0], clusters)]
    summaries = _summarize_runs(runs, measured, options)
    return Comparison(
        title=title,
        data=_describe_data(runs[0]),
        level=options.level,
        resamples=options.resamples,
        margins=dict(options.margins),
        primary=tuple(options.primary),
        weights=", ".join(dict.fromkeys(run.weights for run in runs)),
        guard=tuple(guard),
        alarms=tuple(one for one in (*guard, *predicted) if one.alarm),
        questions=tuple(questions),
        runs=summaries,
        variants=_describe_variants(kept, measured),
        comparisons=_describe_comparisons(kept, measured, options),
        agreement=tuple(agreement_matrix(kept)),
        pairs=tuple(compared),
        patterns=describe_patterns(put_first(kept, shown[0] if shown else None), properties, options),
        one_model=_audit_alone(matched, summaries, options),
        left_out=(*unfinished, *matched.left_out),
        notes=tuple(dict.fromkeys([*unfinished, *notes, *matched.left_out, *found, *unasked, *unchecked])),
        labels=labels,
        reference=options.reference,
        leaderboard=leaderboard,
        shown=shown,
        factors=cross_variants(measured, options),
    )


def _compare_pairs(
    matched: MatchedRuns, shown: Sequence[str], measured: Measured, options: Options
) -> list[PairComparison]:
    """Runs of one seed, image by image."""
    pairs = pick_pairs(matched.pairs, shown)
    return [compare_pair(a, b, options.level, measured.kept, measured.clusters) for a, b in pairs]


def _audit_alone(matched: MatchedRuns, summaries: Sequence[RunSummary], options: Options) -> OneModel | None:
    """The audit of the only variant; None where there are several."""
    if len({run.variant for run in matched.runs}) > 1:
        return None
    highs = {one.name: one.curves.ece_if_calibrated.high for one in summaries if one.curves}
    return audit_model(matched.comparable, options, highs)


def _note_histories(runs: Sequence[LoadedRun]) -> list[str]:
    """A sentence for each run trained here that has no curve."""
    return [
        f"{run.name} has no history.json, so no curve and no convergence"
        for run in runs
        if run.run and not run.history and not run.run.is_audit
    ]


def _note_differences(pairs: Sequence[PairComparison]) -> list[str]:
    """A sentence for each pair whose configs differ in more than one group."""
    notes = []
    for pair in pairs:
        groups = sorted({key.split(".")[0] for key in pair.differs_in})
        if len(groups) > 1:
            notes.append(f"{pair.b} and {pair.a} differ in more than one thing: {', '.join(groups)}")
    return notes


def _note_clusters(first: LoadedRun, clusters: IntArray | None) -> list[str]:
    """How many images and clusters there are, and what that does to the intervals; nothing without clusters."""
    if clusters is None:
        return []
    size = describe_clusters(first.scores.correct, clusters)
    rough = f"; with fewer than {FEW} clusters every interval is rough" if size.is_rough else ""
    return [
        f"{size.images:,} images in {size.clusters:,} clusters: tests swap and intervals draw whole clusters (for the "
        f"accuracy of {first.name} they hold as much as {size.effective_images:,.0f} independent images){rough}"
    ]


def _describe_data(first: LoadedRun) -> Data:
    """Where the test images came from, and the accuracy of always answering their most frequent class."""
    most = majority(first)
    if first.spec is None:
        return Data(name="files of predictions", source=first.folder, classes=tuple(first.classes), **most)
    return Data(
        name=first.spec.name,
        source=first.spec.source,
        test_fingerprint=first.spec.fingerprint["test"],
        classes=tuple(first.classes),
        sizes=first.spec.sizes,
        **most,
    )


def _summarize_runs(runs: Sequence[LoadedRun], measured: Measured, options: Options) -> tuple[RunSummary, ...]:
    """Numbers and curves of each run; measures only of those that are comparable."""
    metrics = dict(zip([run.name for run in measured.runs], run_metrics(measured, options.level), strict=True))
    clusters = {run.name: measured.clusters for run in measured.runs}  # of comparable runs, which saw these images
    return tuple(summarize_run(run, options.level, metrics.get(run.name, {}), clusters.get(run.name)) for run in runs)


def _describe_variants(runs: Sequence[LoadedRun], measured: Measured) -> tuple[VariantSummary, ...]:
    """Means and confusions of each variant."""
    return tuple(replace(one, confusion=_mean_confusion(runs, one.variant)) for one in summarize_variants(measured))


def _describe_comparisons(
    runs: Sequence[LoadedRun], measured: Measured, options: Options
) -> tuple[VariantComparison, ...]:
    """Each variant against the reference: measures, and which images the two agree on."""
    reference = measured.variants[0]
    return tuple(
        VariantComparison(
            a=reference,
            b=variant,
            metrics=metrics,
            agreement=summarize_agreement(runs, reference, variant, options),
            stability=summarize_stability(runs, reference, variant),
            confusions=confusions,
            answers_right=answers_right,
            flow=trace_images(runs, reference, variant),
        )
        for variant, metrics in compare_measures(measured, options).items()
        for confusions, answers_right in [list_changes(runs, reference, variant)]
    )


def _mean_confusion(runs: Sequence[LoadedRun], variant: str) -> tuple[tuple[float, ...], ...] | None:
    """Mean counts over a variant's runs, true class in rows; None for very many classes."""
    chosen = [run for run in runs if run.variant == variant]
    classes = len(chosen[0].classes)
    if classes > CLASS_LIMIT:
        return None
    matrices = [count_confusions(run.scores.label, run.scores.pred, classes) for run in chosen]
    return tuple(map(tuple, np.mean(matrices, axis=0).tolist()))
