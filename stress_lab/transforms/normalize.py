"""From uint8 pixels to the net's input, and back for people."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Normalize:
    """Scale to [0, 1], subtract the mean and divide by the standard deviation of each channel.

    Args:
        mean, std: C values, of pixels scaled to [0, 1].
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean = torch.tensor(mean, dtype=torch.float32)[:, None, None]
        self.std = torch.tensor(std, dtype=torch.float32)[:, None, None]
        self.line = {"cpu": (1 / (255 * self.std), -self.mean / self.std)}  # factor and offset, per device

    def __repr__(self) -> str:
        """Its constants to six digits."""
        mean, std = ([round(value, 6) for value in part.flatten().tolist()] for part in (self.mean, self.std))
        return f"Normalize(mean={mean}, std={std})"

    def __call__(self, images: Tensor) -> Tensor:
        """``images (B, C, H, W)`` uint8 to float32; raises TypeError for pixels already scaled."""
        if images.dtype != torch.uint8:
            raise TypeError(f"Normalize takes uint8 pixels, got {images.dtype}: pass pixels not yet normalised")
        device = str(images.device)
        if device not in self.line:
            factor, offset = self.line["cpu"]
            self.line[device] = (factor.to(images.device), offset.to(images.device))
        factor, offset = self.line[device]
        return torch.addcmul(offset, images.float(), factor)

    def invert(self, images: Tensor) -> Tensor:
        """Normalised float images back to uint8, rounded and clipped."""
        pixels = (images * self.std.to(images.device) + self.mean.to(images.device)) * 255
        return pixels.round().clamp(0, 255).to(torch.uint8)
