"""Mine the confident failures."""

from __future__ import annotations

from lightning.pytorch import LightningModule

from stress_lab.callbacks.base import Recorder
from stress_lab.data.datamodules import ImageDataModule
from stress_lab.recording import Figures, record_failures
from stress_lab.runs.folder import RunDir


class FailureMiner(Recorder):
    """Lists every test image that is wrong with a confidence above the run's threshold, and draws the first ones.

    Args:
        shown: failures in the picture.
    """

    def __init__(self, shown: int) -> None:
        self.shown = shown

    def record(self, run: RunDir, module: LightningModule, source: ImageDataModule) -> Figures:
        """Read the test predictions and write the failures."""
        return record_failures(run, source, "test", self.shown)
