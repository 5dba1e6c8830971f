"""Filters of float images ``(B, C, H, W)`` whose result for an image does not depend on the batch around it.

Each adds up its terms one after the other, so that no library chooses an order by the shape of the batch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def gaussian_weights(sigma: float, radius: int) -> list[float]:
    """``radius + 1`` weights of a Gaussian from its centre outwards; all ``2 · radius + 1`` sum to 1."""
    weights = np.exp(-0.5 * (np.arange(radius + 1) / max(sigma, 1e-12)) ** 2)
    return [float(weight) for weight in weights / (2 * weights.sum() - weights[0])]


def blur_gaussian(images: Tensor, sigma: float) -> Tensor:
    """Gaussian filter of truncated width 4σ with the nearest pixel beyond the border, as SciPy's and scikit-image's."""
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return images
    padded = F.pad(images, [radius] * 4, mode="replicate")
    weights = gaussian_weights(sigma, radius)
    return filter_axis(filter_axis(padded, weights, -1), weights, -2)


def filter_axis(padded: Tensor, weights: list[float], axis: int) -> Tensor:
    """Symmetric filter along an axis, which loses the padding on both ends; ``weights`` from the centre outwards."""
    radius = len(weights) - 1
    size = padded.shape[axis] - 2 * radius
    result = padded.narrow(axis, radius, size) * weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        pair = padded.narrow(axis, radius - step, size) + padded.narrow(axis, radius + step, size)
        result += pair.mul_(weight)
    return result


def blur_disk(images: Tensor, radius: float, sigma: float) -> Tensor:
    """Mean over a disk, then a small Gaussian that smooths the disk's edge, with images mirrored at their border.

    Args:
        images: ``(B, C, H, W)`` of whole numbers up to 255, so that sums are exact.
        radius: of the disk in pixels.
        sigma: of the Gaussian, which has 3 × 3 weights up to a radius of 8 and 5 × 5 beyond.
    """
    reach, edge = int(radius), 1 if radius <= 8 else 2
    padded = mirror(images, reach + edge)
    widths = [int(np.sqrt(radius**2 - row**2)) for row in range(-reach, reach + 1)]
    height, width = padded.shape[-2] - 2 * reach, padded.shape[-1] - 2 * reach
    sums = F.pad(padded.cumsum(-1), [1, 0])  # whole numbers below 2**24
    total = torch.zeros_like(padded[..., :height, :width])
    for row, half in enumerate(widths):
        rows = sums.narrow(-2, row, height)
        total += rows.narrow(-1, reach + half + 1, width) - rows.narrow(-1, reach - half, width)
    total /= sum(2 * half + 1 for half in widths)
    weights = gaussian_weights(sigma, edge)
    return filter_axis(filter_axis(total, weights, -1), weights, -2)


def mirror(images: Tensor, by: int) -> Tensor:
    """Pad all sides by mirrored pixels without repeating the border, also beyond the size of the image."""
    for axis in (-2, -1):
        size = images.shape[axis]
        places = fold(np.arange(-by, size + by), size, repeat=False)
        images = images.index_select(axis, torch.from_numpy(places).to(images.device))
    return images


def fold(places: NDArray[np.int64], size: int, repeat: bool) -> NDArray[np.int64]:
    """Positions beyond an axis as mirrored ones within; ``repeat`` counts the border pixel twice."""
    period = 2 * size if repeat else max(1, 2 * size - 2)
    places = places % period
    return np.minimum(places, period - 1 - places if repeat else period - places) if size > 1 else places * 0


def sample(images: Tensor, rows: Tensor, cols: Tensor, repeat: bool) -> Tensor:
    """Bilinear values at ``rows`` and ``cols (B, H, W)``, with images mirrored at their border as in :func:`fold`."""
    places = []
    for place, size in ((cols, images.shape[-1]), (rows, images.shape[-2])):
        places.append((2 * place + 1) / size - 1 if repeat else 2 * place / max(1, size - 1) - 1)
    grid = torch.stack(places, dim=-1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=not repeat)


def zoom_in(images: Tensor, factor: float) -> Tensor:
    """The middle of images, enlarged to their size by linear interpolation, as the published sets were made."""
    return zoom_rows(zoom_rows(images, factor).mT.contiguous(), factor).mT


def zoom_rows(images: Tensor, factor: float) -> Tensor:
    """The middle rows of images, enlarged to their height."""
    place, share = zoom_places(images.shape[-2], factor)
    low = torch.from_numpy(place).to(images.device)
    weight = torch.from_numpy(share).to(images.device)[:, None]
    first = images.index_select(-2, low)
    second = images.index_select(-2, (low + 1).clamp_(max=images.shape[-2] - 1))
    return first.mul_(1 - weight).add_(second.mul_(weight))


@lru_cache(maxsize=256)
def zoom_places(size: int, factor: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Where each of ``size`` pixels of an enlarged axis comes from: the pixel before it, and the next one's weight."""
    kept = int(np.ceil(size / factor))
    grown = round(kept * factor)
    places = np.arange(size) + (grown - size) // 2
    where = (size - kept) // 2 + np.minimum(places, grown - 1) * ((kept - 1) / max(1, grown - 1))
    low = np.floor(where).astype(np.int64)
    return low, (where - low).astype(np.float32)


def blur_motion(images: Tensor, radius: int, sigma: float, degrees: NDArray[np.float64]) -> Tensor:
    """A half Gaussian along a line, with the nearest pixel beyond the border: ImageMagick's motion blur.

    Args:
        images: ``(B, C, H, W)``.
        radius: the line has ``2 · radius + 1`` pixels from each pixel on.
        sigma: of the Gaussian in pixels.
        degrees: (B,) direction of the line.
    """
    reach = 2 * radius
    steps = np.arange(reach + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    angle = np.deg2rad(degrees)[:, None]
    down, right = (np.ceil(steps * move - 0.5).astype(np.int64) for move in (np.sin(angle), np.cos(angle)))
    starts = _rows_of(
        images, reach, torch.from_numpy(down).to(images.device), torch.from_numpy(right).to(images.device)
    )
    every_row = F.pad(images, [reach, reach, 0, 0], mode="replicate").flatten().unfold(0, images.shape[-1], 1)
    blurred = torch.zeros_like(images)
    for step, weight in enumerate(weights.tolist()):
        moved = every_row.index_select(0, starts[:, step].reshape(-1))
        blurred += moved.mul_(weight).view(images.shape)
    return blurred


def _rows_of(images: Tensor, reach: int, down: Tensor, right: Tensor) -> Tensor:
    """(B, steps, C, H) where each moved row starts among the pixels of images padded by ``reach`` on both sides."""
    batch, channels, height, width = images.shape
    padded = width + 2 * reach
    rows = (torch.arange(height, device=images.device) + down[..., None]).clamp(0, height - 1)  # (B, steps, H)
    first = rows * padded + reach + right[..., None]
    planes = torch.arange(batch * channels, device=images.device).view(batch, 1, channels, 1) * (height * padded)
    return planes + first[:, :, None]
