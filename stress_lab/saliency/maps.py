"""Raw saliency maps and their displayable form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Maps = NDArray[np.float32]
METHODS = {"gradcam": "GradCAM", "hirescam": "HiResCAM", "layercam": "LayerCAM"}  # classes of the grad-cam package


@dataclass(frozen=True)
class Cam:
    """Maps of N images for one class each.

    Attributes:
        raw: (N, h, w) before the ReLU, at the layer's resolution, in units of the logit.
    """

    raw: Maps

    @property
    def peak(self) -> Maps:
        """(N,) largest evidence for the class at any position, 0 if none."""
        return np.asarray(self.raw.max(axis=(1, 2)).clip(min=0))

    @property
    def is_empty(self) -> NDArray[np.bool_]:
        """(N,) whether no position supports the class; such a map must be shown without heat."""
        return np.asarray(self.peak <= 0)

    @property
    def positive_share(self) -> Maps:
        """(N,) fraction of positions that support the class."""
        return np.asarray((self.raw > 0).mean(axis=(1, 2)), dtype=np.float32)

    def heat(self, size: tuple[int, int], peak: Maps | None = None) -> Maps:
        """(N, H, W) in [0, 1], bilinear: the positive part divided by its own peak, or by ``peak (N,)``.

        To compare two maps, give both the larger peak. An empty map is all zero.
        """
        scale = self.peak if peak is None else peak
        unit = self.raw.clip(min=0) / np.where(scale > 0, scale, 1)[:, None, None]
        height, width = size
        grown = [
            Image.fromarray(one).resize((width, height), Image.Resampling.BILINEAR) for one in unit.astype(np.float32)
        ]
        return np.stack([np.asarray(one) for one in grown]).clip(0, 1)

    def only(self, place: int) -> Cam:
        """The map of one image."""
        return Cam(self.raw[place : place + 1])
