"""Who makes the same mistakes: a matrix of κ, like variants side by side, and the tree that orders them, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from stress_lab.figures.style import short

CELL, NAMES, TREE, TOP = 18, 190, 90, 4  # pixels
TITLED = 45  # variants up to which each cell has a tip


def draw_likeness(board: Mapping[str, Any]) -> Markup:
    """The matrix with its tree; the stronger the colour, the more alike, from the least to the most alike pair."""
    order, count = board["likeness_order"], len(board["standings"])
    if len(order) < 2:
        return Markup("")
    names = [board["standings"][place]["variant"] for place in order]
    kappa = {}
    for pair in board["pairs"]:
        kappa[pair["a"], pair["b"]] = kappa[pair["b"], pair["a"]] = pair["error_consistency"]
    known = [value for value in kappa.values() if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    parts = [_name(row, name) for row, name in enumerate(names)]
    for row, a in enumerate(order):
        for column, b in enumerate(order):
            if a != b and kappa[a, b] is not None:
                strength = 0.08 + 0.92 * (kappa[a, b] - low) / ((high - low) or 1.0)
                parts.append(_cell(row, column, strength, f"{names[row]}, {names[column]}: κ {kappa[a, b]:.2f}", count))
    parts += _draw_tree(board, count)
    width, height = NAMES + CELL * count + TREE, 2 * TOP + CELL * count
    words = f"Error consistency between {count} variants, like ones side by side, from κ {low:.2f} to {high:.2f}"
    return Markup(
        '<svg class="likeness" role="img" aria-label="{words}" viewBox="0 0 {width} {height}" width="{width}" '
        'height="{height}">{parts}</svg>'
    ).format(words=words, width=width, height=height, parts=Markup("").join(parts))


def _name(row: int, name: str) -> Markup:
    """The name beside a row."""
    return Markup('<text x="{}" y="{}">{}</text>').format(NAMES - 6, TOP + CELL * row + 13, short(name, 28))


def _cell(row: int, column: int, strength: float, tip: str, count: int) -> Markup:
    """One pair."""
    title = Markup("<title>{}</title>").format(tip) if count <= TITLED else ""
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" fill-opacity="{:.2f}">{}</rect>').format(
        NAMES + CELL * column, TOP + CELL * row, CELL - 1, CELL - 1, strength, title
    )


def _draw_tree(board: Mapping[str, Any], count: int) -> list[Markup]:
    """A bracket for each merge, the further right the less alike."""
    place = {leaf: TOP + CELL * (row + 0.5) for row, leaf in enumerate(board["likeness_order"])}
    depth = dict.fromkeys(place, 0.0)
    heights = [merge["error_consistency"] for merge in board["merges"]]
    span = (max(heights) - min(heights)) or 1.0
    left, found = NAMES + CELL * count + 4, []
    for number, merge in enumerate(board["merges"], start=count):
        a, b = merge["a"], merge["b"]
        reach = 8 + (TREE - 18) * (max(heights) - merge["error_consistency"]) / span
        corners = [(depth[a], place[a]), (reach, place[a]), (reach, place[b]), (depth[b], place[b])]
        path = " ".join(f"{left + x:.1f},{y:.1f}" for x, y in corners)
        found.append(Markup('<polyline points="{}"/>').format(path))
        place[number], depth[number] = (place[a] + place[b]) / 2, reach
    return found
