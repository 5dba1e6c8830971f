"""Metadata of images as properties for the pattern search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stress_lab.api.inputs import Array, as_column
from stress_lab.api.predictions import require_length
from stress_lab.errors import InputError
from stress_lab.records import FloatArray
from stress_lab.slices.asked import MIN_IMAGES

FEW = 20  # values up to which whole numbers name groups
MOST = 200  # most groups searched


def as_properties(groups: Any, n: int, name: str = "groups") -> dict[str, FloatArray]:
    """(N,) numbers by name: a measured property unchanged, and 1 or 0 for each group named by text or few values.

    Raises:
        InputError: a column does not have one value per image, a value is missing, or there are too many groups.
    """
    is_table = hasattr(groups, "columns")
    columns = {one: groups[one] for one in groups.columns} if is_table else groups
    if not isinstance(columns, Mapping):
        columns = {"group": columns}
    found: dict[str, FloatArray] = {}
    for key, values in columns.items():
        place = f"{name}[{key!r}]" if isinstance(groups, Mapping) or is_table else name
        column = as_column(values, place, "pass one value per image")
        require_length(column, place, n, "models" if name == "groups" else name)
        found |= _name_groups(str(key), column, place)
    return found


def _name_groups(key: str, column: Array, place: str) -> dict[str, FloatArray]:
    """One column as numbers, or as the groups that it names."""
    if column.dtype.kind == "O" or (column.dtype.kind == "f" and not np.isfinite(column).all()):
        raise InputError(f"{place} lacks a value for some images: fill it in, for instance with 'unknown'")
    if column.dtype.kind == "b":
        return {key: column.astype(np.float64)}
    values = np.unique(column)
    if column.dtype.kind == "f" or (column.dtype.kind in "iu" and len(values) > FEW):
        return {key: column.astype(np.float64)}
    shown = [value for value in values if (column == value).sum() >= MIN_IMAGES]
    if len(shown) > MOST:
        raise InputError(f"{place} names {len(shown):,} groups: pass a coarser one, of at most {MOST}")
    return {f"{key}={value}": (column == value).astype(np.float64) for value in shown}
