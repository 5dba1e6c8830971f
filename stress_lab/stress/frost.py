"""Sheets of frost: the photographs of ImageNet-C where the user has them, else drawn ones.

The photographs are not ours to ship. A drawn sheet is made of crossing crystals, thin ridges of noise that is
stretched in one direction, and is tinted like the photographs; it repeats itself without a seam. It stands for frost
and does not copy it: name the kind beside a number.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stress_lab.errors import InputError

FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")  # the published sets never use the sixth
SIDE = 512  # pixels of a drawn sheet
CRYSTALS = 7  # directions
TINT = ((0.86, 62.0), (0.93, 66.0), (0.97, 70.0))  # factor and offset of red, green, blue
Sheet = NDArray[np.float32]


@lru_cache(maxsize=4)
def load_frost(folder: Path | None, scale: float, channels: int) -> tuple[Sheet, ...]:
    """Five sheets of frost, ``(C, height, width)`` from 0 to 255, resized by ``scale``.

    Raises:
        stress_lab.errors.InputError: a photograph is missing in ``folder``, or cannot be read.
    """
    sheets = [draw_frost(number) for number in range(len(FILES))] if folder is None else _read(folder)
    resized = []
    for sheet in sheets:
        size = [max(1, round(pixels * scale)) for pixels in (sheet.shape[1], sheet.shape[0])]
        small = cv2.resize(sheet, size, interpolation=cv2.INTER_LINEAR)
        resized.append(small if channels == 3 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)[..., None])
    return tuple(np.ascontiguousarray(sheet.transpose(2, 0, 1), dtype=np.float32) for sheet in resized)


def _read(folder: Path) -> list[NDArray[np.uint8]]:
    """The photographs as (H, W, 3)."""
    found = []
    for name in FILES:
        image = cv2.imread(str(folder / name)) if (folder / name).is_file() else None
        if image is None:
            raise InputError(f"{folder / name} is not a picture: give the folder that holds {', '.join(FILES)}")
        found.append(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8))
    return found


@lru_cache(maxsize=len(FILES))
def draw_frost(number: int) -> NDArray[np.uint8]:
    """A drawn sheet (H, W, 3), always the same one for a number from 0 to 4."""
    rng = np.random.default_rng([number, 0xF805])
    crystals, weights = [], []
    for angle in (np.arange(CRYSTALS) + rng.random()) * np.pi / CRYSTALS:
        ridges = [_ridges(rng, angle, width) for width in (0.012, 0.03, 0.07)]  # cycles a pixel
        crystals.append(0.5 * ridges[0] + 0.3 * ridges[1] + 0.2 * ridges[2])
        weights.append(np.exp(1.6 * _noise(rng, 0.0, 0.008, 0.008)))  # where this direction prevails
    total = np.sum(weights, axis=0)
    ice = sum(crystal * weight for crystal, weight in zip(crystals, weights, strict=True)) / total
    thick = 0.5 + 0.22 * _noise(rng, 0.0, 0.006, 0.006)
    grey = 150 * np.clip(thick, 0, 1) + 260 * (ice - ice.mean()) + 6 * rng.standard_normal((SIDE, SIDE))
    tinted = np.stack([grey * factor + offset for factor, offset in TINT], axis=-1)
    return np.asarray(np.clip(tinted, 0, 255), dtype=np.uint8)


def _ridges(rng: np.random.Generator, angle: float, width: float) -> NDArray[np.float64]:
    """Thin bright lines in a direction, from 0 to 1: where stretched noise crosses zero."""
    return np.asarray(np.exp(-np.abs(_noise(rng, angle, width, width / 6)) / 0.35))


def _noise(rng: np.random.Generator, angle: float, across: float, along: float) -> NDArray[np.float64]:
    """(SIDE, SIDE) smooth noise of mean 0 and deviation 1: highest cycles a pixel across and along a direction."""
    rows, cols = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)
    u, v = np.cos(angle) * cols + np.sin(angle) * rows, np.cos(angle) * rows - np.sin(angle) * cols
    envelope = np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * envelope, s=(SIDE, SIDE))
    return np.asarray((noise - noise.mean()) / noise.std())
