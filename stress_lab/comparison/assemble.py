"""The whole comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stress_lab.comparison.agreement import agreement_matrix, summarize_agreement, summarize_stability
from stress_lab.comparison.alarms import find_alarms, learnt_nothing, majority
from stress_lab.comparison.comparable import MatchedRuns, match_runs
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.measured import Measured, measure_runs
from stress_lab.comparison.options import Options
from stress_lab.comparison.pairs import compare_pair
from stress_lab.comparison.patterns import describe_patterns
from stress_lab.comparison.result import Comparison, Data, PairComparison, VariantComparison
from stress_lab.comparison.run_numbers import RunSummary, VariantSummary
from stress_lab.comparison.split_checks import inspect_splits
from stress_lab.comparison.summary import summarize_run
from stress_lab.comparison.variants import ask_questions, compare_measures, run_metrics, summarize_variants
from stress_lab.evaluation import count_confusions
from stress_lab.records import FloatArray

CLASS_LIMIT = 50  # classes whose confusions are kept and shown


def compare_runs(
    runs: Sequence[LoadedRun],
    title: str,
    options: Options,
    strict: bool,
    notes: Sequence[str] = (),
    properties: Mapping[str, FloatArray] | None = None,
    unfinished: Sequence[str] = (),
) -> Comparison:
    """Every number of a comparison; see :func:`compare_matched`.

    Args:
        runs: in launch order; the first one's variant is the reference.
        strict: raise where two runs cannot be compared, instead of leaving one out with a note.

    Raises:
        PairingError: with ``strict``, runs saw other images or used another threshold.
        RunError: a run selected its weights on the test split.
    """
    return compare_matched(match_runs(runs, strict), title, options, notes, properties, unfinished)


def compare_matched(
    matched: MatchedRuns,
    title: str,
    options: Options,
    notes: Sequence[str] = (),
    properties: Mapping[str, FloatArray] | None = None,
    unfinished: Sequence[str] = (),
) -> Comparison:
    """Every number of a comparison.

    Args:
        matched: the runs, and which of them can be compared.
        title: of pages and figures.
        options: confidence level, margins and power.
        notes: put before those found here.
        properties: (N,) of each test image by name, for patterns; None where the images are not known.
        unfinished: a sentence for each run that has no results.

    Raises:
        RunError: a run selected its weights on the test split.
    """
    runs, kept = matched.runs, matched.comparable
    measured = measure_runs(kept, options)
    compared = [compare_pair(a, b, options.level, measured.kept) for a, b in matched.pairs]
    guard, predicted = inspect_splits(runs, options.alpha), find_alarms(kept, options.level)
    learnt = learnt_nothing(predicted)
    useless = {run.variant for run in kept if run.name in learnt}
    questions, unasked = ask_questions(measured, options, useless)
    found = [*matched.notes, *_note_histories(runs), *_note_differences(compared)]
    found += [one.sentence for one in predicted if not one.alarm]
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
        runs=_summarize_runs(runs, measured, options),
        variants=_describe_variants(kept, measured),
        comparisons=_describe_comparisons(kept, measured, options),
        agreement=tuple(agreement_matrix(kept)),
        pairs=tuple(compared),
        patterns=describe_patterns(kept, properties, options),
        left_out=(*unfinished, *matched.left_out),
        notes=tuple(dict.fromkeys([*unfinished, *notes, *matched.left_out, *found, *unasked])),
    )


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
    return tuple(summarize_run(run, options.level, metrics.get(run.name, {})) for run in runs)


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
        )
        for variant, metrics in compare_measures(measured, options).items()
    )


def _mean_confusion(runs: Sequence[LoadedRun], variant: str) -> tuple[tuple[float, ...], ...] | None:
    """Mean counts over a variant's runs, true class in rows; None for very many classes."""
    chosen = [run for run in runs if run.variant == variant]
    classes = len(chosen[0].classes)
    if classes > CLASS_LIMIT:
        return None
    matrices = [count_confusions(run.scores.label, run.scores.pred, classes) for run in chosen]
    return tuple(map(tuple, np.mean(matrices, axis=0).tolist()))
