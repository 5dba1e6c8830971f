"""Nets whose accuracy means less than it seems: classes never predicted, or one constant answer that does as well.

These findings are shown above every verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.result import Finding
from stress_lab.stats.rates import wilson_interval

FEW = 3  # images: random predictions at the class frequencies miss a class of this size in e^-3, 5 %, of all cases
NAMED = 5  # classes, or runs, listed in a sentence


def majority(run: LoadedRun) -> dict[str, Any]:
    """The most frequent class of the test images, and the accuracy of always answering it."""
    counts = np.bincount(run.scores.label, minlength=len(run.classes))
    most = int(counts.argmax())
    return {"majority_class": run.classes[most], "majority_rate": int(counts[most]) / len(run.scores)}


def find_alarms(runs: Sequence[LoadedRun], level: float) -> list[Finding]:
    """Findings about the predictions of comparable runs.

    Classes without a test image do not count. A net that predicts several classes and misses only ones of fewer
    than FEW images may do so by chance: that is a note, not an alarm.
    """
    partly = _find_partly_loaded(runs)
    first = runs[0]
    if len(np.unique(first.scores.label)) == 1:
        name, n = majority(first)["majority_class"], len(first.scores)
        sentence = f"all {n:,} test images are of the class {name}: accuracy says nothing about any other class"
        return [*partly, Finding(check="classes of the test set", alarm=True, sentence=sentence)]
    return [*partly, *_find_missing(runs), *_find_useless(runs, level)]


def _find_partly_loaded(runs: Sequence[LoadedRun]) -> list[Finding]:
    """Audited nets whose file of weights did not fit, so that some of their weights are random."""
    found = [
        (run, run.info.weights["loaded_partly"]) for run in runs if run.info and "loaded_partly" in run.info.weights
    ]
    return [
        Finding(
            check="weights",
            alarm=True,
            sentence=f"{run.name} was loaded only partly (strict=false): {misfit}",
            runs=(run.name,),
        )
        for run, misfit in found
    ]


def _find_missing(runs: Sequence[LoadedRun]) -> list[Finding]:
    """Classes in the test set that are never predicted; runs that miss the same ones share a sentence."""
    groups: dict[tuple[int | None, tuple[int, ...]], list[str]] = {}
    for run in runs:
        predicted = np.unique(run.scores.pred)
        counts = np.bincount(run.scores.label, minlength=len(run.classes))
        missing = [number for number in np.argsort(-counts, kind="stable").tolist() if counts[number]]
        missing = [number for number in missing if number not in predicted]
        if missing:
            only = int(predicted[0]) if len(predicted) == 1 else None
            groups.setdefault((only, tuple(missing)), []).append(run.name)
    return [_describe_missing(runs[0], only, missing, names) for (only, missing), names in groups.items()]


def _describe_missing(first: LoadedRun, only: int | None, missing: Sequence[int], names: Sequence[str]) -> Finding:
    """One finding about classes that are never predicted."""
    classes, counts = first.classes, np.bincount(first.scores.label, minlength=len(first.classes))
    asked = {classes[number]: int(counts[number]) for number in missing}
    alone = "" if only is None else f"predicts only {classes[only]} and "
    return Finding(
        check="classes never predicted",
        alarm=only is not None or max(asked.values()) >= FEW,
        sentence=f"{_name_runs(names)} {alone}never predicts {_name_classes(asked)}",
        runs=tuple(names),
        facts={"only_class": None if only is None else classes[only], "classes": asked},
    )


def _name_classes(asked: Mapping[str, int]) -> str:
    """``dog (100 images) and bird (12)``."""
    shown = [f"{name} ({count:,})" for name, count in list(asked.items())[:NAMED]]
    first = next(iter(asked.values()))
    shown[0] = f"{shown[0][:-1]} image{'s' if first != 1 else ''})"
    if len(asked) > NAMED:
        shown.append(f"{len(asked) - NAMED:,} more classes")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _name_runs(names: Sequence[str]) -> str:
    """A run, or each of several; the verb that follows is in the singular."""
    if len(names) == 1:
        return names[0]
    more = f"; {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"each of {len(names)} runs ({'; '.join(names[:NAMED])}{more})"


def _find_useless(runs: Sequence[LoadedRun], level: float) -> list[Finding]:
    """Runs whose accuracy is not above, or its interval not clearly above, always answering one class."""
    groups: dict[bool, list[LoadedRun]] = {}
    most = majority(runs[0])
    for run in runs:
        right, n = int(run.scores.correct.sum()), len(run.scores)
        if wilson_interval(right, n, level)[0] <= most["majority_rate"]:
            groups.setdefault(right / n <= most["majority_rate"], []).append(run)
    return [_describe_useless(found, most, below, level) for below, found in groups.items()]


def _describe_useless(runs: Sequence[LoadedRun], most: Mapping[str, Any], below: bool, level: float) -> Finding:
    """One finding about runs that are not above the majority class's rate, or not surely."""
    names = [run.name for run in runs]
    right, n = int(runs[0].scores.correct.sum()), len(runs[0].scores)
    low, high = wilson_interval(right, n, level)
    numbers = f" of {100 * right / n:.2f} % ({100 * level:g} % interval {100 * low:.2f} to {100 * high:.2f})"
    return Finding(
        check="majority class",
        alarm=True,
        runs=tuple(names),
        facts={"below": below, **most},
        sentence=f"{_name_runs(names)} has an accuracy{numbers if len(names) == 1 else ''} that is "
        f"{'not' if below else 'not clearly'} above the {100 * most['majority_rate']:.2f} % of always answering "
        f"{most['majority_class']}",
    )


def learnt_nothing(findings: Sequence[Finding]) -> set[str]:
    """Names of the runs that always give one answer, or do no better than that."""
    useless = (one for one in findings if one.facts.get("only_class") is not None or one.facts.get("below"))
    return {name for one in useless for name in one.runs}
