"""Thresholds for continuous integration: each gate passes or fails, and reports the number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stress_lab.comparison.result import Comparison, Gate

GATES = {
    "min_accuracy": ("accuracy", "at least"),
    "max_confident_failures": ("confident_failures", "at most"),
    "max_ece": ("ece", "at most"),
    "max_nll": ("nll", "at most"),
}


def check_gates(comparison: Comparison, gates: Mapping[str, Any]) -> list[Gate]:
    """One entry for each gate that is set and each variant it applies to.

    Limits apply to the mean over a variant's runs, of every variant but the reference, or of the only one.
    ``no_hurt`` fails where a primary question answers *hurt* or could not be asked, ``need_help`` where none answers
    *helped*. A gate whose number is not known, such as calibration from hard labels, fails. So does every gate if the
    comparison left a run out: what was not seen cannot pass.
    """
    variants = comparison.variants
    judged = variants[1:] or variants
    n = comparison.runs[0].n
    found = []
    for gate, (metric, relation) in GATES.items():
        limit = gates[gate]
        if limit is None:
            continue
        for variant in judged:
            spread = variant.metrics.get(metric)
            value = None if spread is None else round(spread.mean * (n if gate == "max_confident_failures" else 1), 9)
            passed = value is not None and (value >= limit if relation == "at least" else value <= limit)
            found.append(Gate(gate=gate, variant=variant.variant, limit=limit, value=value, passed=bool(passed)))
    verdicts: dict[str, str] = {f"{one.b}: {one.question}": one.verdict for one in comparison.questions}
    if gates["no_hurt"]:
        asked = {f"{variant.variant}: {name}": "not asked" for variant in variants[1:] for name in comparison.primary}
        answers = {**asked, **verdicts}
        found.append(
            _verdict_gate("no_hurt", answers, bool(answers) and not {"hurt", "not asked"} & set(answers.values()))
        )
    if gates["need_help"]:
        found.append(_verdict_gate("need_help", verdicts, "helped" in verdicts.values()))
    if found and comparison.left_out:
        found.append(Gate(gate="all_runs", variant=None, limit=True, value=list(comparison.left_out), passed=False))
    return found


def _verdict_gate(gate: str, verdicts: Mapping[str, str], passed: bool) -> Gate:
    """A gate on the verdicts."""
    return Gate(gate=gate, variant=None, limit=True, value=dict(verdicts), passed=passed)
