"""Crossed recipes: weights of main effects, interactions and simple effects, and the t-test of a weighted sum."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from stress_lab.records import FloatArray


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of the means of all combinations of levels.

    Attributes:
        kind: ``main``, ``interaction`` or ``simple``.
        factor, level: whose level is compared with level 0.
        other, other_level: the factor that it interacts with (against its level 0), or the level at which a simple
            effect is taken; None for a main effect.
        weights: (combinations,) in the order of :func:`list_combinations`.
    """

    kind: str
    factor: int
    level: int
    other: int | None
    other_level: int | None
    weights: FloatArray


def list_combinations(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Every combination of levels; the last factor's change fastest.

    >>> list_combinations([2, 2])
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    return list(itertools.product(*map(range, sizes)))


def list_contrasts(sizes: Sequence[int]) -> list[Contrast]:
    """Main effects, interactions of two factors, and with two factors in all the simple effects; level 0 is the base.

    Effects are differences of means, on the scale of the measure itself: an interaction is a difference of differences.
    What is not named is averaged over, each combination counting the same however many runs it has.

    Args:
        sizes: number of levels of each factor.

    >>> [(one.kind, one.weights.tolist()) for one in list_contrasts([2, 2])][:3]
    [('main', [-0.5, -0.5, 0.5, 0.5]), ('main', [-0.5, 0.5, -0.5, 0.5]), ('interaction', [1.0, -1.0, -1.0, 1.0])]
    """
    simple = _list_simple(sizes) if len(sizes) == 2 else ()
    return [*_list_main(sizes), *_list_interactions(sizes), *simple]


def _list_main(sizes: Sequence[int]) -> Iterator[Contrast]:
    for factor, size in enumerate(sizes):
        for level in range(1, size):
            yield Contrast("main", factor, level, None, None, _weigh(sizes, {factor: _step(size, level)}))


def _list_interactions(sizes: Sequence[int]) -> Iterator[Contrast]:
    for factor, other in itertools.combinations(range(len(sizes)), 2):
        for level, other_level in itertools.product(range(1, sizes[factor]), range(1, sizes[other])):
            parts = {factor: _step(sizes[factor], level), other: _step(sizes[other], other_level)}
            yield Contrast("interaction", factor, level, other, other_level, _weigh(sizes, parts))


def _list_simple(sizes: Sequence[int]) -> Iterator[Contrast]:
    for factor, other in ((0, 1), (1, 0)):
        for level, at in itertools.product(range(1, sizes[factor]), range(sizes[other])):
            parts = {factor: _step(sizes[factor], level), other: np.eye(sizes[other])[at]}
            yield Contrast("simple", factor, level, other, at, _weigh(sizes, parts))


def _step(size: int, level: int) -> FloatArray:
    """-1 at level 0 and 1 at ``level``."""
    return np.asarray(np.eye(size)[level] - np.eye(size)[0])


def _weigh(sizes: Sequence[int], parts: dict[int, FloatArray]) -> FloatArray:
    """The product over all factors, those without a part being averaged over."""
    weights: FloatArray = np.ones(1)
    for factor, size in enumerate(sizes):
        weights = np.kron(weights, parts.get(factor, np.full(size, 1 / size)))
    return weights


def contrast_p(runs: Sequence[FloatArray], weights: Sequence[float]) -> float | None:
    """Two-sided p-value that a weighted sum of recipes' means is 0: the t-test of least squares on the combinations.

    The variance over runs is pooled over all recipes, so it is taken to be the same for each. None where no recipe has
    two runs.

    Args:
        runs: of each recipe, (k,) one value per run. ``weights``: of each recipe's mean.
    """
    freedom = sum(map(len, runs)) - len(runs)
    if freedom < 1:
        return None
    estimate = float(sum(weight * arm.mean() for weight, arm in zip(weights, runs, strict=True)))
    squares = sum(float(((arm - arm.mean()) ** 2).sum()) for arm in runs)
    variance = squares / freedom * sum(weight**2 / len(arm) for weight, arm in zip(weights, runs, strict=True))
    if variance == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * student.sf(abs(estimate) / np.sqrt(variance), freedom))
