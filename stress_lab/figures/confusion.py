"""The confusion matrix as a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from stress_lab.figures.style import new_figure

MAX_ANNOTATED = 20  # classes up to which each cell shows its count
MAX_NAMED = 40  # classes up to which the axes name them


def draw_confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> Figure:
    """Counts by true class (rows) and predicted class (columns).

    Colours are logarithmic, so that the few errors show beside the many right answers; empty cells stay white.
    """
    counts, few = np.asarray(confusion), len(classes) <= MAX_NAMED
    side = 3 + 0.45 * len(classes) if few else 9  # inches
    figure = new_figure(side + 1, side)
    axes = figure.subplots()
    sns.heatmap(
        np.where(counts > 0, counts, np.nan),
        ax=axes,
        norm=LogNorm(1, max(2, counts.max())),
        cmap="Blues",
        square=True,
        annot=len(classes) <= MAX_ANNOTATED,
        fmt=".0f",
        annot_kws={"fontsize": 8},
        linewidths=0.5 if few else 0,
        rasterized=not few,
        linecolor="#dddddd",
        xticklabels=False,
        yticklabels=False,
        cbar_kws={"label": "images (logarithmic)", "shrink": 0.8},
    )
    axes.collections[0].colorbar.ax.yaxis.set_major_formatter("{x:,.0f}")  # type: ignore[union-attr]
    order = "" if few else f", {len(classes):,} in the order of data.json"
    axes.set(xlabel=f"predicted class{order}", ylabel=f"true class{order}")
    if few:
        middle = np.arange(len(classes)) + 0.5
        axes.set_xticks(middle, classes)
        axes.set_yticks(middle, classes)
    axes.tick_params(axis="x", rotation=45, length=0)
    axes.tick_params(axis="y", rotation=0, length=0)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
    axes.set_title(title, fontsize=10)
    return figure
