"""The interface of every format, and Parquet files, read part by part.

What a file declares (rows, numbers per image, bytes) is checked before anything is read. Columns of ids, labels
and predictions are then loaded whole, so they must fit into the available memory; probabilities and logits are
read some millions of numbers at a time, however many there are. An array in Fortran order is loaded whole too.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
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
from stress_lab.storage.limits import refuse_too_large

BUFFER = 1 << 16  # bytes read ahead per column of a Parquet file; without it, whole row groups are loaded
MAX_ROWS = 100_000_000  # a few compressed bytes can declare more than fits into memory
MAX_WIDTH = 100_000  # classes, or bytes of a value
LARGE = 1 << 26  # bytes; larger files are checked more closely before reading
FEW, MANY = 1 << 9, 1 << 20  # rows read at a time if a value may be as long as a page, and otherwise
ONE_CLASS = "write one class per image; several labels per image are not supported (for one-hot rows, write the argmax)"
ONE_ID = "write one whole number or text"
ADVICE = {  # instead of several values per image
    "label": ONE_CLASS,
    "pred": "write only the most probable class",
    "confidence": "write only the highest probability",
}
SMALLER = "read it where there is more memory, or write the file again if it should not be that large"
UNREADABLE = (
    *(pa.ArrowException, zipfile.BadZipFile, zlib.error, struct.error, TokenError, OSError, EOFError, MemoryError),
    *(ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, SyntaxError, lzma.LZMAError),
)
CODED = {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}  # encodings of Parquet that store each value once
SIMPLE = {*CODED, "PLAIN", "RLE", "BIT_PACKED"}  # encodings whose values take no more than their page


@dataclass(frozen=True)
class Declared:
    """What a file's header declares about a column; None where only reading shows it.

    Attributes:
        rows: of the column.
        width: numbers per image.
        values: numbers in total.
        size: the least bytes that the decoded column takes.
    """

    rows: int | None = None
    width: int | None = None
    values: int | None = None
    size: int | None = None


class Table(Protocol):
    """Named columns of equal length in one file.

    ``declare`` returns what the file's header says about columns; ``peek`` the first rows of one. ``read`` returns
    whole columns; ``matrices`` yields columns side by side as float32 (B, K), ``rows`` rows at a time or what suits
    the format, where a column of lists or rows of numbers counts as K columns.
    """

    path: Path
    columns: tuple[str, ...]

    def declare(self, names: Sequence[str]) -> list[Declared]: ...  # noqa: D102
    def peek(self, name: str) -> pa.Array: ...  # noqa: D102
    def read(self, names: Sequence[str]) -> dict[str, pa.Array]: ...  # noqa: D102
    def matrices(self, names: Sequence[str], rows: int) -> Generator[FloatArray, None, None]: ...  # noqa: D102


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn a reader's error for a broken file into a RunError that names the file."""
    try:
        yield
    except UNREADABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise RunError(
            f"{path} cannot be read ({reason}): the file is truncated, damaged or in another format; write it again"
        ) from None


def refuse_bombs(path: Path, rows: int) -> None:
    """Raise RunError for a file that declares more rows than anybody has images."""
    if rows > MAX_ROWS:
        raise RunError(f"{path} declares {rows:,} rows, but at most {MAX_ROWS:,} are read: write the file again")


def refuse_columns(path: Path, columns: int) -> None:
    """Raise RunError for a file that has more columns than anybody has classes."""
    if columns > MAX_WIDTH + 10:  # plus id, label and so on
        raise RunError(f"{path} has {columns:,} columns: write one per class; at most {MAX_WIDTH:,} are read")


def refuse_nested(kind: pa.DataType, path: Path, name: str) -> None:
    """Raise RunError for a column of lists where one value per image is needed."""
    if pa.types.is_nested(kind):
        raise RunError(f"{path}: {name} holds {kind}, not one value per image: {ADVICE.get(name, ONE_ID)}")


class Ration:
    """Counts what was read of columns loaded whole, where a file's header does not declare their size."""

    def __init__(self, path: Path) -> None:
        self.path, self._held, self._checked = path, 0, 0

    def add(self, names: Sequence[str], columns: Sequence[pa.Array]) -> None:
        """Count a part; raises RunError for a long value, and where there is no memory for a copy of what was read."""
        for name, column in zip(names, columns, strict=True):
            coded = pa.types.is_dictionary(column.type)
            self._refuse_long(name, column.dictionary if coded else column)
            self._held += column.indices.nbytes if coded else column.nbytes
        if self._held > self._checked + LARGE:
            self._checked = self._held
            refuse_too_large(self.path, self._held, SMALLER, RunError)

    def _refuse_long(self, name: str, column: pa.Array) -> None:
        """Raise RunError for text too long for an id or class."""
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            longest = pc.max(pc.binary_length(column)).as_py() or 0
            if longest > MAX_WIDTH:
                raise RunError(f"{self.path}: {name} holds a value of {longest:,} bytes: write short ids and classes")


