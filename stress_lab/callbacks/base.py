"""What the recording callbacks share."""

from __future__ import annotations

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from stress_lab.data.datamodules import ImageDataModule
from stress_lab.errors import ConfigError
from stress_lab.recording import Figures
from stress_lab.runs.folder import RunDir


class Recorder(Callback):
    """Calls :meth:`record` once training has ended, while the model is still on its device and gradients work.

    ``on_fit_end`` would be too late (the model has left its device), and the hooks of validation and test run in
    inference mode, where Grad-CAM cannot.
    """

    def record(self, run: RunDir, module: LightningModule, source: ImageDataModule) -> Figures:
        """Write a record and return the figures drawn, by tag."""
        raise NotImplementedError

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record, and put the figures into TensorBoard."""
        if not trainer.is_global_zero:
            return
        source = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(source, ImageDataModule):
            raise ConfigError(
                f"{type(self).__name__} needs an ImageDataModule, got {type(source).__name__} by data._target_"
            )
        figures = self.record(RunDir(trainer.default_root_dir), pl_module, source)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for tag, image in figures.items():
                    logger.experiment.add_image(tag, np.asarray(image), trainer.current_epoch, dataformats="HWC")
