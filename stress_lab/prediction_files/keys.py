"""Ids and classes: columns of numbers or text, compared in a normalised spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stress_lab.errors import PairingError, RunError
from stress_lab.prediction_files.names import NUMBER, WHOLE, are_numbers, by_value, tidy
from stress_lab.prediction_files.tables import ADVICE, readable, refuse_nested
from stress_lab.records import BoolArray, IntArray

A_LIST = re.compile(r"\[\s*['\"0-9-].*\]|\[\]")  # as Python and JSON write lists


@dataclass(frozen=True)
class Coded:
    """A dictionary-encoded column of classes.

    Attributes:
        where: the column and its file, for messages, such as ``label of a.csv``.
        values: each class once, as text.
        codes: (N,) position in ``values``, in the order of the file.
    """

    where: str
    values: tuple[str, ...]
    codes: IntArray

    @property
    def are_numbers(self) -> bool:
        """Whether every value is a whole number."""
        return all(WHOLE.fullmatch(value) for value in self.values)


def show_ids(ids: pa.Array, rows: BoolArray) -> str:
    """The first three ids of the marked rows."""
    first = np.flatnonzero(rows)
    shown = ", ".join(str(ids[int(row)].as_py()) for row in first[:3])
    return shown + (", …" if len(first) > 3 else "")


def as_text(column: pa.Array, path: Path, name: str) -> pa.Array:
    """Values as tidied large strings; raises RunError where one is missing or a list."""
    text = _tidied(column, path, name)
    refuse_missing(_is_missing(text), path, name)
    return text


def _tidied(column: pa.Array, path: Path, name: str) -> pa.Array:
    """Values as tidied large strings; raises RunError where they are lists."""
    with readable(path):
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        refuse_nested(column.type, path, name)
        if pa.types.is_floating(column.type):
            column = column.cast(pa.float32()) if pa.types.is_float16(column.type) else column
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        return tidy(column.cast(pa.large_string()))


def _is_missing(text: pa.Array) -> BoolArray:
    """(N,) whether a value is null or empty."""
    return np.asarray(pc.equal(text, "").fill_null(True).to_numpy(zero_copy_only=False))


def refuse_missing(missing: BoolArray, path: Path, name: str) -> None:
    """Raise RunError if any row ``(N,)`` is marked."""
    if missing.any():
        raise RunError(
            f"{path}: {name} is missing in {int(missing.sum()):,} of {len(missing):,} rows, first in row "
            f"{int(missing.argmax()) + 1}: fill it in"
        )


def read_ids(column: pa.Array, path: Path, name: str) -> pa.Array:
    """Ids as int64 where all are whole numbers, else as text.

    Raises:
        RunError: there are none, one is missing or has a fraction, or one occurs twice.
    """
    if pa.types.is_dictionary(column.type):
        refuse_repeats(column, path, name)  # before values are expanded to full length
    text = as_text(column, path, name)
    if not len(text):
        raise RunError(f"{path} has no rows: write one per image")
    if pa.types.is_floating(column.type):
        text = by_value(text)
        broken = np.flatnonzero(pc.match_substring(text, "."))
        if len(broken):
            raise RunError(
                f"{path}: {name} holds {text[int(broken[0])]} in row {broken[0] + 1}: write whole numbers or text"
            )
    repeated = len(text) - pc.count_distinct(text).as_py()
    if repeated:
        seen = pc.value_counts(text)
        first = seen.field("values").filter(pc.greater(seen.field("counts"), 1))[0]
        raise RunError(
            f"{path}: {repeated:,} of {len(text):,} rows repeat the {name} of another, first {first}: "
            f"keep one row per image"
        )
    is_number = pc.all(pc.match_substring_regex(text, f"^({WHOLE.pattern})$")).as_py()
    return text.cast(pa.int64()) if is_number else text


def refuse_repeats(column: pa.Array, path: Path, name: str, among: str = "of") -> None:
    """Raise RunError where an id occurs twice as the same value, or as the same dictionary entry."""
    values = column.indices if pa.types.is_dictionary(column.type) else column
    with readable(path):
        repeated = len(values) - values.null_count - pc.count_distinct(values).as_py()
    if repeated:
        seen = pc.value_counts(values)
        first = seen.field("values").filter(pc.greater(seen.field("counts"), 1)).drop_null()[0].as_py()
        shown = column.dictionary[first].as_py() if values is not column else first
        raise RunError(
            f"{path}: {repeated:,} {among} {len(values):,} rows repeat the {name} of another, first "
            f"{str(shown)[:60]}: keep one row per image"
        )


def _encode(column: pa.Array, path: Path, name: str) -> tuple[pa.Array, IntArray]:
    """Each value once, tidied, and (N,) the position of each row's value; raises RunError where one is missing."""
    if not pa.types.is_dictionary(column.type):
        encoded = as_text(column, path, name).dictionary_encode()
        return encoded.dictionary, encoded.indices.to_numpy()
    refuse_missing(np.asarray(column.indices.is_null().to_numpy(zero_copy_only=False)), path, name)
    used = pc.unique(column.indices)  # a dictionary may hold unused values
    text = _tidied(column.dictionary.take(used), path, name)
    places = pc.index_in(column.indices, value_set=used).to_numpy()
    refuse_missing(_is_missing(text)[places], path, name)
    return text, places


