"""What fits images of a size; separate from the transforms, so that it is checked before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stress_lab.errors import ConfigError


def check_crop(padding: int, size: tuple[int, int]) -> None:
    """Raise ConfigError unless the padding fits images of ``size`` (height, width)."""
    if not 0 <= padding <= min(size):
        raise ConfigError(
            f"augment.crop_padding={padding} does not fit images of {size[0]}×{size[1]} pixels: "
            f"it must be from 0 to {min(size)} pixels"
        )


def check_cutout(cutout: Mapping[str, Any], size: tuple[int, int]) -> int:
    """The side of the square in pixels; raises ConfigError unless it fits images of ``size`` (height, width)."""
    length: int = min(size) // 2 if cutout["length"] is None else cutout["length"]
    if not 1 <= length <= min(size):
        raise ConfigError(
            f"augment.cutout.length={length} does not fit images of {size[0]}×{size[1]} pixels: "
            f"use a number from 1 to {min(size)}, or null for half the image"
        )
    return length
