"""What a command prints for a person: tables and lines, as plain text."""

from __future__ import annotations

import shutil
import textwrap

from rich.console import Console
from rich.text import Text

from stress_lab.plain_text import printable

WIDTH, NARROWEST = 110, 20  # columns: without a terminal, and the fewest lines are laid out for
HEIGHT = 24  # lines; nothing here depends on it


def open_terminal() -> Console:
    """A console that prints brackets and colons in names literally."""
    is_terminal = Console(width=WIDTH, height=HEIGHT).is_terminal  # with sizes it does not read COLUMNS and LINES
    width = max(NARROWEST, shutil.get_terminal_size((WIDTH, HEIGHT)).columns) if is_terminal else WIDTH
    return Console(width=width, height=HEIGHT, markup=False, emoji=False, highlight=False)


def print_line(console: Console, line: str) -> None:
    """Print a line as it is, however long, so that paths can be copied."""
    console.print(Text(printable(line)), soft_wrap=True)


def print_wrapped(console: Console, line: str) -> None:
    """Print a sentence in lines that fit, indented like the first."""
    indent = " " * (len(line) - len(line.lstrip(" ")))
    wrapped = textwrap.wrap(line.strip(), console.width - 1, initial_indent=indent, subsequent_indent=indent + "  ")
    console.print(Text("\n".join(map(printable, wrapped))), soft_wrap=True)
