"""The rules that the options of a comparison must keep, whoever gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from stress_lab.comparison.options import QUESTIONS
from stress_lab.errors import ConfigError
from stress_lab.plain_text import as_override

FIGURES = ("png", "svg", "pdf")  # formats that a comparison's pictures are written in


def is_whole(value: Any, low: int) -> bool:
    """Whether a value is a whole number from ``low``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_reference(variants: Sequence[str], reference: str | None, key: str = "reference") -> None:
    """Raise ConfigError unless a reference is one of the variants; None stands for the first."""
    names = list(dict.fromkeys(variants))
    if reference is not None and reference not in names:
        raise ConfigError(
            f"{as_override(key, reference)} does not name a variant: write one of {', '.join(names)}, "
            f"such as {as_override(key, names[0])}"
        )


OPTION_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("level", lambda v: isinstance(v, float) and 0.5 <= v <= 0.999, "a fraction from 0.5 to 0.999, such as 0.95"),
    ("threshold", lambda v: is_number(v) and 0 <= v < 1, "a fraction from 0 to below 1, such as 0.7"),
    ("power", lambda v: isinstance(v, float) and 0 < v < 1, "a fraction such as 0.8"),
    ("max_risk", lambda v: is_number(v) and 0 < v < 1, "a fraction between 0 and 1, such as 0.05"),
    ("resamples", lambda v: is_whole(v, 100), "a whole number from 100"),
    ("margins.accuracy", lambda v: is_number(v) and 0 < v < 1, "a fraction such as 0.005"),
    ("margins.confident_failures", lambda v: is_number(v) and 0 < v < 1, "a fraction such as 0.005"),
    (
        "primary",
        lambda v: isinstance(v, list) and v != [] and set(v) <= {*QUESTIONS} and len(set(v)) == len(v),
        "primary=[accuracy,confident_failures], primary=[accuracy] or primary=[confident_failures]",
    ),
)
