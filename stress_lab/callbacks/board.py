"""What TensorBoard shows beyond curves and figures: precision and recall, and the failures among correct images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from stress_lab.callbacks.base import Recorder
from stress_lab.data.datamodules import ImageDataModule
from stress_lab.data.splits import stratified_subset
from stress_lab.inference import predict_features
from stress_lab.plain_text import printable
from stress_lab.recording import Figures
from stress_lab.records import Failure, IntArray, Predictions
from stress_lab.runs.folder import RunDir

log = logging.getLogger(__name__)

THRESHOLDS = 127  # of a curve: k / 126; TensorBoard allows no more
THUMBNAIL = 64  # pixels a side at most
SPRITE = 8192  # pixels a side of all thumbnails together; the projector allows no more
COLUMNS = ("index", "true", "predicted", "confidence", "kind")


class BoardWriter(Recorder):
    """Adds to the run's TensorBoard one precision-recall curve per class, and the failures for the projector.

    Without a TensorBoard logger it does nothing.

    Args:
        embedded: failures shown as points, the most confident first, beside equally many correct images; 0 for none.
    """

    def __init__(self, embedded: int) -> None:
        self.embedded = embedded
        self.writers: list[SummaryWriter] = []
        self.step = 0

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the TensorBoard writer, then record."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        self.writers, self.step = [logger.experiment for logger in loggers], trainer.current_epoch
        if self.writers:
            super().on_train_end(trainer, pl_module)

    def record(self, run: RunDir, module: LightningModule, source: ImageDataModule) -> Figures:
        """Read the test predictions and the failures, and write the curves and the points."""
        predictions, classes = run.load_predictions("test"), source.spec.classes
        for writer in self.writers:
            add_pr_curves(writer, predictions, classes, self.step)
        failures = run.load_failures()[: self.embedded]
        if not failures:
            log.info("no failures to embed: the projector stays empty")
            return {}
        rows = choose_points(predictions, failures)
        index = predictions.index[rows]
        features = predict_features(module, source.eval_loader("test", index), len(classes))
        if features is None:
            log.info("the net does not end in a linear layer, so there are no features for the projector")
            return {}
        # the shortest decimals with the same float32: tensors.tsv holds text
        table = features.astype(str).astype(np.float64)
        images = make_thumbnails(np.array(source.split("test").images[index]))
        for writer in self.writers:
            writer.add_embedding(
                table, describe_points(predictions, rows, classes), images, tag="failures", metadata_header=COLUMNS
            )
        return {}


def add_pr_curves(writer: SummaryWriter, predictions: Predictions, classes: Sequence[str], step: int) -> None:
    """Precision and recall of each class against the others, predicted where its probability is at least k / 126."""
    probs = predictions.probs.astype(np.float64)
    for number, name in enumerate(classes):
        is_class = predictions.label == number
        writer.add_pr_curve(printable(f"test/pr/{name}"), is_class, probs[:, number], step, num_thresholds=THRESHOLDS)


def choose_points(predictions: Predictions, failures: Sequence[Failure]) -> IntArray:
    """Rows of the predictions: those of the failures, then as many correct ones with the classes in proportion.

    The correct ones are chosen with a separate fixed seed.
    """
    row = {int(index): number for number, index in enumerate(predictions.index)}
    failed = np.array([row[failure.index] for failure in failures], dtype=np.int64)
    correct = np.flatnonzero(predictions.correct)
    chosen = correct[stratified_subset(predictions.label[correct], len(failed), seed=0)]
    return np.concatenate([failed, chosen])


def describe_points(predictions: Predictions, rows: IntArray, classes: Sequence[str]) -> list[tuple[str, ...]]:
    """One row per point, under :data:`COLUMNS`; tabs and line breaks in class names are replaced."""
    names = [printable(" ".join(name.split())) for name in classes]
    return [
        (
            str(predictions.index[row]),
            names[predictions.label[row]],
            names[predictions.pred[row]],
            f"{predictions.confidence[row]:.4f}",
            "correct" if predictions.correct[row] else "confident failure",
        )
        for row in rows
    ]


def make_thumbnails(images: NDArray[np.uint8]) -> Tensor:
    """``images (N, C, H, W)`` as ``(N, 3, S, S)`` float32 in [0, 1]: grey becomes RGB, the short side white bars.

    They are shrunk to 64 pixels, or until all of them fit into the projector's one picture.
    """
    pixels = torch.from_numpy(images).float() / 255
    pixels = pixels.expand(-1, 3, -1, -1)
    height, width = pixels.shape[2:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = F.pad(pixels, (left, side - width - left, top, side - height - top), value=1.0)
    limit = min(THUMBNAIL, SPRITE // ceil(sqrt(len(images))))
    return F.interpolate(square, size=(limit, limit), mode="area") if side > limit else square
