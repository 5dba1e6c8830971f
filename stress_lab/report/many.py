"""What the page of many variants, or of crossed choices, needs beside the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stress_lab.comparison.measures import MEASURES
from stress_lab.report.crossing import draw_crossing
from stress_lab.report.factors import describe_effect, headline, read_effect
from stress_lab.report.leaderboard import describe_board, place_board
from stress_lab.report.likeness import draw_likeness
from stress_lab.report.numbers import Speaker


def describe_many(comparison: Mapping[str, Any], speaker: Speaker) -> dict[str, Any]:
    """Names for the templates of the leaderboard and of crossed choices; None where there is no such thing."""
    board, factors = comparison.get("leaderboard"), comparison.get("factors")
    found: dict[str, Any] = {"board": place_board(comparison), "crossing": None}
    if board is not None:
        found |= {
            "board_lines": describe_board(speaker.within("comparison", "leaderboard")),
            "likeness": draw_likeness(board),
            "definitions": {name: (one.title, one.definition) for name, one in MEASURES.items()},
        }
    if factors is not None:
        found["crossing"] = {
            "headline": headline(factors),
            "drawn": {measure: draw_crossing(factors, measure) for measure in factors["measures"]},
            "describe": describe_effect,
            "read": read_effect,
        }
    return found
