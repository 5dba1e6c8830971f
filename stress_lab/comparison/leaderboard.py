"""Many variants: sorted by one measure, every pair tested, and those that cannot be told apart tied."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.many import Leaderboard, Merge, PairTest, Standing
from stress_lab.comparison.measured import Measured
from stress_lab.comparison.measures import JUDGED_BY, MEASURES, Measure
from stress_lab.comparison.options import Options
from stress_lab.comparison.verdict import SMALLEST_ALPHA, interval_over_runs
from stress_lab.records import BoolArray, FloatArray
from stress_lab.stats.multiplicity import holm
from stress_lab.stats.paired import TANGO, PairedTable, tango_interval
from stress_lab.stats.pairwise import (
    consistency_matrix,
    count_only,
    find_ties,
    mid_p_of_counts,
    order_by_likeness,
    rank_bounds,
)
from stress_lab.stats.rates import WILSON, wilson_interval
from stress_lab.stats.resampling import HIERARCHICAL, contrast_interval
from stress_lab.stats.seeds import is_exact, permutation_p, seeds_to_reach, smallest_p

FEW = 4  # variants up to which each one gets verdicts of its own


@dataclass(frozen=True)
class _Tested:
    """All pairs in the order of the leaderboard: leads, intervals, p-values and discordant counts."""

    leads: FloatArray
    intervals: Sequence[tuple[float, float]]
    p: FloatArray
    only: Sequence[tuple[int, int] | tuple[None, None]]


def is_many(variants: Sequence[str]) -> bool:
    """Whether there are too many variants for one verdict each."""
    return len(variants) > FEW


def rank_variants(measured: Measured, options: Options) -> Leaderboard:
    """The leaderboard by the first primary question that every variant can answer.

    One run each: McNemar's mid-p test of each pair, paired over the images. Several: permutation of the pair's runs.
    Either way Holm's correction over all pairs. This ranks on one test set; Demšar's critical difference, which ranks
    over many data sets, does not apply.
    """
    measure = _choose_measure(measured, options)
    sign = 1 if measure.better == "higher" else -1
    means = {variant: sign * float(measured.values(variant, measure.name).mean()) for variant in measured.variants}
    order = sorted(means, key=lambda variant: -means[variant])  # ties stay in launch order
    single = len(measured.runs) == len(order)
    tested = (_test_models if single else _test_recipes)(measured, order, measure, options)
    adjusted = holm(tested.p.tolist())
    apart = _square(np.array(adjusted) <= options.alpha, len(order))
    kappa = _mean_consistency(measured.runs, order)
    places, merges = order_by_likeness(kappa)
    return Leaderboard(
        measure=measure.name,
        title=measure.title,
        better=measure.better,
        **(_describe_models() if single else _describe_recipes(measured, order, options.alpha)),
        n=len(measured.runs[0].scores),
        level=options.level,
        alpha=options.alpha,
        standings=tuple(_stand(measured, order, measure, apart, options.level)),
        pairs=tuple(_list_pairs(tested, adjusted, apart, kappa)),
        ties=tuple(find_ties(apart)),
        apart=int(apart.sum()) // 2,
        likeness_order=tuple(places),
        merges=tuple(Merge(a=a, b=b, error_consistency=height) for a, b, height in merges),
    )


def _choose_measure(measured: Measured, options: Options) -> Measure:
    """What decides the order."""
    shared = measured.shared(range(len(measured.runs)))
    asked = [JUDGED_BY[question] for question in options.primary]
    return MEASURES[next((name for name in asked if name in shared), "accuracy")]


def _square(values: BoolArray, count: int) -> BoolArray:
    """(V, V) symmetric from one value for each pair."""
    matrix = np.zeros((count, count), dtype=bool)
    matrix[np.triu_indices(count, 1)] = values
    return matrix | matrix.T


def _test_models(measured: Measured, order: Sequence[str], measure: Measure, options: Options) -> _Tested:
    """Every pair of single networks, paired over the images."""
    events = np.stack([measured.contributions[measured.rows(variant)[0]][measure.name] > 0 for variant in order])
    only, holds, n = count_only(events), events.sum(axis=1), events.shape[1]
    higher = measure.better == "higher"
    first, second = np.triu_indices(len(order), 1)
    tables = [
        PairedTable(
            both=int(holds[a] - only[a, b]),
            only_a=int(only[a, b]),
            only_b=int(only[b, a]),
            neither=int(n - holds[b] - only[a, b]),
        )
        for a, b in zip(first, second, strict=True)
    ]
    intervals = [tango_interval(table, options.level) for table in tables]  # of B minus A
    return _Tested(
        leads=np.array([-table.difference if higher else table.difference for table in tables]) + 0.0,  # no -0
        intervals=[(-high, -low) if higher else (low, high) for low, high in intervals],
        p=mid_p_of_counts(only[first, second], only[second, first]),
        only=[(table.only_a, table.only_b) for table in tables],
    )


def _test_recipes(measured: Measured, order: Sequence[str], measure: Measure, options: Options) -> _Tested:
    """Every pair of recipes over their runs."""
    sign, n = 1 if measure.better == "higher" else -1, len(measured.runs[0].scores)
    rates = [sign * measured.values(variant, measure.name) for variant in order]
    draws = [sign * measured.resampled(variant, measure.name) for variant in order]
    pairs = list(itertools.combinations(range(len(order)), 2))
    return _Tested(
        leads=np.array([float(rates[a].mean() - rates[b].mean()) for a, b in pairs]),
        intervals=[interval_over_runs((rates[b], rates[a]), (draws[b], draws[a]), n, options.level) for a, b in pairs],
        p=np.array([permutation_p(rates[a], rates[b]) for a, b in pairs]),
        only=[(None, None)] * len(pairs),
    )


def _describe_models() -> dict[str, Any]:
    """How single networks are compared."""
    return {"unit": "models", "test": "McNemar mid-p", "interval_method": TANGO}


def _describe_recipes(measured: Measured, order: Sequence[str], alpha: float) -> dict[str, Any]:
    """How recipes are compared, and whether their runs suffice to tell any pair apart, once corrected for all pairs."""
    sizes = sorted(len(measured.rows(variant)) for variant in order)
    exact = all(is_exact(a, b) for a, b in itertools.combinations(sizes, 2))
    pairs, least = len(order) * (len(order) - 1) // 2, smallest_p(sizes[-1], sizes[-2])
    return {
        "unit": "recipes",
        "test": f"{'exact permutation' if exact else 'permutation'} of runs",
        "interval_method": HIERARCHICAL,
        "smallest_p": least,
        "smallest_adjusted_p": min(1.0, pairs * least),
        "seeds_to_reach": seeds_to_reach(max(alpha / pairs, SMALLEST_ALPHA)),
    }


def _stand(
    measured: Measured, order: Sequence[str], measure: Measure, apart: BoolArray, level: float
) -> Iterator[Standing]:
    """The place of each variant, with its interval, its ranks and its letters."""
    ties, n, raw = find_ties(apart), len(measured.runs[0].scores), "confident_failures"
    for place, (variant, (low, high)) in enumerate(zip(order, rank_bounds(apart), strict=True)):
        values = measured.values(variant, measure.name)
        known = raw in measured.shared(measured.rows(variant))
        yield Standing(
            variant=variant,
            k=len(values),
            value=float(values.mean()),
            interval=rate_interval(measured, variant, measure.name, level),
            interval_method=WILSON if len(values) == 1 else HIERARCHICAL,
            failures=float(n * measured.values(variant, raw).mean()) if known else None,
            rank_low=low,
            rank_high=high,
            letters=" ".join(letter(at) for at, (first, last) in enumerate(ties) if first <= place <= last),
        )


def rate_interval(measured: Measured, variant: str, measure: str, level: float) -> tuple[float, float]:
    """Of one variant's rate: Wilson's for one run, over images and runs for several."""
    values, n = measured.values(variant, measure), len(measured.runs[0].scores)
    if len(values) == 1:
        return wilson_interval(round(float(values[0]) * n), n, level)
    low, high = contrast_interval([measured.resampled(variant, measure)], [1], level, means=[values])
    return max(0.0, low), min(1.0, high)


def letter(number: int) -> str:
    """``a`` to ``z``, then ``aa``, ``ab`` and so on.

    >>> letter(0), letter(25), letter(26), letter(52)
    ('a', 'z', 'aa', 'ba')
    """
    first, last = divmod(number, 26)
    return (letter(first - 1) if first else "") + chr(ord("a") + last)


def _list_pairs(tested: _Tested, adjusted: Sequence[float], apart: BoolArray, kappa: FloatArray) -> Iterator[PairTest]:
    """Every pair with its numbers."""
    for at, (a, b) in enumerate(itertools.combinations(range(len(apart)), 2)):
        yield PairTest(
            a=a,
            b=b,
            lead=float(tested.leads[at]),
            interval=tested.intervals[at],
            only_a=tested.only[at][0],
            only_b=tested.only[at][1],
            p=float(tested.p[at]),
            p_adjusted=adjusted[at],
            apart=bool(apart[a, b]),
            error_consistency=None if np.isnan(kappa[a, b]) else float(kappa[a, b]),
        )


def _mean_consistency(runs: Sequence[LoadedRun], order: Sequence[str]) -> FloatArray:
    """(V, V) mean κ over the pairs of runs of two variants, nan where all are undefined; the diagonal is 1."""
    between = consistency_matrix(np.stack([run.scores.correct for run in runs]))
    member = np.array([[run.variant == variant for run in runs] for variant in order], dtype=np.float64)
    known = (~np.isnan(between)).astype(np.float64)
    counts = member @ known @ member.T
    sums = member @ np.nan_to_num(between) @ member.T
    kappa = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    np.fill_diagonal(kappa, 1)
    return np.asarray(kappa)
