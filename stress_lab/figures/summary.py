"""The comparison in one picture: rates with intervals, the differences behind the verdicts, convergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stress_lab.comparison.evidence import Question
from stress_lab.comparison.result import Comparison, Data
from stress_lab.comparison.run_numbers import RunSummary
from stress_lab.figures.leaderboard import draw_leaderboard
from stress_lab.figures.one_model import draw_one_model
from stress_lab.figures.style import COLOURS, new_figure, plain_percent, short
from stress_lab.figures.training import History, plot_accuracy

QUESTIONS = {"accuracy": "accuracy", "confident_failures": "confident failures at equal coverage"}


def draw_summary(comparison: Comparison, histories: Mapping[str, History]) -> Figure:
    """Accuracy and raw confident failures of every run, the differences behind the verdicts, learning curves.

    Of many variants their leaderboard instead.

    Args:
        comparison: of the runs.
        histories: by run name.
    """
    if comparison.leaderboard is not None:
        return draw_leaderboard(comparison.title, comparison.leaderboard)
    if comparison.one_model is not None:
        return draw_one_model(comparison, comparison.one_model)
    runs, questions = comparison.runs, comparison.questions
    variants = list(dict.fromkeys(run.variant for run in runs))
    colours = {run.name: COLOURS[variants.index(run.variant) % len(COLOURS)] for run in runs}
    lines = max(len(runs), len(questions), 2)
    figure = new_figure(11, 3.4 + 0.42 * lines)
    (accuracy, failures), (differences, curves) = figure.subplots(2, 2, height_ratios=[1, 1.2])
    _dots(accuracy, runs, "accuracy", f"test accuracy [%]{_describe_majority(comparison.data)}", colours)
    _dots(failures, runs, "failure_rate", f"confident failures, raw [% of {runs[0].n:,} test images]", colours)
    _differences(differences, questions)
    if any(histories.values()):
        plot_accuracy(curves, histories, colours)
    else:
        curves.set_axis_off()  # prediction files have no history
    figure.suptitle(f"{comparison.title} (bars: {plain_percent(comparison.level)} intervals)", fontsize=11)
    return figure


def _describe_majority(data: Data) -> str:
    """The accuracy of always answering one class; missing in older records."""
    if data.majority_rate is None or data.majority_class is None:
        return ""
    return f" (always {short(data.majority_class)}: {100 * data.majority_rate:.2f})"


def _dots(axes: Axes, runs: Sequence[RunSummary], key: str, label: str, colours: Mapping[str, str]) -> None:
    """One dot with its interval per run, on an axis that shows the spread rather than zero, without unknown ones."""
    for place, run in enumerate(runs):
        rate = getattr(run, key)
        if rate is None:
            continue
        _interval(axes, place, rate, getattr(run, f"{key}_interval"), f"{100 * rate:.2f}", color=colours[run.name])
    axes.set_yticks(range(len(runs)), [short(run.name) for run in runs], fontsize=8)
    _finish(axes, label, len(runs))


def _differences(axes: Axes, questions: Sequence[Question]) -> None:
    """The difference behind each verdict, in points; the zero line means no change."""
    labels = []
    for place, asked in enumerate(questions):
        text = f"{100 * asked.evidence.difference:+.2f}".replace("-", "−")
        _interval(axes, place, asked.evidence.difference, asked.evidence.interval, text, color="#333333")
        name = f"{QUESTIONS[asked.question]}: {asked.verdict}"
        labels.append(f"{name}\n{short(asked.b)} − {short(asked.a)}, {asked.better} is better")
    axes.axvline(0, color="gray", linewidth=1)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    _finish(axes, "difference [points of all test images]", max(1, len(labels)))
    if not labels:
        axes.text(0.5, 0.5, "no two variants to compare", ha="center", transform=axes.transAxes)


def _interval(axes: Axes, place: int, value: float, bounds: tuple[float, float], text: str, color: str) -> None:
    """A dot, its interval and its number, in percent."""
    spread = [[100 * (value - bounds[0])], [100 * (bounds[1] - value)]]
    axes.errorbar(100 * value, place, xerr=spread, fmt="o", color=color, capsize=3)
    axes.annotate(text, (100 * value, place), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)


def _finish(axes: Axes, label: str, lines: int) -> None:
    """Label, limits and a quiet grid."""
    axes.set(xlabel=label, ylim=(lines - 0.5, -0.5))
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
