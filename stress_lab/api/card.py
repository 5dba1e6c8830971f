"""The verdicts as a small self-contained piece of HTML, for light and dark notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from stress_lab.api.verdict import Verdict
from stress_lab.plain_text import printable

MARKS = {  # a sign beside the colour, for colour-blind readers; Okabe and Ito's colours
    "helped": ("▲", "#0072B2"),
    "hurt": ("▼", "#D55E00"),
    "equivalent": ("=", "#009E73"),
    "cannot tell": ("?", "#7F7F7F"),
}
BOX = "border:1px solid #7F7F7F;border-radius:6px;padding:10px 14px;max-width:720px;line-height:1.4;color:inherit"
ROW = "margin:6px 0;border-left:5px solid {colour};padding-left:10px"
SMALL = "font-size:85%;opacity:.75"


def render_card(
    title: str, verdicts: Sequence[Verdict], alarms: Sequence[str], notes: Sequence[str], headlines: Sequence[str] = ()
) -> str:
    """HTML of a comparison: alarms, each finding with its numbers and its evidence, notes; one model has a headline."""
    rows = [f'<div style="margin:6px 0"><b>! {_text(one)}</b></div>' for one in alarms]
    rows += [_render(one) for one in verdicts]
    rows += [f'<div style="font-size:115%"><b>{_text(one)}</b></div>' for one in headlines]
    rows += [f'<div style="{SMALL}">{_text(one)}</div>' for one in notes]
    return f'<div style="{BOX}"><div style="{SMALL}">{_text(title)}</div>{"".join(rows)}</div>'


def _render(one: Verdict) -> str:
    """One verdict."""
    sign, colour = MARKS[one.verdict]
    return (
        f'<div style="{ROW.format(colour=colour)}">'
        f'<div style="font-size:115%"><b>{sign} {_text(one.headline)}</b></div>'
        f'<div>{_text(one.numbers)}</div><div style="{SMALL}">{_text(one.evidence)}</div></div>'
    )


def _text(words: str) -> str:
    """Text with markup escaped and hidden characters shown as escapes."""
    return escape(printable(words))
