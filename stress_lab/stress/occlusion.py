"""How accuracy falls as more of an image is hidden: Cutout's own claim, tested.

One square hides a share of each image, wholly inside, at a place drawn for the image and the share, filled with the
mean training pixel (DeVries and Taylor 2017 trained with such squares; the curve over shares is this project's).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stress_lab.errors import InputError, PairingError
from stress_lab.records import BoolArray, FloatArray, IntArray
from stress_lab.stats.resampling import bootstrap_means, percentile_interval
from stress_lab.stress.streams import draw

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def hide(images: Tensor, share: float, fill: Sequence[float], seed: int = 0, index: IntArray | None = None) -> Tensor:
    """Images with a square of mean pixels over a share of their area; a square of the shorter side hides at most all.

    Args:
        images: ``(N, C, H, W)`` uint8.
        share: hidden share of the square of the shorter side, from 0 to 1; its side is rounded to whole pixels.
        fill: C values from 0 to 1, such as ``DatasetSpec.mean``.
        seed: not negative.
        index: (N,) number of each image; None counts from 0. The place depends on seed, share and number alone.

    Raises:
        stress_lab.errors.InputError: the share is not from 0 to 1, or ``fill`` has not one value a channel.
    """
    count, channels, height, width = images.shape
    if not 0 <= share <= 1 or len(fill) != channels:
        raise InputError(f"share={share} and fill={tuple(fill)} must be a share from 0 to 1 and {channels} values")
    side = round(share**0.5 * min(height, width))
    where = np.arange(count) if index is None else index
    places = draw(seed, "occlusion", round(1e6 * share), where, 2).astype(np.int64)
    top, left = (
        torch.from_numpy(places[:, axis] * (size - side + 1) >> 16) for axis, size in enumerate((height, width))
    )
    rows, cols = (_covers(at.to(images.device), side, size) for at, size in ((top, height), (left, width)))
    colour = torch.tensor([round(255 * value) for value in fill], dtype=torch.uint8, device=images.device)
    return torch.where(rows[:, None, :, None] & cols[:, None, None, :], colour[:, None, None], images)


def _covers(start: Tensor, side: int, size: int) -> Tensor:
    """(N, size) which pixels of an axis a square covers."""
    offset = torch.arange(size, device=start.device) - start[:, None]
    return (offset >= 0) & (offset < side)


@dataclass(frozen=True)
class OcclusionGap:
    """The curves of two models, B minus A.

    Attributes:
        shares: (S,) hidden shares.
        difference: (S,) of accuracies; ``low`` and ``high`` its pointwise interval.
        area: mean difference over the shares, by trapezoids; ``area_low`` and ``area_high`` its interval.
    """

    shares: tuple[float, ...]
    difference: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    area: float
    area_low: float
    area_high: float


def area_weights(shares: Sequence[float]) -> FloatArray:
    """(S,) weights by trapezoids whose sum with a curve is its mean over the shares.

    >>> area_weights([0, 0.1, 0.3]).round(4).tolist()
    [0.1667, 0.5, 0.3333]
    """
    steps = np.diff(shares)
    ends = np.pad(steps, 1)
    return np.asarray((ends[1:] + ends[:-1]) / 2 / steps.sum())


def compare_occlusion(
    shares: Sequence[float],
    correct_a: BoolArray,
    correct_b: BoolArray,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> OcclusionGap:
    """The area between two models' curves, with a band from images resampled once for all shares and both models.

    Args:
        shares: (S,) hidden shares, increasing.
        correct_a, correct_b: ``(S, N)`` whether each image is right, the same images in the same order.
        level: of the intervals. ``resamples``, ``seed``: of the bootstrap.

    Raises:
        PairingError: the arrays do not have one row a share and the same images.
    """
    if correct_a.shape != correct_b.shape or correct_a.shape[:1] != (len(shares),) or len(shares) < 2:
        raise PairingError(f"two curves must have the same shares and images, got {correct_a.shape}, {correct_b.shape}")
    gap = correct_b.astype(np.float64) - correct_a
    area = area_weights(shares) @ gap
    draws = bootstrap_means(np.vstack([gap, area]), resamples, seed)
    bounds = [percentile_interval(row, level) for row in draws]
    return OcclusionGap(
        shares=tuple(map(float, shares)),
        difference=tuple(gap.mean(axis=1).tolist()),
        low=tuple(low for low, _ in bounds[:-1]),
        high=tuple(high for _, high in bounds[:-1]),
        area=float(area.mean()),
        area_low=bounds[-1][0],
        area_high=bounds[-1][1],
    )
