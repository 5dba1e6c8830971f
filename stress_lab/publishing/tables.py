"""The record of a comparison as tables for spreadsheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from stress_lab.comparison.agreement import list_rates
from stress_lab.comparison.codec import to_record
from stress_lab.comparison.comparable import MatchedRuns
from stress_lab.comparison.evidence import Evidence
from stress_lab.comparison.pairs import pair_name
from stress_lab.comparison.result import Comparison, EventComparison
from stress_lab.comparison.shown import pick_pairs
from stress_lab.files import flatten, save_csv
from stress_lab.publishing.many_tables import MANY_TABLES, list_many
from stress_lab.stats.agreement import list_disagreements
from stress_lab.storage.filesets import FileSet

DIFFERENCE_COLUMNS = (
    *("a", "b", "seed", "metric", "n", "rate_a", "rate_b", "difference", "low", "high", "level", "method"),
    *("mcnemar_exact_p", "mcnemar_mid_p", "permutation_p"),
    *("table_both", "table_only_a", "table_only_b", "table_neither"),
)
DISAGREEMENT_COLUMNS = ("index", "outcome", "label", "pred_a", "pred_b", "confidence_a", "confidence_b")


def write_tables(comparison: Comparison, matched: MatchedRuns, files: FileSet) -> None:
    """The record as tables for spreadsheets."""

    def save(name: str, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
        """Write a table whose last column is the comparison's id."""
        marked = [{**row, "comparison": comparison.id} for row in rows]
        save_csv(files.path / name, marked, [*columns, "comparison"])

    save("comparison.csv", list_differences(comparison), DIFFERENCE_COLUMNS)
    left_out = {"curves", "hardware", "versions", "overrides"}
    summaries = [
        flatten({key: value for key, value in run.items() if key not in left_out})
        for run in to_record(comparison)["runs"]
    ]
    save("runs.csv", summaries, list(dict.fromkeys(key for row in summaries for key in row)))
    for name, rows, columns in list_many(comparison):
        save(name, rows, columns)
    files.remove(files.folder / name for name in MANY_TABLES)  # from another comparison
    rates = list_rates(matched.comparable)
    save("failure_rates.csv", rates, list(rates[0]) if rates else ["index", "label"])
    for a, b in pick_pairs(matched.pairs, comparison.shown):
        names = dict(zip(a.scores.index.tolist(), a.name_images(np.ones(len(a.scores), dtype=bool)), strict=True))
        disagreements = list_disagreements(a.scores, b.scores, a.classes)
        renamed = [{**row, "index": names[row["index"]]} for row in disagreements]
        save(f"disagreements/{pair_name(a, b)}.csv", renamed, DISAGREEMENT_COLUMNS)
    files.remove((files.folder / "disagreements").glob("*.csv"))  # from another comparison


def list_differences(comparison: Comparison) -> list[dict[str, Any]]:
    """One row for each pair and metric, then one for each question over several seeds."""
    pairs = [
        {
            **{key: getattr(pair, key) for key in ("a", "b", "seed", "n")},
            "metric": metric,
            "rate_a": events.rate_a,
            "rate_b": events.rate_b,
            **_difference(events, comparison.level),
            "mcnemar_exact_p": events.mcnemar_exact_p,
            "mcnemar_mid_p": events.mcnemar_mid_p,
            **{f"table_{cell}": count for cell, count in asdict(events.table).items()},
        }
        for pair in comparison.pairs
        for metric in ("accuracy", "confident_failures_matched", "confident_failures")
        if (events := getattr(pair, metric)) is not None
    ]
    recipes = [
        {
            **{key: getattr(question, key) for key in ("a", "b", "n")},
            "seed": "all",
            "metric": question.measure,
            "rate_a": question.mean_a,
            "rate_b": question.mean_b,
            **_difference(question.evidence, comparison.level),
            "permutation_p": question.evidence.p,
        }
        for question in comparison.questions
        if question.evidence.unit == "recipes"
    ]
    return [*pairs, *recipes]


def _difference(found: EventComparison | Evidence, level: float) -> dict[str, Any]:
    """A difference of rates with its interval and method."""
    low, high = found.interval or (None, None)
    return {"difference": found.difference, "low": low, "high": high, "level": level, "method": found.interval_method}
