"""A log that can no longer be written, as on a full disk, is reported once, and the run continues."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from stress_lab.runtime.disks import explain_disk, name_file


def watch_log_files() -> None:
    """Let each log file of this process report its first error in a sentence.

    By default Python prints a traceback for each line that cannot be written.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and "handleError" not in vars(handler):
            handler.handleError = _report_once(handler)  # type: ignore[method-assign,assignment]


def _report_once(handler: logging.FileHandler) -> Callable[[logging.LogRecord], None]:
    """What a handler does when writing a line fails; other errors are shown as Python does."""
    otherwise, reported = handler.handleError, list[OSError]()

    def report(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            otherwise(record)
        elif not reported:
            reported.append(error)
            name_file(error, Path(handler.baseFilename))
            print(f"lines are missing from the log: {explain_disk(error)}", file=sys.stderr)

    return report
