"""Predict the splits with the final weights."""

from __future__ import annotations

import logging
import time

from lightning.pytorch import LightningModule

from stress_lab.callbacks.base import Recorder
from stress_lab.data.datamodules import ImageDataModule
from stress_lab.recording import Figures, record_evaluation, record_predictions, record_properties
from stress_lab.runs.folder import RunDir

log = logging.getLogger(__name__)


class PredictionWriter(Recorder):
    """Writes predictions and evaluation of test, val and a part of train, without augmentation; measures test images.

    Args:
        train_examples: training images to predict, for the gap between train and test; 0 predicts none.
    """

    def __init__(self, train_examples: int) -> None:
        self.train_examples = train_examples

    def record(self, run: RunDir, module: LightningModule, source: ImageDataModule) -> Figures:
        """Predict and evaluate each existing split."""
        figures: Figures = {}
        for split in source.indices:
            if split == "train" and not self.train_examples:
                continue
            started = time.perf_counter()
            predictions = record_predictions(
                run, module, source, split, self.train_examples if split == "train" else None
            )
            log.info("predicted %d %s images in %.1f s", len(predictions), split, time.perf_counter() - started)
            figures.update(record_evaluation(run, split, source))
        record_properties(run, source, "test")
        return figures
