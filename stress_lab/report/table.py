"""The comparison as a short table and sentences for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from stress_lab.figures.style import percent


def make_table(comparison: Mapping[str, Any]) -> Table:
    """One row a run: accuracy with its interval, errors, confident failures."""
    n = comparison["runs"][0]["n"]
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{comparison['title']}: {n:,} test images, weights of the last epoch",
        title_justify="left",
    )
    table.add_column("run")
    for heading in (
        "accuracy",
        f"{percent(comparison['level'], 0)} interval",
        "errors",
        _failure_heading(comparison),
    ):
        table.add_column(heading, justify="right")
    for run in comparison["runs"]:
        low, high = run["accuracy_interval"]
        table.add_row(
            run["name"],
            percent(run["accuracy"], 2),
            f"{100 * low:.2f} – {100 * high:.2f}",
            str(run["errors"]),
            str(run["failures"]),
        )
    return table


def _failure_heading(comparison: Mapping[str, Any]) -> str:
    """``wrong at > 70 %``, or no number where runs have different thresholds."""
    thresholds = {run["threshold"] for run in comparison["runs"]}
    return f"wrong at > {percent(thresholds.pop(), 0)}" if len(thresholds) == 1 else "confident failures, own threshold"


def describe_pairs(comparison: Mapping[str, Any]) -> list[str]:
    """Two or three lines a pair: what changed, with its interval and test."""
    lines = []
    for pair in comparison["pairs"]:
        lines.append(f"{pair['b']} against {pair['a']}, seed {pair['seed']}, same {pair['n']:,} images:")
        for metric, name, unit in (
            ("accuracy", "accuracy", f"{pair['outcomes']['fixed']} fixed, {pair['outcomes']['broken']} broken"),
            ("confident_failures", "confident failures", _moved(pair["confident_failures"])),
        ):
            lines.append(f"  {name:<19} {describe_difference(pair[metric], comparison['level'])}; {unit}")
        gap = pair["train_test_gap_change"]
        if gap is not None:
            low, high = gap["interval"]
            lines.append(
                f"  {'train-test gap':<19} {_points(gap['change'])} points [{_points(low)}, {_points(high)}]; "
                f"overfitting: {gap['overfitting']}"
            )
    return lines + [f"note: {note}" for note in comparison["notes"]]


def describe_difference(result: Mapping[str, Any], level: float) -> str:
    """``+0.34 points [-0.10, +0.78], McNemar mid-p 0.14: cannot tell``."""
    low, high = result["bootstrap_interval"]
    p = result["mcnemar_mid_p"]
    clear = p < 1 - level and (low > 0 or high < 0)
    verdict = ("higher" if result["difference"] > 0 else "lower") if clear else "cannot tell"
    return (
        f"{_points(result['difference'])} points [{_points(low)}, {_points(high)}], "
        f"McNemar mid-p {'< 0.001' if p < 0.001 else f'{p:.3f}'}: {verdict}"
    )


def _moved(result: Mapping[str, Any]) -> str:
    """Counts under each model."""
    table = result["table"]
    return f"{table['both'] + table['only_a']} → {table['both'] + table['only_b']}"


def _points(rate: float) -> str:
    """A signed difference of rates in points."""
    return f"{100 * rate:+.2f}".replace("-", "−")
