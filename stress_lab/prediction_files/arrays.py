"""Arrays in memory as a table: they follow the rules for files and give the same numbers as from a file."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stress_lab.errors import RunError
from stress_lab.prediction_files.tables import MANY, Declared, stack
from stress_lab.records import FloatArray

Array = np.ndarray[Any, Any]


@dataclass(eq=False)
class ArrayTable:
    """Named arrays, one row per image.

    Attributes:
        path: its name in messages, such as ``models['old']``.
        arrays: (N,) numbers, booleans or text (None where it is missing), or (N, K) numbers, by column name.
        advice: what to type if logits turn out to be probabilities, or vice versa.
    """

    path: Path
    arrays: Mapping[str, Array]
    advice: str = ""
    columns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = tuple(self.arrays)

    def declare(self, names: Sequence[str]) -> list[Declared]:
        """Declared sizes, taken from the arrays."""
        chosen = [self.arrays[name] for name in names]
        return [Declared(len(one), one.shape[1] if one.ndim == 2 else 1, one.size, one.nbytes) for one in chosen]

    def peek(self, name: str) -> pa.Array:
        """The first rows of an array (N,)."""
        return pa.array(self.arrays[name][:MANY])

    def read(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Whole arrays (N,)."""
        return {name: pa.array(self.arrays[name]) for name in names}

    def matrices(self, names: Sequence[str], rows: int) -> Generator[FloatArray, None, None]:
        """(B, K) float32 with B up to ``rows``."""
        chosen = [self.arrays[name] for name in names]
        for name, array in zip(names, chosen, strict=True):
            if array.dtype.kind not in "fiu":
                raise RunError(f"{self.path}: {name} holds {array.dtype}, not numbers: pass numbers")
        for start in range(0, max(1, len(chosen[0])), rows):
            yield stack([array[start : start + rows] for array in chosen])
