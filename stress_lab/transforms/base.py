"""A batch transform: first draw the parameters of every image of an epoch, then apply them to a batch."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class BatchTransform(Protocol):
    """Drawing is separate from applying, so that an image looks the same in any batch, order or process.

    Your own class with these two methods can be named in ``augment.extra`` by its ``_target_``.
    """

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """Random parameters of ``count`` images of ``height`` by ``width`` pixels, one row per image, (count, ...)."""
        ...

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Transform ``images (B, C, H, W)`` with their rows of ``parameters (B, ...)``; keeps the shape."""
        ...
