"""Abstention: the confidence from which a net may answer, if at most a given share of its answers may be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from stress_lab.calibration.bins import require_confidence
from stress_lab.errors import ConfigError
from stress_lab.records import BoolArray, FloatArray

STEPS = 100  # thresholds tried: after each hundredth of the images
SPARE = 4  # errors that the first threshold tried may have, so that a single one does not end the search


@dataclass(frozen=True)
class Threshold:
    """A threshold chosen on some images.

    Attributes:
        threshold: answers at or above it are kept; None where none keeps the promise.
        n: images it was chosen on. ``kept``, ``errors``: of them, at or above the threshold.
        bound: upper Clopper-Pearson bound of the error rate among those kept.
        needed: images that would have to be kept without a single error for any promise at all.
        start: images that the highest threshold tried keeps; 0 where there are fewer than needed.
    """

    threshold: float | None
    n: int
    kept: int
    errors: int
    bound: float | None
    needed: int
    start: int


def upper_bound(errors: int, n: int, level: float = 0.95) -> float:
    """One-sided upper bound of an error rate (Clopper and Pearson 1934); 1 where everything is wrong.

    >>> round(upper_bound(0, 59), 4), round(upper_bound(1, 100), 4)
    (0.0495, 0.0466)
    """
    return 1.0 if errors >= n else float(beta.ppf(level, errors + 1, n - errors))


def choose_threshold(
    confidence: FloatArray, correct: BoolArray, max_risk: float = 0.05, level: float = 0.95
) -> Threshold:
    """The smallest confidence such that at most ``max_risk`` of the predictions at or above it are wrong.

    Thresholds are tried from high to low, one after each hundredth of the images, until the upper bound of the error
    exceeds ``max_risk``; as their order is fixed by the confidences alone, none needs a correction (fixed sequence;
    Geifman and El-Yaniv 2017; Angelopoulos et al. 2021, section 2.2). With probability ``level`` the error rate of new
    images from the same source keeps the limit. The search begins at the number of images of which SPARE may be wrong,
    or fewer where that is more than a quarter of all.

    Args:
        confidence, correct: (N,) of images that neither trained the net nor judge the threshold.
        max_risk: the largest share of wrong answers, in (0, 1).
        level: of the bound.

    Raises:
        ConfigError: ``max_risk`` is not in (0, 1). RunError: a confidence is outside [0, 1], or the shapes differ.
    """
    if not 0 < max_risk < 1:
        raise ConfigError(f"max_risk={max_risk} does not work: set a fraction between 0 and 1, such as 0.05")
    require_confidence(confidence, correct)
    n, needed = len(confidence), images_for(0, max_risk, level)
    ordered, wrong = _sort(confidence, correct)
    chosen: tuple[float, int, int, float] | None = None
    sizes = _list_sizes(ordered, _find_start(n, max_risk, level))
    start = next(iter(sizes), 0)
    for kept in sizes:
        errors = int(wrong[kept - 1])
        bound = upper_bound(errors, kept, level)
        if bound > max_risk:
            break
        chosen = (float(ordered[kept - 1]), kept, errors, bound)
    if chosen is None:
        return Threshold(None, n, 0, 0, None, needed, start)
    return Threshold(chosen[0], n, *chosen[1:], needed, start)


def images_for(errors: int, max_risk: float, level: float) -> int:
    """Images that must be kept for the bound to allow some errors.

    >>> images_for(0, 0.05, 0.95), images_for(1, 0.05, 0.95)
    (59, 93)
    """
    n = math.ceil(math.log(1 - level) / math.log1p(-max_risk)) if errors == 0 else errors + 1
    while upper_bound(errors, n, level) > max_risk:
        n += 1
    return n


def _find_start(n: int, max_risk: float, level: float) -> int:
    """How many images the first threshold keeps; of the confidences it depends on their number alone."""
    starts = [images_for(errors, max_risk, level) for errors in range(SPARE, -1, -1)]
    return next((start for start in starts if start <= n / 4), starts[-1])


def _sort(confidence: FloatArray, correct: BoolArray) -> tuple[FloatArray, FloatArray]:
    """(N,) confidences from high to low, and how many of the first 1 … N are wrong."""
    order = np.argsort(-confidence, kind="stable")
    return confidence[order], np.cumsum(~correct[order])


def _list_sizes(ordered: FloatArray, least: int) -> list[int]:
    """How many images each threshold keeps, from few to many; images of equal confidence are kept together."""
    n = len(ordered)
    wanted = [least, *(math.ceil(n * step / STEPS) for step in range(1, STEPS + 1))]
    ends = np.searchsorted(-ordered, -ordered[[size - 1 for size in wanted if size <= n]], side="right")
    return sorted({int(end) for end in ends if end >= least})
