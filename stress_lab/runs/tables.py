"""Parquet records: read within the available memory, and checked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stress_lab.records import IntArray

FOLD = 100  # how many times a Parquet file may grow when read, if it then takes more than ROOM
ROOM = 1 << 28  # bytes


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
