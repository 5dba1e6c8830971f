"""What every format gives, and Parquet files, read part by part."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stress_lab.errors import RunError
from stress_lab.prediction_files.names import tidy_headers
from stress_lab.records import FloatArray

BUFFER = 1 << 16  # bytes read ahead of each column of a Parquet file; without it, whole row groups are held
MAX_ROWS = 100_000_000  # a few compressed bytes can promise more than any memory holds
ONE_CLASS = "write one class an image, for images with several labels are not supported (of one-hot rows: their argmax)"
ADVICE = {"label": ONE_CLASS, "pred": "write the most probable class alone"}  # instead of several values an image
UNREADABLE = (
    *(pa.ArrowException, zipfile.BadZipFile, zlib.error, struct.error, TokenError, OSError, EOFError, MemoryError),
    *(ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, SyntaxError),
)


class Table(Protocol):
    """Named columns of equal length in one file.

    ``read`` gives whole columns; ``matrices`` gives columns side by side as float32 (B, K), ``rows`` rows at a time or
    as many as suit the format, where a column that holds a list or a row of numbers gives K columns by itself.
    """

    path: Path
    columns: tuple[str, ...]

    def read(self, names: Sequence[str]) -> dict[str, pa.Array]: ...  # noqa: D102
    def matrices(self, names: Sequence[str], rows: int) -> Generator[FloatArray, None, None]: ...  # noqa: D102


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what a reader raises for a broken file into a RunError that names the file."""
    try:
        yield
    except UNREADABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise RunError(
            f"{path} cannot be read ({reason}): the file is truncated, damaged or of another format; write it again"
        ) from None


def refuse_bombs(path: Path, rows: int) -> None:
    """Raise RunError for a file that promises more rows than anybody has images."""
    if rows > MAX_ROWS:
        raise RunError(f"{path} promises {rows:,} rows: more than {MAX_ROWS:,} are not read, write the file again")


class ParquetTable:
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with readable(path), pq.ParquetFile(path) as file:
            self._header = tuple(file.schema_arrow.names)
            self.columns = tidy_headers(self._header)
            refuse_bombs(path, file.metadata.num_rows)

    def read(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Whole columns in the types of the file."""
        with readable(self.path), pq.ParquetFile(self.path) as file:
            raw = self._written(names)
            table = file.read(columns=raw)
            chunks = {name: table[own].chunks for name, own in zip(names, raw, strict=True)}
            return {name: pa.concat_arrays(chunks[name]) if chunks[name] else pa.array([]) for name in names}

    def matrices(self, names: Sequence[str], rows: int) -> Generator[FloatArray, None, None]:
        """(B, K) float32 with B up to ``rows``."""
        with readable(self.path), pq.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False) as file:
            raw = self._written(names)
            for part in file.iter_batches(rows, columns=raw):
                yield side_by_side(self.path, names, [part.column(name) for name in raw])

    def _written(self, names: Sequence[str]) -> list[str]:
        """Names of columns as the file spells them."""
        written = dict(zip(self.columns, self._header, strict=True))
        return [written[name] for name in names]


def side_by_side(path: Path, names: Sequence[str], columns: Sequence[pa.Array]) -> FloatArray:
    """Columns of numbers, or one column of lists, as (B, K) float32; what is missing is NaN."""
    return stack([_as_floats(path, name, column) for name, column in zip(names, columns, strict=True)])


def stack(columns: Sequence[np.ndarray[Any, Any]]) -> FloatArray:
    """(B, K) float32 of arrays (B,) or of one (B, K)."""
    with np.errstate(over="ignore"):  # a number beyond float32 is infinite, and refused as such
        single = [column.astype(np.float32, copy=False) for column in columns]
    return single[0] if len(single) == 1 and single[0].ndim == 2 else np.column_stack(single)


def _as_floats(path: Path, name: str, column: pa.Array) -> np.ndarray[Any, Any]:
    """(B,) or, of lists, (B, K)."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        width, flat = _list_length(path, name, column), _as_floats(path, name, column.flatten())
        if not column.null_count:
            return flat.reshape(len(column), width)
        values = np.full((len(column), width), np.nan, np.float32)
        values[column.is_valid().to_numpy(zero_copy_only=False)] = flat.reshape(-1, width)
        return values
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise RunError(f"{path}: column {name} holds {kind}, not numbers: write numbers")
    column = column.cast(pa.float64()) if pa.types.is_decimal(kind) else column
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _list_length(path: Path, name: str, column: pa.Array) -> int:
    """Numbers in each list."""
    if pa.types.is_fixed_size_list(column.type):
        return int(column.type.list_size)
    shortest, longest = pc.min_max(pc.list_value_length(column)).as_py().values()
    if shortest != longest:
        raise RunError(f"{path}: {name} has lists of {shortest} and of {longest} numbers: write one number a class")
    return int(shortest or 0)
