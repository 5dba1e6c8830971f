"""Files written in one step, so that a reader never meets half of one; and what JSON and CSV hold."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from stress_lab.errors import RunError
from stress_lab.plain_text import cell

SURROGATE = re.compile("[\ud800-\udfff]")


def write_atomic(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a file beside ``path``, then move it there in one step; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def save_json(path: Path, value: object) -> Path:
    """Write indented JSON; raises ValueError for NaN or infinity, which are not JSON.

    Halves of a letter, which Python makes of bytes in a file name that are not UTF-8, are written as escapes.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    text = SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def load_json(path: Path) -> Any:
    """Read JSON; raises RunError when the file is missing or cut."""
    if not path.is_file():
        raise RunError(f"{path} is missing: {path.parent} is not a finished run, or the file was removed")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(
            f"{path} is not valid JSON ({error}): it was cut or edited; put it back, or train the run again"
        ) from None


def save_csv(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Path:
    """Write rows under the given columns; an empty table keeps its header. Text is no formula, see :func:`cell`."""

    def write(partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, columns, extrasaction="raise")
            writer.writerow({column: cell(column) for column in columns})
            writer.writerows({column: cell(value) for column, value in row.items()} for row in rows)

    return write_atomic(path, write)


def remove_others(found: Iterable[Path], written: Iterable[Path]) -> None:
    """Remove files that an earlier call left and this one did not write again; called after all were written."""
    for path in set(found) - set(written):
        path.unlink(missing_ok=True)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested containers as one level of dotted keys: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    if isinstance(config, dict) and config:
        items: Iterable[tuple[Any, Any]] = config.items()
    elif isinstance(config, (list, tuple)) and config:
        items = enumerate(config)
    else:
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat
