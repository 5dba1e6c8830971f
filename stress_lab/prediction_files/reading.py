"""Prediction files, aligned by id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stress_lab.errors import PairingError, RunError
from stress_lab.prediction_files.classes import ClassSet, classes_of, describe_unseen, refuse_shift, resolve_layouts
from stress_lab.prediction_files.keys import (
    Coded,
    as_numpy,
    match_ids,
    read_classes,
    read_ids,
    refuse_repeats,
    show_ids,
)
from stress_lab.prediction_files.layout import Layout, find_layout, open_table, require
from stress_lab.prediction_files.scoring import ProbabilitySource, check_confidence, count_classes, score_table
from stress_lab.prediction_files.tables import LARGE, SMALLER, Table, side_by_side
from stress_lab.records import FloatArray, IntArray, Scores
from stress_lab.storage.limits import refuse_too_large

FEW_ROWS = 1_000_000  # up to here ids are always read, to name the extra ones
TEXT = 9  # the least bytes that an id's text takes, besides its number
LEFT_OUT = {
    "hard": "holds only hard labels: no confidence, so no confident failures, calibration or selective prediction",
    "confidence": "holds only the confidence of the predicted class: no NLL, Brier score or classwise calibration",
}


@dataclass(frozen=True)
class PredictionFile:
    """The predictions of one file for the images of a label file.

    Attributes:
        path: of the file.
        kind: ``hard``, ``confidence``, ``probs`` or ``logits``.
        scores: in the order of the labels; ``index`` is the position there.
        ids: (N,) int64 or text, in that order; one array for all files.
        classes: (K,) names; a class number is a position in it.
        position: (N,) place there of each row of the file.
        notes: sentences about what the file lacks or contains twice.
        source: where its probabilities are read again; None where it has none.
    """

    path: Path
    kind: str
    scores: Scores
    ids: np.ndarray[Any, Any]
    classes: tuple[str, ...]
    position: IntArray
    notes: list[str]
    source: ProbabilitySource | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class _Opened:
    """A file with all its columns except those of single classes."""

    table: Table
    ids: pa.Array
    label: Coded | None
    pred: Coded | None
    confidence: FloatArray | None

    @property
    def path(self) -> Path:
        return self.table.path


def read_prediction_files(paths: Sequence[Path], labels: Path | None) -> list[PredictionFile]:
    """Read prediction files for the same images, rows in any order, at most a few million numbers at a time.

    Args:
        paths: .csv, .parquet or .npz files (see the package for their columns).
        labels: label file; None where each prediction file has its own labels, which must then agree.

    Returns:
        One record per file; the images are in the order of ``labels``, or else of the first file.

    Raises:
        RunError: a file is missing, broken, or has the wrong contents.
        PairingError: files differ in their images, labels or classes.
    """
    if not paths:
        raise RunError("there are no prediction files: give the path of one or more")
    return read_tables([open_table(path) for path in paths], None if labels is None else open_table(labels))


def read_tables(tables: Sequence[Table], labels: Table | None, classes: ClassSet | None = None) -> list[PredictionFile]:
    """The same for open tables, such as arrays in memory.

    Args:
        classes: of hard labels; by default the ones that occur.
    """
    layouts = [find_layout(table) for table in tables]
    named = None if labels is None else _open_labels(labels)
    files: list[_Opened] = []
    for table, layout in zip(tables, layouts, strict=True):
        files.append(_open(table, layout.columns, named or (files[0] if files else None)))
    truth = named or files[0]
    if truth.label is None:
        raise RunError(f"{truth.path} has no column label: add one, or give a label file (id, label)")
    positions = [match_ids(file.ids, truth.ids, file.path, truth.path) for file in files]
    widths = [count_classes(table, layout) for table, layout in zip(tables, layouts, strict=True)]
    paths = [table.path for table in tables]
    settled, layouts = resolve_layouts(list(zip(paths, layouts, widths, strict=True)))
    classes = settled or classes or classes_of(truth.label, [file.pred for file in files if file.pred])
    label, shown = classes.number(truth.label, truth.ids), as_numpy(truth.ids)
    result = []
    for file, layout, width, position in zip(files, layouts, widths, positions, strict=True):
        _check_labels(file, truth, classes, position, label)
        scores, notes = _score(file, layout, width, classes, position, label)
        if truth.label.are_numbers and (settled or (file.pred and file.pred.are_numbers)):
            where = f"{'pred' if settled is None else layout.kind} of {file.path}"
            refuse_shift(scores.pred, label, where, truth.label.where)
        if file.pred and settled is None:
            notes += describe_unseen(file.pred, truth.label)
        source = ProbabilitySource(file.table, layout, width, file.ids, position) if width else None
        made = PredictionFile(file.path, layout.kind, scores, shown, classes.names, position, notes, source)
        result.append(made)
    return result


def _open_labels(table: Table) -> _Opened:
    """Read a label file."""
    require(table, "label")
    return _open(table, optional=("label",))


def _open(
    table: Table,
    scores: Sequence[str] = (),
    truth: _Opened | None = None,
    optional: Sequence[str] = ("label", "pred", "confidence"),
) -> _Opened:
    """Read the ids and the optional columns that the file has.

    Args:
        scores: columns of probabilities or logits, whose headers are only checked.
        truth: the label file, else the first file; None for that file itself.
    """
    path, key = table.path, require(table, "id", "index")
    held = [key, *(name for name in optional if name in table.columns)]
    _check_head(table, held, scores, truth)
    columns = table.read(held)
    ids = read_ids(columns[key], path, key)
    for name, column in columns.items():
        if len(column) != len(ids):
            raise RunError(f"{path}: {name} has {len(column)} rows, {key} has {len(ids)}: write one per image")
    coded = {name: read_classes(columns[name], path, name) for name in ("label", "pred") if name in columns}
    values = side_by_side(path, ["confidence"], [columns["confidence"]])[:, 0] if "confidence" in columns else None
    return _Opened(table, ids, coded.get("label"), coded.get("pred"), values)


def _check_head(table: Table, held: Sequence[str], scores: Sequence[str], truth: _Opened | None) -> None:
    """Refuse, by a file's header, what would waste memory.

    Args:
        held: columns to load whole, the ids first.
        scores: columns of probabilities or logits.

    Raises:
        RunError: columns differ in length, the first ids repeat, or there is not enough memory.
        PairingError: there are far more rows than labels.
    """
    path, declared = table.path, table.declare([*held, *scores])
    rows, sizes = declared[0].rows, [one.size for one in declared[: len(held)]]
    if rows is not None:
        _check_lengths(path, held, scores, [one.rows for one in declared])
        if truth is not None and rows > 10 * len(truth.ids) + FEW_ROWS:
            raise PairingError(
                f"{path} has {rows:,} rows, but {truth.path} has {len(truth.ids):,}: "
                f"all files must contain the same images, under the same ids"
            )
        refuse_too_large(path, sum(size or 0 for size in sizes) + TEXT * rows, SMALLER, RunError)
    if None in sizes or sum(size or 0 for size in sizes) > LARGE:
        refuse_repeats(table.peek(held[0]), path, held[0], "of the first")


def _check_lengths(path: Path, held: Sequence[str], scores: Sequence[str], rows: Sequence[int | None]) -> None:
    """Raise RunError where a column has a different number of rows than the ids, the first."""
    key, expected = held[0], rows[0]
    for name, found in zip([*held, *scores], rows, strict=True):
        if found != expected and name in held:
            raise RunError(f"{path}: {name} has {found} rows, {key} has {expected}: write one per image")
        if found != expected:
            raise RunError(f"{path}: {name} does not have {expected} rows like {key}: write it again")


def _check_labels(file: _Opened, truth: _Opened, classes: ClassSet, position: IntArray, label: IntArray) -> None:
    """Raise PairingError where a file's labels differ from the reference labels."""
    if file is truth or file.label is None:
        return
    differ = classes.number(file.label, file.ids) != label[position]
    if differ.any():
        raise PairingError(
            f"{file.path} has other labels than {truth.path} for {int(differ.sum()):,} of {len(label):,} ids, first "
            f"{show_ids(file.ids, differ)}: use one set of labels, or drop the column label"
        )


