"""What the page's charts share: colours that follow the reader's setting, labels, size.

Colours are the page's own (``var(--…)``), so that they follow the reader's dark or light setting and print.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from stress_lab.figures.style import short

INK, QUIET = "currentColor", "var(--quiet)"
HUES = tuple(f"var(--variant-{number})" for number in range(6))
SAYS = alt.Description("words:N")  # what a mark says when pointed at
PADDING = {"left": 22, "right": 12, "top": 4, "bottom": 4}  # a reader's font may be wider than the one measured
Rows = list[dict[str, Any]]


def make_chart(rows: Rows) -> alt.Chart:
    """A chart of rows."""
    return alt.Chart(alt.InlineData(values=rows))


def finish_chart(chart: Any, height: int, description: str) -> dict[str, Any]:
    """Size, a sentence for screen readers, and a quiet look."""
    done = (
        chart.properties(height=height, description=description, background="transparent", padding=PADDING)
        .configure(font="system-ui, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK,
            titleColor=INK,
            tickColor=QUIET,
            domainColor=QUIET,
            gridColor="var(--line)",
            titleFontWeight="normal",
            labelFontSize=12,
            titleFontSize=12,
        )
        .configure_axisX(tickCount=6)
        .configure_legend(labelColor=INK, titleColor=INK, orient="top", labelFontSize=12, labelLimit=260)
    )
    return done.to_dict()  # type: ignore[no-any-return]


def is_told_by_label(variants: Sequence[str]) -> bool:
    """Whether there are more variants than hues, so that each line carries its name instead."""
    return len(variants) > len(HUES)


def label_lines(rows: Rows, x: str, y: str, height: int, named: str = "variant") -> list[Any]:
    """Names at the lines' right ends, moved apart where they would overlap; nothing where hues suffice.

    Args:
        rows: of the lines; the last x of each is labelled. ``named``: the field that names a line.
        x, y: fields. ``height``: of the chart in pixels.
    """
    ends: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row[x]):
        ends[row[named]] = row
    if len(ends) <= len(HUES):
        return []
    values = [row[y] for row in rows]
    gap = 11 * (max(values) - min(values) or 1) / height
    placed, below = [], float("-inf")
    for row in sorted(ends.values(), key=lambda row: row[y]):
        below = max(row[y], below + gap)
        placed.append({"at": row[x], "height": below, "name": short(row[named], 22)})
    text = make_chart(placed).mark_text(align="left", dx=5, fontSize=10, color=INK, aria=False)
    return [text.encode(x="at:Q", y="height:Q", text="name:N")]


def shorten_names(names: Sequence[str]) -> dict[str, str]:
    """Names that fit beside an axis, keeping their ends, which distinguish runs."""
    brief = {name: short(name, 30) for name in names}
    return brief if len(set(brief.values())) == len(brief) else {name: name for name in names}


def colour_variants(variants: Sequence[str], legend: bool = True) -> Any:
    """The variants' hues, which mean nothing else on the page; ink alone where there are more variants than hues."""
    if is_told_by_label(variants):
        return alt.value(INK)
    return alt.Color(
        "variant:N",
        scale=alt.Scale(domain=list(variants), range=list(HUES[: len(variants)])),
        legend=alt.Legend(title=None, symbolOpacity=1, symbolStrokeWidth=3, columns=2 if len(variants) > 3 else 0)
        if legend and len(variants) > 1
        else None,
    )
