"""Which images belong together: a column beside the predictions or the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stress_lab.errors import RunError
from stress_lab.prediction_files.keys import as_text
from stress_lab.prediction_files.layout import open_table
from stress_lab.records import IntArray


def read_clusters(path: Path, column: str) -> IntArray:
    """(N,) the cluster of each row of a file, numbered in order of appearance.

    Args:
        path: the file of labels, or the first file of predictions where that holds them.
        column: such as ``patient``.

    Raises:
        RunError: the file cannot be read, lacks the column, or a value is missing.
    """
    table = open_table(path)
    if column not in table.columns:
        known = ", ".join(table.columns[:10]) + (" …" if len(table.columns) > 10 else "")
        raise RunError(f"{path} has no column {column!r} (it has {known}): set clusters to the one that groups images")
    text = as_text(table.read([column])[column], path, column)
    return np.asarray(text.dictionary_encode().indices, dtype=np.int64)
