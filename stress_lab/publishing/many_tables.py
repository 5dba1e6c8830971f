"""The leaderboard, every pair of it and the effects of crossed choices, as tables for spreadsheets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from stress_lab.comparison.many import Effect
from stress_lab.comparison.result import Comparison

MANY_TABLES = ("leaderboard.csv", "pairs.csv", "effects.csv")
Row = dict[str, Any]

STANDING_COLUMNS = (
    *("place", "variant", "runs", "measure", "value", "low", "high", "level", "method"),
    *("rank_low", "rank_high", "ties", "confident_failures"),
)
PAIR_COLUMNS = (
    *("a", "b", "measure", "n", "lead", "low", "high", "level", "method", "only_a", "only_b"),
    *("test", "p", "p_adjusted", "apart", "error_consistency"),
)


def list_many(comparison: Comparison) -> Iterator[tuple[str, list[Row], tuple[str, ...]]]:
    """Name, rows and columns of each table that the comparison has."""
    if comparison.leaderboard is not None:
        yield MANY_TABLES[0], list_standings(comparison), STANDING_COLUMNS
        yield MANY_TABLES[1], list_pairs(comparison), PAIR_COLUMNS
    if comparison.factors is not None:
        rows = [{**_flatten(one), "level_of_interval": comparison.level} for one in comparison.factors.effects]
        yield MANY_TABLES[2], rows, tuple(rows[0])


def list_standings(comparison: Comparison) -> list[Row]:
    """A row for each variant, the best first."""
    board = comparison.leaderboard
    if board is None:
        return []
    return [
        {
            "place": place,
            "variant": one.variant,
            "runs": one.k,
            "measure": board.measure,
            "value": one.value,
            "low": one.interval[0],
            "high": one.interval[1],
            "level": board.level,
            "method": one.interval_method,
            "rank_low": one.rank_low,
            "rank_high": one.rank_high,
            "ties": one.letters,
            "confident_failures": one.failures,
        }
        for place, one in enumerate(board.standings, start=1)
    ]


def list_pairs(comparison: Comparison) -> list[Row]:
    """A row for each pair, the better placed variant first."""
    board = comparison.leaderboard
    if board is None:
        return []
    shared = {"measure": board.measure, "n": board.n, "level": board.level}
    return [
        {
            **shared,
            "a": board.standings[one.a].variant,
            "b": board.standings[one.b].variant,
            "low": one.interval[0],
            "high": one.interval[1],
            "method": board.interval_method,
            "test": board.test,
            **{name: getattr(one, name) for name in ("lead", "only_a", "only_b", "p", "p_adjusted", "apart")},
            "error_consistency": one.error_consistency,
        }
        for one in board.pairs
    ]


def _flatten(one: Effect) -> Row:
    """An effect with the ends of its interval apart."""
    row = dataclasses.asdict(one)
    low, high = row.pop("interval")
    return {**row, "low": low, "high": high}