class ParquetTable:
    """A Parquet file, whose pages are verified if they have checksums."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with readable(path), self._open() as file:
            self._header = tuple(file.schema_arrow.names)
            self._types = {field.name: field.type for field in file.schema_arrow}
            self._footer = file.metadata
            refuse_columns(path, len(self._header))
            self.columns = tidy_headers(self._header)
            refuse_bombs(path, self._footer.num_rows)

    def declare(self, names: Sequence[str]) -> list[Declared]:
        """Sizes from the footer; raises RunError where an image has more numbers than there can be classes."""
        rows, declared = self._footer.num_rows, []
        for name, raw in zip(names, self._written(names), strict=True):
            kind = self._types[raw]
            if not pa.types.is_nested(kind):
                declared.append(Declared(rows, 1, rows, rows * _count_bytes(kind)))
                continue
            with readable(self.path):
                values = sum(chunk.num_values for chunk in self._list_chunks(raw))
            if values > rows * MAX_WIDTH:
                raise RunError(f"{self.path}: {name} has {values:,} numbers in {rows:,} rows: write one per class")
            declared.append(Declared(rows, kind.list_size if pa.types.is_fixed_size_list(kind) else None, values))
        return declared

    def peek(self, name: str) -> pa.Array:
        """The first rows of a column, possibly none."""
        return next(self._stream([name]), [pa.array([])])[0]

    def read(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Whole columns in the file's types; dictionary-encoded text stays a dictionary."""
        ration, parts = Ration(self.path), []
        for part in self._stream(names):
            ration.add(names, part)
            parts.append(part)
        with readable(self.path):
            columns = [pa.concat_arrays(some) for some in zip(*parts, strict=True)] or [pa.array([])] * len(names)
        return dict(zip(names, columns, strict=True))

    def matrices(self, names: Sequence[str], rows: int) -> Generator[FloatArray, None, None]:
        """(B, K) float32 with B up to ``rows``."""
        with readable(self.path), self._open() as file:
            raw = self._written(names)
            for part in file.iter_batches(rows, columns=raw):
                yield side_by_side(self.path, names, [part.column(name) for name in raw])

    def _stream(self, names: Sequence[str]) -> Iterator[list[pa.Array]]:
        """Parts of columns with one value per image."""
        raw = self._written(names)
        for name, own in zip(names, raw, strict=True):
            refuse_nested(self._types[own], self.path, name)
        used = {own: {kind for chunk in self._list_chunks(own) for kind in chunk.encodings} for own in raw}
        text = [own for own in raw if any(one.physical_type == "BYTE_ARRAY" for one in self._list_chunks(own))]
        coded = [own for own in text if used[own] & CODED and used[own] <= SIMPLE]
        rows = MANY if all(used[own] <= SIMPLE for own in text) else FEW
        with readable(self.path), self._open(read_dictionary=coded) as file:
            for part in file.iter_batches(rows, columns=raw):
                yield [part.column(own) for own in raw]

    def _open(self, **options: Any) -> pq.ParquetFile:
        """The file, reading ahead no more than needed."""
        return pq.ParquetFile(
            self.path, buffer_size=BUFFER, pre_buffer=False, page_checksum_verification=True, **options
        )

    def _list_chunks(self, raw: str) -> list[Any]:
        """The footer's entries for a column and its nested columns, in each row group."""
        groups = range(self._footer.num_row_groups)
        return [self._footer.row_group(group).column(leaf) for group in groups for leaf in self._leaves[raw]]

    @cached_property
    def _leaves(self) -> dict[str, list[int]]:
        """Indices of the footer's columns by the name of their parent column."""
        paths = [self._footer.schema.column(leaf).path for leaf in range(self._footer.num_columns)]
        found: dict[str, list[int]] = {name: [] for name in self._header}
        for leaf, path in enumerate(paths):
            name = path if path in found else next((one for one in _list_parents(path) if one in found), "")
            found.setdefault(name, []).append(leaf)
        return found

    def _written(self, names: Sequence[str]) -> list[str]:
        """Column names as the file spells them."""
        written = dict(zip(self.columns, self._header, strict=True))
        return [written[name] for name in names]


def _count_bytes(kind: pa.DataType) -> int:
    """The least bytes a value takes in memory; for text, its offset."""
    try:
        return -(-int(kind.bit_width) // 8)
    except ValueError:
        return 4


def _list_parents(path: str) -> Iterator[str]:
    """Possible parents of a nested column; names may contain dots."""
    while path:
        path = path.rpartition(".")[0]
        yield path


def side_by_side(path: Path, names: Sequence[str], columns: Sequence[pa.Array]) -> FloatArray:
    """Columns of numbers, or one column of lists, as (B, K) float32; missing values are NaN."""
    return stack([_as_floats(path, name, column) for name, column in zip(names, columns, strict=True)])


def stack(columns: Sequence[np.ndarray[Any, Any]]) -> FloatArray:
    """(B, K) float32 of arrays (B,) or of one (B, K)."""
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite and is refused
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
        raise RunError(f"{path}: {name} has lists of {shortest} and of {longest} numbers: write one number per class")
    return int(shortest or 0)