def _score(
    file: _Opened, layout: Layout, n_classes: int, classes: ClassSet, position: IntArray, label: IntArray
) -> tuple[Scores, list[str]]:
    """Scores in the order of the labels, with notes."""
    pred = _placed(classes.number(file.pred, file.ids), position) if file.pred else None
    if layout.kind in ("probs", "logits"):
        scores = score_table(file.table, layout, n_classes, file.ids, position, label)
        return scores, _contradictions(file, scores, pred, position)
    assert pred is not None  # find_layout found the column
    confidence = None
    if file.confidence is not None:
        check_confidence(file.confidence, file.path, file.ids)
        confidence = _placed(file.confidence, position)
    return Scores(np.arange(len(label)), label, pred, confidence), [f"{file.path} {LEFT_OUT[layout.kind]}"]


def _placed(values: np.ndarray[Any, Any], position: IntArray) -> np.ndarray[Any, Any]:
    """Values of the rows of a file in the order of the labels."""
    placed = np.empty_like(values)
    placed[position] = values
    return placed


def _contradictions(file: _Opened, scores: Scores, pred: IntArray | None, position: IntArray) -> list[str]:
    """Notes where a file also has a prediction or confidence that contradicts its probabilities."""
    notes = []
    if pred is not None and (pred != scores.pred).any():
        count = int((pred != scores.pred).sum())
        notes.append(
            f"{file.path}: pred is not the most probable class in {count:,} of {len(pred):,} rows; the latter counts"
        )
    if file.confidence is not None and scores.confidence is not None:
        far = ~(np.abs(_placed(file.confidence, position) - scores.confidence) <= 1e-3)
        if far.any():
            notes.append(
                f"{file.path}: confidence is not the highest probability in {int(far.sum()):,} of {len(far):,} rows; "
                f"the highest probability counts"
            )
    return notes
