"""Weather between camera and object: snow, frost, fog, spatter.

Every function takes ``pixels (B, C, H, W)`` uint8, the cell's constants and the images' ``draws``, and returns uint8,
rounded down as the published sets are. What falls is the same in all channels.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stress_lab.stress.constants import BORDER, PHOTO, SMALL, Constants
from stress_lab.stress.filters import blur_gaussian, blur_motion, zoom_in
from stress_lab.stress.frost import load_frost
from stress_lab.stress.noise import GUARD, to_bytes
from stress_lab.stress.streams import Draws, normal, uniform

GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue
WATER = (175, 238, 238)  # pale turquoise
MUD = (63, 42, 20)


def to_grey(images: Tensor) -> Tensor:
    """``(B, 1, H, W)`` brightness of float images of 1 or 3 channels."""
    if images.shape[1] == 1:
        return images
    return images[:, :1] * GREY[0] + images[:, 1:2] * GREY[1] + images[:, 2:] * GREY[2]


def _layer(pixels: Tensor, draws: Draws, mean: float, spread: float) -> Tensor:
    """``(B, 1, H, W)`` normal noise, the first numbers of each row of draws."""
    batch, _, height, width = pixels.shape
    noise = torch.from_numpy(normal(draws[:, : height * width])).to(pixels.device)
    return noise.mul_(spread).add_(mean).view(batch, 1, height, width)


def snow(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Whiten images and let flakes fall, in streaks at -135° to -45° and once more turned round.

    Constants: mean and standard deviation of the noise, size of a flake in pixels, noise below which there is none,
    half the streak's length and the deviation of its Gaussian, and how much of the image is not whitened.
    """
    mean, spread, size, least, radius, sigma, kept = constants
    flakes = zoom_in(_layer(pixels, draws, mean, spread), max(1.0, size))
    flakes = flakes.masked_fill_(flakes < least, 0).clamp_(0, 1).mul_(255).add_(GUARD).floor_()
    angles = uniform(draws[:, -1], -135, -45)
    flakes = blur_motion(flakes, max(1, round(radius)), sigma, angles).add_(0.5).floor_()
    images = pixels.float()
    white = torch.maximum(images, to_grey(images) * 1.5 + 127.5)
    return to_bytes(images * kept + white * (1 - kept) + flakes + flakes.flip(-1, -2) + GUARD)


def frost(pixels: Tensor, constants: Constants, draws: Draws, folder: Path | None = None) -> Tensor:
    """Lay frost over images; constants: how much of the image is left, and how much of the frost is added.

    Args:
        pixels: of the images.
        constants: of the cell.
        draws: (B, 3) which of five sheets of frost, and which row and column of it comes first.
        folder: of the five original photographs; None draws sheets, see :mod:`stress_lab.stress.frost`.
    """
    kept, added = constants
    channels, height, width = pixels.shape[1:]
    side = min(height, width)
    scale = 0.2 * side / SMALL if side < BORDER else side / PHOTO
    sheets, frosted = load_frost(folder, scale, channels), []
    for image, row, col in draws.tolist():
        sheet = sheets[image * len(sheets) >> 16]
        y = (np.arange(height) + (row * sheet.shape[1] >> 16)) % sheet.shape[1]
        x = (np.arange(width) + (col * sheet.shape[2] >> 16)) % sheet.shape[2]
        frosted.append(sheet[:, y][:, :, x])
    layer = torch.from_numpy(np.stack(frosted)).to(pixels.device)
    return to_bytes(pixels * kept + layer * added + GUARD)


