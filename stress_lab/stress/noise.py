"""Noise of each value of its own: Gaussian, shot, impulse, speckle.

Every function takes ``pixels (B, C, H, W)`` uint8, the cell's constants and ``draws (B, C·H·W)``, and returns uint8,
rounded down as the published sets are.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import pdtr
from torch import Tensor

from stress_lab.stress.constants import Constants
from stress_lab.stress.streams import LEVELS, Draws, normal

GUARD = 1e-3  # of a grey level: what is a whole number in theory must not be rounded to the one below


def to_bytes(values: Tensor) -> Tensor:
    """Floats to uint8: limited to 0 to 255 and rounded down; may overwrite ``values``."""
    return values.clamp_(0, 255).to(torch.uint8)


def gaussian_noise(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Add normal noise; constant: its standard deviation, of pixels in [0, 1]."""
    (spread,) = constants
    noise = _normal_like(pixels, draws)
    return to_bytes(noise.mul_(255 * spread).add_(pixels))


def speckle_noise(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Add normal noise in proportion to the value; constant: its standard deviation at 1."""
    (spread,) = constants
    noise = _normal_like(pixels, draws)
    return to_bytes(noise.mul_(spread).add_(1).mul_(pixels))


def _normal_like(pixels: Tensor, draws: Draws) -> Tensor:
    """A standard normal number for every value, on the pixels' device."""
    return torch.from_numpy(normal(draws)).to(pixels.device).view(pixels.shape)


def shot_noise(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Replace values by Poisson counts with their mean; constant: the count at 1, few are noisy."""
    (rate,) = constants
    table = _shot_table(rate)
    place = pixels.cpu().numpy().reshape(draws.shape).astype(np.int32) * LEVELS + draws
    noisy = torch.from_numpy(table.take(place, mode="clip"))
    return noisy.to(pixels.device).view(pixels.shape)


@lru_cache(maxsize=2)
def _shot_table(rate: float) -> NDArray[np.uint8]:
    """(256 · 65536,) what each value becomes at each draw: the inverse of the Poisson distribution function."""
    counts = np.arange(int(rate + 12 * np.sqrt(rate) + 40))
    becomes = np.minimum(counts / rate, 1) * 255
    rows = []
    for value in range(256):
        ends = np.rint(pdtr(counts, rate * value / 255) * LEVELS).astype(np.int64)
        ends[-1] = LEVELS
        rows.append(np.repeat(becomes.astype(np.uint8), np.diff(ends, prepend=0)))
    return np.concatenate(rows)


def impulse_noise(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Turn values into 0 or 255, each equally often; constant: the share of values that turn."""
    (amount,) = constants
    drawn = torch.from_numpy(draws.astype(np.int32)).to(pixels.device).view(pixels.shape)
    turned, white = math.ceil(amount * LEVELS), math.ceil(amount / 2 * LEVELS)
    kept, whitened = (drawn >= turned).view(torch.uint8), (drawn < white).view(torch.uint8)
    return kept.mul_(pixels).add_(whitened.mul_(255))
