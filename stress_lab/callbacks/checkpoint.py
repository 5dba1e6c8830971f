"""Checkpoints in the run's folder, under names that do not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from stress_lab.runs import RunDir


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint, written to ``checkpoints/<filename>.ckpt`` of the run and replaced as training goes on.

    Args:
        filename: without suffix.
        monitor: metric to select by, or None to keep the newest.
        **options: of ModelCheckpoint.
    """

    def __init__(self, filename: str, monitor: str | None = None, **options: Any) -> None:
        super().__init__(filename=filename, monitor=monitor, enable_version_counter=False, **options)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Point to the run's folder."""
        self.dirpath = str(Path(RunDir(trainer.default_root_dir).checkpoints).absolute())
        super().setup(trainer, pl_module, stage)
