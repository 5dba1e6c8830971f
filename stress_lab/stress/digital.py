"""What cameras and files do: brightness, contrast, saturation, elastic warps, pixelation, JPEG.

Every function takes ``pixels (B, C, H, W)`` uint8, the cell's constants and the images' ``draws``, and returns uint8,
rounded down as the published sets are.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stress_lab.stress.constants import Constants
from stress_lab.stress.filters import fold, gaussian_weights, sample
from stress_lab.stress.noise import GUARD, to_bytes
from stress_lab.stress.streams import Draws, uniform

FINE = 1 << 18  # weights are whole multiples of its inverse, so that sums of products are exact in float64
BITS = 22  # of Pillow's weights


def brightness(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Raise the value of hue, saturation and value, the largest channel; constant: by how much, of 1."""
    (by,) = constants
    images = pixels.float()
    value = images.amax(dim=1, keepdim=True)
    brighter = (value + 255 * by).clamp_(max=255)
    factor = brighter / value.clamp(min=1)
    return to_bytes(torch.where(value > 0, images * factor, brighter) + GUARD)


def saturate(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Change the saturation of hue, saturation and value; constants: factor and offset. Grey counts as red.

    Args:
        pixels: ``(B, 3, H, W)``.
        constants: of the cell.
        draws: not used.
    """
    factor, offset = constants
    images = pixels.float()
    value, least = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    chroma = value - least
    before = chroma / value.clamp(min=1)
    after = (before * factor + offset).clamp_(0, 1)
    hue = (value - images) / chroma.clamp(min=1)  # how far each channel is below the largest, from 0 to 1
    red = torch.tensor([0.0, 1.0, 1.0], device=pixels.device).view(1, 3, 1, 1)
    return to_bytes(value - torch.where(chroma > 0, hue, red) * (value * after) + GUARD)


def contrast(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Move values towards their channel's mean; constant: the share of the distance that is left."""
    (kept,) = constants
    mean = pixels.sum(dim=(2, 3), keepdim=True, dtype=torch.int64).double() / pixels[0, 0].numel()
    offset = (mean * (1 - kept) + GUARD).float()
    return to_bytes(pixels * kept + offset)


def elastic_transform(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Warp by a random affine map, then by smooth random moves.

    Constants, as shares of the image's side: strength of the moves, the deviation of the Gaussian that smooths them,
    and how far each of three points that define the affine map moves at most.
    """
    strength, sigma, jitter = (share * min(pixels.shape[-2:]) for share in constants)
    batch, _, height, width = pixels.shape
    rows, cols = make_affine(uniform(draws[:, -6:], -jitter, jitter).reshape(batch, 3, 2), height, width)
    images = sample(pixels.float(), rows.to(pixels.device), cols.to(pixels.device), repeat=False)
    if strength > 0:
        noise = torch.from_numpy(draws[:, :-6].astype(np.float64)).view(batch, 2, height, width).to(pixels.device)
        down, right = (smooth_noise(noise, sigma) * strength).float().unbind(1)
        y = torch.arange(height, device=pixels.device)[:, None] + down
        x = torch.arange(width, device=pixels.device) + right
        images = sample(images, y, x, repeat=True)
    return to_bytes(images + GUARD)


def make_affine(moves: NDArray[np.float64], height: int, width: int) -> tuple[Tensor, Tensor]:
    """Rows and columns ``(B, H, W)`` that each pixel comes from when three points of an image move.

    The points lie around the middle at a third of the side: bottom right, top right, top left. As in the published
    script, the first coordinate of a point counts columns, though the middle is given in rows first.

    Args:
        moves: ``(B, 3, 2)`` column and row by which each point moves, in pixels.
        height, width: of the images.
    """
    middle, reach = np.array([height // 2, width // 2]), max(1, min(height, width) // 3)
    before = middle + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    after = before + moves
    along, up = (after[:, 1] - after[:, 2]) / (2 * reach), (after[:, 0] - after[:, 1]) / (2 * reach)
    a, c, b, d = along[:, 0], along[:, 1], up[:, 0], up[:, 1]  # x' = a x + b y + …, y' = c x + d y + …
    x = np.arange(width) - after[:, 2, 0, None, None]
    y = np.arange(height)[:, None] - after[:, 2, 1, None, None]
    a, b, c, d = (part[:, None, None] for part in (a, b, c, d))
    area = a * d - b * c
    cols = (d * x - b * y) / area + before[2, 0]
    rows = (a * y - c * x) / area + before[2, 1]
    return torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(cols.astype(np.float32))


def smooth_noise(noise: Tensor, sigma: float) -> Tensor:
    """Gaussian filter of draws ``(…, H, W)``, scaled to -1 to 1 before; mirrored at the border, truncated at 3σ.

    Draws are whole numbers and weights are multiples of 2⁻¹⁸, so that every sum is exact: the same in any order.
    """
    for axis in (-2, -1):
        weights = torch.from_numpy(_mirrored_weights(noise.shape[axis], sigma)).to(noise.device)
        noise = weights @ noise if axis == -2 else noise @ weights.T
    return (noise + 0.5 * FINE**2) * (2 / (65536 * FINE**2)) - 1


@lru_cache(maxsize=16)
def _mirrored_weights(size: int, sigma: float) -> NDArray[np.float64]:
    """(size, size) whole numbers that sum to FINE in each row: how much each pixel adds to each filtered one."""
    radius = int(3 * sigma + 0.5)
    outwards = gaussian_weights(sigma, radius)
    matrix = np.zeros((size, size))
    for step in range(-radius, radius + 1):
        places = fold(np.arange(size) + step, size, repeat=True)
        matrix[np.arange(size), places] += outwards[abs(step)]
    whole = np.rint(matrix * FINE)
    whole[np.arange(size), np.arange(size)] += FINE - whole.sum(axis=1)
    return whole


def pixelate(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Shrink and enlarge by Pillow's box filter; constant: the share of the side that is left in between."""
    (share,) = constants
    height, width = pixels.shape[-2:]
    small = [max(1, int(side * share)) for side in (height, width)]
    shrunk = box_resize(box_resize(pixels, -1, small[1]), -2, small[0])
    return box_resize(box_resize(shrunk, -1, width), -2, height)


def box_resize(pixels: Tensor, axis: int, size: int) -> Tensor:
    """Resize an axis of uint8 images as Pillow does with ``Resampling.BOX``, in the same whole numbers."""
    places, weights = _box_weights(pixels.shape[axis], size)
    if len(weights) == 1:  # one pixel each
        return pixels.index_select(axis, torch.from_numpy(places[0]).to(pixels.device))
    total = torch.full((), 1 << (BITS - 1), dtype=torch.int32, device=pixels.device)
    for place, weight in zip(places, weights, strict=True):
        part = pixels.index_select(axis, torch.from_numpy(place).to(pixels.device))
        by = torch.from_numpy(weight).to(pixels.device)
        total = total + part * (by if axis == -1 else by[:, None])
    return (total >> BITS).to(torch.uint8)


@lru_cache(maxsize=32)
def _box_weights(before: int, after: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Taps of Pillow's box filter: ``(taps, after)`` positions and whole weights, 0 where a pixel has fewer."""
    scale = before / after
    support = max(scale, 1.0) / 2
    rows = []
    for pixel in range(after):
        centre = (pixel + 0.5) * scale
        first, last = max(0, int(centre - support + 0.5)), min(before, int(centre + support + 0.5))
        inside = [-0.5 < (place - centre + 0.5) / max(scale, 1.0) <= 0.5 for place in range(first, last)]
        rows.append([first + number for number, taken in enumerate(inside) if taken])
    taps = max(map(len, rows))
    places = np.array([row + [row[0]] * (taps - len(row)) for row in rows]).T
    weights = np.array([[int(0.5 + (1 << BITS) / len(row))] * len(row) + [0] * (taps - len(row)) for row in rows]).T
    return np.ascontiguousarray(places, dtype=np.int64), np.ascontiguousarray(weights, dtype=np.int32)


def jpeg_compression(pixels: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Save as JPEG and read again, on the CPU by libjpeg-turbo; constant: quality, from 1 to 100."""
    options = [cv2.IMWRITE_JPEG_QUALITY, round(constants[0])]
    mode = cv2.IMREAD_GRAYSCALE if pixels.shape[1] == 1 else cv2.IMREAD_COLOR
    read = []
    for image in pixels.cpu().flip(1).permute(0, 2, 3, 1).contiguous().numpy():  # blue first
        file = cv2.imencode(".jpg", image, options)[1]
        read.append(np.asarray(cv2.imdecode(file, mode)).reshape(image.shape))
    again = torch.from_numpy(np.stack(read)).permute(0, 3, 1, 2).flip(1)
    return again.to(pixels.device)
