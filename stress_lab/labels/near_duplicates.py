"""Near-duplicates: the same photograph twice, shifted, scaled, compressed, brighter, tinted or mirrored.

Two steps. A small thumbnail (8×8 of brightness, 4×4 of each colour difference) finds each image's nearest neighbours by
one matrix product: a perceptual hash whose bits are kept as numbers. Skies and seas look alike at that size, so a pair
must also agree in its *detail*: the brightness less its blur, correlated under shifts of up to two pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from stress_lab.errors import DataError
from stress_lab.records import BoolArray, FloatArray, IntArray

Images = NDArray[np.uint8]

SIDE = 32  # pixels that images are compared at
NEIGHBOURS = 5  # of each image, that are compared in detail
FINE, COARSE = 0.7, 3.0  # standard deviations in pixels: detail is what lies between
SHIFT = 2  # pixels
ALIKE = 0.8  # product of thumbnails from which a pair is compared in detail
SAME = 0.85  # correlation of the detail from which two images are near-duplicates
BLOCK = 500  # images compared with all others at once
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """For each of M images its most similar one among others.

    Attributes:
        nearest: (M,) row of the other.
        similarity: (M,) correlation of their detail, up to 1; -1 where none is alike.
        mirrored: (M,) whether the image was mirrored for it.
        is_duplicate: (M,) whether the two are near-duplicates.
    """

    nearest: IntArray
    similarity: FloatArray
    mirrored: BoolArray
    is_duplicate: BoolArray

    @property
    def ranked(self) -> IntArray:
        """Rows that have a near-duplicate, the most similar pair first."""
        rows = np.flatnonzero(self.is_duplicate)
        return np.asarray(rows[np.argsort(-self.similarity[rows], kind="stable")])


def find_near_duplicates(images: Images, others: Images | None = None, same: float = SAME) -> NearDuplicates:
    """Each image's most similar one among others, and whether the two are near-duplicates.

    It finds copies with small changes, not another photograph of the same scene, and misses crops by more than some
    pixels. A few pairs of simple drawings or empty skies are no duplicates: look at them.

    Args:
        images: (M, H, W) or (M, H, W, C) uint8, such as test images.
        others: (N, …) alike, such as training images; None compares the images with each other.
        same: correlation of the detail from which two count as near-duplicates.

    Raises:
        DataError: there are no two images, or they are not uint8 of one or three channels.
    """
    first = _Described(images)
    second = first if others is None else _Described(others)
    n = len(second.thumbs)
    if not len(first.thumbs) or n < (2 if others is None else 1):
        raise DataError("near-duplicates need two images or more: give more of them")
    nearest, similarity = np.zeros(len(first.thumbs), dtype=np.int64), np.full(len(first.thumbs), -1, dtype=np.float32)
    mirrored = np.zeros(len(first.thumbs), dtype=bool)
    for flip in (False, True):
        thumbs, detail = first.mirrored() if flip else (first.thumbs, first.detail)
        for place in _nearest(thumbs, second.thumbs, others is None).T:
            rows = np.flatnonzero((thumbs * second.thumbs[place]).sum(axis=1) >= ALIKE)
            found = _correlate(detail[rows], second.detail[place[rows]])
            better = rows[found > similarity[rows]]
            similarity[better], nearest[better] = found[found > similarity[rows]], place[better]
            mirrored[better] = flip
    return NearDuplicates(nearest, similarity, mirrored, similarity >= same)


class _Described:
    """Thumbnails (N, 96) of unit length, and the detail (N, 32, 32)."""

    def __init__(self, images: Images) -> None:
        fits = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
        if images.dtype != np.uint8 or not fits:
            raise DataError(f"images are {images.shape} of {images.dtype}: give uint8 (N, H, W) or (N, H, W, 1 or 3)")
        self.colour = _reduce(images, SIDE)
        self.thumbs, self.detail = _thumb(self.colour), _find_detail(self.colour)

    def mirrored(self) -> tuple[FloatArray, FloatArray]:
        """The same of the mirrored images."""
        return _thumb(self.colour[:, :, ::-1]), self.detail[:, :, ::-1]


def _reduce(images: Images, side: int) -> FloatArray:
    """(N, side, side, C) means over areas."""
    pixels = images if images.ndim == 4 else images[..., None]
    down, across = (_areas(length, side) for length in pixels.shape[1:3])
    if pixels.shape[1:3] == (side, side):
        return pixels.astype(np.float32)
    parts = [
        np.einsum("ih,nhwc,jw->nijc", down, pixels[start : start + BLOCK].astype(np.float32), across, optimize=True)
        for start in range(0, len(pixels), BLOCK)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, side, side, pixels.shape[3]), np.float32)


def _areas(length: int, side: int) -> FloatArray:
    """(side, length) weights that average a line of pixels over ``side`` equal parts."""
    edges = np.arange(side + 1) * length / side
    pixels = np.arange(length)
    inside = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = inside.clip(min=0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _luma(colour: FloatArray) -> FloatArray:
    """(N, H, W) brightness."""
    return np.asarray(colour @ LUMA if colour.shape[3] == 3 else colour[..., 0])


def _thumb(colour: FloatArray) -> FloatArray:
    """(N, 96) brightness and colour differences at low resolution, each less its mean, of unit length together."""
    light = _luma(colour)
    planes = [_shrink(light, 8)]
    if colour.shape[3] == 3:
        planes += [_shrink(colour[..., channel] - light, 4) for channel in (2, 0)]
    joined = np.concatenate([one - one.mean(axis=1, keepdims=True) for one in planes], axis=1)
    return np.asarray(joined / np.maximum(np.linalg.norm(joined, axis=1, keepdims=True), 1e-6))


def _shrink(plane: FloatArray, side: int) -> FloatArray:
    """(N, side²) means over squares of a plane (N, 32, 32)."""
    step = SIDE // side
    return np.asarray(plane.reshape(len(plane), side, step, side, step).mean(axis=(2, 4)).reshape(len(plane), -1))


def _find_detail(colour: FloatArray) -> FloatArray:
    """(N, 32, 32) brightness less its blur."""
    light = _luma(colour)
    fine = gaussian_filter(light, (0, FINE, FINE))
    return np.asarray(fine - gaussian_filter(light, (0, COARSE, COARSE)), dtype=np.float32)


def _nearest(thumbs: FloatArray, others: FloatArray, same_set: bool) -> IntArray:
    """(M, k) rows of the others with the most similar thumbnails, not the image itself."""
    k = min(NEIGHBOURS, len(others) - same_set)
    found = np.empty((len(thumbs), k), dtype=np.int64)
    for start in range(0, len(thumbs), BLOCK):
        products = thumbs[start : start + BLOCK] @ others.T
        if same_set:
            products[np.arange(len(products)), np.arange(start, start + len(products))] = -np.inf
        best = products.argmax(axis=1)
        found[start : start + BLOCK] = best[:, None]
        rows = np.flatnonzero(products[np.arange(len(best)), best] >= ALIKE)  # only these are compared in detail
        found[start + rows] = np.argpartition(-products[rows], k - 1, axis=1)[:, :k]
    return found


def _correlate(a: FloatArray, b: FloatArray) -> FloatArray:
    """(M,) highest correlation of details (M, 32, 32) under shifts."""
    best = np.full(len(a), -1, dtype=np.float32)
    inner = slice(SHIFT, SIDE - SHIFT)
    still = _unit(b[:, inner, inner])
    for down in range(-SHIFT, SHIFT + 1):
        for across in range(-SHIFT, SHIFT + 1):
            rows, columns = slice(SHIFT + down, SIDE - SHIFT + down), slice(SHIFT + across, SIDE - SHIFT + across)
            found = np.einsum("np,np->n", _unit(a[:, rows, columns]), still)
            np.maximum(best, found, out=best)
    return best


def _unit(detail: FloatArray) -> FloatArray:
    """(M, p) less its mean, of unit length."""
    flat = detail.reshape(len(detail), detail.shape[1] * detail.shape[2])
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))
