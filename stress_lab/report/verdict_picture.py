"""The verdict as a picture: a difference with its interval against the margin, drawn as SVG when the page is made.

All pictures of one comparison share one axis: percentage points of all test images, better is right.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

WIDTH, PAD = 420, 10  # units of the drawing
ROW, STRIP, AXIS = 34, 52, 40  # heights: one run each, several runs, the axis
STEPS = (1, 2, 5)


def draw_row(question: Mapping[str, Any], values: tuple[Sequence[float], Sequence[float]], reach: float) -> Markup:
    """One question: margin, zero, interval; with several runs the differences between single runs above it.

    Args:
        question: an entry of ``questions``.
        values: of its measure, one a run of A and of B.
        reach: the improvement at the right end, a fraction of the images.
    """
    within, between = list_differences(question, values)
    height = STRIP if within else ROW
    middle = height - ROW / 2
    low, high = sorted(_sign(question) * bound for bound in question["interval"])
    mean = _sign(question) * question["difference"]
    tone = {"helped": "good", "hurt": "bad"}.get(question["verdict"], "open")
    parts = [
        _rect(-question["margin"], question["margin"], height, reach),
        _line(0, 0, height, "zero", reach),
        *(_dot(one, 7, 2.6, "same", reach) for one in within),
        *(_dot(one, 18, 2.6, "other", reach) for one in between),
        _bar(low, high, middle, tone, reach),
        _dot(mean, middle, 6, tone, reach),
    ]
    return _svg(parts, height, _describe(question, len(within), len(between)))


def list_differences(
    question: Mapping[str, Any], values: tuple[Sequence[float], Sequence[float]]
) -> tuple[list[float], list[float]]:
    """Improvements between two runs of one variant, in launch order, and from a run of A to a run of B."""
    sign = _sign(question)
    within = [sign * (b - a) for side in values for a, b in itertools.combinations(side, 2)]
    return within, [sign * (b - a) for a, b in itertools.product(*values)] if within else []


def find_reach(questions: Iterable[tuple[Mapping[str, Any], tuple[Sequence[float], Sequence[float]]]]) -> float:
    """The end of the axis: the largest interval, margin or difference of single runs, and a little more."""
    every = [1e-6]
    for question, values in questions:
        within, between = list_differences(question, values)
        every += [question["margin"], *question["interval"], *within, *between]
    return 1.06 * max(map(abs, every))


def draw_axis(reach: float) -> Markup:
    """Ticks in points, and which end is better."""
    step = _step(100 * reach)
    ticks = [n * step for n in range(-math.floor(100 * reach / step), math.floor(100 * reach / step) + 1)]
    parts = [Markup('<line class="zero" x1="{}" x2="{}" y1="1" y2="1"/>').format(PAD, WIDTH - PAD)]
    for tick in ticks:
        text = f"{tick:+g}".replace("-", "−") if tick else "0"
        place = _x(tick / 100, reach)
        parts.append(Markup('<line class="zero" x1="{0:.1f}" x2="{0:.1f}" y1="1" y2="5"/>').format(place))
        parts.append(Markup('<text x="{:.1f}" y="18" text-anchor="middle">{}</text>').format(place, text))
    parts.append(
        Markup('<text x="0" y="34">← worse</text><text x="{}" y="34" text-anchor="end">better →</text>').format(WIDTH)
    )
    parts.append(Markup('<text x="{}" y="34" text-anchor="middle">points of all test images</text>').format(WIDTH / 2))
    return _svg(parts, AXIS, "")


def draw_measure(measure: Mapping[str, Any]) -> Markup:
    """One measure on its own scale: zero, the control in grey, the improvement with its interval."""
    low, high = measure["improvement_interval"]
    control = measure["control"]["of_means"] if measure["control"] else 0.0
    reach = 1.06 * max(abs(low), abs(high), control, 1e-9)
    tone = "good" if low > 0 else "bad" if high < 0 else "open"
    parts = [
        _rect(-control, control, 20, reach) if control else Markup(),
        _line(0, 0, 20, "zero", reach),
        _bar(low, high, 10, tone, reach),
        _dot(measure["improvement"], 10, 5, tone, reach),
    ]
    return _svg(parts, 20, "")


def _describe(question: Mapping[str, Any], within: int, between: int) -> str:
    """What a screen reader says of a picture; the numbers stand beside it."""
    seeds = f"; {within} differences between runs of one variant, {between} between the two" if within else ""
    return f"the difference with its interval, against the margin{seeds}"


def _sign(question: Mapping[str, Any]) -> int:
    """Turns a difference into an improvement."""
    return 1 if question["better"] == "higher" else -1


def _step(reach: float) -> float:
    """Distance of ticks: 1, 2 or 5 times a power of ten, at most four on each side."""
    power = 10 ** math.floor(math.log10(reach / 4))
    return float(next((step * power for step in STEPS if step * power >= reach / 4), 10 * power))


def _x(value: float, reach: float) -> float:
    """The place of an improvement."""
    return WIDTH / 2 + max(-1.0, min(1.0, value / reach)) * (WIDTH / 2 - PAD)


def _dot(value: float, y: float, radius: float, tone: str, reach: float) -> Markup:
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:g}" r="{:g}"/>').format(tone, _x(value, reach), y, radius)


def _bar(low: float, high: float, y: float, tone: str, reach: float) -> Markup:
    left, right = _x(low, reach), _x(high, reach)
    text = '<path class="{}" d="M{:.1f} {y:g}H{:.1f}M{:.1f} {top:g}v12M{:.1f} {top:g}v12"/>'
    return Markup(text).format(tone, left, right, left, right, y=y, top=y - 6)


def _line(value: float, top: float, bottom: float, tone: str, reach: float) -> Markup:
    return Markup('<line class="{}" x1="{x:.1f}" x2="{x:.1f}" y1="{:g}" y2="{:g}"/>').format(
        tone, top, bottom, x=_x(value, reach)
    )


def _rect(low: float, high: float, height: float, reach: float) -> Markup:
    left, right = _x(low, reach), _x(high, reach)
    return Markup('<rect class="margin" x="{:.1f}" width="{:.1f}" y="0" height="{:g}"/>').format(
        left, right - left, height
    )


def _svg(parts: Iterable[Markup], height: float, words: str) -> Markup:
    """A drawing that is as wide as its place; without words screen readers skip it."""
    named = Markup('role="img" aria-label="{}"').format(words) if words else Markup('aria-hidden="true"')
    return Markup('<svg class="plotted" viewBox="0 0 {} {:g}" {}>{}</svg>').format(
        WIDTH, height, named, Markup().join(parts)
    )
