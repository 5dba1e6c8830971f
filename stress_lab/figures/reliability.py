"""The reliability diagram: accuracy against confidence."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from stress_lab.calibration.bins import ReliabilityBins
from stress_lab.figures.style import COLOURS, new_figure
from stress_lab.stats.rates import wilson_interval


def draw_reliability(bins: ReliabilityBins, threshold: float, title: str) -> Figure:
    """Accuracy of each confidence bin with its 95 % Wilson interval, above the number of images in it.

    Args:
        bins: M confidence bins.
        threshold: of confident failures, drawn as a line.
        title: names run and split.
    """
    figure = new_figure(5.2, 6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    used = np.flatnonzero(bins.count)
    bounds = np.array([wilson_interval(bins.right[m], bins.count[m]) for m in used])
    accuracy = bins.accuracy[used]
    spread = np.abs(np.stack([accuracy - bounds[:, 0], bounds[:, 1] - accuracy]))
    top.plot([0, 1], [0, 1], ":", color="gray", label="perfectly calibrated")
    top.errorbar(
        bins.confidence[used], accuracy, spread, fmt="o-", color=COLOURS[0], capsize=2, label="measured, 95 % interval"
    )
    top.set(
        ylabel="accuracy in bin", xlim=(0, 1), ylim=(0, 1), title=f"{title}\nECE {bins.ece:.3f}, {len(bins.count)} bins"
    )
    edges = np.linspace(0, 1, len(bins.count) + 1)
    bottom.bar(edges[:-1], bins.count, width=np.diff(edges), align="edge", color=COLOURS[0], edgecolor="white")
    bottom.set(xlabel="confidence", ylabel="images", yscale="log")
    for axes in (top, bottom):
        axes.axvline(threshold, color=COLOURS[1], linewidth=1, label=f"failure threshold {threshold:g}")
        axes.spines[["top", "right"]].set_visible(False)
    top.legend(frameon=False, fontsize=8, loc="upper left")
    top.title.set_fontsize(10)
    return figure
