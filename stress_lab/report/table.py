"""The comparison as a short table and sentences for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from stress_lab.comparison.codec import to_record
from stress_lab.comparison.result import Comparison, PatternFindings
from stress_lab.figures.style import percent, plain_percent, short
from stress_lab.plain_text import printable
from stress_lab.records import RunInfo
from stress_lab.report.advice import advise
from stress_lab.report.board_table import describe_crossing, describe_standings, make_board_table
from stress_lab.report.label_words import summarize_labels
from stress_lab.report.numbers import Speaker, signed
from stress_lab.report.one_model import describe_alone
from stress_lab.report.words import describe_question, headline, list_caveats
from stress_lab.slices.patterns import Asked

COMMAND = "    "  # before what to type, which is printed as one line
STYLES = {"helped": "bold green", "hurt": "bold red"}
GAPS_SHOWN = 3  # pairs of runs whose change of the gap is printed


def make_table(comparison: Comparison) -> Table:
    """One row per run: accuracy with its interval, errors, confident failures; last, always giving one answer.

    Of many variants one row each: their leaderboard.
    """
    if comparison.leaderboard is not None:
        return make_board_table(comparison, comparison.leaderboard)
    n = comparison.runs[0].n
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(printable(f"{comparison.title}: {n:,} test images{_describe_weights(comparison)}")),
        title_justify="left",
    )
    table.add_column("run")
    for heading in (
        "accuracy",
        f"{plain_percent(comparison.level)} interval (Wilson)",
        "errors",
        _failure_heading(comparison),
    ):
        table.add_column(heading, justify="right")
    for run in comparison.runs:
        low, high = run.accuracy_interval
        table.add_row(
            Text(printable(run.name)),
            percent(run.accuracy, 2),
            f"{100 * low:.2f} – {100 * high:.2f}",
            str(run.errors),
            "–" if run.failures is None else str(run.failures),
        )
    data = comparison.data
    if data.majority_rate is not None and data.majority_class is not None:  # missing in older records
        errors = round(n * (1 - data.majority_rate))
        always = Text(printable(f"always {short(data.majority_class)}"))
        table.add_row(always, percent(data.majority_rate, 2), "", str(errors))
    return table


def _describe_weights(comparison: Comparison) -> str:
    """Which weights were used, where that is known."""
    return "" if comparison.weights == "unknown" else f", weights: {comparison.weights}"


def make_failure_table(runs: Mapping[str, RunInfo]) -> Table:
    """One row per unfinished run: how far it got, and why it ended."""
    table = Table(
        box=box.SIMPLE_HEAD, title=Text(f"{len(runs)} of the sweep's runs did not finish"), title_justify="left"
    )
    for heading in ("run", "ended after", "why"):
        table.add_column(heading)
    for name, info in runs.items():
        why = Text(printable(describe_reason(info), keep="\n"))
        table.add_row(Text(printable(name)), f"{info.seconds:.0f} s" if info.seconds else "–", why)
    return table


def describe_reason(info: RunInfo) -> str:
    """Why a run did not finish; one that gave no reason was killed."""
    return info.error if info.state == "failed" else "interrupted: its process was killed"


def _failure_heading(comparison: Comparison) -> str:
    """``wrong at > 70 %``, or no number where runs have different thresholds."""
    thresholds = {run.threshold for run in comparison.runs}
    return (
        f"wrong at > {plain_percent(thresholds.pop())}" if len(thresholds) == 1 else "confident failures, own threshold"
    )


def style_verdicts(comparison: Comparison) -> dict[str, str]:
    """How a terminal shows some of these lines: headlines by their verdict, alarms in yellow."""
    record = to_record(comparison)
    speakers = (
        Speaker({"comparison": record}, ("comparison", "questions", n)) for n in range(len(record["questions"]))
    )
    alarms = {f"! {finding.sentence}": "yellow" for finding in comparison.alarms}
    return alarms | {headline(one): STYLES.get(one.value("verdict"), "bold") for one in speakers}


def _list_advice(record: Mapping[str, Any]) -> list[str]:
    """What to do next, once for all variants that need the same."""
    questions = record["questions"]
    others = [compared["b"] for compared in record["comparisons"]]
    found = [advise(record, [one for one in questions if one["b"] == other]) for other in others]
    lines = [[one.sentence, *([f"{COMMAND}{one.command}"] if one.command else [])] for one in dict.fromkeys(found)]
    return [line for one in lines for line in one]


def describe_asked(patterns: PatternFindings) -> list[str]:
    """The properties tested and not confirmed as a pattern, with both rates; older records lack them."""
    missed = [one for one in patterns.asked if one.outcome != "confirmed" and not one.key.startswith("true:")]
    known = [one for one in missed if one.rate is not None]
    if known and not any(one.rate or one.rate_outside for one in known):
        return []  # nothing fails
    parts = [_describe_asked(one) for one in missed]
    if not parts:
        return []
    about = f"{patterns.variant}'s failures ({patterns.event})"
    heading = f"Checked in {about} and not found as a pattern; rate inside with its 95 % interval, and outside:"
    return ["", heading, f"  {'; '.join(parts)}"]


def _describe_asked(one: Asked) -> str:
    """The name and rates of one property."""
    name = one.words.partition(" (")[0]
    if one.rate is None:
        return f"{name}: not tested" if one.n is None else f"{name}: no image"
    low, high = (f"{100 * bound:.1f}" for bound in one.interval or ())
    outside = "" if one.rate_outside is None else f", {100 * one.rate_outside:.1f} %"
    return f"{name} {100 * one.rate:.1f} % [{low}, {high}]{outside}"


def _describe_questions(record: Mapping[str, Any]) -> list[str]:
    """Each verdict with its sentences, then the caveat."""
    lines: list[str] = []
    for place in range(len(record["questions"])):
        one = Speaker({"comparison": record}, ("comparison", "questions", place))
        lines += ["", headline(one), *(f"  {sentence}" for sentence in describe_question(one))]
    return [*lines, "", *list_caveats(record["questions"])]


def describe_verdicts(comparison: Comparison) -> list[str]:
    """The alarms, each verdict with its sentences, the caveat, the train-test gap, the notes, and what to do next."""
    lines = [f"! {finding.sentence}" for finding in comparison.alarms]
    record = to_record(comparison)
    if comparison.one_model is not None:
        lines += ["", *describe_alone(comparison)]
    elif comparison.leaderboard is not None:
        lines += describe_standings(comparison)
    else:
        lines += _describe_questions(record)
    lines += describe_crossing(comparison)
    gaps = [(pair, pair.train_test_gap_change) for pair in comparison.pairs if pair.train_test_gap_change is not None]
    for pair, gap in gaps[:GAPS_SHOWN]:
        low, high = (signed(100 * bound, 2) for bound in gap.interval)
        lines.append(
            f"  train-test gap of {pair.b} against {pair.a}, seed {pair.seed}: "
            f"{signed(100 * gap.change, 2)} points [{low}, {high}]; overfitting: {gap.overfitting}"
        )
    if len(gaps) > GAPS_SHOWN:
        lines.append(f"  … and {len(gaps) - GAPS_SHOWN} more pairs in comparison.json")
    if not any(question.evidence.more.moot for question in comparison.questions):
        lines += describe_asked(comparison.patterns)
    if comparison.labels is not None and (comparison.labels.suspects or comparison.labels.checked):
        lines += ["", " ".join(summarize_labels(Speaker({"comparison": record}, ("comparison", "labels"))))]
    lines += [f"note: {note}" for note in comparison.notes]
    is_pair = record["comparisons"] and comparison.leaderboard is None
    return [*lines, "", *_list_advice(record)] if is_pair else lines
