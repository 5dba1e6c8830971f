"""A progress bar for people, and silence for log files."""

from __future__ import annotations

import sys

from lightning.pytorch.callbacks import TQDMProgressBar


class TerminalBar(TQDMProgressBar):
    """Lightning's bar where the output is a terminal; elsewhere the epoch lines of HistoryWriter are enough."""

    def __init__(self) -> None:
        super().__init__(leave=False)
        if not sys.stderr.isatty():
            self.disable()
