"""Probabilities or logits, reduced part by part to scores of single images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stress_lab.calibration.scores import ClasswiseBins
from stress_lab.errors import RunError
from stress_lab.prediction_files.layout import Layout, find_layout
from stress_lab.prediction_files.tables import MAX_WIDTH, Table
from stress_lab.records import BoolArray, FloatArray, IntArray, Predictions, Scores

SUM_TOLERANCE = 1e-3 + 1e-6  # 0.001 itself may be rounded up
BELOW_ZERO = 1e-5  # float32 rounding error of a probability of 0, such as 1 - p
PERCENT_TOLERANCE = 0.5
VALUES = 1 << 22  # numbers in one part


class Problems:
    """Rows of a file that break a rule: how many, and the first."""

    def __init__(self, path: Path, ids: pa.Array) -> None:
        self.path, self.ids = path, ids
        self.only_probabilities = True  # whether all rows so far are valid probabilities
        self._found: dict[str, tuple[int, int, str]] = {}  # by advice: count, first row, what is wrong in it

    def add(self, bad: BoolArray, start: int, what: Callable[[int], str], advice: str) -> None:
        """Note the rows ``bad (B,)`` of a part that starts at row ``start``."""
        if bad.any():
            row = int(bad.argmax())
            count, first, text = self._found.get(advice) or (0, start + row, what(row))
            self._found[advice] = (count + int(bad.sum()), first, text)

    def check(self) -> None:
        """Raise RunError if any row was noted."""
        for advice, (count, row, text) in self._found.items():
            n, number = len(self.ids), self.ids[row].as_py()
            raise RunError(f"{self.path}: {text} for id {number}, and similarly in {count:,} of {n:,} rows: {advice}")


def count_classes(table: Table, layout: Layout) -> int:
    """Number K of classes; 0 for hard labels.

    Raises:
        RunError: lists or rows are shorter than two, or longer than any list of classes.
    """
    if len(layout.columns) != 1:
        return len(layout.columns)
    [declared] = table.declare(layout.columns)
    width = declared.width
    if width is None:
        with closing(table.matrices(layout.columns, 1)) as parts:
            width = int(next(parts, np.empty((0, 0))).shape[1])
    if not 2 <= width <= MAX_WIDTH:
        raise RunError(
            f"{table.path}: {layout.kind} has {width:,} numbers per image: write one per class, two or more"
            f"{f' and no more than {MAX_WIDTH:,}' if width > MAX_WIDTH else ''}"
        )
    if declared.values is not None and declared.rows is not None and declared.values > declared.rows * width:
        raise RunError(f"{table.path}: {layout.kind} has lists of {width} and of more numbers: write one per class")
    return width


def score_table(
    table: Table, layout: Layout, n_classes: int, ids: pa.Array, position: IntArray, label: IntArray
) -> Scores:
    """Read probabilities or logits twice: for all else, then for the classwise contributions, which need totals.

    Args:
        ids: (N,) in the order of the file, for messages.
        position: (N,) place of each row of the file in the result.
        label: (N,) class numbers in the order of the result.

    Raises:
        RunError: a number is not finite, probabilities are negative or do not sum to one, or all logits do.
    """
    n = len(label)
    pred, confidence = np.zeros(n, np.int64), np.zeros(n, np.float32)
    nll, brier, classwise = np.zeros(n), np.zeros(n), np.zeros(n)
    bins, problems = ClasswiseBins(n_classes), Problems(table.path, ids)
    for rows, probs in _stream(table, layout, n_classes, position, problems):
        true = probs[np.arange(len(rows)), label[rows]].astype(np.float64)
        pred[rows], confidence[rows] = probs.argmax(axis=1), probs.max(axis=1)
        nll[rows] = -np.log(np.maximum(true, 1e-12))
        brier[rows] = np.maximum(np.einsum("nk,nk->n", probs, probs, dtype=np.float64) - 2 * true + 1, 0)
        bins.add(probs, label[rows])
    problems.check()
    if layout.kind == "logits" and problems.only_probabilities:
        raise RunError(_describe_disguise(table, layout))
    for rows, probs in _stream(table, layout, n_classes, position, problems):
        classwise[rows] = bins.contributions(probs, label[rows])
    return Scores(np.arange(n), label, pred, confidence, nll, brier, classwise)


@dataclass(frozen=True)
class ProbabilitySource:
    """Where the probabilities of a file are read again, which are not kept.

    Attributes:
        table, layout: the file, and what its columns mean. ``n_classes``: K.
        ids: (N,) in the order of the file, for messages. ``position``: (N,) place of each row in the result.
    """

    table: Table
    layout: Layout
    n_classes: int
    ids: pa.Array
    position: IntArray

    def score(self, label: IntArray) -> Scores:
        """Scores under other labels (N,), in the order of the result."""
        return score_table(self.table, self.layout, self.n_classes, self.ids, self.position, label)

    def stream(self) -> Iterator[tuple[IntArray, FloatArray]]:
        """Places in the result (B,) and probabilities (B, K), part by part."""
        problems = Problems(self.table.path, self.ids)
        return _stream(self.table, self.layout, self.n_classes, self.position, problems)


def _stream(
    table: Table, layout: Layout, n_classes: int, position: IntArray, problems: Problems
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Positions in the result and probabilities (B, K), part by part."""
    start = 0
    for values in table.matrices(layout.columns, max(1, VALUES // n_classes)):
        if values.shape[1] != n_classes and len(values):
            raise RunError(f"{table.path}: {layout.kind} has rows of {n_classes} and of {values.shape[1]} numbers")
        rows = position[start : start + len(values)]
        if len(rows) < len(values):
            break
        if len(rows):
            yield rows, _probabilities(values, layout, start, problems)
        start += len(values)
    if start != len(position):
        raise RunError(f"{table.path}: {layout.kind} does not have {len(position)} rows like id: write it again")


def _probabilities(values: FloatArray, layout: Layout, start: int, problems: Problems) -> FloatArray:
    """(B, K) probabilities of checked values; uniform for broken rows."""
    bad: BoolArray = np.asarray(~np.isfinite(values).all(axis=1))

    def missing(row: int) -> str:
        column = int((~np.isfinite(values[row])).argmax())
        name = layout.columns[column] if layout.names else f"{layout.kind}[{column}]"
        return f"{name} is missing, NaN or infinite"

    problems.add(bad, start, missing, "write a number for every class")
    if layout.kind == "logits":
        problems.only_probabilities = problems.only_probabilities and _are_probabilities(values)
        return softmax(np.where(bad[:, None], np.float32(0), values) if bad.any() else values)
    broken = bad | _check_probabilities(values, layout, ~bad, start, problems)
    values = np.where(broken[:, None], np.float32(1 / values.shape[1]), values) if broken.any() else values
    if values.min() < 0 or values.max() > 1:  # rounded, within the tolerances
        return np.asarray(np.clip(values, 0, 1))
    return values


def _are_probabilities(values: FloatArray) -> bool:
    """Whether all rows are non-negative and sum to one."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(
            (values >= -BELOW_ZERO).all() and (abs(values.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE).all()
        )


def _describe_disguise(table: Table, layout: Layout) -> str:
    """The message for probabilities in logit columns."""
    found, wanted = layout.kind, "probs"
    if layout.names is not None:
        found, wanted = f"the columns {layout.columns[0]} …", f"prob_{layout.names[0]} …"
    return (
        f"{table.path}: {found} hold probabilities, since no value is negative and every row sums to 1: "
        f"{layout.advice or f'rename them to {wanted}'} (if they really are logits, add 1 to each, which changes no "
        f"prediction and no confidence)"
    )


def read_probabilities(table: Table, n_classes: int) -> FloatArray:
    """(N, K) probabilities of a table that :func:`score_table` accepted, in the table's order."""
    layout, [declared] = find_layout(table), table.declare(["id"])
    n = declared.rows or 0
    problems = Problems(table.path, pa.nulls(n))
    return np.concatenate([probs for _, probs in _stream(table, layout, n_classes, np.arange(n), problems)])


def read_values(table: Table, n_classes: int) -> FloatArray:
    """(N, K) float32 as stored in a table, in the table's order."""
    return np.concatenate([*table.matrices(find_layout(table).columns, max(1, VALUES // n_classes))])


def _check_probabilities(
    values: FloatArray, layout: Layout, finite: BoolArray, start: int, problems: Problems
) -> BoolArray:
    """(B,) whether a row has a negative value or does not sum to one."""
    rename = layout.advice or ("rename the columns to logit_CLASS" if layout.names else "rename it to logits")
    lowest = values.min(axis=1)
    negative = finite & (lowest < -BELOW_ZERO)
    with np.errstate(invalid="ignore"):
        total = values.sum(axis=1, dtype=np.float64)
        off = finite & ~negative & ~(np.abs(total - 1) <= SUM_TOLERANCE)
    logs = negative & _are_logs(values, negative)
    percent = off & (np.abs(total - 100) <= PERCENT_TOLERANCE)

    def describe_lowest(row: int) -> str:
        return f"a probability is {lowest[row]:g}"

    def describe_sum(row: int) -> str:
        return f"the probabilities sum to {total[row]:.6g}"

    logits = f"if these are logits, {rename}"
    problems.add(logs, start, describe_lowest, f"these are logarithms of probabilities, so {rename}")
    problems.add(negative & ~logs, start, describe_lowest, f"none may be negative; {logits}")
    problems.add(percent, start, describe_sum, "these are percentages, so divide them by 100")
    advice = f"they must sum to 1 within 0.001, so write more digits or divide by the sum; {logits}"
    problems.add(off & ~percent, start, describe_sum, advice)
    return np.asarray(negative | off)


def _are_logs(values: FloatArray, rows: BoolArray) -> BoolArray:
    """(B,) whether the exponentials of a row, if it is one of ``rows``, sum to one."""
    found = np.zeros(len(rows), dtype=bool)
    if rows.any():
        with np.errstate(over="ignore"):
            found[rows] = np.abs(np.exp(values[rows].astype(np.float64)).sum(axis=1) - 1) <= SUM_TOLERANCE
    return found


def softmax(logits: FloatArray) -> FloatArray:
    """(B, K) probabilities as ``Predictions`` computes them."""
    row = np.arange(len(logits))
    with np.errstate(over="ignore"):  # a difference beyond float32 has probability 0
        return Predictions(row, np.zeros_like(row), logits).probs


def check_confidence(values: np.ndarray[Any, Any], path: Path, ids: pa.Array) -> None:
    """Raise RunError unless ``values (N,)`` are in [0, 1]."""
    problems = Problems(path, ids)
    bad = ~((values >= 0) & (values <= 1))
    problems.add(bad, 0, lambda row: f"confidence is {values[row]:g}", "write a fraction from 0 to 1")
    problems.check()
