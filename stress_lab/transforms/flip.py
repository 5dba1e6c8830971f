"""Random mirror image, left to right."""

from __future__ import annotations

import torch
from torch import Tensor


class HorizontalFlip:
    """Mirror each image with probability one half.

    Args:
        alternate: draw once, and mirror the other images in every second epoch, so that any two epochs in a row show
            both sides of each image (Jordan 2024, "94 % on CIFAR-10 in 3.29 seconds on a single GPU").
    """

    def __init__(self, alternate: bool = False) -> None:
        self.alternate = alternate

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """(count,) whether to mirror."""
        return torch.rand(count, generator=generator) < 0.5

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Mirror the chosen ones; ``images (B, C, H, W)`` of any dtype, ``parameters (B,)`` bool."""
        column = torch.arange(images.shape[-1], device=images.device)
        source = torch.where(parameters[:, None], column.flip(0), column)  # (B, W)
        return images.gather(-1, source[:, None, None].expand(images.shape))
