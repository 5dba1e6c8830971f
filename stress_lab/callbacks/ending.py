"""Note how many epochs were trained, before the records are made."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace

from lightning.pytorch import Callback, LightningModule, Trainer

from stress_lab.errors import RunError
from stress_lab.runs.folder import RunDir

log = logging.getLogger(__name__)


class TrainingEnd(Callback):
    """Writes into ``status.json`` that training ended, and after how many epochs.

    It comes first among the callbacks: should the process die while the others record, the same command records again
    and trains no further epoch, whatever ended training early.
    """

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it, and log it if epochs were left."""
        if not trainer.is_global_zero:
            return
        done, planned = trainer.current_epoch, trainer.max_epochs or 0
        if done < planned:
            log.info("training ended after %d of at most %d epochs", done, planned)
        run = RunDir(trainer.default_root_dir)
        with contextlib.suppress(RunError):  # a Trainer without a run has no status
            run.save_info(replace(run.load_info(), epochs=done, max_epochs=planned, trained=True))
