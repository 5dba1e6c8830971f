"""One model in one picture: its rates beside the majority class, its worst classes, how far to trust its confidence."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stress_lab.comparison.one_model import ClassRates, OneModel
from stress_lab.comparison.result import Comparison
from stress_lab.comparison.run_numbers import Estimate
from stress_lab.figures.confidence import plot_reliability, plot_risk_coverage
from stress_lab.figures.style import COLOURS, new_figure, plain_percent, short

WORST = 12  # classes drawn


def draw_one_model(comparison: Comparison, model: OneModel) -> Figure:
    """Accuracy and balanced accuracy, the worst classes, reliability of the first run, and risk over coverage.

    Args:
        comparison: of one model. ``model``: its audit.
    """
    curves = comparison.runs[0].curves
    worst = [one for one in model.classes if one.recall is not None][:WORST]
    figure = new_figure(11, 4.4 + 0.22 * len(worst))
    (rates, classes), (reliability, risk) = figure.subplots(2, 2)
    _draw_rates(rates, model, comparison.data.majority_rate)
    _draw_classes(classes, worst, len(model.classes) - len(model.absent))
    if curves is None:
        reliability.set_axis_off()
        risk.set_axis_off()
    else:
        plot_reliability(reliability, curves, COLOURS[0])
        plot_risk_coverage(risk, comparison.runs)
    level = plain_percent(comparison.level)
    figure.suptitle(f"{comparison.title}, {model.n:,} test images (bars: {level} intervals)", fontsize=11)
    return figure


def _draw_rates(axes: Axes, model: OneModel, majority: float | None) -> None:
    """Accuracy, balanced accuracy and worst recall with their intervals; dashed: always giving one answer."""
    rows: Sequence[tuple[str, Estimate]] = (
        ("accuracy", model.accuracy),
        ("balanced accuracy", model.balanced_accuracy),
        (f"worst class: {short(model.worst_class, 24)}", model.worst_recall),
    )
    for place, (_, one) in enumerate(rows):
        _draw_interval(axes, place, one.value, one.low, one.high)
    if majority is not None:
        axes.axvline(100 * majority, color="gray", linestyle="--", linewidth=1)
        side = "left" if majority < 0.5 else "right"
        axes.annotate(" always one class ", (100 * majority, 2.5), fontsize=8, color="gray", ha=side)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    axes.set(xlabel="% right", xlim=(0, 100), ylim=(len(rows) - 0.3, -0.6))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_classes(axes: Axes, worst: Sequence[ClassRates], classes: int) -> None:
    """Recall of the classes with the lowest one."""
    for place, one in enumerate(worst):
        assert one.recall is not None
        assert one.recall_interval is not None
        _draw_interval(axes, place, one.recall, *one.recall_interval)
    axes.set_yticks(range(len(worst)), [f"{short(one.name, 24)} ({one.n:,})" for one in worst], fontsize=8)
    some = f", the {len(worst)} worst of {classes} classes" if classes > len(worst) else ""
    axes.set(xlabel=f"recall [%]{some}", xlim=(0, 100), ylim=(len(worst) - 0.4, -0.6))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_interval(axes: Axes, place: int, value: float, low: float, high: float) -> None:
    """A dot, its interval and its number, in percent."""
    spread = [[100 * max(0.0, value - low)], [100 * max(0.0, high - value)]]
    axes.errorbar(100 * value, place, xerr=spread, fmt="o", color=COLOURS[0], capsize=3, markersize=4)
    axes.annotate(f"{100 * value:.1f}", (100 * value, place), xytext=(0, 4), textcoords="offset points", fontsize=7)
