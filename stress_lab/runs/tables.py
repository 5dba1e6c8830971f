"""Predictions and properties of a run, as Parquet: read within the available memory, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stress_lab.errors import RunError
from stress_lab.files import write_atomic
from stress_lab.records import FloatArray, IntArray, Predictions
from stress_lab.runs.sealed import SealedFolder
from stress_lab.storage.limits import measure_chunks, refuse_too_large

FOLD = 100  # how many times a Parquet file may grow when read, if it then takes more than ROOM
ROOM = 1 << 28  # bytes
LARGER = "use a machine with more memory, or put back this run's own file if it was replaced"


def read_whole_numbers(column: pa.ChunkedArray) -> IntArray:
    """A column of whole numbers as (N,) int64; raises ValueError where it is something else."""
    if not pa.types.is_integer(column.type) or column.null_count:
        raise ValueError("index and label must be whole numbers")
    return np.asarray(column.cast(pa.int64()).to_numpy())


def check_growth(file: pq.ParquetFile, size: int) -> None:
    """Raise ValueError where a small Parquet file would fill the memory when read."""
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    values = sum(group.column(place).num_values for group in groups for place in range(group.num_columns))
    if 4 * values > max(ROOM, FOLD * size):
        raise ValueError(f"its {size:,} bytes hold {values:,} numbers, more than predictions can")


def tabulate_predictions(predictions: Predictions) -> pa.Table:
    """Columns index, label, pred, confidence, correct, and logits (a list of K), each of N rows."""
    logits = np.ascontiguousarray(predictions.logits, dtype=np.float32)
    return pa.table(
        {
            "index": predictions.index,
            "label": predictions.label,
            "pred": predictions.pred,
            "confidence": predictions.confidence,
            "correct": predictions.correct,
            "logits": pa.FixedSizeListArray.from_arrays(logits.ravel(), logits.shape[1]),
        }
    )


class TableFolder(SealedFolder):
    """The records of a run that have a row an image."""

    def predictions_file(self, split: str) -> Path:
        """Path of the predictions of one split."""
        return self.find(f"predictions/{split}.parquet")

    def properties_file(self, split: str) -> Path:
        """Path of the measured properties of one split's images."""
        return self.find(f"properties/{split}.parquet")

    def save_predictions(self, split: str, predictions: Predictions) -> None:
        """Write Parquet with columns index, label, pred, confidence, correct, logits (a list of K)."""
        table = tabulate_predictions(predictions)
        write_atomic(
            self.place(f"predictions/{split}.parquet"),
            lambda partial: pq.write_table(table, partial, write_page_checksum=True),
        )

    def load_predictions(self, split: str) -> Predictions:
        """Read predictions; raises RunError when the file is missing or broken."""
        table = self._read_table(self.predictions_file(split), split, ["index", "label", "logits"])
        try:
            if len(pc.unique(pc.list_value_length(table["logits"]))) > 1:
                raise ValueError("rows of logits differ in length")
            flat = table["logits"].combine_chunks().flatten().to_numpy()
            logits = flat.reshape(table.num_rows, -1).astype(np.float32, copy=False)
            index, label = (read_whole_numbers(table[name]) for name in ("index", "label"))
        except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
            raise RunError(f"{self.predictions_file(split)} was edited ({error}): {self._remedy(split)}") from None
        return Predictions(index, label, logits)

    def save_images(self, split: str, columns: Mapping[str, Any]) -> None:
        """Write Parquet with index, file and sha256 of each image of an audit, and the user's further columns."""
        table = pa.table(dict(columns))
        write_atomic(
            self.place(f"images/{split}.parquet"),
            lambda partial: pq.write_table(table, partial, write_page_checksum=True),
        )

    def load_image_digests(self, split: str) -> list[str]:
        """SHA-256 of each image of an audit, as it was found, in the order of the split."""
        table = self._read_table(self.find(f"images/{split}.parquet"), split, ["index", "sha256"])
        return [str(one) for one in table["sha256"].to_pylist()]

    def save_properties(self, split: str, index: IntArray, properties: Mapping[str, FloatArray]) -> None:
        """Write Parquet with the column index and one per property, each (N,)."""
        table = pa.table({"index": index, **properties})
        write_atomic(
            self.place(f"properties/{split}.parquet"),
            lambda partial: pq.write_table(table, partial, write_page_checksum=True),
        )

    def load_properties(self, split: str) -> tuple[IntArray, dict[str, FloatArray]]:
        """Read index (N,) and the properties, each (N,); raises RunError when the file is missing or broken."""
        table = self._read_table(self.properties_file(split), split)
        try:
            index = read_whole_numbers(table["index"])
            columns = {name: table[name].to_numpy() for name in table.column_names if name != "index"}
            wrong = [name for name, values in columns.items() if values.dtype.kind not in "fiub"]
            if wrong:
                raise ValueError(f"{wrong[0]} has no numbers")
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{self.properties_file(split)} was edited ({error}): {self._remedy(split)}") from None
        return index, columns

    def _read_table(self, path: Path, split: str, columns: list[str] | None = None) -> pa.Table:
        """Read Parquet; raises RunError, with the command that rewrites it, when it is missing or broken.

        Pages are verified where the file has checksums for them. The size in the footer is compared with the memory
        that is available, and the first images with each other, before the rest is read.
        """
        if not path.is_file():
            raise RunError(f"{path} is missing: {self._remedy(split)}")
        content = self._read(path, path.stat().st_size)
        try:
            self._check_table(path, content, split, columns)
            return pq.read_table(pa.BufferReader(content), columns=columns, page_checksum_verification=True)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise RunError(f"{path} cannot be read ({reason}): {self._remedy(split)}") from None

    def _check_table(self, path: Path, content: bytes, split: str, columns: list[str] | None) -> None:
        """Raise RunError for a table that is too large, or one whose first rows repeat an image."""
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
            check_growth(file, len(content))
            footer, groups = file.metadata, range(file.metadata.num_row_groups)
            names = [footer.schema.column(leaf).path.partition(".")[0] for leaf in range(footer.num_columns)]
            leaves = [leaf for leaf, name in enumerate(names) if columns is None or name in columns]
            chunks = [footer.row_group(group).column(leaf) for group in groups for leaf in leaves]
            refuse_too_large(path, measure_chunks(chunks), LARGER, RunError)
            parts = file.iter_batches(1 << 16, columns=["index"])
            first = next((column for part in parts for column in part.columns), None)
        repeated = 0 if first is None else len(first) - pc.count_distinct(first).as_py()
        if repeated:
            raise RunError(f"{path} was edited ({repeated:,} images occur twice): {self._remedy(split)}")
