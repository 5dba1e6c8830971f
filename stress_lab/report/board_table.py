"""Many variants, or crossed choices, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from stress_lab.comparison.codec import to_record
from stress_lab.comparison.evidence import Question
from stress_lab.comparison.many import Leaderboard, Standing
from stress_lab.comparison.result import Comparison
from stress_lab.figures.style import plain_percent
from stress_lab.plain_text import printable
from stress_lab.report.factors import describe_factors
from stress_lab.report.leaderboard import describe_board, headline
from stress_lab.report.numbers import KINDS, Speaker, p_value


def make_board_table(comparison: Comparison, board: Leaderboard) -> Table:
    """One row per variant, the best first: its value with the interval, its ranks, the letters of its ties."""
    title = f"{comparison.title}: {len(board.standings)} variants, {board.n:,} test images"
    table = Table(box=box.SIMPLE_HEAD, title=Text(printable(title)), title_justify="left")
    table.add_column("", justify="right")
    table.add_column("variant")
    for heading in (f"{board.title.lower()} [%]", f"{plain_percent(board.level)} interval", "ranks"):
        table.add_column(heading, justify="right")
    table.add_column("ties")
    table.add_column("confident failures", justify="right")
    for place, one in enumerate(board.standings, start=1):
        table.add_row(str(place), Text(printable(one.variant)), *_describe_standing(one))
    return table


def _describe_standing(one: Standing) -> Iterator[str]:
    """The cells of a variant after its name."""
    low, high = one.interval
    yield f"{100 * one.value:.2f}"
    yield f"{100 * low:.2f} – {100 * high:.2f}"
    yield str(one.rank_low) if one.rank_low == one.rank_high else f"{one.rank_low}–{one.rank_high}"
    yield one.letters
    yield "–" if one.failures is None else KINDS["count"](one.failures)


def describe_standings(comparison: Comparison) -> list[str]:
    """The finding and its sentences; then each variant against the reference, where one was named."""
    record = to_record(comparison)
    one = Speaker({"comparison": record}, ("comparison", "leaderboard"))
    lines = ["", headline(record["leaderboard"]), *(f"  {sentence}" for sentence in describe_board(one))]
    if comparison.reference is not None:
        lines += ["", f"Each against {comparison.reference}, with Holm's correction over these questions:"]
        lines += [_describe_question(question) for question in comparison.questions]
    return lines


def _describe_question(one: Question) -> str:
    """One line for one variant and question."""
    low, high = (KINDS["points"](bound) for bound in one.evidence.interval)
    name, change = one.question.replace("_", " "), KINDS["points"](one.evidence.difference)
    return f"  {one.b}, {name}: {one.verdict}, {change} points [{low}, {high}], p {p_value(one.p_adjusted)}"


def describe_crossing(comparison: Comparison) -> list[str]:
    """The effects of crossed choices; nothing where the variants are not crossed."""
    factors = to_record(comparison)["factors"] if comparison.factors is not None else None
    return ["", *describe_factors(factors)] if factors is not None else []
