"""One set of classes for all files: names from the columns, or the values in labels and predictions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from stress_lab.errors import PairingError, RunError
from stress_lab.prediction_files.keys import Coded, show_ids
from stress_lab.prediction_files.layout import Layout
from stress_lab.prediction_files.names import BOOLEANS, NUMBER, WHOLE, find_lookalikes, find_nearest, name_classes
from stress_lab.prediction_files.tables import ONE_CLASS
from stress_lab.records import IntArray

HIGHEST_NUMBER = 100_000  # a class number from here on counts as a mistake


@dataclass(frozen=True)
class ClassSet:
    """The K classes of a comparison.

    Attributes:
        names: (K,) in the order of the first file that names them.
        positions: whether a number is a position in ``names``; not where files order the classes differently, nor
            where the names themselves are numbers.
    """

    names: tuple[str, ...]
    positions: bool = True
    source: str = ""

    def number(self, column: Coded, ids: pa.Array) -> IntArray:
        """(N,) class numbers of a column: by name, else by position.

        Raises:
            RunError: a value is not a class.
        """
        known = self._known(column)
        numbers = np.array([known.get(value, -1) for value in column.values], dtype=np.int64)[column.codes]
        unknown = numbers < 0
        if unknown.any():
            value = column.values[column.codes[unknown.argmax()]]
            raise RunError(
                f"{column.where} holds {value!r}, which is not a class ({int(unknown.sum()):,} of {len(numbers):,} "
                f"rows have none, first for id {show_ids(ids, unknown)}): the classes"
                f"{f' of {self.source}' if self.source else ''} are {_listed(self.names)}{self._advise(column, value)}"
            )
        return numbers

    def _known(self, column: Coded) -> dict[str, int]:
        """Class numbers by the names a column may use."""
        known = {name: number for number, name in enumerate(self.names)}
        if known.keys() >= set(column.values):
            return known
        if self.names == _numbers(2) and set(column.values) <= set(BOOLEANS):
            return {name: number for number, name in enumerate(BOOLEANS)}
        if self.positions and column.are_numbers:
            return {str(number): number for number in range(len(self.names))}
        return known

    def _advise(self, column: Coded, value: str) -> str:
        """What to type instead of a value that is not a class."""
        name, n_classes = column.where.partition(" ")[0], len(self.names)
        if column.are_numbers:
            numbers = set(map(int, column.values))
            if self.positions and min(numbers) >= 1 and max(numbers) == n_classes:
                return f"; {name} counts from 1 and the classes from 0, so subtract 1 from each {name}"
            if self.names == tuple(map(str, range(1, n_classes + 1))) and min(numbers) == 0:
                return f"; {name} counts from 0 and the classes from 1, so add 1 to each {name}"
            return "" if self.positions else f"; write them by name in {name}, since numbers have no fixed order here"
        if NUMBER.fullmatch(value):
            return "; classes are compared, not the numbers of a regression"
        parts = re.split(r"\s*[|,;+ ]\s*", value)
        if len(parts) > 1 and {*parts} <= {*self.names, *_numbers(n_classes)}:
            return f"; {ONE_CLASS}"
        near = find_nearest(value, self.names)
        if near:
            return f"; did you mean {near!r}?"
        numbered = self.names == _numbers(n_classes)
        return f"; write numbers in {name}, or name the columns by class, such as prob_{value}" if numbered else ""


def resolve_layouts(files: Sequence[tuple[Path, Layout, int]]) -> tuple[ClassSet | None, list[Layout]]:
    """Classes named by the files' columns, and the layouts with their columns in that order.

    Args:
        files: path, layout, and number K of classes, 0 for hard labels.

    Returns:
        None instead of classes when all files hold hard labels.

    Raises:
        PairingError: two files have different numbers or names of classes.
    """
    soft = [file for file in files if file[2]]
    if not soft:
        return None, [layout for _, layout, _ in files]
    first, _, n_classes = min(soft, key=lambda file: _is_numbered(file[1]))
    names = next(layout for path, layout, _ in soft if path == first).names or _numbers(n_classes)
    for path, layout, other in soft:
        if other != n_classes:
            raise PairingError(
                f"{first} has {n_classes} classes, {path} has {other}: compare models of the same classes"
            )
        if not _is_numbered(layout) and set(layout.names or ()) != set(names):
            alone = sorted(set(layout.names or ()) - set(names))
            near = find_nearest(alone[0], names)
            hint = f" (did you mean {near!r}?)" if near else ""
            raise PairingError(f"{path} has the class {alone[0]!r}, which {first} lacks{hint}: use the same names")
    orders = {layout.names for _, layout, _ in soft if not _is_numbered(layout)}
    positions = len(orders) <= 1 and (names == _numbers(n_classes) or not any(map(NUMBER.fullmatch, names)))
    if orders and not positions and any(_is_numbered(layout) for _, layout, _ in soft):
        path = next(path for path, layout, _ in soft if _is_numbered(layout))
        raise PairingError(
            f"{path} numbers its classes from 0, but {first} names them {_listed(names)} and no file says which "
            f"number is which: name the columns of {path} the same way"
        )
    return ClassSet(names, positions, str(first)), [_reorder(layout, names) for _, layout, _ in files]


def make_classes(names: Sequence[str], source: str) -> ClassSet:
    """Classes from a list; a number is a position in it.

    Raises:
        RunError: two names are the same, or look the same.
    """
    spelt = name_classes(names)
    alike = find_lookalikes(spelt)
    if alike or len(set(spelt)) < len(spelt):
        first, second = alike or (next(name for name in spelt if spelt.count(name) > 1),) * 2
        raise RunError(f"{source} holds {first!r} and {second!r}, which look the same: give each class its own name")
    return ClassSet(spelt, not any(map(NUMBER.fullmatch, spelt)) or spelt == _numbers(len(spelt)), source)


def _numbers(n_classes: int) -> tuple[str, ...]:
    """The names of numbered classes."""
    return tuple(map(str, range(n_classes)))


def _is_numbered(layout: Layout) -> bool:
    """Whether the classes have no names."""
    return layout.names is None or layout.names == _numbers(len(layout.names))


def _reorder(layout: Layout, names: tuple[str, ...]) -> Layout:
    """The layout with the columns of named classes in the order of ``names``."""
    if layout.names is None or _is_numbered(layout):
        return layout
    place = dict(zip(layout.names, layout.columns, strict=True))
    return replace(layout, columns=tuple(place[name] for name in names), names=names)


def classes_of(label: Coded, preds: Sequence[Coded]) -> ClassSet:
    """Classes that labels and hard predictions hold: 0 to the highest number, or the names in alphabetical order.

    Raises:
        RunError: a number is negative, absurdly high or has a fraction, two names look the same, or predictions share
            no class with the labels.
    """
    columns = [label, *preds]
    values = {value for column in columns for value in column.values}
    if all(column.are_numbers for column in columns):
        _refuse_numbers(columns)
        return ClassSet(_numbers(max(map(int, values)) + 1))
    if values <= {*BOOLEANS, *_numbers(2)}:
        return ClassSet(BOOLEANS)
    _refuse_lookalikes(columns, values)
    for pred in preds:
        _refuse_regression(pred, label)
        if not set(pred.values) & set(label.values):
            raise RunError(
                f"{pred.where} shares no class with {label.where} ({_listed(pred.values)}; {_listed(label.values)}): "
                f"write the classes the same way"
            )
    return ClassSet(tuple(sorted(values)), positions=False)


def _refuse_numbers(columns: Sequence[Coded]) -> None:
    """Raise RunError for a number that no class can have."""
    for column in columns:
        wrong = [value for value in column.values if not 0 <= int(value) < HIGHEST_NUMBER]
        if wrong:
            raise RunError(
                f"{column.where} holds {wrong[0]}: class numbers start at 0 and stay below {HIGHEST_NUMBER:,}"
            )


def _refuse_lookalikes(columns: Sequence[Coded], values: Iterable[str]) -> None:
    """Raise RunError where two names look the same."""
    alike = find_lookalikes(values)
    if alike:
        places = [next(column.where for column in columns if name in column.values) for name in alike]
        raise RunError(
            f"{alike[0]!r} in {places[0]} and {alike[1]!r} in {places[1]} differ only in case, spaces or how "
            f"they are encoded: write each class one way, or rename one if they are two classes"
        )


def _refuse_regression(pred: Coded, label: Coded) -> None:
    """Raise RunError where predicted numbers are not classes."""
    both = (*pred.values, *label.values)
    if all(map(NUMBER.fullmatch, both)) and not set(pred.values) <= set(label.values):
        value, where = next((one, c.where) for c in (pred, label) for one in c.values if not WHOLE.fullmatch(one))
        raise RunError(
            f"{where} holds {value}, a number with a fraction: classes are compared, not the numbers of a regression, "
            f"so write whole numbers or names"
        )


def refuse_shift(pred: IntArray, label: IntArray, where: str, labels: str) -> None:
    """Raise RunError where one of two columns counts classes from 1 and the other from 0.

    The evidence: one lacks class 0, and more than half of the images agree after a shift by one,
    more than without the shift.

    Args:
        pred: (N,) class numbers.
        label: (N,) class numbers.
        where: the predictions and their file.
        labels: the labels and their file.
    """
    lowest = int(label.min() - pred.min())
    if abs(lowest) != 1 or min(label.min(), pred.min()) or min(len(np.unique(label)), len(np.unique(pred))) < 2:
        return
    shifted, right = int((pred + lowest == label).sum()), int((pred == label).sum())
    if shifted > max(right, len(label) / 2):
        high, low = (labels, where) if lowest == 1 else (where, labels)
        raise RunError(
            f"{high} counts classes from 1 and {low} from 0 (then {shifted:,} of {len(label):,} images agree, as "
            f"written {right:,}): subtract 1 from each class in {high}"
        )


def describe_unseen(pred: Coded, label: Coded) -> list[str]:
    """A note if predicted names occur in no label: they may be misspelt."""
    unseen = sorted(set(pred.values) - set(label.values))
    if not unseen or pred.are_numbers or set(pred.values) <= set(BOOLEANS):
        return []
    missed = sorted(set(label.values) - set(pred.values))
    also = f", and never {_listed(missed)}" if missed else ""
    return [f"{pred.where} holds {_listed(unseen)}, which no image has as its label{also}: check the spelling"]


def _listed(names: Sequence[str]) -> str:
    """A list of names, shortened."""
    return ", ".join(names) if len(names) <= 10 else f"{', '.join(names[:3])} … {names[-1]} ({len(names):,} in all)"
