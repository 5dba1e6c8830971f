"""Two runs of different variants with the same seed, image by image."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.measures import fails_matched
from stress_lab.comparison.result import EventComparison, GapChange, PairComparison
from stress_lab.files import flatten
from stress_lab.records import BoolArray, IntArray
from stress_lab.stats.agreement import OUTCOMES, outcomes
from stress_lab.stats.clusters import CLUSTERED_T, clustered_mean_interval, paired_permutation_p
from stress_lab.stats.paired import (
    TANGO,
    PairedTable,
    mcnemar_exact,
    mcnemar_mid_p,
    tabulate,
    tango_interval,
)
from stress_lab.stats.pairing import rows_of


def pair_name(a: LoadedRun, b: LoadedRun) -> str:
    """File name of a pair, such as ``cutout_vs_baseline_seed42``; nothing in a variant's name can leave the folder."""
    variants = f"{b.variant}_vs_{a.variant}"
    plain = "".join(c if c.isalnum() or c in "._-=" else "_" for c in variants)
    plain = "_" + plain[1:] if plain.startswith(".") else plain  # no hidden file
    if len(plain.encode()) > 100 or plain != variants:  # shortened or changed: keep names distinct
        checksum = zlib.crc32(variants.encode(errors="backslashreplace"))
        plain = f"{plain.encode()[:100].decode(errors='ignore')}_{checksum:08x}"
    return f"{plain}_seed{a.seed}"


def first_pairs(pairs: Sequence[tuple[LoadedRun, LoadedRun]]) -> list[tuple[LoadedRun, LoadedRun]]:
    """The first pair of each two variants, used for the drawn cases."""
    first: dict[tuple[str, str], tuple[LoadedRun, LoadedRun]] = {}
    for a, b in pairs:
        first.setdefault((a.variant, b.variant), (a, b))
    return list(first.values())


def compare_pair(
    a: LoadedRun, b: LoadedRun, level: float, kept: int | None, clusters: IntArray | None = None
) -> PairComparison:
    """What changed from run a to run b on the same test images; what needs confidences is None without them.

    Args:
        a, b: two runs of one seed.
        level: of the intervals.
        kept: how many of the most confident predictions ``confident_failures_matched`` counts, as in the verdict.
        clusters: (N,) which images belong together; None takes each on its own.
    """
    outcome = outcomes(a.scores.correct, b.scores.correct)
    return PairComparison(
        a=a.variant,
        b=b.variant,
        seed=a.seed,
        n=len(a.scores),
        differs_in=tuple(config_difference(a, b)),
        accuracy=compare_events(a.scores.correct, b.scores.correct, level, clusters),
        outcomes={name: int((outcome == number).sum()) for number, name in enumerate(OUTCOMES)},
        other_prediction=int((a.scores.pred != b.scores.pred).sum()),
        fixed=tuple(a.name_images(outcome == 1)),
        broken=tuple(a.name_images(outcome == 2)),
        **_compare_failures(a, b, level, kept, clusters),
        train_test_gap_change=compare_gaps(a, b, level),
    )


def _compare_failures(
    a: LoadedRun, b: LoadedRun, level: float, kept: int | None, clusters: IntArray | None
) -> dict[str, Any]:
    """The confident failures of both, raw and at equal coverage, where both report confidences."""
    failed_a, failed_b = a.failed, b.failed
    if failed_a is None or failed_b is None:
        unknown = {"confident_failures": None, "confident_failures_matched": None}
        return {**unknown, "failures_gone": (), "failures_new": ()}
    counted = None if kept is None else (fails_matched(a, kept), fails_matched(b, kept))
    matched = None if counted is None else compare_events(*counted, level, clusters)
    return {
        "confident_failures": compare_events(failed_a, failed_b, level, clusters),
        "confident_failures_matched": matched,
        "failures_gone": tuple(a.name_images(failed_a & ~failed_b)),
        "failures_new": tuple(a.name_images(~failed_a & failed_b)),
    }


def config_difference(a: LoadedRun, b: LoadedRun) -> list[str]:
    """Dotted config keys in which two runs differ, except their names; empty for prediction files."""
    if a.run is None or b.run is None:
        return []
    first, second = flatten(a.run.config), flatten(b.run.config)
    keys = {key for key in {*first, *second} if first.get(key) != second.get(key)}
    return sorted(keys - {"variant", "name"})


def compare_events(
    event_a: BoolArray, event_b: BoolArray, level: float, clusters: IntArray | None = None
) -> EventComparison:
    """Paired tests and the interval for one event per image, such as being right; with clusters (N,) also theirs."""
    table = tabulate(event_a, event_b)
    interval, method, p = tango_interval(table, level), TANGO, None
    if clusters is not None:
        change = event_b.astype(np.float64) - event_a
        interval, method = clustered_mean_interval(change, clusters, level), CLUSTERED_T
        p = paired_permutation_p(change, clusters)
    return EventComparison(
        table=table,
        rate_a=(table.both + table.only_a) / table.n,
        rate_b=(table.both + table.only_b) / table.n,
        difference=table.difference,
        interval=interval,
        interval_method=method,
        mcnemar_exact_p=mcnemar_exact(table),
        mcnemar_mid_p=mcnemar_mid_p(table),
        clustered_p=p,
    )


def compare_gaps(a: LoadedRun, b: LoadedRun, level: float) -> GapChange | None:
    """Change of the gap between train and test accuracy, "overfitting", from run a to run b; None without train.

    Both runs predicted the same training and the same test images, so each side is a paired difference, and the two
    sides are independent. The word is "reduced" or "increased" only where the interval excludes zero.
    """
    if a.spec is None or b.spec is None or "train" not in a.predictions or "train" not in b.predictions:
        return None
    same_images = a.spec.fingerprint.get("train") == b.spec.fingerprint.get("train")
    answers_a, answers_b = a.predictions["train"], b.predictions["train"]
    if not same_images or not np.array_equal(np.sort(answers_a.index), np.sort(answers_b.index)):
        return None
    correct_b = answers_b.correct[rows_of(answers_b.index, answers_a.index)]
    tables = [tabulate(answers_a.correct, correct_b), tabulate(a.scores.correct, b.scores.correct)]
    change = tables[0].difference - tables[1].difference
    half = norm.ppf(0.5 + level / 2) * np.sqrt(sum(_variance(table) for table in tables))
    low, high = float(change - half), float(change + half)
    word = "reduced" if high < 0 else "increased" if low > 0 else "cannot tell"
    return GapChange(
        change=change,
        interval=(low, high),
        interval_method="Wald, paired on each split",
        overfitting=word,
        n_train=tables[0].n,
        n_test=tables[1].n,
    )


def _variance(table: PairedTable) -> float:
    """Variance of the difference of paired rates."""
    b, c, n = table.only_a, table.only_b, table.n
    return max(0.0, b + c - (b - c) ** 2 / n) / n**2
