"""The comparison as a short table and sentences for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from stress_lab.figures.style import percent, plain_percent
from stress_lab.records import RunInfo
from stress_lab.report.numbers import Speaker, signed
from stress_lab.report.words import describe_question, headline

GAPS_SHOWN = 3  # pairs of runs whose change of the gap is printed


def make_table(comparison: Mapping[str, Any]) -> Table:
    """One row a run: accuracy with its interval, errors, confident failures."""
    n = comparison["runs"][0]["n"]
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(f"{comparison['title']}: {n:,} test images, weights: {comparison['weights']}"),
        title_justify="left",
    )
    table.add_column("run")
    for heading in (
        "accuracy",
        f"{plain_percent(comparison['level'])} interval",
        "errors",
        _failure_heading(comparison),
    ):
        table.add_column(heading, justify="right")
    for run in comparison["runs"]:
        low, high = run["accuracy_interval"]
        table.add_row(
            Text(run["name"]),
            percent(run["accuracy"], 2),
            f"{100 * low:.2f} – {100 * high:.2f}",
            str(run["errors"]),
            "–" if run["failures"] is None else str(run["failures"]),
        )
    return table


def make_failure_table(runs: Mapping[str, RunInfo]) -> Table:
    """One row a run that did not finish: how far it got, and why it ended."""
    table = Table(
        box=box.SIMPLE_HEAD, title=Text(f"{len(runs)} of the sweep's runs did not finish"), title_justify="left"
    )
    for heading in ("run", "ended after", "why"):
        table.add_column(heading)
    for name, info in runs.items():
        table.add_row(Text(name), f"{info.seconds:.0f} s" if info.seconds else "–", Text(say_reason(info)))
    return table


def say_reason(info: RunInfo) -> str:
    """Why a run did not finish; one that never said so was killed."""
    return info.error if info.state == "failed" else "interrupted: its process was killed"


def _failure_heading(comparison: Mapping[str, Any]) -> str:
    """``wrong at > 70 %``, or no number where runs have different thresholds."""
    thresholds = {run["threshold"] for run in comparison["runs"]}
    return (
        f"wrong at > {plain_percent(thresholds.pop())}" if len(thresholds) == 1 else "confident failures, own threshold"
    )


def describe_verdicts(comparison: Mapping[str, Any]) -> list[str]:
    """What the guard found, each verdict with its sentences, the gap that "overfitting" is, and the notes."""
    lines = [f"! {finding['sentence']}" for finding in comparison["guard"] if finding["alarm"]]
    several = len(comparison["variants"]) > 2
    for place, question in enumerate(comparison["questions"]):
        one = Speaker({"comparison": comparison}, ("comparison", "questions", place))
        lines += ["", headline(one) + (f" ({question['b']} against {question['a']})" if several else "")]
        lines += [f"  {sentence}" for sentence in describe_question(one)]
    gaps = [pair for pair in comparison["pairs"] if pair["train_test_gap_change"] is not None]
    for pair in gaps[:GAPS_SHOWN]:
        gap = pair["train_test_gap_change"]
        low, high = (signed(100 * bound, 2) for bound in gap["interval"])
        lines.append(
            f"  train-test gap of {pair['b']} against {pair['a']}, seed {pair['seed']}: "
            f"{signed(100 * gap['change'], 2)} points [{low}, {high}]; overfitting: {gap['overfitting']}"
        )
    if len(gaps) > GAPS_SHOWN:
        lines.append(f"  … and {len(gaps) - GAPS_SHOWN} more pairs in comparison.json")
    return lines + [f"note: {note}" for note in comparison["notes"]]
