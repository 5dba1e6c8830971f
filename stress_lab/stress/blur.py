"""Blurred images: Gaussian, out of focus, behind frosted glass, moving, zooming.

Every function takes ``pixels (B, C, H, W)`` uint8, the cell's constants and the images' ``draws``, and returns uint8,
rounded down as the published sets are; motion blur is rounded to the nearest, as ImageMagick did.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stress_lab.stress.constants import Constants
from stress_lab.stress.filters import blur_disk, blur_gaussian, blur_motion, zoom_rows
from stress_lab.stress.noise import GUARD, to_bytes
from stress_lab.stress.streams import Draws, uniform


def gaussian_blur(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Gaussian filter; constant: its standard deviation in pixels."""
    (sigma,) = constants
    return to_bytes(blur_gaussian(pixels.float(), sigma) + GUARD)


def defocus_blur(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Mean over a disk; constants: its radius, and the standard deviation of the Gaussian that smooths its edge."""
    radius, sigma = constants
    return to_bytes(blur_disk(pixels.float(), radius, sigma) + GUARD)


def motion_blur(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Blur along a line at -45° to 45°; constants: half its length in pixels, and the Gaussian's deviation."""
    radius, sigma = constants
    blurred = blur_motion(pixels.float(), max(1, round(radius)), sigma, uniform(draws[:, 0], -45, 45))
    return to_bytes(blurred.add_(0.5))


def zoom_blur(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Mean of an image and its enlargements; constants: where the factors end, which start at 1, and their step."""
    images, factors = pixels.float(), np.arange(1, constants[0], constants[1])
    total = images.mT.contiguous()  # columns are enlarged as rows, which is faster
    for factor in factors.tolist():
        total += zoom_rows(zoom_rows(images, factor).mT.contiguous(), factor)
    return to_bytes(total.div_(len(factors) + 1).add_(GUARD)).mT


def glass_blur(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Blur, let neighbours take each other's places, and blur again; constants: σ, largest move, repetitions.

    The published script meant to swap two pixels, but its arrays shared memory, so that the second one stays as it is
    and the first becomes its copy. So it is here.
    """
    sigma, move, repeats = constants[0], max(1, round(constants[1])), round(constants[2])
    blurred = to_bytes(blur_gaussian(pixels.float(), sigma) + GUARD)
    batch, channels, height, width = pixels.shape
    drawn = torch.from_numpy(draws.astype(np.int64)).to(pixels.device).view(batch, repeats, 2, height, width)
    moves = (drawn * (2 * move) >> 16) - move  # from -move to move - 1
    for turn in range(repeats):
        source = follow_copies(moves[:, turn, 0], moves[:, turn, 1], move)
        flat = blurred.reshape(batch, channels, -1)
        blurred = flat.gather(-1, source[:, None].expand(-1, channels, -1)).view(pixels.shape)
    return to_bytes(blur_gaussian(blurred.float(), sigma) + GUARD)


def follow_copies(down: Tensor, right: Tensor, margin: int) -> Tensor:
    """Which pixel each one shows after all were copied one by one, from the bottom right to the top left.

    A pixel's neighbour may have been overwritten before it is copied. So the chain of copies is followed back to a
    pixel that was not, in steps that double.

    Args:
        down, right: ``(B, H, W)`` where each pixel is copied from, as steps to it.
        margin: pixels at the top and left, one more than this, and at the bottom and right, one less, keep theirs.

    Returns:
        ``(B, H · W)`` positions.
    """
    batch, height, width = down.shape
    here = torch.arange(height * width, device=down.device)
    y, x = here // width, here % width
    inside = (y > margin) & (y <= height - margin) & (x > margin) & (x <= width - margin)
    source = torch.where(inside, here + (down * width + right).view(batch, -1), here)
    earlier = inside[source] & (source > here)  # its neighbour was overwritten before it
    shown = torch.where(earlier & inside, source, ~source)  # negative: a pixel as it was at first
    while bool((shown >= 0).any()):
        further = shown.gather(1, shown.clamp(min=0))
        shown = torch.where(shown >= 0, further, shown)
    return ~shown
