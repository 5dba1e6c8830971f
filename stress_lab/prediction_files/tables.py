"""Columns of CSV and Parquet files, read part by part."""

from __future__ import annotations

import re
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
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from stress_lab.errors import RunError
from stress_lab.records import FloatArray

TEXT = ("id", "index", "label", "pred")  # columns of a CSV file that are not numbers
BLOCK = 1 << 24  # bytes of a CSV file in one part; a row must fit
BUFFER = 1 << 16  # bytes read ahead of each column of a Parquet file; without it, whole row groups are held
MAX_ROWS = 100_000_000  # a few compressed bytes can promise more than any memory holds
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
            f"{path} cannot be read ({reason}): the file is cut, broken or of another format; write it again"
        ) from None


def refuse_bombs(path: Path, rows: int) -> None:
    """Raise RunError for a file that promises more rows than anybody has images."""
    if rows > MAX_ROWS:
        raise RunError(f"{path} promises {rows:,} rows: more than {MAX_ROWS:,} are not read, write the file again")


class CsvTable:
    """A comma-separated file with a header."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with readable(path), pacsv.open_csv(path) as reader:
            self._header = tuple(reader.schema.names)
        self.columns = tuple(name.strip() for name in self._header)

    def read(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Whole columns: text as it stands, numbers as float32."""
        with readable(self.path):
            parts = list(self._stream(names))
            return {name: pa.concat_arrays([part.column(k) for part in parts]) for k, name in enumerate(names)}

    def matrices(self, names: Sequence[str], rows: int) -> Generator[FloatArray, None, None]:
        """(B, K) float32, as many rows as a part of the file holds."""
        with readable(self.path):
            for part in self._stream(names):
                yield side_by_side(self.path, names, part.columns)

    def _stream(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Parts with the columns in the order of ``names``; a part with no rows for a file without any."""
        raw = [self._header[self.columns.index(name)] for name in names]
        types = [pa.large_string() if name in TEXT else pa.float32() for name in names]
        options = pacsv.ConvertOptions(include_columns=raw, column_types=dict(zip(raw, types, strict=True)))
        yield pa.record_batch([pa.array([], kind) for kind in types], names=raw)
        try:
            with pacsv.open_csv(self.path, pacsv.ReadOptions(block_size=BLOCK), None, options) as reader:
                yield from reader
        except pa.ArrowInvalid as error:
            raise ValueError(re.sub(r"CSV column #(\d+)", self._name, str(error))) from None

    def _name(self, match: re.Match[str]) -> str:
        """The column that pyarrow tells by its number."""
        return f"column {self.columns[int(match[1])]}"


class ParquetTable:
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with readable(path), pq.ParquetFile(path) as file:
            self.columns = tuple(file.schema_arrow.names)
            refuse_bombs(path, file.metadata.num_rows)

    def read(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Whole columns in the types of the file."""
        with readable(self.path), pq.ParquetFile(self.path) as file:
            table = file.read(columns=list(names))
            chunks = {name: table[name].chunks for name in names}
            return {name: pa.concat_arrays(chunks[name]) if chunks[name] else pa.array([]) for name in names}

    def matrices(self, names: Sequence[str], rows: int) -> Generator[FloatArray, None, None]:
        """(B, K) float32 with B up to ``rows``."""
        with readable(self.path), pq.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False) as file:
            for part in file.iter_batches(rows, columns=list(names)):
                yield side_by_side(self.path, names, [part.column(name) for name in names])


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
