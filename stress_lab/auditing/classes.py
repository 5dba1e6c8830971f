"""Class names in the order of a net's outputs, and labels as numbers in that order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab.errors import ConfigError, DataError
from stress_lab.records import IntArray

NAMED = 8  # labels, or classes, listed in a message


def read_classes(given: Any) -> list[str] | None:
    """Class names from a list, or from a file with one name a line or a JSON list; None where none are given.

    Raises:
        ConfigError: they cannot be read, or a name occurs twice.
    """
    if given is None:
        return None
    names = _read_file(Path(given).expanduser()) if isinstance(given, str) else [str(one) for one in given]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or len(names) < 2:
        fault = f"names {twice} twice" if twice is not None else "has fewer than two names"
        raise ConfigError(f"classes {fault}: give one name for each output of the net, in their order")
    return names


def _read_file(path: Path) -> list[str]:
    """One name a line, or a list in JSON."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"classes={path} cannot be read ({error}): give a text file with one name a line") from None
    if text.lstrip().startswith("["):
        try:
            return [str(one) for one in json.loads(text)]
        except ValueError:
            raise ConfigError(f"classes={path} is not a list in JSON: write one name a line instead") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def match_labels(
    labels: Any, classes: Sequence[str] | None, source: str, known: Sequence[str] | None = None
) -> tuple[IntArray, tuple[str, ...]]:
    """Labels (N,) as class numbers, and the K class names.

    Names are looked up among the classes; whole numbers are positions, unless the classes are called so.

    Args:
        labels: (N,) names or numbers.
        classes: in the order of the outputs; None takes the sorted names, or as many numbers as there are.
        source: of the labels, for messages.
        known: names that numbers stand for in the data, where it has some.

    Raises:
        DataError: a label is not a class, or not a class number at all (multi-label, regression).
    """
    values = [getattr(one, "item", lambda one=one: one)() if getattr(one, "ndim", 1) == 0 else one for one in labels]
    _refuse_other_tasks(values, source)
    if known is not None and all(isinstance(one, int) for one in values):
        values = [known[one] if 0 <= one < len(known) else one for one in values]
    texts = _as_texts(values, classes or (), source)
    if any(one in ("", "None", "nan") for one in texts):
        lacking = sum(one in ("", "None", "nan") for one in texts)
        raise DataError(
            f"{source} has no label for {lacking:,} of its {len(texts):,} images: add them, or remove the rows"
        )
    numeric = all(one.isdecimal() for one in texts)
    if classes is None:
        names = [str(n) for n in range(max(map(int, texts)) + 1)] if numeric else sorted(set(texts))
    else:
        names = list(map(str, classes))
    if len(names) < 2:
        raise DataError(
            f"{source} has only one class, {names[0]!r}: give all classes of the net with 'classes=[a,b,…]'"
        )
    places = {name: number for number, name in enumerate(names)}
    if numeric and not set(texts) <= places.keys():
        return _as_positions(texts, names, source), tuple(names)
    unknown = sorted(set(texts) - places.keys())
    if unknown:
        raise DataError(
            f"{source} has labels that are not classes: {_list(unknown)}; the classes are {_list(names)}: give those "
            "of the net, in the order of its outputs, with 'classes=[a,b,…]' or classes=FILE"
        )
    return np.array([places[one] for one in texts], dtype=np.int64), tuple(names)


def _refuse_other_tasks(values: Sequence[Any], source: str) -> None:
    """Raise DataError for labels of multi-label classification or regression."""
    first = next((one for one in values if isinstance(one, (list, tuple, dict)) or getattr(one, "ndim", 0) > 0), None)
    if first is not None:
        raise DataError(f"{source} has several labels an image, which is multi-label: this tool needs one class each")


def _as_texts(values: Sequence[Any], classes: Sequence[str], source: str) -> list[str]:
    """Labels as text; whole numbers are written without a point, and measurements are refused."""
    texts = [str(one).strip() for one in values]
    try:
        numbers = [float(one) for one in texts]
    except ValueError:
        return texts
    broken = next((one for one in numbers if one == one and not one.is_integer()), None)
    if broken is not None and not set(texts) <= set(classes):
        raise DataError(
            f"{source} has the label {broken:g}, which is a measurement, not a class: regression is not audited"
        )
    whole = broken is None and all(one == one for one in numbers) and not set(texts) <= set(classes)
    return [str(int(one)) for one in numbers] if whole else texts


def _as_positions(texts: Sequence[str], names: Sequence[str], source: str) -> IntArray:
    """Numbers as positions among the classes."""
    numbers = np.array([int(one) for one in texts], dtype=np.int64)
    if numbers.max() >= len(names):
        raise DataError(
            f"{source} has the label {numbers.max()}, but there are {len(names)} classes, numbered from 0 "
            f"({_list(names)}): give the names of all with 'classes=[a,b,…]' or classes=FILE"
        )
    return numbers


def _list(names: Sequence[str]) -> str:
    """The first names."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")
