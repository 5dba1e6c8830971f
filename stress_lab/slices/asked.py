"""The outcome of each set of images that the search tests, so that patterns not found are reported too."""

from __future__ import annotations

from stress_lab.slices.patterns import Asked, Counts
from stress_lab.slices.rules import MAX_SHARE, Slice
from stress_lab.stats.rates import WILSON, wilson_interval

MIN_IMAGES, MIN_EVENTS = 30, 5  # inside a candidate, on the discovery half
NOT_ASKED = f"not tested: no such part, since more than {MAX_SHARE:.0%} of the images share one value"


def explain_outcome(seen: Counts, row: int, confirmed: bool | None) -> str:
    """The outcome of a candidate.

    Args:
        seen: counts of the discovery half. ``row``: of the candidate.
        confirmed: whether the test on the other half confirmed it; None if it was not tested.
    """
    if confirmed is not None:
        return "confirmed" if confirmed else "tested and not confirmed"
    if seen.n[row] < MIN_IMAGES:
        return f"fewer than {MIN_IMAGES} images to search"
    if seen.events[row] < MIN_EVENTS:
        return f"fewer than {MIN_EVENTS} failures among the images searched"
    if seen.lower_bounds()[row] <= 0:
        return "no more failures than elsewhere among the images searched"
    return "not among the clearest patterns of the images searched"


def count_asked(one: Slice, counts: Counts, row: int, outcome: str) -> Asked:
    """A candidate with the rates of the confirmation half; rates without images are None."""
    events, n = int(counts.events[row]), int(counts.n[row])
    outside, m = int(counts.events_outside[row, 0]), int(counts.n_outside[row, 0])
    return Asked(
        key=one.key,
        words=one.words,
        outcome=outcome,
        n=n,
        events=events,
        rate=events / n if n else None,
        interval=wilson_interval(events, n) if n else None,
        rate_outside=outside / m if m else None,
        interval_outside=wilson_interval(outside, m) if m else None,
        interval_method=WILSON,
    )
