"""Within one pattern: whether a fix helped there, and example images."""

from __future__ import annotations

from typing import Any

import numpy as np

from stress_lab.errors import DataError
from stress_lab.records import BoolArray, FloatArray
from stress_lab.stats.paired import TANGO, mcnemar_mid_p, tabulate, tango_interval


def compare_inside(member: BoolArray, event_a: BoolArray, event_b: BoolArray, half: BoolArray) -> dict[str, Any]:
    """Whether the fix helped here: the same images of a pattern under model A and model B.

    A pattern picked for failing often under A looks better under B by selection alone. Pass the images that
    selection did not see, ``~discovery``, and do so for all tested patterns: those marked confirmed were picked by A's
    failures on these very images, so some of their gain is chance; ``benchmarks/simulate_patterns.py`` measures it.

    Args:
        member: (N,) inside the pattern. ``half``: (N,) the images to use.
        event_a, event_b: (N,) the event under each model; for a pair as ``event_inside`` returns it.

    Returns:
        ``n``, ``events_a``, ``events_b``, ``rate_a``, ``rate_b``, ``only_a`` and ``only_b`` (images on which they
        differ), ``difference`` B minus A with ``low`` and ``high`` (95 %; ``method``: Tango 1998), ``p`` (McNemar's
        mid-p).

    Raises:
        DataError: the half has no image of the pattern.
    """
    use = member & half
    if not use.any():
        raise DataError("the half to compare on has no image of this pattern: pass the confirmation half")
    table = tabulate(event_a[use], event_b[use])
    low, high = tango_interval(table, 0.95)
    events_a, events_b = table.both + table.only_a, table.both + table.only_b
    return {
        "n": table.n,
        "events_a": events_a,
        "events_b": events_b,
        "rate_a": events_a / table.n,
        "rate_b": events_b / table.n,
        "only_a": table.only_a,
        "only_b": table.only_b,
        "difference": table.difference,
        "low": low,
        "high": high,
        "method": TANGO,
        "p": mcnemar_mid_p(table),
    }


def example_rows(member: BoolArray, event: BoolArray, confidence: FloatArray, count: int = 4) -> list[int]:
    """Rows of the most confident events inside, at most ``count``; ties by row."""
    rows = np.flatnonzero(member & event)
    return [int(row) for row in rows[np.argsort(-confidence[rows], kind="stable")][:count]]