def fog(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Add clouds and darken to the old maximum; constants: strength, and by how much finer clouds are weaker."""
    strength, decay = constants
    height, width = pixels.shape[-2:]
    clouds = make_plasma(torch.from_numpy(uniform(draws, -1, 1).astype(np.float32)).to(pixels.device), decay)
    clouds = clouds[:, None, :height, :width]
    brightest = pixels.flatten(1).amax(dim=1).float()[:, None, None, None] / 255
    return to_bytes((clouds * (255 * strength) + pixels) * (brightest / (brightest + strength)) + GUARD)


def count_plasma(height: int, width: int) -> int:
    """Random numbers of the clouds over an image."""
    return _power_of_two(height, width) ** 2 - 1


def _power_of_two(height: int, width: int) -> int:
    """The smallest power of two that is at least both, and 2."""
    side = 2
    while side < max(height, width):
        side *= 2
    return side


def make_plasma(noise: Tensor, decay: float) -> Tensor:
    """Clouds by the diamond-square algorithm (Fournier, Fussell and Carpenter 1982), on a torus.

    Args:
        noise: ``(B, side² - 1)`` in (-1, 1), used from the coarsest points to the finest.
        decay: how much less noise each finer step gets.

    Returns:
        ``(B, side, side)``, each image from 0 to 1.
    """
    side = round((noise.shape[1] + 1) ** 0.5)
    plasma = torch.zeros((len(noise), side, side), dtype=noise.dtype, device=noise.device)
    step, wobble, used = side, 100.0, 0

    def disturb(sums: Tensor) -> Tensor:
        nonlocal used
        count = sums[0].numel()
        used += count
        return sums / 4 + noise[:, used - count : used].view(sums.shape) * (wobble * wobble)

    while step >= 2:
        half = step // 2
        corners = plasma[:, ::step, ::step]
        square = corners + corners.roll(-1, 1)
        plasma[:, half::step, half::step] = disturb(square + square.roll(-1, 2))
        middles = plasma[:, half::step, half::step]
        plasma[:, ::step, half::step] = disturb(middles + middles.roll(1, 1) + corners + corners.roll(-1, 2))
        plasma[:, half::step, ::step] = disturb(middles + middles.roll(1, 2) + corners + corners.roll(-1, 1))
        step, wobble = half, wobble / decay
    plasma -= plasma.amin(dim=(1, 2), keepdim=True)
    return plasma / plasma.amax(dim=(1, 2), keepdim=True)


def spatter(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Drops of water, or splashes of mud, on the lens.

    Constants: mean and standard deviation of the noise, its blur in pixels, the level above which there is liquid, how
    much of it shows (for mud: the blur of its edge), and 0 for water or 1 for mud.
    """
    mean, spread, sigma, least, amount, is_mud = constants
    liquid = blur_gaussian(_layer(pixels, draws, mean, spread), sigma)
    if is_mud:
        cover = blur_gaussian((liquid > least).float(), amount)
        cover = cover.masked_fill(cover < 0.8, 0)
        return to_bytes(pixels * (1 - cover) + cover * _tint(MUD, pixels) + GUARD)
    layers = liquid.masked_fill(liquid < least, 0).mul_(255)[:, 0].cpu().numpy().astype(np.uint8)
    drops = torch.from_numpy(np.stack([_shade_drops(layer) for layer in layers])).to(pixels.device)
    return to_bytes(pixels + drops[:, None] * amount * _tint(WATER, pixels) + GUARD)


def _tint(colour: tuple[int, int, int], pixels: Tensor) -> Tensor:
    """``(1, C, 1, 1)`` a colour, or its brightness where images are grey."""
    tint = torch.tensor(colour, dtype=torch.float32, device=pixels.device).view(1, 3, 1, 1)
    return to_grey(tint) if pixels.shape[1] == 1 else tint


def _shade_drops(liquid: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How strongly water shows at each pixel of ``liquid (H, W)``, at most 1: by the distance to the edges of drops."""
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    flat = cv2.equalizeHist(cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8))
    relief = cv2.filter2D(flat, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float32))
    shade = liquid * cv2.blur(relief, (3, 3)).astype(np.float32)
    return np.asarray(shade / max(float(shade.max()), 1.0), dtype=np.float32)
