"""Arrays in memory as a table, so that they are read by the rules, and give the numbers, of the same arrays in a file."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stress_lab.errors import RunError
from stress_lab.prediction_files.tables import MANY, Declared, stack
from stress_lab.records import FloatArray

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class ArrayTable:
    """Named arrays, one row an image.

    Attributes:
        path: what messages call it, such as ``models['old']``.
        arrays: (N,) numbers, booleans or text (None where it is missing), or (N, K) numbers, by the columns' names.
        advice: what to type where logits turn out to be probabilities, or the other way round.
    """

    path: Path
    arrays: Mapping[str, Array]
    advice: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names."""
        return tuple(self.arrays)

    def declare(self, names: Sequence[str]) -> list[Declared]:
        """By the arrays themselves."""
        chosen = [self.arrays[name] for name in names]
        return [Declared(len(one), one.shape[1] if one.ndim == 2 else 1, one.size, one.nbytes) for one in chosen]

    def peek(self, name: str) -> pa.Array:
        """The first rows of an array (N,)."""
        return as_arrow(self.arrays[name][:MANY])

    def read(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Whole arrays (N,)."""
        return {name: as_arrow(self.arrays[name]) for name in names}

    def matrices(self, names: Sequence[str], rows: int) -> Generator[FloatArray, None, None]:
        """(B, K) float32 with B up to ``rows``."""
        chosen = [self.arrays[name] for name in names]
        for name, array in zip(names, chosen, strict=True):
            if array.dtype.kind not in "fiu":
                raise RunError(f"{self.path}: {name} holds {array.dtype}, not numbers: pass numbers")
        for start in range(0, max(1, len(chosen[0])), rows):
            yield stack([array[start : start + rows] for array in chosen])


def as_arrow(array: Array) -> pa.Array:
    """An array (N,) as pyarrow's own, made of its bytes: ``pa.array`` takes a second to import pandas first."""
    if array.dtype.kind in "iuf":
        plain = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
        return pa.Array.from_buffers(pa.from_numpy_dtype(plain.dtype), len(plain), [None, pa.py_buffer(plain)])
    words = [None if value is None else str(value).encode("utf-8", "surrogatepass") for value in array.tolist()]
    offsets = np.concatenate([[0], np.cumsum([len(word or b"") for word in words])]).astype(np.int64)
    known = np.packbits([word is not None for word in words], bitorder="little")
    parts = [known, offsets, np.frombuffer(b"".join(word or b"" for word in words), np.uint8)]
    return pa.Array.from_buffers(pa.large_string(), len(words), list(map(pa.py_buffer, parts)))
