"""Standard output and error of a command: they accept every character, and a closed pipe does not stop the work."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO

from stress_lab.plain_text import printable

SPELLED = {"–": "-", "—": "-", "−": "-", "…": "...", "·": "-", "×": "x", "±": "+/-", "→": "->", "κ": "kappa"}
NAMES = ("stdin", "stdout", "stderr")  # by number of the descriptor
UNWRITTEN = 1  # exit status of a command that did its work but could not write its output


class _Steady(io.FileIO):
    """A descriptor that never fails to write: what cannot be written is dropped, and the first reason kept."""

    lost: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, or drop."""
        try:
            return super().write(data)
        except OSError as error:
            self.lost = self.lost or error
            return memoryview(data).nbytes


def spell(error: UnicodeError) -> tuple[str, int]:
    """Replacements for what an encoding lacks: ASCII for symbols we print ourselves, escapes for anything else."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    spelled = [SPELLED.get(one) or one.encode("unicode_escape").decode("ascii") for one in missing]
    return "".join(spelled), error.end


codecs.register_error("stress_lab.spell", spell)


def take_over_streams() -> None:
    """Make standard output and error of this process such streams; replacements by a test or notebook are left alone.

    Closed descriptors are opened to nowhere, so that no file of ours gets their number. Warnings and tracebacks
    show hidden characters as escapes.
    """
    for number, name in enumerate(NAMES):
        stream = getattr(sys, name)
        if stream is None or stream is getattr(sys, f"__{name}__"):
            _open_closed(number)
            if number > 0 and os.name == "nt" and stream is not None and stream.isatty():
                stream.reconfigure(errors="stress_lab.spell")  # a Windows console takes no bytes
            elif number > 0:
                setattr(sys, name, _make_steady(number, stream))
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = print_traceback
    warnings.formatwarning = _format_warning


def _open_closed(number: int) -> None:
    """Open a closed descriptor to nowhere."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
        os.set_inheritable(number, True)


def _make_steady(number: int, stream: TextIO | None) -> TextIO:
    """A stream for a descriptor, buffered like the one it replaces."""
    raw = _Steady(number, "w", closefd=False)
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="stress_lab.spell")
    stream.flush()
    straight = bool(getattr(stream, "write_through", False))
    layer: Any = raw if straight else io.BufferedWriter(raw)
    options: dict[str, Any] = {"line_buffering": stream.line_buffering, "write_through": straight}
    return io.TextIOWrapper(layer, encoding=stream.encoding, errors="stress_lab.spell", **options)


def print_traceback(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Python's own message for an error that nobody caught."""
    sys.stderr.write(printable("".join(traceback.format_exception(kind, error, where)), keep="\n\t"))


_format = warnings.formatwarning


def _format_warning(*arguments: Any, **options: Any) -> str:
    """Python's own text of a warning."""
    return printable(_format(*arguments, **options), keep="\n\t")


@contextmanager
def whole_output() -> Iterator[None]:
    """Report at the end that standard output could not be written; exit status 1 if nothing else failed.

    A reader that has read enough, such as ``head``, is not a failure.
    """
    try:
        yield
    except SystemExit as stop:
        if not stop.code and _report_lost():
            raise SystemExit(UNWRITTEN) from None
        raise
    if _report_lost():
        raise SystemExit(UNWRITTEN)


def _report_lost() -> bool:
    """Print why output was lost; returns whether it was."""
    if sys.stdout is not None:
        sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    lost = getattr(getattr(buffer, "raw", buffer), "lost", None)
    if lost is None or lost.errno == errno.EPIPE:
        return False
    print(f"error: standard output could not be written ({lost.strerror}); all files are complete", file=sys.stderr)
    return True
