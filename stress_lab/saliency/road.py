"""ROAD (Rong et al. 2022): does removing what a map marks cost the model its answer?

Pixels are removed and filled in from their neighbours, so that the hole tells the model little. Where the most
relevant pixels go first (MoRF) the class should lose probability sooner than where the least relevant ones do (LeRF).
The score is (LeRF − MoRF)/2, averaged over the shares removed: about 0 for a random map, at most 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from stress_lab.inference import device_of, eval_mode, full_precision
from stress_lab.saliency.maps import Maps

SHARES = (0.2, 0.4, 0.6, 0.8)  # of the pixels, removed
NOISE = 0.01  # standard deviation added to what is filled in
DIRECT, DIAGONAL = 1 / 6, 1 / 12
TOLERANCE, STEPS = 1e-5, 600  # of the conjugate gradients
Scores = NDArray[np.float32]


def road_scores(
    model: nn.Module,
    images: Tensor,
    targets: NDArray[np.integer],
    maps: Maps,
    shares: Sequence[float] = SHARES,
    batch_size: int = 32,
    seed: int = 0,
) -> Scores:
    """(N,) how well each map ranks the pixels by what they matter for the class's probability.

    A map is ranked as it is, so give it before the ReLU; equal values are ordered at random. The mean over images is
    about 0 for maps that know nothing. A score says that pixels matter, not why.

    Args:
        model: ``(B, C, H, W)`` to logits ``(B, K)``.
        images: (N, C, H, W) normalised.
        targets: (N,) class whose probability counts.
        maps: (N, H, W) of the images' size, higher where it matters more.
        shares: of the pixels that are removed, in turn.
        batch_size: images at once; each is filled in twice for every share.
        seed: of the noise and of the order of equal values.
    """
    device, rng = device_of(model), np.random.default_rng(seed)
    found = []
    with eval_mode(model), torch.inference_mode(), full_precision(device):
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            ranks = torch.from_numpy(rank_pixels(maps[rows], rng)).to(device)
            batch, wanted = images[rows].to(device), torch.as_tensor(np.asarray(targets[rows]), device=device)
            total = torch.zeros(len(batch), device=device)
            for share in shares:
                least = _probability(model, batch, ranks >= share, wanted, rng)
                most = _probability(model, batch, ranks < 1 - share, wanted, rng)
                total += (least - most) / 2
            found.append((total / len(shares)).cpu().numpy())
    return np.concatenate(found).astype(np.float32)


def rank_pixels(maps: Maps, rng: np.random.Generator) -> Maps:
    """(N, H, W) share of the pixels that rank below each one, in [0, 1); equal values in random order."""
    flat = maps.reshape(len(maps), -1)
    order = np.lexsort((rng.random(flat.shape), flat), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None], axis=1)
    return (ranks / flat.shape[1]).reshape(maps.shape).astype(np.float32)


def _probability(model: nn.Module, images: Tensor, kept: Tensor, targets: Tensor, rng: np.random.Generator) -> Tensor:
    """(B,) probability of the classes where only the pixels ``kept (B, H, W)`` are left."""
    filled = impute(images, kept)
    noise = torch.from_numpy(rng.normal(0, NOISE, tuple(images.shape)).astype(np.float32)).to(images.device)
    filled = torch.where(kept[:, None], images, filled + noise)
    logits: Tensor = model(filled)
    return logits.softmax(dim=1).gather(1, targets[:, None])[:, 0]


def impute(images: Tensor, kept: Tensor) -> Tensor:
    """Images whose missing pixels are weighted means of their eight neighbours, all solved jointly (section 4.1).

    Direct neighbours weigh 1/6, diagonal ones 1/12; beyond the border there are none. The system is a graph's Laplacian
    with the known pixels fixed, so conjugate gradients solve it for a whole batch.

    Args:
        images: (B, C, H, W). ``kept``: (B, H, W) which pixels are known, at least one in each image.
    """
    missing = (~kept)[:, None].to(images.dtype)
    degree = _neighbours(torch.ones_like(missing[:1]))

    def apply(values: Tensor) -> Tensor:
        return missing * (degree * values - _neighbours(values))

    known = images * (1 - missing)
    mean = known.sum(dim=(2, 3), keepdim=True) / (1 - missing).sum(dim=(2, 3), keepdim=True)
    guess = mean * missing
    residual = missing * _neighbours(known) - apply(guess)
    return known + _solve(apply, guess, residual)


def _solve(apply: Callable[[Tensor], Tensor], guess: Tensor, residual: Tensor) -> Tensor:
    """Conjugate gradients (Hestenes and Stiefel 1952), every image and channel on its own."""
    direction, old = residual, _dot(residual, residual)
    enough = TOLERANCE**2 * residual[0, 0].numel()
    for _ in range(STEPS):
        if bool((old <= enough).all()):
            break
        image = apply(direction)
        step = old / _dot(direction, image).clamp(min=1e-30)
        guess, residual = guess + step * direction, residual - step * image
        new = _dot(residual, residual)
        direction = residual + new / old.clamp(min=1e-30) * direction
        old = new
    return guess


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(B, C, 1, 1) inner products over positions."""
    return (a * b).sum(dim=(2, 3), keepdim=True)


def _neighbours(values: Tensor) -> Tensor:
    """Weighted sums over the eight neighbours of each pixel, zero beyond the border."""
    cross, side = DIAGONAL, DIRECT
    weights = values.new_tensor([[cross, side, cross], [side, 0, side], [cross, side, cross]])
    n, c, h, w = values.shape
    return F.conv2d(values.reshape(n * c, 1, h, w), weights[None, None], padding=1).reshape(n, c, h, w)


def score_beside(
    model: nn.Module, images: Tensor, targets: NDArray[np.integer], raw: Maps, batch_size: int = 32, seed: int = 0
) -> dict[str, Scores]:
    """(N,) scores by name: ``road`` of a layer's maps, ``road_random`` and ``road_sobel`` of the same images.

    Args:
        model, images, targets, batch_size, seed: as for :func:`road_scores`.
        raw: (N, h, w) maps of a layer before the ReLU.
    """
    size, cells = (int(images.shape[2]), int(images.shape[3])), (raw.shape[1], raw.shape[2])
    beside = {
        "road": enlarge(raw, size),
        "road_random": random_maps(len(raw), cells, size, seed),
        "road_sobel": sobel_maps(images),
    }
    return {
        name: road_scores(model, images, targets, maps, batch_size=batch_size, seed=seed)
        for name, maps in beside.items()
    }


def random_maps(n: int, cells: tuple[int, int], size: tuple[int, int], seed: int = 0) -> Maps:
    """(N, H, W) maps that know nothing: noise at a layer's resolution, enlarged like its maps."""
    noise = np.random.default_rng(seed).normal(size=(n, *cells)).astype(np.float32)
    return enlarge(noise, size)


def sobel_maps(images: Tensor) -> Maps:
    """(N, H, W) length of the Sobel gradient of the mean channel: where edges are, whatever the model."""
    slope = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    grey = F.pad(images.detach().float().cpu().mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across, down = (F.conv2d(grey, kernel[None, None]) for kernel in (slope, slope.T))
    return np.asarray((across**2 + down**2).sqrt()[:, 0].numpy(), dtype=np.float32)


def enlarge(raw: Maps, size: tuple[int, int]) -> Maps:
    """(N, H, W) maps of a layer (N, h, w) at the size of the images, bilinear, not scaled."""
    grown = F.interpolate(torch.from_numpy(raw)[:, None], size, mode="bilinear", align_corners=False)
    return np.asarray(grown[:, 0].numpy(), dtype=np.float32)
