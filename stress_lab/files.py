"""Files written in one step, so that nobody reads half of one; and the contents of JSON and CSV."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from stress_lab.errors import RunError
from stress_lab.plain_text import cell
from stress_lab.runtime.disks import naming

SURROGATE = re.compile("[\ud800-\udfff]")

PARTIAL = ".partial-"  # prefix of files not yet complete
LARGEST_JSON = 1 << 27  # bytes of a record; Python uses about twenty times as many
LARGEST_YAML = 1 << 19  # bytes of a config
MOST_VALUES = 100_000  # of a config: aliases can multiply a few lines endlessly
DEEPEST = 60  # nested groups
LARGEST_NUMBER = 1 << 64


def write_atomic(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a file beside ``path``, then move it there in one step; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{uuid.uuid4().hex[:12]}-{path.name}")  # a unique name
    try:
        with naming(path, instead=partial):
            write(partial)
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def save_json(path: Path, value: object) -> Path:
    """Write indented JSON; raises ValueError for NaN or infinity, which are not JSON.

    Lone surrogates, which Python uses for bytes of a file name that are not UTF-8, are written as escapes.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    text = SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def load_json(path: Path) -> Any:
    """Read JSON; raises RunError when the file is missing, truncated, or too large for a record."""
    return parse_json(read_record(path, LARGEST_JSON), path)


def read_record(path: Path, largest: int) -> bytes:
    """The bytes of a record; raises RunError when it is missing, or has more than ``largest``."""
    if not path.is_file():
        raise RunError(f"{path} is missing: {path.parent} is not a finished run, or the file was removed")
    size = path.stat().st_size
    if size > largest:
        raise RunError(f"{path} has {size:,} bytes, more than any record of its kind: it was edited; put it back")
    return path.read_bytes()


def parse_json(content: bytes, path: Path) -> Any:
    """JSON from the bytes of a file; raises RunError, naming ``path``, where they are not JSON."""
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_parse_float)
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path} is not valid JSON ({error}): it was truncated or edited; put it back, or train the run again"
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python would read but which are not JSON; nothing here writes them."""
    raise ValueError(f"{name} is not a number")


def _parse_float(text: str) -> float:
    """A float; Python would turn one that is too large into infinity."""
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(text)


class _PlainLoader(yaml.SafeLoader):
    """YAML without merge keys, which let a few lines fill any memory."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge nothing: ``<<`` is then a key that cannot be read."""


def parse_yaml(content: bytes) -> Any:
    """Plain values from YAML: groups, lists, text, numbers, booleans and null.

    Raises:
        ValueError: with the reason, where the bytes are not that, or would grow beyond any config.
    """
    try:
        value = yaml.load(content.decode("utf-8"), _PlainLoader)
        _check_plain(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except Exception as error:  # odd scalars make the library's constructors raise anything
        raise ValueError(" ".join(str(error).split())[:300] or type(error).__name__) from None
    return value


def _check_plain(value: Any) -> None:
    """Raise ValueError where a value holds what configs never have, or is larger than any."""
    todo, count = [(value, 0)], 0
    while todo:
        one, depth = todo.pop()
        parts = [*one, *one.values()] if isinstance(one, dict) else one if isinstance(one, list) else []
        count += len(parts)
        if count > MOST_VALUES or depth > DEEPEST:
            raise ValueError("it is larger or nested more deeply than any config")
        if not isinstance(one, (dict, list, str, int, float, type(None))):
            raise ValueError(f"it holds a {type(one).__name__}, which configs never have")
        if isinstance(one, int) and abs(one) > LARGEST_NUMBER:
            raise ValueError("it holds a number larger than any config has")
        todo += [(part, depth + 1) for part in parts]


def save_csv(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Path:
    """Write rows under the given columns; an empty table keeps its header. Text is not a formula, see :func:`cell`."""

    def write(partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, columns, extrasaction="raise")
            writer.writerow({column: cell(column) for column in columns})
            writer.writerows({column: cell(value) for column, value in row.items()} for row in rows)

    return write_atomic(path, write)


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
