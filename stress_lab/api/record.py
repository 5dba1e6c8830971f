"""The only place that knows how the record of a comparison (``comparison.json``) is built."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from stress_lab.api.verdict import Verdict
from stress_lab.report.numbers import KINDS

Record = Mapping[str, Any]


def read_questions(record: Record) -> list[Verdict]:
    """Every question in order."""
    return [_read_question(one, len(record["questions"])) for one in record["questions"]]


def _read_question(one: Record, questions: int) -> Verdict:
    """One question."""
    names = ("question", "verdict", "a", "b", "n", "difference", "interval_method", "margin", "test", "p", "p_adjusted")
    low, high = one["interval"]
    return Verdict(
        **{name: one[name] for name in names},
        runs_a=one["k_a"],
        runs_b=one["k_b"],
        rate_a=one["mean_a"],
        rate_b=one["mean_b"],
        interval=(low, high),
        level=1 - one["alpha"],
        equivalent=bool(one["equivalent"]),
        questions=questions,
        images_more=None if one["more"].get("moot") else one["more"].get("images_more"),
        kept=one["fair"]["kept"] if one["fair"] else None,
    )


def read_title(record: Record) -> str:
    """Of pages and figures."""
    return str(record["title"])


def read_alarms(record: Record) -> list[str]:
    """What stands above every verdict."""
    return [one["sentence"] for one in record.get("alarms", ())]


def read_notes(record: Record) -> list[str]:
    """What was left out, and why."""
    return list(record["notes"])


def describe_runs(record: Record) -> list[str]:
    """Each run for itself: its accuracy with the interval, and its confident failures."""
    return [_describe_run(one) for one in record["runs"]]


def _describe_run(one: Record) -> str:
    """One run."""
    low, high = map(KINDS["percent"], one["accuracy_interval"])
    sure = "" if one["failures"] is None else f", {one['failures']:,} confident failures"
    return f"{one['name']}: {KINDS['percent'](one['accuracy'])} accurate ({low} to {high}) on {one['n']:,} images{sure}"


def read_patterns(record: Record) -> list[dict[str, Any]]:
    """Groups of images on which the reference fails more often, confirmed on images the search did not see."""
    return [copy.deepcopy(one) for one in record["patterns"]["found"] if one["confirmed"]]


def list_measures(record: Record) -> list[dict[str, Any]]:
    """A row for each measure and variant: its value and interval, and the difference from the reference."""
    compared = {(pair["b"], one["metric"]): one for pair in record["comparisons"] for one in pair["metrics"]}
    single = {run["variant"]: run["metrics"] for run in record["runs"]}
    order = list(dict.fromkeys(name for variant in record["variants"] for name in variant["metrics"]))
    rows = [
        _list_measure(measure, variant, single[variant["variant"]], compared.get((variant["variant"], measure), {}))
        for variant in record["variants"]
        for measure in variant["metrics"]
    ]
    return sorted(rows, key=lambda row: order.index(row["measure"]))


def _list_measure(measure: str, variant: Record, single: Record, against: Record) -> dict[str, Any]:
    """One measure of one variant; ``single`` are those of its last run, ``against`` is empty for the reference."""
    found, own = variant["metrics"][measure], single.get(measure, {}) if variant["k"] == 1 else {}
    low, high = against.get("interval", (None, None))
    return {
        "measure": measure,
        "model": variant["variant"],
        "runs": variant["k"],
        "value": found["mean"],
        "low": own.get("low"),
        "high": own.get("high"),
        "sd_over_runs": found["sd"],
        "difference": against.get("difference"),
        "difference_low": low,
        "difference_high": high,
        "p": against.get("p"),
    }


def as_dict(record: Record) -> dict[str, Any]:
    """What ``comparison.json`` holds, as a copy."""
    return copy.deepcopy(dict(record))
