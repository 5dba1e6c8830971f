"""Which labels to look at, so that a part of them says something about all."""

from __future__ import annotations

import numpy as np

from stress_lab.records import BoolArray, IntArray


def choose_checks(is_suspect: BoolArray, count: int, checked: BoolArray | None = None, seed: int = 0) -> IntArray:
    """Rows to check: up to half of ``count`` suspects, the rest from the other labels, in random order.

    Both parts are drawn at random and mixed, so that whoever stops early has checked a random part of each, which
    :func:`~stress_lab.labels.error_rate.estimate_error_rate` needs, and cannot know which kind comes next.

    Args:
        is_suspect: (N,) whether a label is suspect.
        count: rows at most. ``checked``: (N,) which were looked at before, and are left out. ``seed``: of the draw.
    """
    rng = np.random.default_rng(seed)
    left = np.ones(len(is_suspect), dtype=bool) if checked is None else ~checked
    suspects, others = (rng.permutation(np.flatnonzero(one & left)) for one in (is_suspect, ~is_suspect))
    few = min(len(suspects), max(count // 2, count - len(others)))
    chosen = np.concatenate([suspects[:few], others[: count - few]])
    return np.asarray(rng.permutation(chosen))
