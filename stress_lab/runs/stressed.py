"""Predictions under harder conditions: ``stress/SUITE/CELL.parquet`` in a run's folder, and their summary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stress_lab.errors import RunError
from stress_lab.files import save_json, write_atomic
from stress_lab.records import Predictions
from stress_lab.runs.folder import RunDir
from stress_lab.runs.tables import check_growth, read_whole_numbers, tabulate_predictions
from stress_lab.storage.seals import load_seal, write_seal
from stress_lab.stress.suite import Cell

ASKED = b"stress_lab"  # key of a table's metadata: what the predictions were made with


def cell_file(suite: str, cell: Cell) -> str:
    """Path of a cell's predictions within the run's folder."""
    return f"stress/{suite}/{cell.name}.parquet"


def save_cell(run: RunDir, suite: str, cell: Cell, predictions: Predictions, asked: dict[str, Any]) -> None:
    """Write a cell's predictions and add them to the run's seal; from then on the cell is finished.

    Columns: those of :meth:`RunDir.save_predictions`, and condition and severity.

    Args:
        run: its folder. ``suite``, ``cell``: of the predictions.
        predictions: of the images.
        asked: what else they depend on, such as seed and weights.
    """
    n, table = len(predictions), tabulate_predictions(predictions)
    table = table.append_column("condition", pa.array([cell.condition] * n).dictionary_encode())
    table = table.append_column("severity", pa.array(np.full(n, float(cell.severity))))
    table = table.replace_schema_metadata({ASKED: json.dumps(asked, sort_keys=True)})
    path = run.path / cell_file(suite, cell)
    write_atomic(path, lambda partial: pq.write_table(table, partial, write_page_checksum=True))
    _seal(run, cell_file(suite, cell))


def _seal(run: RunDir, name: str) -> None:
    """Add a record to the seal of a run; one of a version without seals stays without."""
    base = load_seal(run.path)
    if base is not None:
        write_seal(run.path, [name], base.run, base)


def load_cell(run: RunDir, suite: str, cell: Cell, asked: dict[str, Any] | None = None) -> Predictions | None:
    """A finished cell; None where it is missing, unreadable, not the sealed one, or was made with something else.

    Args:
        run: its folder. ``suite``, ``cell``: of the predictions.
        asked: what they must have been made with; None takes any.
    """
    name = cell_file(suite, cell)
    path, seal = run.path / name, load_seal(run.path)
    if not path.is_file() or (seal is not None and (name not in seal.files or not seal.holds(run.path, name))):
        return None
    try:
        content = path.read_bytes()
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            check_growth(file, len(content))
        table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
        made = json.loads((table.schema.metadata or {})[ASKED])
        flat = table["logits"].combine_chunks().flatten().to_numpy()
        logits = flat.reshape(table.num_rows, -1).astype(np.float32, copy=False)
        found = Predictions(read_whole_numbers(table["index"]), read_whole_numbers(table["label"]), logits)
    except (pa.ArrowException, OSError, ValueError, KeyError, AttributeError, TypeError, RunError):
        return None
    return found if all(made.get(key) == value for key, value in (asked or {}).items()) else None


def save_summary(run: RunDir, suite: str, summary: dict[str, Any]) -> Path:
    """Write ``stress/SUITE/summary.json`` and seal it."""
    path = save_json(run.path / "stress" / suite / "summary.json", summary)
    _seal(run, f"stress/{suite}/summary.json")
    return path


@contextmanager
def sealed_figure(run: RunDir, suite: str) -> Iterator[Path]:
    """The place of the suite's figure, which is sealed when the block ends."""
    name = f"stress/{suite}/accuracy.png"
    yield run.path / name
    _seal(run, name)
