"""Random crop of a padded image, the usual shift augmentation of CIFAR nets (He et al. 2016, section 4.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class RandomCrop:
    """Pad each side with black pixels, then cut a window of the original size at a random place.

    Args:
        padding: pixels added on each side; the window moves by at most that much.
    """

    def __init__(self, padding: int) -> None:
        self.padding = padding

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """(count, 2) top and left corner of the window in the padded image, each in [0, 2 * padding]."""
        return torch.randint(0, 2 * self.padding + 1, (count, 2), generator=generator)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Cut the windows; ``images (B, C, H, W)`` of any dtype, ``parameters (B, 2)``."""
        batch, _, height, width = images.shape
        padded = F.pad(images, [self.padding] * 4)
        rows = parameters[:, 0, None] + torch.arange(height, device=images.device)  # (B, H)
        cols = parameters[:, 1, None] + torch.arange(width, device=images.device)  # (B, W)
        which = torch.arange(batch, device=images.device)[:, None, None]
        windows = padded[which, :, rows[:, :, None], cols[:, None, :]]  # (B, H, W, C)
        return windows.permute(0, 3, 1, 2)
