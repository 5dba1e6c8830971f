"""Random images of CIFAR-10's shape, so that speed can be measured anywhere."""

from typing import Any

import numpy as np

from stress_lab.data.datamodules import ImageDataModule
from stress_lab.data.images import ImageData, ImageSplit


class RandomImages(ImageDataModule):
    """``train`` and ``test`` images, 32×32 in three colours, of ten classes."""

    def __init__(self, train: int = 1280, test: int = 100, **common: Any) -> None:
        super().__init__("random", **common)
        self.train, self.test = train, test

    def load(self) -> ImageData:
        """Draw them, always the same."""
        draw = np.random.default_rng(0)
        splits = {
            name: ImageSplit(draw.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), np.arange(n) % 10)
            for name, n in (("train", self.train), ("test", self.test))
        }
        return ImageData(splits, tuple("abcdefghij"), "random images", "position")
