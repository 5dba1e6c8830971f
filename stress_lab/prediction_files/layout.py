"""What each column of a file means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stress_lab.errors import RunError
from stress_lab.prediction_files.delimited import CsvTable, read_suffix
from stress_lab.prediction_files.names import BOOLEANS, WHOLE, find_lookalikes, name_classes
from stress_lab.prediction_files.npz import NpzTable
from stress_lab.prediction_files.tables import ParquetTable, Table

FORMATS: dict[str, type[CsvTable] | type[ParquetTable] | type[NpzTable]] = {
    ".csv": CsvTable,
    ".tsv": CsvTable,
    ".parquet": ParquetTable,
    ".npz": NpzTable,
}


@dataclass(frozen=True)
class Layout:
    """The meaning of a prediction file's columns.

    Attributes:
        kind: ``hard``, ``confidence``, ``probs`` or ``logits``.
        columns: of probabilities or logits, in class order; none for hard labels.
        names: of the classes in that order; None where one column holds a list or a row for all classes.
        advice: what to type if the values are of the other kind; "" suggests renaming the columns.
    """

    kind: str
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    advice: str = ""


def open_table(path: Path) -> Table:
    """Open a file by its suffix.

    Raises:
        RunError: it is missing, in another format, broken, or has a duplicate column.
    """
    if not path.is_file():
        raise RunError(f"{path} {_describe_absence(path)}")
    suffix, compressed = read_suffix(path)
    if suffix not in FORMATS or (compressed and FORMATS[suffix] is not CsvTable):
        raise RunError(
            f"{path} ends in {path.suffix or 'nothing'}: only .csv (or .tsv, or compressed as .csv.gz), .parquet and "
            f".npz files are read"
        )
    table = FORMATS[suffix](path)
    for name, count in Counter(table.columns).most_common(1):
        if count > 1:
            raise RunError(f"{path} has the column {name!r} {count} times: keep one")
    return table


def _describe_absence(path: Path) -> str:
    """What is in place of the file, and what to type."""
    inside = sorted(one for one in path.iterdir() if read_suffix(one)[0] in FORMATS) if path.is_dir() else []
    hint = f", such as {inside[0]}" if inside else ""
    return f"is {'a folder' if path.is_dir() else 'missing'}: give the path of a .csv, .parquet or .npz file{hint}"


def require(table: Table, *names: str) -> str:
    """The first of ``names`` that the file has; raises RunError when it has none."""
    for name in names:
        if name in table.columns:
            return name
    raise RunError(
        f"{table.path} has no column {names[0]} (it has {_listed(table.columns)}): {_name_so(table, *names)}"
    )


MEANING = {"id": "the images' names or numbers", "label": "the true classes", "pred": "the predicted classes"}
USUAL = {  # what other programs call the columns
    "id": ("ids", "image", "image_id", "img", "filename", "file_name", "file", "path", "name", "uid", "sample_id"),
    "label": ("labels", "target", "targets", "true", "truth", "y", "y_true", "gt", "class", "category", "ground_truth"),
    "pred": ("preds", "prediction", "predictions", "predicted", "y_pred", "predicted_class"),
}


def _name_so(table: Table, *names: str) -> str:
    """Advice on which column to rename to the missing one."""
    usual = [name for name in table.columns if name.lower() in (*names, *USUAL.get(names[0], ()))]
    if len(usual) == 1:
        return f"rename {usual[0]} to {names[0]}"
    if usual:
        return f"rename one of {', '.join(usual)} to {names[0]}"
    return f"call the column that holds {MEANING[names[0]]} {names[0]}"


def find_layout(table: Table) -> Layout:
    """Find what a prediction file contains.

    Raises:
        RunError: it has no predictions, both probabilities and logits, or only one class.
    """
    require(table, "id", "index")
    found = {"probs": _columns(table, "probs", "prob_"), "logits": _columns(table, "logits", "logit_")}
    if not any(found.values()):
        if "pred" not in table.columns:
            raise RunError(
                f"{table.path} has no predictions (its columns are {_listed(table.columns)}): "
                f"name them pred, prob_CLASS or logit_CLASS"
            )
        return Layout("confidence" if "confidence" in table.columns else "hard")
    if all(found.values()):
        raise RunError(
            f"{table.path} has both probabilities ({found['probs'][0]} …) and logits ({found['logits'][0]} …): keep one"
        )
    kind, columns = next((kind, columns) for kind, columns in found.items() if columns)
    return replace(_order_classes(table, kind, columns), advice=getattr(table, "advice", ""))


def _columns(table: Table, whole: str, prefix: str) -> list[str]:
    """The single column for all classes, and the columns for single classes."""
    return [name for name in table.columns if name == whole or (name.startswith(prefix) and name != prefix)]


def _order_classes(table: Table, kind: str, columns: list[str]) -> Layout:
    """The columns by class: numbers from 0 in order, names as they are."""
    if kind in columns:
        if len(columns) > 1:
            raise RunError(f"{table.path} has {kind} as well as {columns[columns[0] == kind]}: keep one")
        return Layout(kind, (kind,))
    names = name_classes([name.partition("_")[2] for name in columns])
    if len(names) == 1:
        hint = " (prob_0 is 1 - prob_1)" if columns == ["prob_1"] else ""
        raise RunError(f"{table.path} has only {columns[0]}: write a column for each class, two or more{hint}")
    _refuse_lookalikes(table, columns, names)
    order = _order(names)
    return Layout(kind, tuple(columns[k] for k in order), tuple(names[k] for k in order))


def _refuse_lookalikes(table: Table, columns: Sequence[str], names: Sequence[str]) -> None:
    """Raise RunError where two columns belong to one class, or their names look the same."""
    for name, count in Counter(names).most_common(1):
        if count > 1:
            same = [column for column, other in zip(columns, names, strict=True) if other == name]
            raise RunError(f"{table.path} has {same[0]!r} and {same[1]!r}, which are the same class: keep one")
    alike = find_lookalikes(names)
    if alike:
        raise RunError(
            f"{table.path} has the classes {alike[0]!r} and {alike[1]!r}, which differ only in case or how they are "
            f"encoded: drop one, or rename it"
        )


def _order(names: Sequence[str]) -> list[int]:
    """Positions of the names: numbers from 0 and booleans in order, others as they are."""
    if sorted(names) == list(BOOLEANS):
        return sorted(range(2), key=names.__getitem__)
    if all(map(WHOLE.fullmatch, names)) and sorted(map(int, names)) == list(range(len(names))):
        return sorted(range(len(names)), key=lambda k: int(names[k]))
    return list(range(len(names)))


def _listed(columns: tuple[str, ...]) -> str:
    """The first few columns."""
    return ", ".join(columns[:8]) + (f" and {len(columns) - 8} more" if len(columns) > 8 else "") or "no name"
