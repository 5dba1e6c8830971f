"""Random numbers of corruptions: a pure function of seed, purpose, severity and the image's index.

Each cell (corruption and severity) has one stream, named like those of :mod:`stress_lab.transforms.randomness`, and
every image owns a stretch of it, at its index. PCG64 jumps to any place of its stream at once (O'Neill 2014), so that
images can come in any order and any batch. A draw has 16 bits: a normal one is the quantile at one of 65,536 midpoints,
within ±4.3 and with a standard deviation of 0.99996.
"""

from __future__ import annotations

import zlib
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from stress_lab.records import IntArray

LEVELS = 1 << 16
WRAP = 1 << 128  # the period of PCG64
Draws = NDArray[np.uint16]
Floats = NDArray[np.float32]


def draw(seed: int, purpose: str, severity: int, index: IntArray, count: int) -> Draws:
    """``(B, count)`` whole numbers, each from 0 to 65,535, of the images with the numbers ``index (B,)``.

    An image's numbers also depend on ``count``, thus on the size of the images.
    """
    words = -(-count // 4)  # of 64 bits
    if words == 0:
        return np.empty((len(index), 0), dtype="<u2")
    stream = np.random.PCG64(np.random.SeedSequence([seed, severity, zlib.crc32(purpose.encode())]))
    drawn = np.empty((len(index), words), dtype="<u8")
    place, starts = 0, [0, *(np.flatnonzero(np.diff(index) != 1) + 1).tolist(), len(index)]
    for start, stop in pairwise(starts):  # stretches of images that follow each other
        wanted = int(index[start]) * words
        stream.advance((wanted - place) % WRAP)
        drawn[start:stop] = stream.random_raw((stop - start) * words).reshape(-1, words)
        place = wanted + (stop - start) * words
    return drawn.view("<u2")[:, :count]


@cache
def _quantiles() -> Floats:
    """(65536,) standard normal quantiles at the midpoints."""
    return np.asarray(ndtri((np.arange(LEVELS) + 0.5) / LEVELS), dtype=np.float32)


def normal(draws: Draws) -> Floats:
    """Standard normal numbers from draws, of the same shape."""
    return _quantiles().take(draws, mode="clip")


def uniform(draws: Draws, low: float, high: float) -> NDArray[np.float64]:
    """Numbers spread evenly over (low, high) from draws, of the same shape."""
    return low + (high - low) * ((draws + 0.5) / LEVELS)
