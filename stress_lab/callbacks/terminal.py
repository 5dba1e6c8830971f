"""A progress bar for people, and one line per minute for log files."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

log = logging.getLogger(__name__)


class TerminalBar(TQDMProgressBar):
    """Lightning's bar if this process has its own terminal; otherwise a line now and then in long epochs.

    Args:
        every: seconds between two such lines.
    """

    def __init__(self, every: float = 60.0) -> None:
        super().__init__(leave=False)
        self.every = every
        self.said = time.monotonic()
        if not sys.stderr.isatty() or multiprocessing.parent_process() is not None:
            self.disable()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, or log how far the epoch is."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.is_disabled and time.monotonic() - self.said > self.every:
            self.said = time.monotonic()
            log.info(
                "epoch %d/%s  batch %d of %d",
                trainer.current_epoch + 1,
                trainer.max_epochs,
                batch_idx + 1,
                int(trainer.num_training_batches),
            )
