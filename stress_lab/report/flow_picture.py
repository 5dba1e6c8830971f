"""Where the images went, drawn as SVG when the page is made: right, wrong and unsure, wrong and sure; before and after.

Ribbons are to scale among each other, except the images that stay right: they would leave no room for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stress_lab.report.numbers import count

WIDTH, HEIGHT = 440, 196
LEFT, RIGHT, BAR = 124, 302, 9  # where the bars stand, and their width
TOP, GAP = 24, 12  # space above, and between the states
STAY = 26  # height of the images that stay right


@dataclass(frozen=True)
class _Ribbon:
    """A move, with the top of both its ends and its height."""

    before: int
    after: int
    left: float
    right: float
    height: float


def draw_flow(flow: Mapping[str, Any], a: str, b: str) -> Markup:
    """The moves of an entry ``flow`` of the record, with the total of each state on both sides."""
    counts, states = flow["counts"], flow["states"]
    scale = _scale(counts)
    tall = [[_height(counts[i][j], i, j, scale) for j in range(len(states))] for i in range(len(states))]
    before, after = [sum(row) for row in tall], [sum(column) for column in zip(*tall, strict=True)]
    parts = [_head(a, LEFT + BAR, "end"), _head(b, RIGHT, "start")]
    parts += [_draw_ribbon(one) for one in _place(tall, before, after)]
    totals = [sum(row) for row in counts], [sum(column) for column in zip(*counts, strict=True)]
    for number, state in enumerate(states):
        parts.append(_draw_state(state, totals[0][number], _top(before, number), before[number], left=True))
        parts.append(_draw_state(state, totals[1][number], _top(after, number), after[number], left=False))
    words = f"where the images went from {a} to {b}; the table beside it has the counts"
    return Markup('<svg class="flow" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, words, Markup().join(parts)
    )


def _scale(counts: Sequence[Sequence[float]]) -> float:
    """Units of height an image, such that the taller side fits."""
    room = HEIGHT - TOP - STAY - GAP * (len(counts) - 1) - 4
    moved = sum(map(sum, counts)) - counts[0][0]
    return room / moved if moved else 0.0


def _height(images: float, before: int, after: int, scale: float) -> float:
    """Height of a ribbon."""
    return float(STAY) if before == after == 0 else images * scale


def _top(tall: Sequence[float], number: int) -> float:
    """Where a state begins."""
    return TOP + sum(tall[:number]) + GAP * number


def _place(tall: Sequence[Sequence[float]], before: Sequence[float], after: Sequence[float]) -> list[_Ribbon]:
    """Ribbons in the order of their ends, so that they cross as little as possible."""
    states = range(len(tall))
    return [
        _Ribbon(
            i,
            j,
            _top(before, i) + sum(tall[i][:j]),
            _top(after, j) + sum(tall[other][j] for other in range(i)),
            tall[i][j],
        )
        for i in states
        for j in states
        if tall[i][j] > 0
    ]


def _draw_ribbon(one: _Ribbon) -> Markup:
    """A ribbon; what got worse and what got better differ in colour."""
    tone = "stay" if one.before == one.after else "worse" if one.after > one.before else "improved"
    start, end, bend = LEFT + BAR, RIGHT, (LEFT + BAR + RIGHT) / 2
    path = (
        f"M{start} {one.left:.1f}C{bend} {one.left:.1f} {bend} {one.right:.1f} {end} {one.right:.1f}"
        f"v{one.height:.1f}C{bend} {one.right + one.height:.1f} {bend} {one.left + one.height:.1f} "
        f"{start} {one.left + one.height:.1f}z"
    )
    return Markup('<path class="{}" d="{}"/>').format(tone, path)


def _draw_state(state: str, images: float, top: float, height: float, left: bool) -> Markup:
    """The bar of a state, its name and its total."""
    x, anchor = (LEFT - 8, "end") if left else (RIGHT + BAR + 8, "start")
    return Markup(
        '<rect class="state" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>'
        '<text x="{}" y="{:.1f}" text-anchor="{}">{} <tspan class="total">{}</tspan></text>'
    ).format(
        LEFT if left else RIGHT,
        top,
        BAR,
        max(height, 0.8),
        x,
        top + max(height / 2, 5) + 4,
        anchor,
        state,
        count(images),
    )


def _head(name: str, x: float, anchor: str) -> Markup:
    """A variant's name above its side."""
    brief = name if len(name) <= 26 else f"{name[:25]}…"
    return Markup('<text class="side" x="{}" y="12" text-anchor="{}">{}</text>').format(x, anchor, brief)
