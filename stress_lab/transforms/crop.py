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
        height, width = images.shape[-2:]
        windows = F.pad(images, [self.padding] * 4).unfold(2, height, 1).unfold(3, width, 1)  # every one, as a view
        which = torch.arange(len(images), device=images.device)
        return windows[which, :, parameters[:, 0], parameters[:, 1]]
