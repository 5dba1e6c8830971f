"""What the public classes say about a comparison's numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from stress_lab.api.verdict import Verdict
from stress_lab.comparison.codec import to_record
from stress_lab.comparison.evidence import ModelsEvidence, Question
from stress_lab.comparison.one_model import OneModel
from stress_lab.comparison.result import Comparison, MeasureDifference
from stress_lab.comparison.run_numbers import Estimate, RunSummary, VariantSummary
from stress_lab.report.factors import describe_factors
from stress_lab.report.leaderboard import describe_board, headline, list_standings
from stress_lab.report.numbers import KINDS, Speaker


def read_questions(found: Comparison) -> list[Verdict]:
    """Every question in order."""
    return [_read_question(one, len(found.questions)) for one in found.questions]


def _read_question(one: Question, questions: int) -> Verdict:
    """One question."""
    evidence, more = one.evidence, one.evidence.more
    of_evidence = {name: getattr(evidence, name) for name in ("difference", "interval", "interval_method", "test", "p")}
    return Verdict(
        **{name: getattr(one, name) for name in ("question", "verdict", "a", "b", "n", "margin", "p_adjusted")},
        **of_evidence,
        runs_a=one.k_a,
        runs_b=one.k_b,
        rate_a=one.mean_a,
        rate_b=one.mean_b,
        level=1 - one.alpha,
        equivalent=evidence.equivalent,
        questions=questions,
        images_more=None if more.moot or not isinstance(evidence, ModelsEvidence) else evidence.more.images_more,
        kept=one.fair.kept if one.fair else None,
    )


def describe_runs(found: Comparison) -> list[str]:
    """A line for each run: its accuracy with the interval, and its confident failures."""
    return [_describe_run(one) for one in found.runs]


def describe_leaderboard(found: Comparison) -> list[str]:
    """The finding about many models, its sentences, and a line for each."""
    record = to_record(found)
    board = record["leaderboard"]
    sentences = describe_board(Speaker({"comparison": record}, ("comparison", "leaderboard")))
    return [headline(board), *sentences, *list_standings(board)]


def describe_crossing(found: Comparison) -> list[str]:
    """What crossed choices do; nothing where the models are not crossed."""
    return [] if found.factors is None else list(describe_factors(to_record(found.factors)))


def _describe_run(one: RunSummary) -> str:
    """One run."""
    low, high = map(KINDS["percent"], one.accuracy_interval)
    sure = "" if one.failures is None else f", {one.failures:,} confident failures"
    return f"{one.name}: {KINDS['percent'](one.accuracy)} accurate ({low} to {high}) on {one.n:,} images{sure}"


def read_patterns(found: Comparison) -> list[dict[str, Any]]:
    """Groups of images on which the reference fails more often, confirmed on images the search did not see."""
    return [to_record(one) for one in found.patterns.found if one.pattern.confirmed]


def list_classes(model: OneModel) -> list[dict[str, Any]]:
    """A row for each class, its intervals as two columns each."""
    rows = []
    for one in model.classes:
        row = asdict(one)
        for rate in ("recall", "precision"):
            row[f"{rate}_low"], row[f"{rate}_high"] = row.pop(f"{rate}_interval") or (None, None)
        rows.append(row)
    return rows


def list_measures(found: Comparison) -> list[dict[str, Any]]:
    """A row for each measure and variant: its value and interval, and the difference from the reference."""
    compared = {(pair.b, one.metric): one for pair in found.comparisons for one in pair.metrics}
    single = {run.variant: run.metrics for run in found.runs}
    order = list(dict.fromkeys(name for variant in found.variants for name in variant.metrics))
    rows = [
        _list_measure(measure, variant, single[variant.variant].get(measure), compared.get((variant.variant, measure)))
        for variant in found.variants
        for measure in variant.metrics
    ]
    return sorted(rows, key=lambda row: order.index(row["measure"]))


def _list_measure(
    measure: str, variant: VariantSummary, single: Estimate | None, against: MeasureDifference | None
) -> dict[str, Any]:
    """One measure of one variant; ``single`` is its last run's, ``against`` is None for the reference."""
    spread, own = variant.metrics[measure], single if variant.k == 1 else None
    low, high = against.interval if against else (None, None)
    return {
        "measure": measure,
        "model": variant.variant,
        "runs": variant.k,
        "value": spread.mean,
        "low": own and own.low,
        "high": own and own.high,
        "sd_over_runs": spread.sd,
        "difference": against and against.difference,
        "difference_low": low,
        "difference_high": high,
        "p": against and against.p,
    }
