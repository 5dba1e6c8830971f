"""Crossed choices drawn: a line for each level of one over the levels of the other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from stress_lab.figures.style import short
from stress_lab.report.factors import NAMES

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 230, 46, 96, 14, 34  # pixels of the drawing
DASHES = ("none", "6 4", "2 3", "8 3 2 3")


def draw_crossing(factors: Mapping[str, Any], measure: str) -> Markup:
    """A line for each level of the second choice over the levels of the first; parallel lines: no interaction.

    Nothing where there are more than two choices, or more lines than dashes.
    """
    (first, levels), (second, lines), *more = factors["levels"].items()
    if more or len(lines) > len(DASHES):
        return Markup("")
    ends: list[float] = [bound for cell in factors["cells"] for bound in cell["intervals"][measure]]
    low, high = min(ends), max(ends)

    def across(at: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at + 0.5) / len(levels)

    def down(value: float) -> float:
        share: float = (high - value) / ((high - low) or 1.0)
        return TOP + (HEIGHT - TOP - BOTTOM) * share

    parts = [_text(across(at), HEIGHT - BOTTOM + 16, short(name, 18), "middle") for at, name in enumerate(levels)]
    parts += [_text(across(0) / 2 + across(len(levels) - 1) / 2, HEIGHT - 3, short(first, 30), "middle")]
    for value in (low, high):
        parts += [_line([(LEFT, down(value)), (WIDTH - RIGHT, down(value))], "axis")]
        parts += [_text(LEFT - 5, down(value) + 4, f"{100 * value:.2f}", "end")]
    heights = _spread([down(_find(factors, levels[-1], line)["values"][measure]) for line in lines])
    for number, line in enumerate(lines):
        cells = [_find(factors, level, line) for level in levels]
        shift = 5 * (number - (len(lines) - 1) / 2)  # so that intervals do not hide each other
        points = [(across(at) + shift, down(cell["values"][measure])) for at, cell in enumerate(cells)]
        parts += [_line(points, "", DASHES[number])]
        parts += [_bar(x, *map(down, cell["intervals"][measure])) for (x, _), cell in zip(points, cells, strict=True)]
        parts += [_dot(x, y) for x, y in points]
        parts += [_text(points[-1][0] + 9, heights[number] + 4, short(f"{second}={line}", 16), "start")]
    words = f"{NAMES[measure]} in percent over {first}, a line for each {second}"
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        words, WIDTH, HEIGHT, Markup("").join(parts)
    )


def _find(factors: Mapping[str, Any], first: str, second: str) -> Any:
    """The cell of two levels."""
    return next(cell for cell in factors["cells"] if list(cell["levels"].values()) == [first, second])


def _spread(heights: Sequence[float], least: float = 14.0) -> list[float]:
    """Heights of labels, moved down where they would overlap."""
    found = list(heights)
    order = sorted(range(len(found)), key=found.__getitem__)
    for above, below in itertools.pairwise(order):
        found[below] = max(found[below], found[above] + least)
    return found


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _line(points: Sequence[tuple[float, float]], name: str, dash: str = "none") -> Markup:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style = 'stroke="currentColor" stroke-width="1.6"' if not name else f'class="{name}"'
    return Markup('<polyline points="{}" fill="none" stroke-dasharray="{}" {}/>').format(path, dash, Markup(style))


def _bar(x: float, low: float, high: float) -> Markup:
    return Markup('<line x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}" stroke="currentColor"/>').format(
        x, low, high
    )


def _dot(x: float, y: float) -> Markup:
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3.6" fill="currentColor"/>').format(x, y)
