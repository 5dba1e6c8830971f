"""Accuracy under harder conditions: a heat map of corruptions and severities, and the curve of occlusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stress_lab.figures.style import COLOURS, new_figure

FAINT = 0.05  # adjusted p-values below this mark a cell
OCCLUSION, CLEAN = "occlusion", "clean"


def draw_stress(summary: Mapping[str, Any], title: str) -> Figure:
    """Accuracy in every cell, or the difference from a reference run where the summary has one.

    A dot marks differences whose p-value, adjusted for all cells, is below 0.05.

    Args:
        summary: of :func:`stress_lab.stress.suite.summarize`, perhaps with ``contrast``.
        title: of the figure.
    """
    contrast = summary.get("contrast")
    cells = (contrast or summary)["cells"]
    grid = [cell for cell in cells if cell["condition"] not in (CLEAN, OCCLUSION)]
    curve = [cell for cell in cells if cell["condition"] == OCCLUSION]
    rows = list(dict.fromkeys(cell["condition"] for cell in grid))
    figure = new_figure(4.6 * max(1, bool(grid) + bool(curve)) + 1, max(3.4, 1.6 + 0.3 * len(rows)))
    axes = figure.subplots(1, 2 if grid and curve else 1, squeeze=False)[0]
    if grid:
        _draw_grid(figure, axes[0], grid, rows, contrast is not None)
    if curve:
        clean = next(cell for cell in cells if cell["condition"] == CLEAN)
        _draw_curve(axes[-1], [clean, *curve], contrast is not None)
    if not grid and not curve:
        axes[0].set_axis_off()
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_grid(figure: Figure, axes: Axes, cells: Sequence[Mapping[str, Any]], rows: list[str], paired: bool) -> None:
    """One square a cell, with its number in percent or points."""
    columns = sorted({cell["severity"] for cell in cells})
    values = np.full((len(rows), len(columns)), np.nan)
    for cell in cells:
        row, column = rows.index(cell["condition"]), columns.index(cell["severity"])
        values[row, column] = 100 * cell["difference" if paired else "accuracy"]
    largest = max(1.0, float(np.nanmax(np.abs(values))))
    scale: dict[str, Any] = (
        {"cmap": "RdBu", "vmin": -largest, "vmax": largest} if paired else {"cmap": "viridis", "vmin": 0, "vmax": 100}
    )
    picture = axes.imshow(values, aspect="auto", **scale)
    for cell in cells:
        row, column = rows.index(cell["condition"]), columns.index(cell["severity"])
        value = values[row, column]
        told = paired and cell["p_adjusted"] < FAINT
        text = f"{value:+.1f}{' •' if told else ''}".replace("-", "−") if paired else f"{value:.1f}"
        dark = abs(value) > 0.6 * largest if paired else value < 55
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(columns)), [f"{severity:g}" for severity in columns])
    axes.set_yticks(range(len(rows)), [row.replace("_", " ") for row in rows], fontsize=8)
    axes.set(xlabel="severity")
    label = "difference of accuracy [points]   • told from zero" if paired else "accuracy [%]"
    figure.colorbar(picture, ax=axes, label=label)


def _draw_curve(axes: Axes, cells: Sequence[Mapping[str, Any]], paired: bool) -> None:
    """Accuracy, or its difference, over the hidden share, with the interval of each point."""
    key, bounds = ("difference", "interval") if paired else ("accuracy", "accuracy_interval")
    shares = [100 * cell["severity"] for cell in cells]
    axes.plot(shares, [100 * cell[key] for cell in cells], "o-", color=COLOURS[0])
    low, high = ([100 * cell[bounds][side] for cell in cells] for side in (0, 1))
    axes.fill_between(shares, low, high, color=COLOURS[0], alpha=0.2)
    if paired:
        axes.axhline(0, color="gray", linewidth=1)
    axes.set(xlabel="hidden share of the image [%]", ylabel="difference [points]" if paired else "accuracy [%]")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
