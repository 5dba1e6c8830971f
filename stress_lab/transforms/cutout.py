"""Cutout: hide a square of the image, so that the net cannot rely on one part (DeVries and Taylor 2017).

This is the paper's variant: the centre is uniform over all pixels and the square is clipped at the border, so that the
hidden share varies (length 16 on 32×32: from 6.25 % to 25 %, on average (14/32)² = 19.14 %). The fill is 0 after
normalisation, which is the mean training pixel. Every image is cut, and all its channels share the mask.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Cutout:
    """Set squares to zero; comes after normalisation.

    Args:
        length: side of the square in pixels, from ``length // 2`` left of the centre.
        holes: squares per image, which may overlap.
    """

    def __init__(self, length: int, holes: int = 1) -> None:
        self.length = length
        self.holes = holes

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """(count, holes, 2) row and column of each centre."""
        rows = torch.randint(0, height, (count, self.holes), generator=generator)
        cols = torch.randint(0, width, (count, self.holes), generator=generator)
        return torch.stack([rows, cols], dim=-1)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Cut ``images (B, C, H, W)`` at the centres ``parameters (B, holes, 2)``."""
        height, width = images.shape[-2:]
        in_rows = self._covers(parameters[..., 0], height).to(images.dtype)  # (B, holes, H)
        in_cols = self._covers(parameters[..., 1], width).to(images.dtype)  # (B, holes, W)
        for rows, cols in zip(in_rows.unbind(1), in_cols.unbind(1), strict=True):
            images = images * (1 - rows[:, None, :, None] * cols[:, None, None, :])
        return images

    def _covers(self, centre: Tensor, size: int) -> Tensor:
        """Which pixels of an axis lie in the square around each centre."""
        offset = torch.arange(size, device=centre.device) - (centre[..., None] - self.length // 2)
        return (offset >= 0) & (offset < self.length)
