r"""Text that is safe to show: nothing in it moves a cursor, reverses letters, or becomes a formula.

Ids, names of classes, variants and files, and error messages may come from anywhere. Records keep them unchanged;
each output (terminal, logs, tables, figures, page, TensorBoard) passes them through here once.
"""

from __future__ import annotations

import copy
import logging
import re
import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

# C0, DEL, C1, line and paragraph separators, bidi embeddings, overrides and isolates, lone surrogates
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
FORMULA = re.compile(r"['\s]*[=+\-@＝＋－＠]|'*[\t\r\n]")  # start of a cell that a spreadsheet may evaluate
NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")


def printable(text: object, keep: str = "") -> str:
    r"""Text with an escape in place of each character that would act instead of being shown.

    Args:
        text: anything; anything but text is converted with ``str``.
        keep: characters that stay, such as the line breaks of several lines.

    >>> print(printable("caf\u00e9 \U0001f408 [red]\x1b[2J\r\u202e"))
    café 🐈 [red]\x1b[2J\r\u202e
    """
    return HIDDEN.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), str(text))


def _escape(character: str) -> str:
    """A character as Python writes it in source code."""
    return character.encode("unicode_escape").decode("ascii")


def printable_record(value: Any) -> Any:
    """A JSON record with all its text, keys too, made :func:`printable`; line breaks and tabs stay."""
    if isinstance(value, str):
        return printable(value, keep="\n\t")
    if isinstance(value, Mapping):
        return {printable_record(key): printable_record(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_record(one) for one in value]
    return value


def cell(value: Any) -> Any:
    """A cell of a CSV file: an apostrophe precedes text that a spreadsheet would evaluate (OWASP, CSV injection).

    Numbers stay, even as text. Whoever reads the text back drops an apostrophe before what would be evaluated.

    >>> cell("=1+1"), cell("-0.5"), cell("@a"), cell(-1), cell("a=b")
    ("'=1+1", '-0.5', "'@a", -1, 'a=b')
    """
    if not isinstance(value, str) or NUMBER.fullmatch(value) or not FORMULA.match(value):
        return value
    return f"'{value}"


PLAIN_VALUE = re.compile(r"[\w/.:%@+-]*[\w/]", re.ASCII)  # neither a shell nor Hydra splits these
OTHER_VALUE = re.compile(r"null|true|false|[+-]?(nan|inf|[\d_.]+(e[+-]?[\d_]+)?)", re.IGNORECASE)  # not read as text


def as_override(key: str, value: object) -> str:
    r"""``key=value`` as one types it, whatever the value: quoted for Hydra, and again for the shell.

    >>> print(as_override("run", "multirun/demo/0_a"), as_override("run", "a b"))
    run=multirun/demo/0_a 'run="a b"'
    """
    text = str(value)
    if PLAIN_VALUE.fullmatch(text) and not OTHER_VALUE.fullmatch(text):
        return f"{key}={text}"
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # OmegaConf would interpolate it
    text = re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), text)
    return shlex.quote(f'{key}="{text}"')


class PlainFormatter(logging.Formatter):
    """Log lines; values in a message stay on its line, tracebacks have their own lines."""

    def format(self, record: logging.LogRecord) -> str:
        """The formatted line."""
        shown = copy.copy(record)
        if isinstance(record.args, Mapping):
            shown.args = {key: _show_value(value) for key, value in record.args.items()}
        elif record.args:
            shown.args = tuple(map(_show_value, record.args))
        return printable(super().format(shown), keep="\n\t")


def _show_value(value: Any) -> Any:
    """A message's argument: text, paths and errors on one line, anything else unchanged."""
    return printable(value) if isinstance(value, (str, PurePath, BaseException)) else value
