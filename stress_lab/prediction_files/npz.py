"""Arrays of NPZ files, read part by part without unpickling anything."""

from __future__ import annotations

import zipfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from stress_lab.errors import RunError
from stress_lab.prediction_files.names import tidy_headers
from stress_lab.prediction_files.tables import ADVICE, readable, refuse_bombs, stack
from stress_lab.records import FloatArray

MAX_WIDTH = 100_000  # numbers in a row, or bytes in a value
READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class NpzTable:
    """Arrays (N,), or (N, K) for a row of numbers an image, that ``numpy.savez`` or ``savez_compressed`` wrote.

    An array in Fortran order cannot be read row by row and is held whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with readable(path), zipfile.ZipFile(path) as archive:
            self._members = tuple(archive.namelist())
        self.columns = tidy_headers([name.removesuffix(".npy") for name in self._members])

    def read(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Whole arrays (N,) or (N, 1)."""
        columns = {}
        with readable(self.path), zipfile.ZipFile(self.path) as archive:
            for name in names:
                parts = list(self._parts(archive, name, 1 << 20))
                if parts[0].ndim == 2 and parts[0].shape[1] == 1:
                    parts = [part[:, 0] for part in parts]
                if parts[0].ndim != 1:
                    advice = ADVICE.get(name, "write one value an image")
                    raise RunError(f"{self.path}: {name} has {parts[0].ndim} dimensions: {advice}")
                columns[name] = pa.array(np.concatenate(parts))
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

    def _parts(self, archive: zipfile.ZipFile, name: str, rows: int) -> Iterator[np.ndarray[Any, Any]]:
        """Rows of one array, at least one part."""
        with archive.open(self._members[self.columns.index(name)]) as file:
            shape, fortran, dtype = self._header(file, name)
            if fortran and len(shape) == 2:
                whole = self._take(file, name, (shape[1], shape[0]), dtype).T
                yield from (whole[start : start + rows] for start in range(0, max(1, len(whole)), rows))
            else:
                for start in range(0, max(1, shape[0]), rows):
                    yield self._take(file, name, (min(rows, shape[0] - start), *shape[1:]), dtype)
            if file.read(1):  # at the end of a member its checksum is compared, too
                raise RunError(f"{self.path}: {name} holds more than its header says: write the file again")

    def _header(self, file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        """Shape, whether columns come first, and type of an array."""
        shape, fortran, dtype = READ_HEADER[np.lib.format.read_magic(file)](file)
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
        return shape, fortran, dtype

    def _take(self, file: IO[bytes], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """The next values of an array, in the byte order of this machine."""
        wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
        data = file.read(wanted)
        if len(data) < wanted:
            raise RunError(
                f"{self.path}: {name} holds less than its header says: the file is truncated, write it again"
            )
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
