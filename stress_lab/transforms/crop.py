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
        batch, channels, height, width = images.shape
        padded = F.pad(images, [self.padding] * 4).contiguous()
        every_row = padded.flatten().unfold(0, width, 1)  # from every pixel on, as a view
        image, channel, row, _ = padded.stride()
        top_left = torch.arange(batch, device=images.device) * image + parameters[:, 0] * row + parameters[:, 1]
        channels_at = torch.arange(channels, device=images.device) * channel
        rows_at = torch.arange(height, device=images.device) * row
        where = top_left[:, None, None] + channels_at[:, None] + rows_at
        return every_row.index_select(0, where.flatten()).view(images.shape)  # whole rows: faster than pixels
