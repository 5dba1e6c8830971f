"""Several tests at once: p-values adjusted for the whole family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import false_discovery_control


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the chance of any false rejection in the family (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1, made monotone and capped at 1; valid whatever the dependence.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in adjusted]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the expected share of false ones among the rejections, by scipy.

    Benjamini and Hochberg 1995; valid for independent and for positively dependent tests.

    >>> [round(p, 3) for p in benjamini_hochberg([0.01, 0.04, 0.03, 0.9])]
    [0.04, 0.053, 0.053, 0.9]
    """
    return [float(value) for value in false_discovery_control(list(p_values))]
