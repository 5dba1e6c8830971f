"""Image properties that need no model: brightness, contrast, texture, size, contact with the border."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from stress_lab.errors import DataError
from stress_lab.records import BoolArray, FloatArray, IntArray

REC_601 = (0.299, 0.587, 0.114)  # weights of red, green and blue, ITU-R BT.601
LEVELS = 256
PIXELS_AT_ONCE = 1 << 20  # bounds the memory: about 50 MB


class Wording(NamedTuple):
    """The names of a property's low and high end, what is measured, and what it means."""

    low: str
    high: str
    measure: str
    meaning: str


PROPERTIES = MappingProxyType(
    {
        "brightness": Wording("dark", "bright", "mean luminance", "Mean Rec. 601 luminance, 0 black to 1 white."),
        "contrast": Wording(
            "low contrast", "high contrast", "RMS contrast", "Standard deviation of the luminance, 0 to 0.5."
        ),
        "edge_energy": Wording(
            "smooth texture",
            "busy texture",
            "mean gradient",
            "Mean magnitude of the Sobel gradient, as change of luminance per pixel.",
        ),
        "foreground": Wording(
            "small item",
            "large item",
            "foreground share",
            "Share of pixels that differ from the median of the border (Otsu); a proxy of the item's size.",
        ),
        "border_contact": Wording(
            "item clear of the border",
            "item touching the border",
            "foreground share of the border",
            "Share of the outermost pixels that are foreground; a proxy of items that are cut off or cover the frame.",
        ),
    }
)


def measure_properties(images: NDArray[np.uint8], index: IntArray | None = None) -> dict[str, FloatArray]:
    """Measure each image; ``PROPERTIES`` defines each number.

    ``foreground`` and ``border_contact`` are proxies: the background is the median luminance of the outermost pixels,
    and Otsu's threshold divides every image that is not constant. They are reliable for an item on a plain
    ground (Fashion-MNIST); in a photograph (CIFAR-10) they only show how much differs from the margin.

    Args:
        images: (M, C, H, W) uint8, C 1 (grey) or 3 (red, green, blue).
        index: (N,) which of them, read in parts; None takes all.

    Returns:
        For each name in ``PROPERTIES`` (N,) float64.

    Raises:
        DataError: the images have another shape or type.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != np.uint8:
        raise DataError(
            f"images must be uint8 of shape (N, 1 or 3, H, W), got {images.dtype} {images.shape}: "
            "pass the pixels as they are stored, before normalisation"
        )
    step = max(1, PIXELS_AT_ONCE // max(1, images.shape[2] * images.shape[3]))
    measured: dict[str, list[FloatArray]] = {name: [] for name in PROPERTIES}
    chosen = np.arange(len(images)) if index is None else index
    for start in range(0, len(chosen), step):
        for name, values in _measure(luminance(images[chosen[start : start + step]])).items():
            measured[name].append(values)
    return {name: np.concatenate([*values, np.empty(0)]) for name, values in measured.items()}


def luminance(images: NDArray[np.uint8]) -> FloatArray:
    """(N, H, W) float64 in [0, 1] of ``images (N, C, H, W)``; grey values are used as they are."""
    if images.shape[1] == 1:
        return np.asarray(images[:, 0] / 255)
    return np.asarray(np.einsum("nchw,c->nhw", images, np.array(REC_601) / 255))


def _measure(light: FloatArray) -> dict[str, FloatArray]:
    """Each property of ``light (n, H, W)``."""
    foreground, ring = foreground_mask(light), _ring(light.shape[1], light.shape[2])
    return {
        "brightness": light.mean(axis=(1, 2)),
        "contrast": light.std(axis=(1, 2)),
        "edge_energy": _gradient(light).mean(axis=(1, 2)),
        "foreground": foreground.mean(axis=(1, 2)),
        "border_contact": foreground[:, ring].mean(axis=1),
    }


def _gradient(light: FloatArray) -> FloatArray:
    """(n, H, W) magnitude of the Sobel gradient, divided by 8 so that a ramp of slope s gives s."""
    difference, smooth = (-1.0, 0.0, 1.0), (1.0, 2.0, 1.0)
    across = correlate1d(correlate1d(light, difference, axis=2), smooth, axis=1)
    down = correlate1d(correlate1d(light, difference, axis=1), smooth, axis=2)
    return np.asarray(np.hypot(across, down) / 8)


def _ring(height: int, width: int) -> BoolArray:
    """(H, W) True on the outermost pixels."""
    ring = np.ones((height, width), bool)
    ring[1:-1, 1:-1] = False
    return ring


def foreground_mask(light: FloatArray) -> BoolArray:
    """(n, H, W) True where the luminance differs from that of the border by more than Otsu's threshold.

    Otsu (1979, IEEE Transactions on Systems, Man and Cybernetics 9:62) is applied to the difference from the border's
    median, rounded to 1/255; a constant image has no foreground.
    """
    border = np.median(light[:, _ring(light.shape[1], light.shape[2])], axis=1)
    level = np.rint(np.abs(light - border[:, None, None]) * (LEVELS - 1)).astype(np.int64)  # (n, H, W)
    return np.asarray(level > otsu_thresholds(level)[:, None, None])


def otsu_thresholds(level: IntArray) -> IntArray:
    """(n,) highest background level of each image of ``level (n, H, W)``, whole numbers from 0 to 255.

    The threshold with the largest variance between the two classes; the lowest one on ties, 0 for a constant image of
    level 0.
    """
    n, pixels = len(level), level[0].size
    row = np.arange(n)[:, None]
    count = np.bincount((level.reshape(n, -1) + LEVELS * row).ravel(), minlength=n * LEVELS).reshape(n, LEVELS)
    below = count.cumsum(axis=1)  # (n, 256) pixels up to each level
    total = (count * np.arange(LEVELS)).cumsum(axis=1)
    gap = (total[:, -1:] * below - total * pixels).astype(np.float64)
    weight = (below * (pixels - below)).astype(np.float64)
    return np.asarray(np.divide(gap**2, weight, out=np.zeros_like(gap), where=weight > 0).argmax(axis=1))
