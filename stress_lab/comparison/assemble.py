"""The whole comparison, ready to be written as JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from stress_lab.comparison.agreement import agreement_matrix, summarize_agreement, summarize_stability
from stress_lab.comparison.alarms import find_alarms, learnt_nothing, majority
from stress_lab.comparison.comparable import keep_comparable
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.measured import Measured, measure_runs
from stress_lab.comparison.options import Options
from stress_lab.comparison.pairs import compare_pair, find_pairs
from stress_lab.comparison.patterns import describe_patterns
from stress_lab.comparison.split_checks import inspect_splits
from stress_lab.comparison.summary import describe_confidence, summarize_run
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
) -> dict[str, Any]:
    """Every number of a comparison.

    Args:
        runs: in launch order; the first one's variant is the reference.
        title: of pages and figures.
        options: how sure to be.
        strict: raise where two runs cannot be compared, instead of leaving them out with a note.
        notes: put before those found here.
        properties: (N,) of each test image by name, for patterns; None where the images are not known.
        unfinished: a sentence for each run that has no results.

    Raises:
        PairingError: with ``strict``, runs saw other images or used another threshold.
        RunError: a run's test split judged what it had selected.
    """
    pairs, found = find_pairs(runs, strict)
    kept, left_out = keep_comparable(runs, strict)
    measured = measure_runs(kept, options)
    compared = [compare_pair(a, b, options.level, measured.kept) for a, b in pairs]
    found += [*_note_histories(runs), *_note_differences(compared)]
    questions, unasked = ask_questions(measured, options)
    guard, predicted = inspect_splits(runs, options.alpha), find_alarms(kept, options.level)
    _qualify_advice(questions, kept, learnt_nothing(predicted))
    found += [one["sentence"] for one in predicted if not one["alarm"]]
    return {
        "title": title,
        "data": _describe_data(runs[0]),
        "level": options.level,
        "resamples": options.resamples,
        "margins": dict(options.margins),
        "primary": list(options.primary),
        "weights": ", ".join(dict.fromkeys(run.weights for run in runs)),
        "guard": guard,
        "alarms": [one for one in (*guard, *predicted) if one["alarm"]],
        "questions": questions,
        "runs": _summarize_runs(runs, measured, options),
        "variants": _describe_variants(kept, measured),
        "comparisons": _describe_comparisons(kept, measured, options),
        "agreement": agreement_matrix(kept),
        "pairs": compared,
        "patterns": describe_patterns(kept, properties, options),
        "left_out": [*unfinished, *left_out],
        "notes": list(dict.fromkeys([*unfinished, *notes, *left_out, *found, *unasked])),
    }


def _qualify_advice(questions: Sequence[dict[str, Any]], runs: Sequence[LoadedRun], useless: Collection[str]) -> None:
    """Mark "how many more" as moot where a variant has a run that learnt nothing."""
    variants = {run.variant for run in runs if run.name in useless}
    for question in questions:
        question["more"]["moot"] = not variants.isdisjoint((question["a"], question["b"]))


def _note_histories(runs: Sequence[LoadedRun]) -> list[str]:
    """A sentence for each run that was trained here and has no curve."""
    return [
        f"{run.name} has no history.json: no curve and no convergence" for run in runs if run.run and not run.history
    ]


def _note_differences(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each pair whose configs differ in more than one group."""
    notes = []
    for pair in pairs:
        groups = sorted({key.split(".")[0] for key in pair["differs_in"]})
        if len(groups) > 1:
            notes.append(f"{pair['b']} and {pair['a']} differ in more than one thing: {', '.join(groups)}")
    return notes


def _describe_data(first: LoadedRun) -> dict[str, Any]:
    """Where the test images came from, and what always answering their most frequent class would get."""
    most = majority(first)
    if first.spec is None:
        return {"name": "files of predictions", "source": first.folder, "classes": list(first.classes), **most}
    return {
        "name": first.spec.name,
        "source": first.spec.source,
        "test_fingerprint": first.spec.fingerprint["test"],
        "classes": list(first.classes),
        "sizes": first.spec.sizes,
        **most,
    }


def _summarize_runs(runs: Sequence[LoadedRun], measured: Measured, options: Options) -> list[dict[str, Any]]:
    """Numbers and curves of each run; measures only of those that are comparable."""
    metrics = dict(zip([run.name for run in measured.runs], run_metrics(measured, options.level), strict=True))
    return [
        {
            **summarize_run(run, options.level),
            "metrics": metrics.get(run.name, {}),
            "curves": describe_confidence(run, options.level),
        }
        for run in runs
    ]


def _describe_variants(runs: Sequence[LoadedRun], measured: Measured) -> list[dict[str, Any]]:
    """Means and confusions of each variant."""
    return [
        {**variant, "confusion": _mean_confusion(runs, variant["variant"])} for variant in summarize_variants(measured)
    ]


def _describe_comparisons(runs: Sequence[LoadedRun], measured: Measured, options: Options) -> list[dict[str, Any]]:
    """Each variant against the reference: measures, and which images the two agree on."""
    reference, *others = measured.variants
    return [
        {
            **measures,
            "agreement": summarize_agreement(runs, reference, variant, options),
            "stability": summarize_stability(runs, reference, variant),
        }
        for measures, variant in zip(compare_measures(measured, options), others, strict=True)
    ]


def _mean_confusion(runs: Sequence[LoadedRun], variant: str) -> list[list[float]] | None:
    """Mean counts over a variant's runs, true class in rows; None for very many classes."""
    chosen = [run for run in runs if run.variant == variant]
    classes = len(chosen[0].classes)
    if classes > CLASS_LIMIT:
        return None
    matrices = [count_confusions(run.scores.label, run.scores.pred, classes) for run in chosen]
    mean: list[list[float]] = np.mean(matrices, axis=0).tolist()
    return mean
