"""Which of many variants are shown image by image; of few, all are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stress_lab.comparison.comparable import MatchedRuns
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.many import Leaderboard

SHOWN = 4  # of many variants


def choose_shown(leaderboard: Leaderboard | None, reference: str | None) -> tuple[str, ...]:
    """The variants whose images and curves are shown, out of many: the reference that was named, then the best."""
    if leaderboard is None:
        return ()
    order = [one.variant for one in leaderboard.standings]
    return tuple(dict.fromkeys([*([reference] if reference is not None else []), *order]))[:SHOWN]


def pick_pairs(pairs: Sequence[tuple[LoadedRun, LoadedRun]], shown: Sequence[str]) -> list[tuple[LoadedRun, LoadedRun]]:
    """The pairs of shown variants, the one shown first as the reference; all pairs where all are shown."""
    if not shown:
        return list(pairs)
    place = {variant: number for number, variant in enumerate(shown)}
    kept = [(a, b) for a, b in pairs if a.variant in place and b.variant in place]
    turned = [(a, b) if place[a.variant] < place[b.variant] else (b, a) for a, b in kept]
    return sorted(turned, key=lambda pair: (place[pair[0].variant], place[pair[1].variant]))


def narrow_runs(matched: MatchedRuns, shown: Sequence[str]) -> MatchedRuns:
    """The runs of the shown variants, in their order; all runs where all are shown."""
    if not shown:
        return matched
    kept = [run for variant in shown for run in matched.comparable if run.variant == variant]
    return replace(matched, comparable=kept, pairs=pick_pairs(matched.pairs, shown))
