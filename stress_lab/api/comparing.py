"""Two models or more on the same images: is one of them better?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab import records
from stress_lab.api.inputs import as_column, checked, split_runs
from stress_lab.api.metadata import as_properties
from stress_lab.api.predictions import (
    Predictions,
    as_predictions,
    make_table,
    name_classes,
    require_length,
    require_names,
)
from stress_lab.api.result import Comparison
from stress_lab.comparison.assemble import compare_matched
from stress_lab.comparison.comparable import match_runs
from stress_lab.comparison.loading import LoadedRun, from_files
from stress_lab.comparison.option_rules import OPTION_RULES, check_reference
from stress_lab.comparison.options import QUESTIONS, Options
from stress_lab.comparison.reference import put_first
from stress_lab.errors import InputError
from stress_lab.prediction_files.arrays import ArrayTable
from stress_lab.prediction_files.layout import find_layout
from stress_lab.prediction_files.reading import PredictionFile, read_tables
from stress_lab.prediction_files.scoring import read_values
from stress_lab.records import FloatArray, IntArray
from stress_lab.stats.clusters import number_clusters

KINDS = ("logits", "probs", "labels")
Tables = dict[str, list[ArrayTable]]


@checked
def compare(
    models: Mapping[str, Any],
    labels: Any = None,
    *,
    kind: str = "logits",
    val: Mapping[str, Any] | None = None,
    groups: Any = None,
    clusters: Any = None,
    ids: Any = None,
    image_paths: Any = None,
    classes: Sequence[str] | None = None,
    title: str = "comparison",
    threshold: float = 0.7,
    level: float = 0.95,
    margins: float | Mapping[str, float] | None = None,
    primary: Sequence[str] = QUESTIONS,
    resamples: int = 10_000,
    power: float = 0.8,
    reference: str | None = None,
    max_risk: float = 0.05,
) -> Comparison:
    """What ``stress-lab compare`` finds, from arrays: the same numbers to the last bit.

    All arrays are NumPy arrays, lists, pandas objects or tensors, on any device. The first model is the reference
    unless you name another. With more than four models the page is a leaderboard of every pair.

    Args:
        models: for each name logits or probabilities (N, K), or with ``kind="labels"`` predicted classes (N,); or
            :class:`Predictions`, or a run folder of ``load_runs``; or a list of those, one per training run (seed).
        labels: (N,) true classes, as numbers from 0 or as names of ``classes``. None where all models carry their own.
        kind: of the arrays: ``logits``, ``probs`` or ``labels``.
        val: for each name ``(logits, labels)`` of a validation split, or a list of those in the order of the runs. It
            adds the confident failures after temperature scaling, which needs logits in ``models`` too.
        groups: (N,) metadata, or several by name, to search for groups of images that fail more often: text,
            booleans and whole numbers of at most 20 values name groups, other numbers are split into fifths.
        clusters: (N,) which images belong together, such as those of one patient: tests swap and intervals draw whole
            clusters, since images of one are not independent. None takes each image on its own.
        ids: (N,) names of the images. None numbers them from 0.
        image_paths: (N,) paths, which name the images in the tables and on the page instead of ``ids``.
        classes: K names in the order of the columns.
        title: of the page and the figures.
        threshold: confidence, a fraction, strictly above which a wrong answer is a confident failure.
        level: of every interval; 1 - level is the risk of a false verdict over all questions together.
        margins: differences of rates too small to matter, one for all questions or by question; None is 0.005.
        primary: questions that get a verdict: ``accuracy``, ``confident_failures`` or both.
        resamples: of the bootstrap, at least 100.
        power: for estimating "how many more images".
        reference: name of the model that the others are compared against; None takes the first.
        max_risk: for one model, the share of wrong answers that the confidence threshold for answering allows.

    Returns:
        Verdicts, tables and notes; a notebook shows it as a card.

    Raises:
        InputError: an argument cannot work; the message names it and says what to pass instead.

    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, 400)
    >>> old, new = (np.where(rng.random(400) < right, labels, 1 - labels) for right in (0.7, 0.9))
    >>> compare({"old": old, "new": new}, labels, kind="labels").verdicts["accuracy"].verdict
    'helped'
    """
    options = replace(
        _make_options(level, margins, primary, resamples, power, threshold, max_risk), reference=reference
    )
    tables = _collect(models, kind, ids, classes)
    check_reference(list(tables), reference)
    truth = _make_truth(tables, labels, ids)
    files = iter(read_tables([one for runs in tables.values() for one in runs], truth, name_classes(classes)))
    read = {name: [next(files) for _ in runs] for name, runs in tables.items()}
    loaded = [run for runs in _load(read, tables, val, threshold).values() for run in runs]
    properties = None if groups is None else as_properties(groups, len(loaded[0].scores))
    if image_paths is not None:
        shown = as_column(image_paths, "image_paths", "pass one path per image").astype(str)
        require_length(shown, "image_paths", len(loaded[0].scores), "models")
        loaded = [replace(run, ids=shown) for run in loaded]
    matched = match_runs(put_first(loaded, reference), strict=True)
    notes = [note for runs in read.values() for file in runs for note in file.notes]
    found = compare_matched(
        matched, title, options, notes, properties, clusters=_number(clusters, len(loaded[0].scores))
    )
    return Comparison(found, matched, options, properties)


def _number(clusters: Any, n: int) -> IntArray | None:
    """(N,) clusters as numbers; raises InputError where there is not one per image."""
    if clusters is None:
        return None
    named = as_column(clusters, "clusters", "pass one name or number per image")
    require_length(named, "clusters", n, "models")
    return number_clusters(named.astype(str))


def _make_options(
    level: Any, margins: Any, primary: Any, resamples: Any, power: Any, threshold: Any, max_risk: Any
) -> Options:
    """The options of a comparison; raises InputError for invalid ones."""
    each = margins if isinstance(margins, Mapping) else dict.fromkeys(QUESTIONS, 0.005 if margins is None else margins)
    unknown = [name for name in each if name not in QUESTIONS]
    if unknown:
        raise InputError(f"margins holds {unknown[0]!r}: its keys are {' and '.join(QUESTIONS)}")
    given = {
        **{"level": level, "resamples": resamples, "power": power, "threshold": threshold, "max_risk": max_risk},
        "primary": list(primary) if isinstance(primary, (list, tuple)) else [primary],
        **{f"margins.{name}": value for name, value in each.items()},
    }
    for name, is_right, wanted in OPTION_RULES:
        value = given.get(name, 0.005)
        value = value.item() if isinstance(value, np.generic) else value
        if not is_right(value):
            wanted = "accuracy, confident_failures, or a list of both" if name == "primary" else wanted
            raise InputError(f"{name}={value!r} does not work: pass {wanted}")
    filled = {name: float(each.get(name, 0.005)) for name in QUESTIONS}
    chosen = (float(level), int(resamples), filled, tuple(given["primary"]), float(power))
    return Options(*chosen, max_risk=float(max_risk))


def _collect(models: Any, kind: str, ids: Any, classes: Sequence[str] | None) -> Tables:
    """A table for each run of each model."""
    if kind not in KINDS:
        raise InputError(f"kind={kind!r} does not work: pass one of {', '.join(map(repr, KINDS))}")
    if not isinstance(models, Mapping) or not models:
        what = "empty" if isinstance(models, Mapping) else f"of type {type(models).__name__}"
        raise InputError(f"models is {what}: pass the predictions by name, such as {{'old': …, 'new': …}}")
    names = [str(name) for name in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"models has two keys that both read {twice!r}: give each model its own name")
    found: Tables = {}
    for name, value in zip(names, models.values(), strict=True):
        runs = split_runs(value, 1 if kind == "labels" else 2)
        if runs is None:
            found[name] = [_tabulate(value, kind, f"models[{name!r}]", ids, classes)]
        else:
            found[name] = [_tabulate(one, kind, f"models[{name!r}][{k}]", ids, classes) for k, one in enumerate(runs)]
    return found


def _tabulate(value: Any, kind: str, name: str, ids: Any, classes: Sequence[str] | None) -> ArrayTable:
    """The table of a run, given as an array or as predictions."""
    if not isinstance(value, (Predictions, records.Predictions)) and hasattr(value, "shape") | isinstance(
        value, (list, tuple)
    ):
        return make_table(kind, value, name, ids, classes)
    return replace(as_predictions(value, name).table, path=Path(name))


def _make_truth(tables: Tables, labels: Any, ids: Any) -> ArrayTable | None:
    """The labels as a table; None where the models carry their own."""
    runs = [one for some in tables.values() for one in some]
    n, name = len(runs[0].arrays["id"]), str(runs[0].path)
    for one in runs[1:]:
        require_length(one.arrays["id"], str(one.path), n, name)
    if labels is None:
        lacking = next((one for one in runs if "label" not in one.arrays), None)
        if lacking is not None:
            raise InputError(f"labels is missing: {lacking.path} has no labels, so pass the true class of each image")
        return None
    label = as_column(labels, "labels")
    require_length(label, "labels", n, name)
    index = runs[0].arrays["id"] if ids is None else as_column(ids, "ids", "pass one name or number per image")
    for one in runs:
        require_names(one, label)
    return ArrayTable(Path("the argument labels"), {"id": index, "label": label})


def _load(
    read: Mapping[str, Sequence[PredictionFile]], tables: Tables, val: Mapping[str, Any] | None, threshold: float
) -> dict[str, list[LoadedRun]]:
    """The runs of each model, with their validation splits, if any."""
    loaded = {name: from_files({name: files}, threshold, "run") for name, files in read.items()}
    if val is None:
        return loaded
    if not isinstance(val, Mapping) or set(map(str, val)) != set(loaded):
        raise InputError("val has other names than models: pass (logits, labels) of the validation split for each")
    for name, given in val.items():
        several = given if isinstance(given, list) else [given]
        runs = loaded[str(name)]
        require_length(several, f"val[{name!r}]", len(runs), f"models[{name!r}]")
        pairs = zip(runs, several, read[str(name)], tables[str(name)], strict=True)
        loaded[str(name)] = [_add_val(run, one, file, table, f"val[{name!r}]") for run, one, file, table in pairs]
    return loaded


def _add_val(run: LoadedRun, given: Any, file: PredictionFile, table: ArrayTable, name: str) -> LoadedRun:
    """A run with the logits to fit its temperature on and those to apply it to."""
    if file.kind != "logits":
        raise InputError(
            f"{name} has no effect: temperature scaling needs logits in models too, but these are {file.kind}"
        )
    if isinstance(given, Predictions):
        held = given
    else:
        if not isinstance(given, tuple) or len(given) != 2:
            raise InputError(f"{name} is not a pair: pass (logits, labels) of the validation split")
        known = find_layout(table).names
        held = Predictions.of_table(make_table("logits", given[0], name, None, known, given[1]), known)
    places = {name: place for place, name in enumerate(run.classes)}
    if held.logits is None or set(held.classes) != set(places):
        raise InputError(f"{name} has other classes than models: pass logits (M, {len(places)}) of the same classes")
    label = np.array([places[name] for name in held.classes])[held.label]
    test = _in_order(read_values(table, len(places)), find_layout(table).names, run.classes)
    placed = np.empty_like(test)
    placed[file.position] = test
    found = {
        "val": records.Predictions(np.arange(len(held)), label, _in_order(held.logits, held.classes, run.classes)),
        "test": records.Predictions(run.scores.index, run.scores.label, placed),
    }
    return replace(run, predictions=found)


def _in_order(values: FloatArray, names: Sequence[str] | None, classes: Sequence[str]) -> FloatArray:
    """Columns (N, K) in the order of the classes; without names they are already in order."""
    return values if names is None else values[:, [names.index(name) for name in classes]]
