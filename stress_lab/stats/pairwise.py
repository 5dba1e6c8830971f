"""Many models on the same images: every pair tested at once, which ones tie, and which make the same mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from scipy.stats import binom

from stress_lab.records import BoolArray, FloatArray, IntArray
from stress_lab.stats.agreement import consistency_of_cells

BLOCK = 65_536  # images multiplied at a time; counts in float32 are exact far beyond that


def count_only(events: BoolArray) -> IntArray:
    """(V, V) images on which the event holds under the row's model and not under the column's.

    Args:
        events: (V, N) whether the event, such as being right, holds for each image under each model.

    >>> count_only(np.array([[1, 1, 0, 1], [1, 0, 0, 0]], bool)).tolist()
    [[0, 2], [0, 0]]
    """
    found = np.zeros((len(events), len(events)), dtype=np.int64)
    for start in range(0, events.shape[1], BLOCK):
        block = events[:, start : start + BLOCK].astype(np.float32)
        found += (block @ (1 - block).T).round().astype(np.int64)
    return found


def mid_p_of_counts(only_a: IntArray, only_b: IntArray) -> FloatArray:
    """McNemar's mid-p value of each pair, as :func:`stress_lab.stats.paired.mcnemar_mid_p` gives one.

    Args:
        only_a, only_b: discordant counts, of one shape.

    >>> mid_p_of_counts(np.array([1, 4, 0]), np.array([7, 4, 0])).round(4).tolist()
    [0.0391, 0.8633, 1.0]
    """
    fewer, discordant = np.minimum(only_a, only_b), only_a + only_b
    observed = binom.pmf(fewer, discordant, 0.5)
    one_sided = 2 * binom.cdf(fewer, discordant, 0.5) - observed
    found = np.where(only_a == only_b, 1 - observed / 2, one_sided)
    return np.asarray(np.where(discordant == 0, 1.0, found))


def consistency_matrix(events: BoolArray) -> FloatArray:
    """(V, V) error consistency κ of every two models (Geirhos et al. 2020); nan where it is undefined.

    Args:
        events: (V, N) whether each model is right on each image.
    """
    only, holds = count_only(events), events.sum(axis=1)
    both = holds[:, None] - only
    neither = events.shape[1] - holds[None, :] - only
    cells = np.stack([both, only, only.T, neither], axis=-1).reshape(-1, 4)
    return consistency_of_cells(cells).reshape(only.shape)


def find_ties(apart: BoolArray) -> list[tuple[int, int]]:
    """Maximal runs of neighbours within which no pair is told apart, as (first, last) places; one alone is a run too.

    Two runs may share models: the runs are the letters of a compact letter display (Piepho 2004, Journal of
    Computational and Graphical Statistics 13:456), restricted to neighbours in the order.

    Args:
        apart: (V, V) symmetric, whether each two models are told apart, in the order of the measure.

    >>> find_ties(np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], bool))
    [(0, 1), (1, 2)]
    """
    runs: list[tuple[int, int]] = []
    first = 0
    for last in range(len(apart)):
        clashes = np.flatnonzero(apart[first:last, last])
        if len(clashes):
            runs.append((first, last - 1))
            first += int(clashes[-1]) + 1
    return [*runs, (first, len(apart) - 1)] if len(apart) else []


def lay_lanes(ties: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    """(lane, first, last) of each run, so that those in one lane can be drawn without touching; lanes count from 0.

    >>> lay_lanes([(0, 2), (1, 4), (3, 5)])
    [(0, 0, 2), (1, 1, 4), (0, 3, 5)]
    """
    ends: list[int] = []
    laid = []
    for first, last in ties:
        lane = next((number for number, end in enumerate(ends) if end < first), len(ends))
        ends[lane : lane + 1] = [last]
        laid.append((lane, first, last))
    return laid


def rank_bounds(apart: BoolArray) -> list[tuple[int, int]]:
    """Best and worst rank of each model: one more than those told apart above it, all but those told apart below.

    Args:
        apart: as for :func:`find_ties`.
    """
    above, below = np.triu(apart).sum(axis=0), np.triu(apart).sum(axis=1)
    return [(1 + int(better), len(apart) - int(worse)) for better, worse in zip(above, below, strict=True)]


def order_by_likeness(likeness: FloatArray) -> tuple[list[int], list[tuple[int, int, float]]]:
    """Models in an order that puts like ones side by side: average linkage, leaves ordered optimally, by scipy.

    Args:
        likeness: (V, V) symmetric, 1 for the same and 0 for unrelated, such as κ; an undefined one counts as 0.

    Returns:
        Places in the new order, and the merges as (cluster, cluster, likeness at which they join); numbers from V on
        are clusters, in the order of the merges.
    """
    if len(likeness) < 2:
        return list(range(len(likeness))), []
    distance = 1 - np.nan_to_num(likeness, nan=0.0)
    np.fill_diagonal(distance, 0)
    condensed = squareform(np.maximum((distance + distance.T) / 2, 0), checks=False)
    tree = optimal_leaf_ordering(linkage(condensed, "average"), condensed)
    merges = [(int(a), int(b), 1 - float(height)) for a, b, height, _ in tree]
    return leaves_list(tree).tolist(), merges
