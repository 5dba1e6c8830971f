"""What recording asks of images: positions by split, pixels, and batches of a net's inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch

from stress_lab.data.images import ImageSplit
from stress_lab.records import DatasetSpec, IntArray


class EvalLoader(Protocol):
    """Batches ``(inputs (B, C, H, W), labels (B,), index (B,))``; ``pipeline`` is what made them from pixels."""

    @property
    def pipeline(self) -> Any:
        """Its ``repr`` names the preprocessing."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """All batches, in order."""


class ImageSource(Protocol):
    """What these functions need of a data module, such as :class:`stress_lab.data.datamodules.ImageDataModule`."""

    batch_size: int

    @property
    def spec(self) -> DatasetSpec:
        """The facts of the data set."""

    @property
    def indices(self) -> dict[str, IntArray]:
        """Positions of each split."""

    def split(self, name: str) -> ImageSplit:
        """The decoded images that a split's positions index."""

    def eval_loader(self, name: str, index: IntArray | None = None) -> EvalLoader:
        """Unaugmented batches of a split, or of some positions in it."""
