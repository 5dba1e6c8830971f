"""Which columns of a file say what."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from stress_lab.errors import RunError
from stress_lab.prediction_files.npz import NpzTable
from stress_lab.prediction_files.tables import CsvTable, ParquetTable, Table

FORMATS: dict[str, type[CsvTable] | type[ParquetTable] | type[NpzTable]] = {
    ".csv": CsvTable,
    ".parquet": ParquetTable,
    ".npz": NpzTable,
}
NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # a whole number as it is written in full


@dataclass(frozen=True)
class Layout:
    """What the columns of a file of predictions say.

    Attributes:
        kind: ``hard``, ``confidence``, ``probs`` or ``logits``.
        columns: that hold probabilities or logits, in the order of the classes; none for hard labels.
        names: of the classes in that order; None where one column holds a list or a row of all.
    """

    kind: str
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None


def open_table(path: Path) -> Table:
    """Open a file by its suffix.

    Raises:
        RunError: it is missing, of another format, broken, or has a column twice.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is missing"
        raise RunError(f"{path} {what}: give the path of a .csv, .parquet or .npz file")
    if path.suffix.lower() not in FORMATS:
        raise RunError(f"{path} ends in {path.suffix or 'nothing'}: only .csv, .parquet and .npz files are read")
    table = FORMATS[path.suffix.lower()](path)
    for name, count in Counter(table.columns).most_common(1):
        if count > 1:
            raise RunError(f"{path} has the column {name!r} {count} times: keep one")
    return table


def require(table: Table, *names: str) -> str:
    """The first of ``names`` that the file has; raises RunError when it has none."""
    for name in names:
        if name in table.columns:
            return name
    raise RunError(f"{table.path} has no column {names[0]} (it has {_listed(table.columns)}): name one so")


def find_layout(table: Table) -> Layout:
    """Tell what a file of predictions holds.

    Raises:
        RunError: it holds no predictions, both probabilities and logits, or those of one class only.
    """
    require(table, "id", "index")
    found = {"probs": _columns(table, "probs", "prob_"), "logits": _columns(table, "logits", "logit_")}
    if not any(found.values()):
        if "pred" not in table.columns:
            raise RunError(
                f"{table.path} holds no predictions (its columns are {_listed(table.columns)}): "
                f"name them pred, prob_CLASS or logit_CLASS"
            )
        return Layout("confidence" if "confidence" in table.columns else "hard")
    if all(found.values()):
        raise RunError(
            f"{table.path} has both probabilities ({found['probs'][0]} …) and logits ({found['logits'][0]} …): keep one"
        )
    kind, columns = next((kind, columns) for kind, columns in found.items() if columns)
    return _order_classes(table, kind, columns)


def _columns(table: Table, whole: str, prefix: str) -> list[str]:
    """The one column of all classes and the columns of single classes."""
    return [name for name in table.columns if name == whole or (name.startswith(prefix) and name != prefix)]


def _order_classes(table: Table, kind: str, columns: list[str]) -> Layout:
    """The columns by class: numbers from 0 in their order, names as they stand."""
    if kind in columns:
        if len(columns) > 1:
            raise RunError(f"{table.path} has {kind} as well as {columns[columns[0] == kind]}: keep one")
        return Layout(kind, (kind,))
    names = [name.partition("_")[2] for name in columns]
    if len(names) == 1:
        raise RunError(f"{table.path} has {columns[0]} only: write a column for each class, two or more")
    if all(NUMBER.fullmatch(name) for name in names) and sorted(map(int, names)) == list(range(len(names))):
        names.sort(key=int)
    prefix = columns[0].partition("_")[0]
    return Layout(kind, tuple(f"{prefix}_{name}" for name in names), tuple(names))


def _listed(columns: tuple[str, ...]) -> str:
    """The first few columns."""
    return ", ".join(columns[:8]) + (f" and {len(columns) - 8} more" if len(columns) > 8 else "") or "no name"
