"""One set of classes for all files: names from the columns, or what occurs in labels and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from stress_lab.errors import PairingError, RunError
from stress_lab.prediction_files.keys import Coded, show_ids
from stress_lab.prediction_files.layout import NUMBER, Layout
from stress_lab.records import IntArray

HIGHEST_NUMBER = 100_000  # a class number from here on is taken for a mistake


@dataclass(frozen=True)
class ClassSet:
    """The K classes of a comparison.

    Attributes:
        names: (K,) in the order of the first file that names them.
        positions: whether a number tells a position in ``names``; not where files order the classes differently, nor
            where the names themselves are numbers.
    """

    names: tuple[str, ...]
    positions: bool = True
    source: str = ""  # file that named them

    def number(self, column: Coded, ids: pa.Array) -> IntArray:
        """(N,) class numbers of a column: by name, else by position.

        Raises:
            RunError: a value is no class.
        """
        known = {name: number for number, name in enumerate(self.names)}
        if self.positions and column.are_numbers and not known.keys() >= set(column.values):
            known = {str(number): number for number in range(len(self.names))}
        numbers = np.array([known.get(value, -1) for value in column.values], dtype=np.int64)[column.codes]
        unknown = numbers < 0
        if unknown.any():
            value = column.values[column.codes[unknown.argmax()]]
            tail = "" if self.positions or not column.are_numbers else "; name them, as here numbers tell no order"
            raise RunError(
                f"{column.where} holds {value!r}, which is no class, and the like in {int(unknown.sum())} of "
                f"{len(numbers)} rows, first for id {show_ids(ids, unknown)}: "
                f"the classes{f' of {self.source}' if self.source else ''} are {_listed(self.names)}{tail}"
            )
        return numbers


def settle_layouts(files: Sequence[tuple[Path, Layout, int]]) -> tuple[ClassSet | None, list[Layout]]:
    """Classes that the columns of the files tell, and the layouts with their columns in that order.

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
            raise PairingError(f"{path} has the class {alone[0]!r}, which {first} lacks: name the classes alike")
    orders = {layout.names for _, layout, _ in soft if not _is_numbered(layout)}
    positions = len(orders) <= 1 and (names == _numbers(n_classes) or not any(map(NUMBER.fullmatch, names)))
    if orders and not positions and any(_is_numbered(layout) for _, layout, _ in soft):
        path = next(path for path, layout, _ in soft if _is_numbered(layout))
        raise PairingError(f"{path} numbers its classes, but the other files do not tell their order: name its columns")
    return ClassSet(names, positions, str(first)), [_reorder(layout, names) for _, layout, _ in files]


def _numbers(n_classes: int) -> tuple[str, ...]:
    """The names of classes that are numbered."""
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
        RunError: a number is negative or absurdly high, or predictions share no class with the labels.
    """
    columns = [label, *preds]
    values = {value for column in columns for value in column.values}
    if all(column.are_numbers for column in columns):
        for column in columns:
            wrong = [value for value in column.values if not 0 <= int(value) < HIGHEST_NUMBER]
            if wrong:
                raise RunError(
                    f"{column.where} holds {wrong[0]}: class numbers count from 0 and stay below {HIGHEST_NUMBER:,}"
                )
        return ClassSet(_numbers(max(map(int, values)) + 1))
    for pred in preds:
        if not set(pred.values) & set(label.values):
            raise RunError(
                f"{pred.where} shares no class with {label.where} ({_listed(pred.values)}; {_listed(label.values)}): "
                f"write the classes alike"
            )
    return ClassSet(tuple(sorted(values)), positions=False)


def describe_unseen(pred: Coded, label: Coded) -> list[str]:
    """A note, if names are predicted that no image has as its label: they may be misspelt."""
    unseen = sorted(set(pred.values) - set(label.values))
    if not unseen or pred.are_numbers:
        return []
    return [f"{pred.where} holds {_listed(unseen)}, which no image has as its label: check the spelling"]


def _listed(names: Sequence[str]) -> str:
    """A few names."""
    return ", ".join(names) if len(names) <= 10 else f"{', '.join(names[:3])} … {names[-1]} ({len(names)} in all)"
