"""What the page's charts share: colours that follow the reader's setting, dashes, labels, size.

Colours are the page's own (``var(--…)``), so that they follow the reader's dark or light setting and print.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from stress_lab.figures.style import short

INK, QUIET = "currentColor", "var(--quiet)"
HUES = tuple(f"var(--variant-{number})" for number in range(6))
Rows = list[dict[str, Any]]


def make_chart(rows: Rows) -> alt.Chart:
    """A chart of rows, as wide as its container on the page."""
    return alt.Chart(alt.InlineData(values=rows))


def finish_chart(chart: Any, height: int, description: str) -> dict[str, Any]:
    """Size, a sentence for screen readers, and a quiet look."""
    done = (
        chart.properties(width="container", height=height, description=description, background="transparent")
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
        .configure_legend(labelColor=INK, titleColor=INK, orient="top", labelFontSize=12, labelLimit=260)
    )
    return done.to_dict()  # type: ignore[no-any-return]


DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])  # for lines, where hues repeat


def dash_variants(variants: Sequence[str]) -> dict[str, Any]:
    """A different dash each time the hues repeat; nothing if they suffice."""
    if len(variants) <= len(HUES):
        return {}
    dashes = [DASHES[place // len(HUES) % len(DASHES)] for place in range(len(variants))]
    return {"strokeDash": alt.StrokeDash("variant:N", scale=alt.Scale(domain=list(variants), range=dashes), title=None)}


def shorten_names(names: Sequence[str]) -> dict[str, str]:
    """Names that fit beside an axis, keeping their ends, which distinguish runs."""
    brief = {name: short(name, 30) for name in names}
    return brief if len(set(brief.values())) == len(brief) else {name: name for name in names}


def colour_variants(variants: Sequence[str], legend: bool = True) -> alt.Color:
    """The variants' hues, which mean nothing else on the page."""
    hues = [HUES[place % len(HUES)] for place in range(len(variants))]
    return alt.Color(
        "variant:N",
        scale=alt.Scale(domain=list(variants), range=hues),
        legend=alt.Legend(title=None, symbolOpacity=1, symbolStrokeWidth=3, columns=2 if len(variants) > 3 else 0)
        if legend and len(variants) > 1
        else None,
    )
