"""How far the maps of two models differ on the same images for the same class, beyond what seeds differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from stress_lab.errors import RunError
from stress_lab.saliency.maps import Cam

Values = NDArray[np.float64]
TOP = 0.2  # share of the cells whose overlap is measured


def rank_correlation(a: Cam, b: Cam) -> Values:
    """(N,) Spearman's correlation over the cells of the maps before the ReLU; NaN where a map is flat."""
    ranks = [rankdata(one.raw.reshape(len(one.raw), -1), axis=1) for one in (a, b)]
    centred = [one - one.mean(axis=1, keepdims=True) for one in ranks]
    scale = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    products = (centred[0] * centred[1]).sum(axis=1)
    return np.asarray(np.divide(products, scale, out=np.full(len(scale), np.nan), where=scale > 0))


def top_overlap(a: Cam, b: Cam, top: float = TOP) -> Values:
    """(N,) intersection over union of the highest ``top`` of the cells, ties by position."""
    chosen = []
    for one in (a, b):
        flat = one.raw.reshape(len(one.raw), -1)
        count = max(1, round(top * flat.shape[1]))
        order = np.argsort(-flat, axis=1, kind="stable")[:, :count]
        marked = np.zeros(flat.shape, dtype=bool)
        np.put_along_axis(marked, order, True, axis=1)
        chosen.append(marked)
    return np.asarray((chosen[0] & chosen[1]).sum(axis=1) / (chosen[0] | chosen[1]).sum(axis=1))


def _mass(cam: Cam) -> Values:
    """(N, h, w) share of the positive evidence in each cell; NaN for an empty map."""
    positive = cam.raw.clip(min=0).astype(np.float64)
    total = positive.sum(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(positive, total, out=np.full(positive.shape, np.nan), where=total > 0))


def centre_shift(a: Cam, b: Cam, size: tuple[int, int]) -> Values:
    """(N,) distance in pixels of the centres of mass of the positive evidence; NaN where a map has none.

    Args:
        a, b: maps. ``size``: (H, W) of the images.
    """
    centres = []
    for one in (a, b):
        mass = _mass(one)
        (h, w), (height, width) = mass.shape[1:], size
        down = (np.arange(h) + 0.5) * height / h
        across = (np.arange(w) + 0.5) * width / w
        centres.append(np.stack([mass.sum(axis=2) @ down, mass.sum(axis=1) @ across], axis=1))
    return np.asarray(np.linalg.norm(centres[0] - centres[1], axis=1))


def spread(cam: Cam) -> Values:
    """(N,) entropy of the positive evidence over the cells in nats: 0 in one cell, ln(h·w) if even; NaN if empty."""
    mass = _mass(cam)
    logs = np.log(mass, out=np.zeros_like(mass), where=mass > 0)
    return np.asarray(-(mass * logs).sum(axis=(1, 2)))


def border_share(cam: Cam) -> Values:
    """(N,) share of the positive evidence in the outermost cells; NaN if there is none."""
    mass = _mass(cam)
    return np.asarray(mass.sum(axis=(1, 2)) - mass[:, 1:-1, 1:-1].sum(axis=(1, 2)))


@dataclass(frozen=True)
class Shift:
    """How far attention moved from recipe A to recipe B, beyond the difference of their seeds.

    Attributes:
        across: mean distance between runs of A and B. ``within``: half the sum of the mean distances within A and B.
        excess: ``across`` minus ``within``. ``p``: of no shift, by relabelling the runs; None with fewer than two each.
    """

    across: float
    within: float
    excess: float
    p: float | None


def measure_shift(distances: Values, is_b: Sequence[bool]) -> Shift:
    """The excess of the distances between two recipes over those within them (an energy distance), and its p-value.

    Attention moves between seeds too: only the excess counts. The p-value is one-sided, over every relabelling of the
    runs. Swapping A and B changes nothing, so with k runs each it is at least 2 k!²/(2k)!, 0.1 for three.

    Args:
        distances: (R, R) mean over images of the distance between each two runs, symmetric.
        is_b: (R,) which runs are of B.

    Raises:
        RunError: A or B has fewer than two runs, so nothing is known about seeds.
    """
    marked = np.asarray(is_b, dtype=bool)
    k = int(marked.sum())
    if min(k, len(marked) - k) < 2:
        raise RunError("attention moves between seeds too: give two runs of each recipe or more")
    across, within = _split(distances, marked)
    drawn = []
    for chosen in itertools.combinations(range(len(marked)), k):
        other = np.zeros(len(marked), dtype=bool)
        other[list(chosen)] = True
        parts = _split(distances, other)
        drawn.append(parts[0] - parts[1])
    excess = across - within
    p = float(np.mean(np.array(drawn) >= excess - 1e-12))
    return Shift(across=across, within=within, excess=excess, p=p)


def _split(distances: Values, is_b: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean distance across, and half the sum of the mean distances within."""
    inside = []
    for group in (~is_b, is_b):
        block = distances[np.ix_(group, group)]
        count = len(block)
        inside.append(float((block.sum() - np.trace(block)) / (count * (count - 1))))
    return float(distances[np.ix_(~is_b, is_b)].mean()), sum(inside) / 2


DISTANCES: Mapping[str, Callable[[Cam, Cam, tuple[int, int]], Values]] = {
    "rank": lambda a, b, size: 1 - rank_correlation(a, b),
    "top fifth": lambda a, b, size: 1 - top_overlap(a, b),
    "centre": centre_shift,
    "spread": lambda a, b, size: np.abs(spread(a) - spread(b)),
    "border": lambda a, b, size: np.abs(border_share(a) - border_share(b)),
}
"""Distance of two maps of an image, by name."""


def compare_attention(cams: Sequence[Cam], is_b: Sequence[bool], size: tuple[int, int]) -> dict[str, Shift]:
    """Each distance's shift from A to B; images whose map is empty or flat under a pair of runs do not count there.

    Args:
        cams: of R runs, of the same images for the same classes.
        is_b: (R,) which runs are of B. ``size``: (H, W) of the images.
    """
    found = {}
    for name, distance in DISTANCES.items():
        matrix = np.zeros((len(cams), len(cams)))
        for a, b in itertools.combinations(range(len(cams)), 2):
            matrix[a, b] = matrix[b, a] = np.nanmean(distance(cams[a], cams[b], size))
        found[name] = measure_shift(matrix, is_b)
    return found
