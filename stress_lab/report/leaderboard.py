"""Many variants in words and places: the leaderboard of the page and of the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from stress_lab.report.numbers import KINDS, Speaker
from stress_lab.stats.pairwise import lay_lanes

WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
BEST = {"accuracy": "is the most accurate of {count}"}
FEWEST = "makes the fewest confident mistakes of {count}"
NOT_DRAWN = ("seeds-accuracy", "seeds-failures", "agreement")  # charts that the leaderboard stands for


def spell(number: int) -> str:
    """A whole number in words up to ninety-nine, in digits above.

    >>> spell(7), spell(30), spell(42), spell(435)
    ('seven', 'thirty', 'forty-two', '435')
    """
    if number < len(WORDS):
        return WORDS[number]
    if number > 99:
        return f"{number:,}"
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (f"-{WORDS[ones]}" if ones else "")


def headline(board: Mapping[str, Any]) -> str:
    """The finding: ``The first seven of thirty can't be told apart``.

    Args:
        board: ``leaderboard`` of ``comparison.json``.
    """
    count, (_, last) = len(board["standings"]), board["ties"][0]
    if board["apart"] == 0:
        return f"None of the {spell(count)} can be told apart"
    if last > 0:
        return f"The first {spell(last + 1)} of {spell(count)} can't be told apart"
    return f"{board['standings'][0]['variant']} {BEST.get(board['measure'], FEWEST).format(count=spell(count))}"


def describe_board(one: Speaker) -> list[str]:
    """The sentences below the headline: who leads, how many pairs tie by which test, and what limits that.

    Args:
        one: at ``leaderboard``.
    """
    return [_describe_leader(one), _describe_pairs(one), *_describe_reach(one), _describe_limit(one)]


def _describe_leader(one: Speaker) -> str:
    """The first and the last of its group, with their rates."""
    first, at = one.within("standings", 0), one.value("ties")[0][1] or 1
    last = one.within("standings", at)
    template = (
        "{first} leads with {value} ({level} interval {low} to {high}); {last}, number {place}, has {other}. "
        "The best of many scores is partly luck: expect the leader a little worse on new images."
    )
    return one.fill(
        template,
        first=first.text("variant"),
        value=first.number("percent", "value"),
        level=f"{100 * one.value('level'):g} %",
        low=first.number("bare", "interval", 0),
        high=first.number("bare", "interval", 1),
        last=last.text("variant"),
        place=str(at + 1),
        other=last.number("percent", "value"),
    )


def _describe_pairs(one: Speaker) -> str:
    """How many pairs are told apart, and by what."""
    template = (
        "{apart} of {pairs} pairs are told apart, {tied} are not ({test} for each pair, Holm's correction over all "
        "{pairs}; the same {n} test images)."
    )
    pairs = len(one.value("pairs"))
    return one.fill(
        template,
        apart=one.number("count", "apart"),
        pairs=f"{pairs:,}",
        tied=f"{pairs - one.value('apart'):,}",
        test=one.text("test"),
        n=one.number("count", "n"),
    )


def _describe_reach(one: Speaker) -> list[str]:
    """Where the runs are too few for any pair to be told apart."""
    least = one.value("smallest_adjusted_p")
    if least is None or least <= one.value("alpha"):
        return []
    template = (
        "So few runs can't tell any pair apart here: the smallest possible p is {least} after Holm. "
        "{seeds} runs of each variant could, and with fewer variants fewer runs."
    )
    return [
        one.fill(template, least=one.number("p", "smallest_adjusted_p"), seeds=one.number("count", "seeds_to_reach"))
    ]


def _describe_limit(one: Speaker) -> str:
    """What the ranking is about."""
    if one.value("unit") == "models":
        return (
            "One training run each: this ranks trained networks, not recipes. Another seed could reorder them; "
            "compare several runs of each (seed=1,2,3,4,5, or several files for each name)."
        )
    return "Intervals and tests are over the runs of each variant, so they speak about the recipes."


def list_standings(board: Mapping[str, Any]) -> list[str]:
    """A line for each variant: its place, its value with the interval, and the letters of its tie groups."""
    return [
        f"{place}. {one['variant']}: {KINDS['percent'](one['value'])} ({KINDS['percent'](one['interval'][0])} to "
        f"{KINDS['percent'](one['interval'][1])}), ties {one['letters']}"
        for place, one in enumerate(board["standings"], start=1)
    ]


def narrow_record(comparison: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record with only the variants shown image by image, in their order; unchanged where all are."""
    shown = comparison.get("shown") or []
    if not shown:
        return comparison
    variants = {one["variant"]: one for one in comparison["variants"]}
    runs = [run for name in shown for run in comparison["runs"] if run["variant"] == name]
    return {
        **comparison,
        "variants": [variants[name] for name in shown],
        "runs": runs,
        "comparisons": [],
        "agreement": [one for one in comparison["agreement"] if {one["a"], one["b"]} <= {run["name"] for run in runs}],
    }


def place_board(comparison: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the template needs beside the record, such as places on the axis and lanes of the bars; None without one."""
    board = comparison.get("leaderboard")
    if board is None:
        return None
    low, high = (pick(one["interval"][end] for one in board["standings"]) for end, pick in ((0, min), (1, max)))
    span = (high - low) or 1.0
    variants = [one["variant"] for one in comparison["variants"]]
    lanes = lay_lanes([tie for tie in board["ties"] if tie[1] > tie[0]])
    return {
        "headline": headline(board),
        "strips": [
            [100 * (value - low) / span for value in (one["interval"][0], one["value"], one["interval"][1])]
            for one in board["standings"]
        ],
        "axis": (low, high),
        "lanes": lanes,
        "width": 1 + max((lane for lane, _, _ in lanes), default=-1),
        "cells": {(pair["a"], pair["b"]): at for at, pair in enumerate(board["pairs"])},
        "largest": max((pair["lead"] for pair in board["pairs"]), default=0) or 1.0,
        "at": [variants.index(one["variant"]) for one in board["standings"]],
        "alike": find_extremes(board),
        "data": _list_for_script(board, comparison.get("shown") or []),
    }


def find_extremes(board: Mapping[str, Any]) -> tuple[int, int] | None:
    """Positions of the pairs with the largest and the smallest κ; None where fewer than two are known."""
    known = [at for at, pair in enumerate(board["pairs"]) if pair["error_consistency"] is not None]
    if len(known) < 2:
        return None
    ranked = sorted(known, key=lambda at: board["pairs"][at]["error_consistency"])
    return ranked[-1], ranked[0]


def _list_for_script(board: Mapping[str, Any], shown: Sequence[str]) -> Markup:
    """What the page says about a pair when its cell is chosen."""
    kept = ("a", "b", "lead", "interval", "only_a", "only_b", "p", "p_adjusted", "apart", "error_consistency")
    names = [one["variant"] for one in board["standings"]]
    record = {
        "names": names,
        "shown": [name in shown for name in names],
        "right": board["better"] == "higher",
        "level": f"{100 * board['level']:g} %",
        "test": board["test"],
        "pairs": [[_short(pair[name]) for name in kept] for pair in board["pairs"]],
    }
    return Markup(json.dumps(record, separators=(",", ":")).replace("<", "\\u003c"))


def _short(value: Any) -> Any:
    """Fewer digits than the record has, more than are shown."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return [_short(one) for one in value] if isinstance(value, (list, tuple)) else value
