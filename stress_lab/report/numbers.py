"""How a number becomes text; on the page each one carries its value and its path in the record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

Path = Sequence[str | int]


def signed(value: float, digits: int) -> str:
    """With its sign, a true minus, and no sign if it rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def p_value(value: float) -> str:
    """A p-value as people write it.

    >>> p_value(0.0271), p_value(0.0004)
    ('0.027', '< 0.001')
    """
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.995 else "1"


def count(value: float) -> str:
    """A count, or a mean of counts to one digit."""
    return f"{value:,.1f}".removesuffix(".0")


def _two_digits(value: float) -> str:
    """Rounded to two significant digits, for rough estimates."""
    return f"{float(f'{value:.2g}'):,.0f}"


KINDS: dict[str, Callable[[Any], str]] = {
    "percent": lambda v: f"{100 * v:.2f} %",
    "percent1": lambda v: f"{100 * v:.1f} %",
    "percent0": lambda v: f"{100 * v:.0f} %",
    "bare": lambda v: f"{100 * v:.2f}",
    "bare1": lambda v: f"{100 * v:.1f}",
    "points": lambda v: signed(100 * v, 2),
    "size": lambda v: f"{100 * v:.2f}",
    "count": count,
    "change": lambda v: signed(v, 1).removesuffix(".0"),
    "about": _two_digits,
    "p": p_value,
    "three": lambda v: f"{v:.3f}".replace("-", "−"),
    "two": lambda v: f"{v:.2f}".replace("-", "−"),
    "change3": lambda v: signed(v, 3),
    "ratio": lambda v: f"{v:.1f}×",
    "minutes": lambda v: f"{v / 60:.1f}",
    "plain": str,
}


def look_up(record: Any, path: Path) -> Any:
    """The value at a path of keys and positions."""
    for step in path:
        record = record[step]
    return record


class Speaker:
    """Turns values of a record into text for the terminal.

    Args:
        record: named records, such as ``{"comparison": …}``.
        at: base path; others are relative to it.
    """

    def __init__(self, record: Mapping[str, Any], at: Path = ()) -> None:
        self.record = record
        self.at = tuple(at)

    def within(self, *path: str | int) -> Speaker:
        """The same for a part of the record."""
        return type(self)(self.record, (*self.at, *path))

    def value(self, *path: str | int) -> Any:
        """The value at a path."""
        return look_up(self.record, (*self.at, *path))

    def number(self, kind: str, *path: str | int) -> str:
        """Text of the number at a path; a dash where unknown."""
        value = self.value(*path)
        return "–" if value is None else KINDS[kind](value)

    def text(self, *path: str | int) -> str:
        """A name at a path."""
        return str(self.value(*path))

    def fill(self, template: str, **parts: str) -> str:
        """Fill a sentence."""
        return template.format(**parts)


class HtmlSpeaker(Speaker):
    """The same for the page: numbers are ``<data>`` elements, names are escaped."""

    def number(self, kind: str, *path: str | int) -> Markup:
        """A number with its value, its kind and its path."""
        value = self.value(*path)
        if value is None:
            return Markup('<span title="not known">–</span>')
        place = json.dumps([*self.at, *path])
        return Markup('<data value="{}" data-kind="{}" data-path="{}">{}</data>').format(
            json.dumps(value), kind, place, KINDS[kind](value)
        )

    def text(self, *path: str | int) -> Markup:
        """A name, escaped."""
        return escape(str(self.value(*path)))

    def fill(self, template: str, **parts: str) -> Markup:
        """Fill a sentence; what is not markup is escaped."""
        return Markup(template).format(**parts)
