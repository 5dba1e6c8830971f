"""Do the models fail on the same images? Between every two runs, and image by image over the seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from stress_lab.comparison.changes import Agreement, Flow, MeanAgreement, PairAgreement, Stability
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.options import Options
from stress_lab.records import BoolArray, FloatArray, IntArray
from stress_lab.stats.agreement import churn, consistency_interval, error_consistency, jaccard
from stress_lab.stats.resampling import PERCENTILE
from stress_lab.stats.stability import TAGS, chance_counts, one_variant_tags, tag_images

LISTED = 2000  # images listed by tag in the record; the table of rates has all


def agreement_matrix(runs: Sequence[LoadedRun]) -> list[PairAgreement]:
    """Every two runs: error consistency κ, churn of predictions, overlap (Jaccard) of their confident failures."""
    rows = []
    for a, b in itertools.combinations(runs, 2):
        failed_a, failed_b = a.failed, b.failed
        rows.append(
            PairAgreement(
                a=a.name,
                b=b.name,
                same_variant=a.variant == b.variant,
                error_consistency=error_consistency(a.scores.correct, b.scores.correct),
                churn=churn(a.scores.pred, b.scores.pred),
                failure_overlap=None if failed_a is None or failed_b is None else jaccard(failed_a, failed_b),
            )
        )
    return rows


def summarize_agreement(runs: Sequence[LoadedRun], a: str, b: str, options: Options) -> Agreement:
    """κ, churn and overlap between the variants (A/B) and within each variant (A/A), as means over pairs."""
    chosen = [run for run in runs if run.variant in (a, b)]
    rows = agreement_matrix(chosen)
    right = [np.stack([run.scores.correct for run in chosen if run.variant == one]) for one in (a, b)]
    return Agreement(
        across=_mean_of([row for row in rows if not row.same_variant]),
        within=_mean_of([row for row in rows if row.same_variant]),
        across_interval=consistency_interval(right[0], right[1], options.level, min(options.resamples, 2000)),
        across_interval_method=PERCENTILE,
    )


def _mean_of(rows: Sequence[PairAgreement]) -> MeanAgreement | None:
    """Mean of each number over the pairs of runs that have it; None without pairs."""
    if not rows:
        return None

    def mean(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    return MeanAgreement(
        pairs=len(rows),
        error_consistency=mean(row.error_consistency for row in rows),
        churn=mean(row.churn for row in rows),
        failure_overlap=mean(row.failure_overlap for row in rows),
    )


def stack_failures(runs: Sequence[LoadedRun], variant: str) -> BoolArray | None:
    """(k, N) confident failures of a variant's runs; None without confidences."""
    failed = [run.failed for run in runs if run.variant == variant]
    known = [one for one in failed if one is not None]
    return np.stack(known) if len(known) == len(failed) else None


def stack_errors(runs: Sequence[LoadedRun], variant: str) -> BoolArray:
    """(k, N) wrong answers of a variant's runs, of any confidence."""
    return np.stack([~run.scores.correct for run in runs if run.variant == variant])


def summarize_stability(runs: Sequence[LoadedRun], a: str, b: str) -> Stability | None:
    """Images by tag: counts, what relabelled runs would give by chance, and the images of each."""
    failed_a, failed_b = stack_failures(runs, a), stack_failures(runs, b)
    if failed_a is None or failed_b is None:
        return None
    behaviour = failed_a, failed_b, stack_errors(runs, a), stack_errors(runs, b)
    tags = tag_images(*behaviour)
    shown = [tag for tag in TAGS if tag != "never"]
    return Stability(
        counts={tag: int((tags == TAGS.index(tag)).sum()) for tag in TAGS},
        images={tag: tuple(runs[0].name_images(tags == TAGS.index(tag))[:LISTED]) for tag in shown},
        by_chance=chance_counts(*behaviour),
        k_a=len(failed_a),
        k_b=len(failed_b),
    )


STATES = ("right", "wrong, unsure", "wrong, sure")


def trace_images(runs: Sequence[LoadedRun], a: str, b: str) -> Flow:
    """Where the images went from A to B: right, wrong and unsure, wrong and sure; means over all pairs of runs."""
    sides = [[run for run in runs if run.variant == one] for one in (a, b)]
    known = all(run.failed is not None for side in sides for run in side)
    states = STATES if known else ("right", "wrong")
    before, after = (np.stack([_states(run, known) for run in side]) for side in sides)
    pairs = list(itertools.product(before, after))
    same = [two for side in (before, after) for two in itertools.permutations(side, 2)]
    return Flow(
        states=states,
        pairs=len(pairs),
        counts=_count_moves(pairs, len(states)),
        within=_count_moves(same, len(states)) if same else None,
    )


def _states(run: LoadedRun, known: bool) -> IntArray:
    """(N,) number of each image's state in STATES; 0 and 1 without confidences."""
    sure = run.failed if known and run.failed is not None else np.zeros(len(run.scores), dtype=bool)
    return np.asarray((~run.scores.correct).astype(np.int64) + sure)


def _count_moves(pairs: Sequence[tuple[IntArray, IntArray]], states: int) -> tuple[tuple[float, ...], ...]:
    """Mean number of images that go from each state to each."""
    counts = [np.bincount(states * a + b, minlength=states**2).reshape(states, states) for a, b in pairs]
    return tuple(map(tuple, np.mean(counts, axis=0).tolist()))


def _mean_confidence(runs: Sequence[LoadedRun], variant: str) -> FloatArray:
    """(N,) mean over a variant's runs, all of which report confidences."""
    known = [run.scores.confidence for run in runs if run.variant == variant and run.scores.confidence is not None]
    return np.asarray(np.mean(known, axis=0))


def list_rates(runs: Sequence[LoadedRun]) -> list[dict[str, Any]]:
    """One row for each test image that is a confident failure anywhere: its failure rate under each variant."""
    variants = list(dict.fromkeys(run.variant for run in runs))
    failed = {variant: stack_failures(runs, variant) for variant in variants}
    known = {variant: one for variant, one in failed.items() if one is not None}
    if len(known) != len(variants):
        return []
    ever = np.flatnonzero(np.any([one.any(axis=0) for one in known.values()], axis=0))
    first, names = runs[0], runs[0].name_images(np.ones(len(runs[0].scores), dtype=bool))
    reference = known[variants[0]]
    wrong = {variant: stack_errors(runs, variant) for variant in variants}
    others = {
        variant: tag_images(reference, known[variant], wrong[variants[0]], wrong[variant]) for variant in variants[1:]
    }
    alone = one_variant_tags(reference) if not others else None
    confidence = {variant: _mean_confidence(runs, variant) for variant in variants}
    return [
        {
            "index": names[row],
            "label": first.classes[first.scores.label[row]],
            **{f"failure_rate_{variant}": float(known[variant][:, row].mean()) for variant in variants},
            **{f"mean_confidence_{variant}": float(confidence[variant][row]) for variant in variants},
            **{f"tag_{variant}": TAGS[tags[row]] for variant, tags in others.items()},
            **({"tag": TAGS[alone[row]]} if alone is not None else {}),
        }
        for row in ever
    ]
