"""Which variant the others are compared against."""

from __future__ import annotations

from collections.abc import Sequence

from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.option_rules import check_reference
from stress_lab.plain_text import as_override


def put_first(runs: Sequence[LoadedRun], reference: str | None) -> list[LoadedRun]:
    """The runs with those of the reference first; None leaves them in launch order.

    Raises:
        ConfigError: no variant has that name.
    """
    check_reference([run.variant for run in runs], reference)
    return sorted(runs, key=lambda run: reference is not None and run.variant != reference)


def note_absence(runs: Sequence[LoadedRun], reference: str | None) -> list[str]:
    """A sentence where runs were left out and those of the reference are among them, so that another one stands in."""
    if reference is None or any(run.variant == reference for run in runs):
        return []
    return [f"{as_override('reference', reference)} has no results here, so {runs[0].variant} is the reference"]
