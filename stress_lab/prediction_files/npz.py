"""Arrays of NPZ files, read part by part without unpickling anything."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from stress_lab.errors import RunError
from stress_lab.prediction_files.names import tidy_headers
from stress_lab.prediction_files.tables import (
    ADVICE,
    MANY,
    MAX_WIDTH,
    SMALLER,
    Declared,
    readable,
    refuse_bombs,
    refuse_columns,
    stack,
)
from stress_lab.records import FloatArray
from stress_lab.storage.limits import refuse_too_large

PART = 1 << 24  # bytes of a column read at a time
LONGEST_HEAD = 1 << 16  # bytes; NumPy reads a header before checking its length
DEFLATED = 1032  # most bytes that a compressed byte can expand to
LENGTH = {(1, 0): "<H", (2, 0): "<I"}  # by version: the type of a head's length
READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class _Head:
    """An array's header."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


class NpzTable:
    """Arrays (N,), or (N, K) for a row of numbers per image, from ``numpy.savez`` or ``savez_compressed``.

    An array in Fortran order cannot be read row by row and is loaded whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with readable(path), zipfile.ZipFile(path) as archive:
            self._members = tuple(archive.namelist())
        refuse_columns(path, len(self._members))
        self.columns = tidy_headers([name.removesuffix(".npy") for name in self._members])

    def declare(self, names: Sequence[str]) -> list[Declared]:
        """Sizes from the array headers; raises RunError where an array's bytes contradict its header."""
        declared = []
        with readable(self.path), zipfile.ZipFile(self.path) as archive:
            for name in names:
                with self._enter(archive, name) as file:
                    head = self._read_head(file, name)
                    self._check_size(archive.getinfo(self._member(name)), name, file.tell() + head.size)
                width = head.shape[1] if len(head.shape) == 2 else 1
                declared.append(Declared(head.shape[0], width, head.shape[0] * width, head.size))
        return declared

    def peek(self, name: str) -> pa.Array:
        """The first rows of an array (N,) or (N, 1)."""
        with readable(self.path), zipfile.ZipFile(self.path) as archive:
            return pa.array(self._as_column(next(self._parts(archive, name, MANY, PART)), name))

    def read(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Whole arrays (N,) or (N, 1)."""
        columns = {}
        with readable(self.path), zipfile.ZipFile(self.path) as archive:
            for name in names:
                parts = [self._as_column(part, name) for part in self._parts(archive, name, 1 << 20, PART)]
                columns[name] = pa.array(np.concatenate(parts) if len(parts) > 1 else parts[0])
        return columns

    def matrices(self, names: Sequence[str], rows: int) -> Generator[FloatArray, None, None]:
        """(B, K) float32 with B up to ``rows``."""
        with readable(self.path), ExitStack() as stacked:
            archive = stacked.enter_context(zipfile.ZipFile(self.path))
            for columns in zip(*(self._parts(archive, name, rows) for name in names), strict=True):
                for name, column in zip(names, columns, strict=True):
                    if column.dtype.kind not in "fiu":
                        raise RunError(f"{self.path}: {name} holds {column.dtype}, not numbers: write numbers")
                yield stack(columns)

    def _as_column(self, part: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
        """(B,) of (B,) or (B, 1)."""
        if part.ndim == 2 and part.shape[1] == 1:
            return part[:, 0]
        if part.ndim != 1:
            raise RunError(
                f"{self.path}: {name} has {part.ndim} dimensions: {ADVICE.get(name, 'write one value per image')}"
            )
        return part

    def _member(self, name: str) -> str:
        """The name of a column's array in the archive."""
        return self._members[self.columns.index(name)]

    def _enter(self, archive: zipfile.ZipFile, name: str) -> IO[bytes]:
        """An array's file in the archive."""
        return archive.open(self._member(name))

    def _parts(
        self, archive: zipfile.ZipFile, name: str, rows: int, most: int | None = None
    ) -> Iterator[np.ndarray[Any, Any]]:
        """Rows of one array, at least one part, of at most ``most`` bytes each, or one row if that is larger."""
        with self._enter(archive, name) as file:
            head = self._read_head(file, name)
            shape, dtype = head.shape, head.dtype
            if head.fortran and len(shape) == 2:
                refuse_too_large(f"{self.path}: {name}, in Fortran order,", head.size, SMALLER, RunError)
                whole = self._take(file, name, (shape[1], shape[0]), dtype).T
                yield from (whole[start : start + rows] for start in range(0, max(1, len(whole)), rows))
            else:
                if most is not None:
                    rows = max(1, min(rows, most * shape[0] // max(1, head.size)))
                for start in range(0, max(1, shape[0]), rows):
                    yield self._take(file, name, (min(rows, shape[0] - start), *shape[1:]), dtype)
            if file.read(1):  # the end of a member also triggers its checksum
                raise RunError(f"{self.path}: {name} holds more than its header declares: write the file again")

    def _read_head(self, file: IO[bytes], name: str) -> _Head:
        """Shape, whether columns come first, and type of an array."""
        start = file.read(np.lib.format.MAGIC_LEN)
        version = np.lib.format.read_magic(io.BytesIO(start))
        length = file.read(struct.calcsize(LENGTH[version]))
        (size,) = struct.unpack(LENGTH[version], length)
        if size > LONGEST_HEAD:
            raise RunError(f"{self.path}: {name} has a header of {size:,} bytes: the file is damaged; write it again")
        head = _Head(*READ_HEADER[version](io.BytesIO(length + file.read(size))))
        self._check_head(head, name)
        return head

    def _check_head(self, head: _Head, name: str) -> None:
        """Raise RunError for an array that cannot be a column."""
        shape, dtype = head.shape, head.dtype
        if dtype.hasobject:
            raise RunError(
                f"{self.path}: {name} holds pickled Python objects, which are never loaded: "
                f"write plain numbers, or text as numpy.array(..., dtype=str)"
            )
        if len(shape) not in (1, 2) or min(shape) < 0:
            raise RunError(f"{self.path}: {name} has shape {shape}: write an array (N,) or (N, K)")
        refuse_bombs(self.path, shape[0])
        if max([dtype.itemsize, *shape[1:]]) > MAX_WIDTH:
            raise RunError(f"{self.path}: {name} has {dtype} values of shape {shape}: write short ids and real classes")

    def _check_size(self, member: zipfile.ZipInfo, name: str, expected: int) -> None:
        """Raise RunError where the archive's directory contradicts an array's header, or declares impossible sizes."""
        if member.file_size != expected:
            if member.file_size < expected:
                raise self._too_short(name)
            raise RunError(f"{self.path}: {name} holds more than its header declares: write the file again")
        most = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: DEFLATED}.get(member.compress_type)
        if most is not None and expected > most * member.compress_size:
            raise self._too_short(name)

    def _too_short(self, name: str) -> RunError:
        """An array lacks values."""
        return RunError(f"{self.path}: {name} holds less than its header declares: it is truncated; write it again")

    def _take(self, file: IO[bytes], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """The next values of an array, in the byte order of this machine."""
        wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
        data = file.read(wanted)
        if len(data) < wanted:
            raise self._too_short(name)
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
