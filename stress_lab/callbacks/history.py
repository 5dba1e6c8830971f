"""Keep one row per epoch, and log it in one line."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from stress_lab.callbacks.base import Recorder
from stress_lab.data.datamodules import ImageDataModule
from stress_lab.errors import RunError
from stress_lab.recording import Figures, record_history
from stress_lab.runs.folder import RunDir

log = logging.getLogger(__name__)

KEYS = ("train/loss", "train/acc", "val/loss", "val/acc", "lr")


class HistoryWriter(Recorder):
    """Writes ``history.json`` and ``history.csv`` after every epoch, and logs the epoch as a line."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.started = 0.0
        self.validated = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()
        self.validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that this epoch has validation metrics; Lightning keeps those of earlier epochs."""
        self.validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the row of the epoch, which includes its validation."""
        row: dict[str, Any] = {"epoch": trainer.current_epoch + 1}
        metrics = trainer.callback_metrics
        known = [key for key in KEYS if key in metrics and (self.validated or not key.startswith("val/"))]
        row.update({key: float(metrics[key]) for key in known})
        row["seconds"] = round(time.perf_counter() - self.started, 3)
        for key in known:
            if not math.isfinite(row[key]):
                raise RunError(
                    f"{key} is not finite in epoch {row['epoch']}, at learning rate {row['lr']:g}: lower optim.lr"
                )
        self.rows.append(row)
        if trainer.is_global_zero:
            RunDir(trainer.default_root_dir).save_history(self.rows)
            log.info("epoch %d/%s  %s", row["epoch"], trainer.max_epochs, _describe(row))

    def record(self, run: RunDir, module: LightningModule, source: ImageDataModule) -> Figures:
        """Draw the curves; a lost history is rewritten from the checkpoint."""
        if not run.history_file.is_file():
            if not self.rows:
                log.warning("%s is gone, and no checkpoint holds its rows: no curves are drawn", run.history_file)
                return {}
            run.save_history(self.rows)
        return record_history(run)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, so that a resumed run keeps its past."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows of an interrupted run."""
        self.rows = list(state_dict["rows"])


def _describe(row: dict[str, Any]) -> str:
    """An epoch as a person reads it."""
    parts = [
        f"{split} loss {row[f'{split}/loss']:.3f} acc {100 * row[f'{split}/acc']:.1f} %"
        for split in ("train", "val")
        if f"{split}/acc" in row
    ]
    return "  ".join([*parts, f"lr {row['lr']:.3g}", f"{row['seconds']:.1f} s"])
