"""Checkpoints in the run's folder, under names that do not change."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging

from stress_lab.runs import RunDir

log = logging.getLogger(__name__)


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint, written to ``checkpoints/<filename>.ckpt`` of the run and replaced as training goes on.

    Args:
        filename: without suffix.
        monitor: metric to select by, or None to keep the newest.
        keep: file name, without suffix, under which the one before the newest stays; None keeps none.
        **options: of ModelCheckpoint.
    """

    def __init__(self, filename: str, monitor: str | None = None, keep: str | None = None, **options: Any) -> None:
        super().__init__(filename=filename, monitor=monitor, enable_version_counter=False, **options)
        self.keep = keep

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Point to the run's folder."""
        self.dirpath = str(Path(RunDir(trainer.default_root_dir).checkpoints).absolute())
        if any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            self.save_weights_only = False  # it puts the average into a whole checkpoint alone
        super().setup(trainer, pl_module, stage)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note beside the state whether training ends with this epoch, because something told it to stop."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        enough = trainer.current_epoch + 1 >= (trainer.min_epochs or 0) and trainer.global_step >= (
            trainer.min_steps or 0
        )
        checkpoint["ended"] = bool(trainer.should_stop and enough)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        """Move the one that is there aside first, so that at every moment one whole checkpoint exists."""
        if self.keep is not None and trainer.is_global_zero and Path(filepath).is_file():
            os.replace(filepath, Path(filepath).with_name(f"{self.keep}.ckpt"))
        super()._save_checkpoint(trainer, filepath)


@dataclass(frozen=True)
class FoundCheckpoint:
    """A checkpoint to go on from: its ``path``, the whole epochs in it, and whether training ended with them."""

    path: Path
    epoch: int
    ended: bool = False


def find_checkpoint(run: RunDir) -> FoundCheckpoint | None:
    """The newest checkpoint of a run that can be read, or None; one that was cut is said and passed over."""
    for name in ("last", "previous"):
        path = run.checkpoints / f"{name}.ckpt"
        if not path.is_file():
            continue
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            return FoundCheckpoint(path, int(saved["epoch"]) + 1, bool(saved.get("ended", False)))
        except Exception as error:  # torch raises whatever the broken bytes lead to
            reason = " ".join(str(error).split())[:100]
            log.warning("%s cannot be read (%s): the one before it is used", path, reason)
    return None
