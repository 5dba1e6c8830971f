"""Files about the labels of test images: corrections of some, and what several people said about all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stress_lab.errors import RunError
from stress_lab.prediction_files.arrays import ArrayTable
from stress_lab.prediction_files.classes import make_classes
from stress_lab.prediction_files.keys import read_classes, read_ids, show_ids
from stress_lab.prediction_files.layout import open_table, require
from stress_lab.prediction_files.names import by_value
from stress_lab.prediction_files.reading import read_tables
from stress_lab.records import FloatArray, IntArray


def read_corrections(path: Path, ids: np.ndarray[Any, Any], classes: Sequence[str]) -> tuple[IntArray, IntArray]:
    """Rows of the images that a file names, and their right labels, each (M,); other columns do not matter.

    Args:
        path: of a file with ``id`` and ``label``, for some of the images; a label may equal the one it had.
        ids: (N,) names of the images.
        classes: K names.

    Raises:
        RunError: the file is missing or broken, or names an image or a class that there is not.
    """
    table = open_table(path)
    key, _ = require(table, "id", "index"), require(table, "label")
    columns = table.read([key, "label"])
    named = read_ids(columns[key], path, key)
    known = pa.array(ids)
    rows = pc.index_in(_as_text(named), value_set=_as_text(known))
    absent = np.asarray(rows.is_null().to_numpy(zero_copy_only=False))
    if absent.any():
        raise RunError(
            f"{path} corrects {int(absent.sum()):,} images that are not in the test set (first "
            f"{show_ids(named, absent)}): write the {key} of a test image, such as {known[0].as_py()}"
        )
    label = make_classes(list(classes), "the test set").number(read_classes(columns["label"], path, "label"), named)
    return np.asarray(rows.to_numpy().astype(np.int64)), label


def _as_text(ids: pa.Array) -> pa.Array:
    """Ids as text, numbers by their value."""
    return by_value(ids.cast(pa.large_string()))


def read_soft_labels(
    path: Path, ids: np.ndarray[Any, Any], label: IntArray, classes: Sequence[str]
) -> tuple[FloatArray, IntArray]:
    """Share of people who gave each image its label, and the class that most gave, each (N,).

    Args:
        path: of a file with ``id`` and ``prob_CLASS``, the share of people who chose each class.
        ids: (N,) names of the images. ``label``: (N,) class numbers. ``classes``: K names.

    Raises:
        RunError: the file is missing or broken, holds no shares, or has other images or classes.
    """
    names = np.array(classes, dtype=object)[label]
    truth = ArrayTable(Path("the test set"), {"id": ids, "label": names})
    [found] = read_tables([open_table(path)], truth)
    if found.kind != "probs" or found.scores.nll is None:
        raise RunError(f"{path} has no shares of people: write a column prob_CLASS for each class, which sum to 1")
    place = {name: number for number, name in enumerate(classes)}
    most = np.array([place.get(name, -1) for name in found.classes])[found.scores.pred]
    return np.exp(-found.scores.nll), most
