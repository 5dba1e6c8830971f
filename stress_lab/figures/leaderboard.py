"""Many variants in one picture: values with intervals, the best on top, and bars that join those not told apart."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stress_lab.comparison.many import Leaderboard
from stress_lab.figures.style import new_figure, plain_percent, short
from stress_lab.stats.pairwise import lay_lanes

ROW, HEAD = 0.21, 1.3  # inches


def draw_leaderboard(title: str, board: Leaderboard) -> Figure:
    """A row for each variant with its interval and number; to the right a bar for each tie group."""
    count = len(board.standings)
    figure = new_figure(9, HEAD + ROW * count)
    values, ties = figure.subplots(1, 2, width_ratios=[4, 1], sharey=True)
    _draw_values(values, board)
    _draw_ties(ties, board)
    pairs = count * (count - 1) // 2
    figure.suptitle(
        f"{title}: {count} variants, {board.n:,} test images; {board.apart} of {pairs} pairs told apart\n"
        f"({board.test}, Holm over all pairs; lines: {plain_percent(board.level)} intervals)",
        fontsize=10,
    )
    return figure


def _draw_values(axes: Axes, board: Leaderboard) -> None:
    """Values with their intervals, in percent."""
    for place, one in enumerate(board.standings):
        low, high = one.interval
        spread = [[100 * (one.value - low)], [100 * (high - one.value)]]
        axes.errorbar(100 * one.value, place, xerr=spread, fmt="o", color="#333333", markersize=4, capsize=2)
    names = [f"{place}  {short(one.variant)}" for place, one in enumerate(board.standings, start=1)]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlabel=f"{board.title.lower()} [%], {board.better} is better")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_ties(axes: Axes, board: Leaderboard) -> None:
    """A bar for each tie group, and each variant's number."""
    bars = lay_lanes([(first, last) for first, last in board.ties if last > first])
    lanes = 1 + max((lane for lane, _, _ in bars), default=-1)
    for lane, first, last in bars:
        axes.plot([lane, lane], [first - 0.3, last + 0.3], color="#777777", linewidth=3, solid_capstyle="round")
    for place, one in enumerate(board.standings):
        axes.text(-1.2, place, f"{100 * one.value:.2f}", ha="right", va="center", fontsize=8)
    axes.set(xlim=(-5, max(lanes, 3)), xlabel="bar: not told apart" if lanes else "every pair told apart")
    axes.set_xticks([])
    axes.tick_params(left=False, labelleft=False)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
