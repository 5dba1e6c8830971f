"""Ids and classes: columns of whole numbers or text, compared as given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stress_lab.errors import PairingError, RunError
from stress_lab.prediction_files.layout import NUMBER
from stress_lab.prediction_files.tables import readable
from stress_lab.records import BoolArray, IntArray


@dataclass(frozen=True)
class Coded:
    """A column of classes as few values and many codes.

    Attributes:
        where: the column and its file, for messages, such as ``label of a.csv``.
        values: each class as text, once.
        codes: (N,) position in ``values``, in the order of the file.
    """

    where: str
    values: tuple[str, ...]
    codes: IntArray

    @property
    def are_numbers(self) -> bool:
        """Whether every value is a whole number."""
        return all(NUMBER.fullmatch(value) for value in self.values)


def show_ids(ids: pa.Array, rows: BoolArray) -> str:
    """The first three ids of the marked rows."""
    first = np.flatnonzero(rows)
    shown = ", ".join(str(ids[int(row)].as_py()) for row in first[:3])
    return shown + (", …" if len(first) > 3 else "")


def as_text(column: pa.Array, path: Path, name: str) -> pa.Array:
    """Values as large strings, whole floats as whole numbers; raises RunError where one is missing or not whole."""
    with readable(path):
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_floating(column.type):
            broken = np.flatnonzero(pc.not_equal(column, pc.floor(column)).fill_null(False))
            if len(broken):
                value = column[int(broken[0])].as_py()
                raise RunError(f"{path}: {name} holds {value:g} in row {broken[0] + 1}: write whole numbers or text")
            column = column.cast(pa.int64())
        text = column.cast(pa.large_string())
    missing = np.flatnonzero(pc.equal(text, "").fill_null(True))
    if len(missing):
        raise RunError(
            f"{path}: {name} is missing in {len(missing)} of {len(text)} rows, first in row {missing[0] + 1}: "
            f"fill it in"
        )
    return text


def read_ids(column: pa.Array, path: Path, name: str) -> pa.Array:
    """Ids as int64 where all are whole numbers, else as text.

    Raises:
        RunError: there is none, one is missing, or one occurs twice.
    """
    text = as_text(column, path, name)
    if not len(text):
        raise RunError(f"{path} has no rows: write one an image")
    repeated = len(text) - pc.count_distinct(text).as_py()
    if repeated:
        seen = pc.value_counts(text)
        first = seen.field("values").filter(pc.greater(seen.field("counts"), 1))[0]
        raise RunError(f"{path}: {repeated} of {len(text)} rows repeat the {name} of another, first {first}: keep one")
    is_number = pc.all(pc.match_substring_regex(text, f"^({NUMBER.pattern})$")).as_py()
    return text.cast(pa.int64()) if is_number else text


def read_classes(column: pa.Array, path: Path, name: str) -> Coded:
    """Classes without the spaces around them; 3.0 is 3."""
    text = pc.utf8_trim_whitespace(as_text(column, path, name))
    encoded = pc.replace_substring_regex(text, r"^(-?\d+)\.0+$", r"\1").dictionary_encode()
    codes = encoded.indices.to_numpy().astype(np.int64)
    return Coded(f"{name} of {path}", tuple(encoded.dictionary.to_pylist()), codes)


def alike(ids: Sequence[pa.Array]) -> list[pa.Array]:
    """Ids of several files in one type: text, where any file has text."""
    as_numbers = all(pa.types.is_int64(one.type) for one in ids)
    return [one if as_numbers else one.cast(pa.large_string()) for one in ids]


def match_ids(ids: pa.Array, truth: pa.Array, path: Path, reference: Path) -> IntArray:
    """(N,) position in ``truth`` of each row of a file.

    Raises:
        PairingError: an id is in one of the two files only.
    """
    if ids.equals(truth):
        return np.arange(len(ids))
    extra = _absent(ids, truth)
    lacking = _absent(truth, ids)
    if extra.any() or lacking.any():
        parts = [
            f"{verb} {int(rows.sum()):,} {tail} (first {show_ids(where, rows)})"
            for verb, rows, tail, where in (
                ("lacks", lacking, f"of the {len(truth):,} ids of {reference}", truth),
                ("has", extra, f"ids that {reference} lacks", ids),
            )
            if rows.any()
        ]
        raise PairingError(f"{path} {' and '.join(parts)}: all files must hold the same images")
    return np.asarray(pc.index_in(ids, value_set=truth).to_numpy().astype(np.int64))


def _absent(ids: pa.Array, others: pa.Array) -> BoolArray:
    """(N,) whether an id is not among the others."""
    return np.asarray(pc.invert(pc.is_in(ids, value_set=others)).to_numpy(zero_copy_only=False))


def as_numpy(ids: pa.Array) -> np.ndarray[Any, Any]:
    """(N,) int64, or objects of type str."""
    return np.asarray(ids.to_numpy(zero_copy_only=False))
