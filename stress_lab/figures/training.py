"""Loss, accuracy and learning rate over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stress_lab.figures.style import COLOURS, new_figure, short

History = Sequence[Mapping[str, Any]]


def draw_training_curves(history: History, title: str) -> Figure:
    """Three panels for one run; line style shows the split, so that colour is free for variants."""
    figure = new_figure(11, 3.4)
    loss, accuracy, rate = figure.subplots(1, 3)
    for split, style in (("train", "--"), ("val", "-")):
        _plot(loss, history, f"{split}/loss", style, split)
        _plot(accuracy, history, f"{split}/acc", style, split, scale=100)
    rate.step(
        [row["epoch"] for row in history],
        [row["lr"] for row in history],
        "-o",
        where="mid",
        color=COLOURS[0],
        markersize=3,
    )
    loss.set(ylabel="cross-entropy", title="Loss")
    accuracy.set(ylabel="accuracy [%]", title="Accuracy")
    rate.set(ylabel="learning rate", yscale="log", title="Learning rate")
    for axes in (loss, accuracy, rate):
        _epoch_axis(axes)
    loss.legend(frameon=False)
    figure.suptitle(f"{title}: train on augmented images while learning, val on plain ones", fontsize=10)
    return figure


def plot_accuracy(axes: Axes, histories: Mapping[str, History], colours: Mapping[str, str]) -> None:
    """Validation accuracy of several runs in one panel, or training accuracy where there was no validation."""
    has_val = all(row.get("val/acc") is not None for history in histories.values() for row in history)
    key = "val/acc" if has_val else "train/acc"
    for name, history in histories.items():
        _plot(axes, history, key, "-", short(name), scale=100, colour=colours[name])
    axes.set(ylabel=f"{'validation' if has_val else 'training'} accuracy [%]")
    _epoch_axis(axes)
    if len(histories) <= 8:
        axes.legend(frameon=False, fontsize=8)


def _plot(
    axes: Axes, history: History, key: str, style: str, label: str, scale: float = 1, colour: str = COLOURS[0]
) -> None:
    """One line, where the history has the key."""
    points = [(row["epoch"], scale * row[key]) for row in history if row.get(key) is not None]
    if points:
        marker = "o" if len(points) == 1 else None
        axes.plot(*zip(*points, strict=True), style, label=label, color=colour, marker=marker)


def _epoch_axis(axes: Axes) -> None:
    """Whole epochs and a quiet grid."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
