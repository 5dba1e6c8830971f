"""What a command prints for a person: tables and lines, as plain text."""

from __future__ import annotations

import os
import shutil
import sys
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


def announce(words: str) -> None:
    """Say on a terminal what takes time now; files and pipes get nothing."""
    console = Console(stderr=True, width=WIDTH, height=HEIGHT, markup=False, emoji=False, highlight=False)
    if console.is_terminal:
        console.print(Text(f"{printable(words)} …", style="dim"), soft_wrap=True)


def name_opener() -> str:
    """The command that opens a file in a window, with a space; empty where there is none, as over SSH."""
    if sys.platform == "darwin":
        return "open "
    has_window = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return "xdg-open " if has_window and shutil.which("xdg-open") else ""


def print_line(console: Console, line: str) -> None:
    """Print a line as it is, however long, so that paths can be copied."""
    console.print(Text(printable(line)), soft_wrap=True)


def print_wrapped(console: Console, line: str, style: str = "") -> None:
    """Print a sentence in lines that fit, indented like the first; a style shows on terminals without NO_COLOR."""
    indent = " " * (len(line) - len(line.lstrip(" ")))
    wrapped = textwrap.wrap(line.strip(), console.width - 1, initial_indent=indent, subsequent_indent=indent + "  ")
    console.print(Text("\n".join(map(printable, wrapped)), style=style), soft_wrap=True)
