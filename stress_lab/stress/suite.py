"""A suite of conditions, and what a net's answers under them add up to.

A cell is a condition at a severity. The same images are seen in every cell, so they are resampled once for all cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stress_lab.errors import ConfigError, PairingError
from stress_lab.records import BoolArray, FloatArray
from stress_lab.stats.multiplicity import benjamini_hochberg
from stress_lab.stats.paired import TANGO, mcnemar_mid_p, tabulate, tango_interval
from stress_lab.stats.rates import WILSON, wilson_interval
from stress_lab.stats.resampling import PERCENTILE, bootstrap_means, percentile_interval
from stress_lab.stress.constants import CORRUPTIONS, check_cell, list_corruptions

CLEAN = "clean"
OCCLUSION = "occlusion"


@dataclass(frozen=True, order=True)
class Cell:
    """A condition at a severity.

    Attributes:
        condition: ``clean``, a corruption, or ``occlusion``.
        severity: 0 for clean, 1 to 5 for a corruption, the hidden share for occlusion.
    """

    condition: str
    severity: float = 0

    @property
    def name(self) -> str:
        """Short and fit for a file, such as ``fog_3``."""
        return self.condition if self.condition == CLEAN else f"{self.condition}_{self.severity:g}"

    @property
    def counts(self) -> bool:
        """Whether it belongs to the suite's mean: one of the benchmark's 15 corruptions."""
        return self.condition in CORRUPTIONS


def plan_cells(
    corruptions: str | Sequence[str], severities: Sequence[int], occlusion: Sequence[float], channels: int
) -> list[Cell]:
    """The cells of a suite, the clean one first.

    Args:
        corruptions: names, ``common`` or ``all``; for grey images these two leave ``saturate`` out.
        severities: of every corruption.
        occlusion: hidden shares.
        channels: of the images.

    Raises:
        ConfigError: there is no such corruption, severity or share.
    """
    groups = {"common": list_corruptions(channels, extra=False), "all": list_corruptions(channels)}
    if isinstance(corruptions, str) and corruptions not in groups:
        raise ConfigError(f"corruptions={corruptions} is not known: use common, all or a list of names")
    names = groups[corruptions] if isinstance(corruptions, str) else tuple(corruptions)
    for name in names:
        for severity in severities:
            check_cell(name, severity, ConfigError)
    wrong = [share for share in occlusion if not 0 < share <= 1]
    if wrong:
        raise ConfigError(f"occlusion={wrong[0]} is not a share of the image: use fractions above 0, up to 1")
    corrupted = [Cell(name, severity) for name in names for severity in severities]
    return [Cell(CLEAN), *corrupted, *(Cell(OCCLUSION, float(share)) for share in occlusion)]


def summarize(correct: Mapping[Cell, BoolArray], level: float, resamples: int) -> dict[str, Any]:
    """Accuracy under each cell, and the mean over the suite's corruptions beside the clean accuracy.

    The mean gives every cell the same weight, so every corruption too. ``drop`` is the clean accuracy minus the mean,
    ``relative_drop`` its share of the clean accuracy: a model with a higher clean accuracy is not a more robust one.

    Args:
        correct: (N,) of each cell, the same images in the same order, the clean cell among them.
        level: of the intervals. ``resamples``: of the bootstrap over images.
    """
    clean = correct[Cell(CLEAN)]
    summary: dict[str, Any] = {
        "n": len(clean),
        "level": level,
        "cells": [_describe_cell(cell, right, clean, level) for cell, right in correct.items()],
        "interval_methods": {"accuracy": WILSON, "drop of a cell": TANGO, "mean": PERCENTILE},
    }
    counted = [right for cell, right in correct.items() if cell.counts]
    if counted:
        mean = np.mean(counted, axis=0)
        draws = bootstrap_means(np.stack([clean.astype(np.float64), mean]), resamples)
        base, under = float(clean.mean()), float(mean.mean())
        summary["mean"] = {
            "cells": len(counted),
            "accuracy": under,
            "accuracy_interval": percentile_interval(draws[1], level),
            "drop": base - under,
            "drop_interval": percentile_interval(draws[0] - draws[1], level),
            **_relative(base, under, draws, level),
        }
    return summary


def _relative(base: float, under: float, draws: FloatArray, level: float) -> dict[str, Any]:
    """The drop as a share of the clean accuracy; none where no clean image is right."""
    if base == 0 or not draws[0].all():
        return {"relative_drop": None, "relative_drop_interval": None}
    shares = 1 - draws[1] / draws[0]
    return {"relative_drop": 1 - under / base, "relative_drop_interval": percentile_interval(shares, level)}


def _describe_cell(cell: Cell, right: BoolArray, clean: BoolArray, level: float) -> dict[str, Any]:
    """Accuracy of a cell and its paired drop from the clean images, with intervals."""
    table = tabulate(right, clean)
    return {
        "condition": cell.condition,
        "severity": cell.severity,
        "correct": int(right.sum()),
        "accuracy": float(right.mean()),
        "accuracy_interval": wilson_interval(int(right.sum()), len(right), level),
        "drop": table.difference,
        "drop_interval": tango_interval(table, level),
    }


def contrast_runs(
    reference: Mapping[Cell, BoolArray], correct: Mapping[Cell, BoolArray], level: float, resamples: int
) -> dict[str, Any]:
    """This run minus a reference run: the mean over the suite as one question, and the cells as an exploration.

    Cells get McNemar's mid-p value, adjusted over all of them by Benjamini and Hochberg. ``mce`` is the mean over
    corruptions of the errors summed over severities, relative to the reference's, and ``relative_mce`` the same of the
    errors that the corruption adds (Hendrycks and Dietterich 2019); below 1 this run is better.

    Args:
        reference, correct: (N,) of each cell, the same cells and images.
        level: of the intervals. ``resamples``: of the bootstrap over images.

    Raises:
        PairingError: the cells or the numbers of images differ.
    """
    if reference.keys() != correct.keys() or any(len(reference[cell]) != len(correct[cell]) for cell in correct):
        raise PairingError("the two runs do not have the same cells and images: stress both by the same suite")
    tables = {cell: tabulate(reference[cell], right) for cell, right in correct.items()}
    p_values = [mcnemar_mid_p(table) for table in tables.values()]
    cells = [
        {
            "condition": cell.condition,
            "severity": cell.severity,
            "difference": table.difference,
            "interval": tango_interval(table, level),
            "p": p,
            "p_adjusted": adjusted,
        }
        for (cell, table), p, adjusted in zip(tables.items(), p_values, benjamini_hochberg(p_values), strict=True)
    ]
    return {"cells": cells, **_contrast_means(reference, correct, level, resamples)}


def _contrast_means(
    reference: Mapping[Cell, BoolArray], correct: Mapping[Cell, BoolArray], level: float, resamples: int
) -> dict[str, Any]:
    """Differences of the mean over the suite and of the relative drop, and the mean corruption errors."""
    counted = [cell for cell in correct if cell.counts]
    if not counted:
        return {}
    clean = Cell(CLEAN)
    rows = [
        np.mean([run[cell] for cell in cells], axis=0) for run in (reference, correct) for cells in ([clean], counted)
    ]
    means, draws = np.array([row.mean() for row in rows]), bootstrap_means(np.stack(rows), resamples)
    found: dict[str, Any] = {
        "mean": {"difference": means[3] - means[1], "interval": percentile_interval(draws[3] - draws[1], level)}
    }
    if means[[0, 2]].all() and draws[[0, 2]].all():
        lost = [1 - part[2 * place + 1] / part[2 * place] for part in (means, draws) for place in (0, 1)]
        found["relative_drop"] = {
            "difference": float(lost[1] - lost[0]),
            "interval": percentile_interval(lost[3] - lost[2], level),
        }
    return {**found, "mce": _mean_ratio(reference, correct, 0), "relative_mce": _mean_ratio(reference, correct, 1)}


def _mean_ratio(
    reference: Mapping[Cell, BoolArray], correct: Mapping[Cell, BoolArray], less_clean: int
) -> float | None:
    """Mean over corruptions of the ratio of errors summed over severities; None where the reference has none."""
    ratios = []
    for name in dict.fromkeys(cell.condition for cell in correct if cell.counts):
        cells = [cell for cell in correct if cell.condition == name]
        sums = [
            sum(float((~run[cell]).mean()) - less_clean * float((~run[Cell(CLEAN)]).mean()) for cell in cells)
            for run in (correct, reference)
        ]
        if sums[1] <= 0:
            return None
        ratios.append(sums[0] / sums[1])
    return float(np.mean(ratios))