def read_classes(column: pa.Array, path: Path, name: str) -> Coded:
    """Classes in their normalised spelling.

    Raises:
        RunError: one is missing, or an image has several.
    """
    text, numbers = _encode(column, path, name)
    spelt = by_value(text).dictionary_encode()
    values = tuple(spelt.dictionary.to_pylist())
    codes = spelt.indices.to_numpy().astype(np.int64)[numbers]
    nan = [value.lower() == "nan" for value in values]
    if any(nan) and all(is_nan or NUMBER.fullmatch(value) for is_nan, value in zip(nan, values, strict=True)):
        refuse_missing(np.asarray(nan)[codes], path, name)  # from programs that have no missing values
    listed = next(filter(A_LIST.fullmatch, values), None)
    if listed:
        raise RunError(f"{path}: {name} holds {listed}, not one class per image: {ADVICE[name]}")
    return Coded(f"{name} of {path}", values, codes)


def match_ids(ids: pa.Array, truth: pa.Array, path: Path, reference: Path) -> IntArray:
    """(N,) position in ``truth`` of each row of a file: matched by text, or by value if that matches all.

    Raises:
        PairingError: an id is in only one of the two files.
    """
    if ids.type != truth.type:
        ids, truth = ids.cast(pa.large_string()), truth.cast(pa.large_string())
    if ids.equals(truth):
        return np.arange(len(ids))
    extra, lacking = _absent(ids, truth), _absent(truth, ids)
    if extra.any() or lacking.any():
        values, others = _values(ids), _values(truth)
        if values is None or others is None or _absent(values, others).any() or _absent(others, values).any():
            raise PairingError(_describe_difference(ids, truth, extra, lacking, path, reference))
        ids, truth = values, others
    return np.asarray(pc.index_in(ids, value_set=truth).to_numpy().astype(np.int64))


def _values(ids: pa.Array) -> pa.Array | None:
    """Normalised numbers; None where an id is not a number, or two become equal (``007`` and ``7``)."""
    text = ids.cast(pa.large_string())
    values = by_value(text) if are_numbers(text) else text
    return values if are_numbers(text) and pc.count_distinct(values).as_py() == len(values) else None


def _describe_difference(
    ids: pa.Array, truth: pa.Array, extra: BoolArray, lacking: BoolArray, path: Path, reference: Path
) -> str:
    """The ids that only one of two files has."""
    parts = [
        f"{verb} {int(rows.sum()):,} {tail} (first {show_ids(where, rows)})"
        for verb, rows, tail, where in (
            ("lacks", lacking, f"of the {len(truth):,} ids of {reference}", truth),
            ("has", extra, f"ids that {reference} lacks", ids),
        )
        if rows.any()
    ]
    return f"{path} {' and '.join(parts)}: all files must contain the same images, under the same ids"


def _absent(ids: pa.Array, others: pa.Array) -> BoolArray:
    """(N,) whether an id is missing from the others."""
    return np.asarray(pc.invert(pc.is_in(ids, value_set=others)).to_numpy(zero_copy_only=False))


def as_numpy(ids: pa.Array) -> np.ndarray[Any, Any]:
    """(N,) int64, or objects of type str."""
    return np.asarray(ids.to_numpy(zero_copy_only=False))
