"""Corrupted images: one call a cell of corruption and severity."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stress_lab.errors import InputError
from stress_lab.records import IntArray
from stress_lab.stress import blur, digital, noise, weather
from stress_lab.stress.constants import Constants, check_cell, find_constants
from stress_lab.stress.streams import Draws, draw

Images = TypeVar("Images", Tensor, NDArray[np.uint8])
Corruption = Callable[[Tensor, Constants, Draws], Tensor]

AT_ONCE = 1 << 18  # values of the images worked on together, which then stay in the processor's cache

FUNCTIONS: dict[str, Corruption] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": weather.spatter,
    "saturate": digital.saturate,
}


def corrupt(
    images: Images,
    corruption: str,
    severity: int,
    seed: int = 0,
    index: IntArray | None = None,
    frost: str | Path | None = None,
) -> Images:
    """Images with one of the 19 corruptions of CIFAR-10-C and ImageNet-C, at one of its five severities.

    Images below 85 pixels get CIFAR-10-C's constants, larger ones ImageNet-C's; lengths grow with the image. An image's
    result depends on its pixels, ``seed``, corruption, severity and its ``index`` alone: not on the batch, the order or
    the number of threads. The published files were made without a seed, so these images resemble them and are not the
    same; numbers from both should not be mixed in one table. Severities are no scale: a net may do better at a higher
    one.

    Args:
        images: ``(N, C, H, W)`` uint8, grey or colour, as an array or a tensor on any device.
        corruption: such as ``fog``; :data:`stress_lab.stress.constants.TABLES` lists all.
        severity: from 1 to 5.
        seed: not negative.
        index: (N,) number of each image, such as its position in the test split; None counts from 0.
        frost: folder with the original frost photographs (``frost1.png`` … ``frost5.jpg``); None draws frost.

    Returns:
        Images of the same kind, shape and place.

    Raises:
        stress_lab.errors.InputError: an argument cannot work; grey images have no saturation to change.

    >>> import numpy as np
    >>> corrupt(np.full((1, 1, 2, 2), 100, dtype=np.uint8), "brightness", 3).tolist()
    [[[[138, 138], [138, 138]]]]
    """
    check_cell(corruption, severity)
    pixels = _as_tensor(images)
    where = _check_index(index, len(pixels), seed)
    height, width = pixels.shape[-2:]
    if corruption == "saturate" and pixels.shape[1] == 1:
        raise InputError("grey images have no saturation: leave saturate out")
    constants = find_constants(corruption, severity, min(height, width))
    folder = None if frost is None else Path(frost)
    corrupted = apply(pixels, corruption, constants, severity, seed, where, folder)
    return corrupted if isinstance(images, Tensor) else corrupted.numpy()


def apply(
    pixels: Tensor,
    corruption: str,
    constants: Constants,
    severity: int,
    seed: int,
    index: IntArray,
    frost: Path | None = None,
) -> Tensor:
    """:func:`corrupt` with given constants, for checked arguments."""
    function = partial(weather.frost, folder=frost) if corruption == "frost" else FUNCTIONS[corruption]
    count = count_draws(corruption, constants, *pixels.shape[1:])
    some = max(1, AT_ONCE // max(1, pixels[0].numel())) if len(pixels) else 1
    corrupted = torch.empty_like(pixels, memory_format=torch.contiguous_format)
    for start in range(0, len(pixels), some):
        part = slice(start, start + some)
        draws = draw(seed, corruption, severity, index[part], count)
        corrupted[part] = function(pixels[part].contiguous(), constants, draws)
    return corrupted


def count_draws(corruption: str, constants: Constants, channels: int, height: int, width: int) -> int:
    """How many random numbers an image takes."""
    area = height * width
    if corruption.endswith("noise"):
        return channels * area
    return {
        "glass_blur": 2 * area * round(constants[-1]),
        "motion_blur": 1,
        "snow": area + 1,
        "frost": 3,
        "fog": weather.count_plasma(height, width),
        "elastic_transform": 2 * area + 6,
        "spatter": area,
    }.get(corruption, 0)


def _as_tensor(images: Tensor | NDArray[np.uint8]) -> Tensor:
    """The images as a tensor; raises InputError unless they are uint8 ``(N, C, H, W)``."""
    if isinstance(images, np.ndarray):
        kind, pixels = str(images.dtype), None
        if images.dtype == np.uint8:
            pixels = torch.from_numpy(images if images.flags.writeable else images.copy())
    else:
        kind, pixels = str(images.dtype).removeprefix("torch."), images if images.dtype == torch.uint8 else None
    if pixels is None or pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or 0 in pixels.shape[1:]:
        raise InputError(
            f"images must be uint8 (N, C, H, W) with 1 or 3 channels, got {kind} {tuple(images.shape)}: "
            "pass pixels from 0 to 255, not normalised"
        )
    return pixels


def _check_index(index: IntArray | None, count: int, seed: int) -> IntArray:
    """The images' numbers as int64; raises InputError where these, or the seed, cannot be used."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed={seed} cannot be used: pass a whole number from 0")
    where = np.arange(count) if index is None else np.asarray(index)
    if where.shape != (count,) or where.dtype.kind not in "iu" or (count and where.min() < 0):
        raise InputError(f"index must be {count} whole numbers from 0, one for each image, got {where.shape}")
    return where.astype(np.int64)
