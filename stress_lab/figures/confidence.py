"""Reliability and risk over coverage, from a comparison's records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stress_lab.comparison.run_numbers import Curves, RunSummary
from stress_lab.figures.style import COLOURS, new_figure, short

PANELS = 6  # reliability diagrams in one picture, of the first variants


def draw_calibration(runs: Sequence[RunSummary]) -> Figure | None:
    """A reliability diagram of the first run of each variant; None without confidences."""
    firsts = [run for run in _first_runs(runs) if run.curves is not None][:PANELS]
    if not firsts:
        return None
    figure = new_figure(3.6 * len(firsts), 3.6)
    for axes, run, colour in zip(figure.subplots(1, len(firsts), squeeze=False)[0], firsts, COLOURS, strict=False):
        assert run.curves is not None
        plot_reliability(axes, run.curves, colour)
        axes.set_title(short(run.variant), fontsize=10)
    return figure


def draw_risk_coverage(runs: Sequence[RunSummary]) -> Figure | None:
    """Error among the predictions kept, a line for each run; None without confidences."""
    if all(run.curves is None for run in runs):
        return None
    figure = new_figure(5, 3.6)
    plot_risk_coverage(figure.subplots(), runs)
    return figure


def plot_reliability(axes: Axes, curves: Curves, colour: str) -> None:
    """Accuracy over confidence in each bin, with its interval and the band of a calibrated net."""
    bins = curves.reliability
    confidence, accuracy = (np.array([getattr(one, key) for one in bins]) for key in ("confidence", "accuracy"))
    band, interval = (np.array([getattr(one, key) for one in bins]) for key in ("band", "interval"))
    axes.plot([0, 1], [0, 1], ":", color="gray")
    axes.fill_between(confidence, band[:, 0], band[:, 1], color="gray", alpha=0.25, label="if calibrated", linewidth=0)
    spread = np.maximum(0, [accuracy - interval[:, 0], interval[:, 1] - accuracy])
    axes.errorbar(confidence, accuracy, spread, fmt="o", color=colour, markersize=4, capsize=2, label="measured")
    axes.set(xlabel="mean confidence in bin", ylabel="accuracy in bin", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)


def plot_risk_coverage(axes: Axes, runs: Sequence[RunSummary]) -> None:
    """Error among the most confident predictions over their share, coloured by variant."""
    variants = list(dict.fromkeys(run.variant for run in runs))
    named: set[str] = set()
    for run in runs:
        if run.curves is not None:
            points = np.array([(one.coverage, 100 * one.risk) for one in run.curves.risk_coverage])
            place = variants.index(run.variant)
            name = None if run.variant in named else short(run.variant)
            named.add(run.variant)
            axes.plot(*points.T, color=COLOURS[place % len(COLOURS)], linewidth=1.2, label=name)
    axes.set(xlabel="share of predictions kept, the most confident first", ylabel="error among them [%]")
    axes.set(xlim=(0, 1), ylim=(0, None))
    if len(variants) > 1:
        axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _first_runs(runs: Sequence[RunSummary]) -> list[RunSummary]:
    """The first run of each variant."""
    found: dict[str, RunSummary] = {}
    for run in runs:
        found.setdefault(run.variant, run)
    return list(found.values())
