"""What one model predicted, checked by the same rules as prediction files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab import records
from stress_lab.api.inputs import Array, as_array, as_column, as_matrix, checked
from stress_lab.errors import InputError
from stress_lab.prediction_files.arrays import ArrayTable
from stress_lab.prediction_files.classes import ClassSet, make_classes
from stress_lab.prediction_files.layout import find_layout, open_table
from stress_lab.prediction_files.reading import PredictionFile, read_prediction_files, read_tables
from stress_lab.prediction_files.scoring import read_probabilities, read_values
from stress_lab.records import BoolArray, FloatArray, IntArray, Scores
from stress_lab.runs.folder import RunDir

PREFIXES = {"logits": "logit_", "probs": "prob_"}


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """What one model predicted for N images of K classes; create it with one of the constructors ``from_…``.

    >>> made = Predictions.from_logits([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]], labels=[0, 1, 1])
    >>> made.pred.tolist(), made.correct.tolist(), [round(float(one), 3) for one in made.confidence]
    ([0, 0, 1], [True, False, True], [0.881, 0.731, 0.953])
    """

    table: ArrayTable
    file: PredictionFile

    @classmethod
    @checked
    def from_logits(
        cls, logits: Any, labels: Any, *, index: Any = None, classes: Sequence[str] | None = None
    ) -> Predictions:
        """From what a net returns before softmax.

        Args:
            logits: (N, K) one row per image, converted to float32.
            labels: (N,) class numbers from 0, or names where ``classes`` gives them.
            index: (N,) names of the images, whole numbers or text, unique; None numbers them from 0.
            classes: K names in the order of the columns; None takes those of a DataFrame, else numbers.

        Raises:
            InputError: the shapes differ, a number is missing, or the rows are probabilities.
        """
        return cls.of_table(make_table("logits", logits, "logits", index, classes, labels), classes)

    @classmethod
    @checked
    def from_probs(
        cls, probs: Any, labels: Any, *, index: Any = None, classes: Sequence[str] | None = None
    ) -> Predictions:
        """From probabilities (N, K), whose rows sum to 1 within 0.001; everything else is as in ``from_logits``.

        >>> Predictions.from_probs([[0.9, 0.1]], labels=["dog"], classes=["cat", "dog"])
        Predictions(1 images, 2 classes, probs: 0 right)
        """
        return cls.of_table(make_table("probs", probs, "probs", index, classes, labels), classes)

    @classmethod
    @checked
    def from_labels(
        cls,
        pred: Any,
        labels: Any,
        *,
        confidence: Any = None,
        index: Any = None,
        classes: Sequence[str] | None = None,
    ) -> Predictions:
        """From predicted classes (N,), as numbers or names, with or without the probability of each.

        Args:
            confidence: (N,) in [0, 1]; without it there are no confident failures and no calibration.
            pred, labels, index, classes: as in ``from_logits``; None takes the classes that occur.
        """
        return cls.of_table(make_table("labels", pred, "pred", index, classes, labels, confidence), classes)

    @classmethod
    def of_table(cls, table: ArrayTable, classes: Sequence[str] | None) -> Predictions:
        """From a table, which is read here for the first time."""
        return cls(table, read_tables([table], None, name_classes(classes))[0])

    @property
    def kind(self) -> str:
        """``logits``, ``probs``, ``confidence`` (classes with their confidence) or ``hard`` (only classes)."""
        return self.file.kind

    @property
    def scores(self) -> Scores:
        """One entry per image of everything that is compared."""
        return self.file.scores

    @property
    def classes(self) -> tuple[str, ...]:
        """K names; a class number is a position among them."""
        return self.file.classes

    @property
    def index(self) -> Array:
        """(N,) names of the images: whole numbers or text."""
        return self.file.ids

    @property
    def label(self) -> IntArray:
        """(N,) true class numbers."""
        return self.scores.label

    @property
    def pred(self) -> IntArray:
        """(N,) predicted class numbers, the first one on ties."""
        return self.scores.pred

    @property
    def confidence(self) -> FloatArray | None:
        """(N,) probability of the predicted class; None where only classes are known."""
        return self.scores.confidence

    @property
    def correct(self) -> BoolArray:
        """(N,) whether the predicted class is the label."""
        return self.scores.correct

    @cached_property
    def probs(self) -> FloatArray | None:
        """(N, K) float32 probabilities; None where a model gave only classes."""
        return read_probabilities(self.table, len(self.classes)) if self.kind in PREFIXES else None

    @cached_property
    def logits(self) -> FloatArray | None:
        """(N, K) float32 as given; None where a model gave none."""
        return read_values(self.table, len(self.classes)) if self.kind == "logits" else None

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        right = int(self.correct.sum())
        return f"Predictions({len(self):,} images, {len(self.classes)} classes, {self.kind}: {right:,} right)"


def make_table(
    kind: str,
    value: Any,
    name: str,
    index: Any = None,
    classes: Sequence[str] | None = None,
    labels: Any = None,
    confidence: Any = None,
) -> ArrayTable:
    """Arrays as a table of predictions.

    Args:
        kind: ``logits``, ``probs`` or ``labels``.
        value: what was predicted, (N, K) or (N,).
        name: of ``value`` in messages.
        index, labels, confidence: (N,), None where there are none.
        classes: K names, None where there are none.
    """
    found: dict[str, Array] = {}
    if kind == "labels":
        found["pred"] = as_column(value, name, "pass one predicted class per image (N,), or another kind")
    else:
        matrix, named = as_matrix(value, name)
        found |= _name_columns(kind, matrix, named if classes is None else list(classes), name)
    n = len(next(iter(found.values())))
    for column, given in (("label", labels), ("confidence", confidence), ("id", index)):
        if given is not None:
            found[column] = as_column(given, {"label": "labels", "id": "index"}.get(column, column))
            require_length(found[column], {"label": "labels", "id": "index"}.get(column, column), n, name)
    found.setdefault("id", np.arange(n))
    other = "probs" if kind == "logits" else "logits"
    advice = f"use Predictions.from_{other}" if name == kind else f"pass kind={other!r}"
    table = ArrayTable(Path(name), found, "" if kind == "labels" else advice)
    if "label" in found:
        require_names(table, found["label"])
    return table


def _name_columns(kind: str, matrix: Array, classes: Sequence[str] | None, name: str) -> dict[str, Array]:
    """One column for all classes, or one for each if they have names."""
    if classes is None:
        return {kind: matrix}
    if len(classes) != matrix.shape[1]:
        raise InputError(
            f"classes has {len(classes)} names and {name} has {matrix.shape[1]} columns: pass one per column"
        )
    prefix = PREFIXES[kind]
    names = [one.removeprefix(prefix) for one in map(str, classes)]
    twice = next((one for one in names if names.count(one) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise InputError(f"classes holds {twice!r} twice: pass a different name for each column")
    return {f"{prefix}{one}": matrix[:, k] for k, one in enumerate(names)}


def require_length(array: Any, name: str, n: int, other: str) -> None:
    """Raise InputError unless an array has one entry per image."""
    if len(array) != n:
        raise InputError(
            f"{name} has {len(array):,} entries and {other} has {n:,}: pass one for each image, in the same order"
        )


def require_names(table: ArrayTable, label: Array) -> None:
    """Raise InputError where labels are names and the predicted columns have none."""
    if label.dtype.kind != "U" or not {"logits", "probs"} & table.arrays.keys():
        return
    name = next((one for one in label.tolist() if not one.strip().isdigit()), None)
    if name is not None:
        raise InputError(
            f"labels holds names, such as {name!r}, but the columns of {table.path} have none: pass classes=[…], the "
            "names in the order of the columns"
        )


def name_classes(classes: Sequence[str] | None) -> ClassSet | None:
    """The classes that an argument names."""
    if classes is None:
        return None
    names = as_array(list(classes), "classes")
    if names.ndim != 1 or len(names) < 2:
        raise InputError("classes is not a list of names: pass K names, two or more")
    return make_classes(list(map(str, names)), "the argument classes")


def as_predictions(value: Any, name: str = "predictions") -> Predictions:
    """The argument of a single-model function as :class:`Predictions`.

    Raises:
        InputError: it cannot be converted.
    """
    if isinstance(value, Predictions):
        return value
    if isinstance(value, RunDir):
        return _of_run(value)
    if isinstance(value, records.Predictions):
        return Predictions.from_logits(value.logits, value.label, index=value.index)
    raise InputError(
        f"{name} is of type {type(value).__name__}: pass Predictions.from_logits(logits, labels), .from_probs or "
        ".from_labels"
    )


def _of_run(run: RunDir) -> Predictions:
    """The test predictions of a run folder, with the names of its classes."""
    found, classes = run.load_predictions("test"), run.load_spec().classes
    if len(set(classes)) < len(classes):
        return Predictions.from_logits(found.logits, found.label, index=found.index)
    labels = np.array(classes)[found.label]
    return Predictions.from_logits(found.logits, labels, index=found.index, classes=classes)


@checked
def read_predictions(path: str | os.PathLike[str], labels: str | os.PathLike[str] | None = None) -> Predictions:
    """Predictions written by another program, read like ``stress-lab compare predictions=…``.

    Args:
        path: of a CSV, Parquet or NPZ file with a column ``id`` and one of: ``prob_CLASS`` or ``logit_CLASS`` for each
            class; an array ``probs`` or ``logits`` (N, K); ``pred``, with ``confidence`` or without.
        labels: file with ``id`` and ``label``, if the first one has no column ``label``.

    Returns:
        Predictions in the order of the labels, held in memory.

    Raises:
        InputError: a file is missing, broken, or has the wrong contents.
    """
    where = Path(path)
    [file] = read_prediction_files([where], None if labels is None else Path(labels))
    names = np.array(file.classes)
    numbered = file.classes == tuple(map(str, range(len(names))))
    label = file.scores.label if numbered else names[file.scores.label]
    found: dict[str, Array] = {"id": file.ids, "label": label}
    if file.kind in PREFIXES:
        table = open_table(where)
        values = np.empty((len(file.ids), len(names)), np.float32)
        values[file.position] = read_values(table, len(names))
        named = find_layout(table).names
        found |= _name_columns(file.kind, values, None if named is None or numbered else file.classes, str(where))
    else:
        found["pred"] = file.scores.pred if numbered else names[file.scores.pred]
        if file.scores.confidence is not None:
            found["confidence"] = file.scores.confidence
    moved = replace(file, position=np.arange(len(file.ids)))
    return Predictions(ArrayTable(where, found), moved)
