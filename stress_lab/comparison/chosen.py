"""Which failures the page shows first: those that changed, then those that never do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stress_lab.comparison.agreement import stack_errors, stack_failures
from stress_lab.comparison.loading import LoadedRun
from stress_lab.records import BoolArray, IntArray
from stress_lab.stats.agreement import select_cases
from stress_lab.stats.stability import TAGS, one_variant_tags, tag_images

CHANGES = ("fixed", "broken", "no longer confident", "newly confident")
SHARES = (2, 1)  # quarters of the page kept for images that changed, and for the hard core, where others fill the rest


def first_runs(runs: Sequence[LoadedRun]) -> dict[str, LoadedRun]:
    """The run of each variant whose maps and confidences are shown: the first one launched."""
    found: dict[str, LoadedRun] = {}
    for run in runs:
        found.setdefault(run.variant, run)
    return found


def tag_failures(runs: Sequence[LoadedRun]) -> dict[str, IntArray]:
    """(N,) tag numbers of each other variant against the reference, or of the only one over its seeds."""
    variants = list(first_runs(runs))
    failed = {variant: stack_failures(runs, variant) for variant in variants}
    known = {variant: one for variant, one in failed.items() if one is not None}
    if len(known) < len(variants):
        return {}
    reference = known[variants[0]]
    if len(variants) == 1:
        return {variants[0]: one_variant_tags(reference)} if len(reference) > 1 else {}
    wrong = stack_errors(runs, variants[0])
    return {
        variant: tag_images(reference, known[variant], wrong, stack_errors(runs, variant)) for variant in variants[1:]
    }


def choose_images(runs: Sequence[LoadedRun], limit: int) -> tuple[IntArray, IntArray]:
    """Rows of the images that fail with confidence in any run: first those that changed, then the hard core.

    Within each group those that fail in most runs come first, then the most confident. Where there are more than
    ``limit``, each group keeps a part of the page (``SHARES``), so that no group hides another.

    Returns:
        At most ``limit`` rows to show, and the other ones; both in order.
    """
    if any(run.failed is None for run in runs):
        return np.arange(0), np.arange(0)
    failed = np.stack([run.failed for run in runs if run.failed is not None])
    confidence = np.stack([run.scores.confidence for run in runs if run.scores.confidence is not None])
    rows = np.flatnonzero(failed.any(axis=0))
    worst = np.where(failed, confidence, 0).max(axis=0)
    group = _group(tag_failures(runs), len(worst))[rows]
    order = np.lexsort((rows, -worst[rows], -failed[:, rows].sum(axis=0), group))
    taken = _share(np.bincount(group, minlength=3), limit)
    kept = np.concatenate([order[group[order] == number][:size] for number, size in enumerate(taken)])
    return rows[kept], rows[order[~np.isin(order, kept)]]


def choose_cases(runs: Sequence[LoadedRun], per_outcome: int) -> list[tuple[str, int]]:
    """(outcome, row) of the images worth seeing under the reference and the first other variant, by a fixed rule."""
    shown = list(first_runs(runs).values())
    if len(shown) < 2 or any(run.scores.confidence is None for run in shown[:2]):
        return []
    return select_cases(shown[0].scores, shown[1].scores, per_outcome)  # type: ignore[arg-type]


def _group(tags: dict[str, IntArray], n: int) -> IntArray:
    """(N,) 0 for an image that changed under any variant, 1 for the hard core, 2 for the others."""

    def any_is(names: Sequence[str]) -> BoolArray:
        numbers = [TAGS.index(name) for name in names]
        return np.asarray(np.any([np.zeros(n, dtype=bool), *(np.isin(one, numbers) for one in tags.values())], axis=0))

    return np.asarray(np.select([any_is(CHANGES), any_is(["hard core"])], [0, 1], 2))


def _share(sizes: IntArray, limit: int) -> list[int]:
    """How many of each group are shown: its share, and in their order what the others leave."""
    shares = [limit * quarters // 4 for quarters in SHARES]
    shares.append(limit - sum(shares))
    taken = [min(int(size), share) for size, share in zip(sizes, shares, strict=True)]
    for number, size in enumerate(sizes.tolist()):
        taken[number] += min(size - taken[number], limit - sum(taken))
    return taken
