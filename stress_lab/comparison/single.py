"""What is known of one model where there is no other to compare it with: its classes, and whether to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stress_lab.comparison.confidence import describe_abstention, describe_calibration
from stress_lab.comparison.evidence import Interval
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.one_model import ClassRates, Confusion, OneModel
from stress_lab.comparison.options import Options
from stress_lab.comparison.run_numbers import Estimate
from stress_lab.comparison.summary import estimate_rate
from stress_lab.evaluation import count_confusions
from stress_lab.records import BoolArray, FloatArray
from stress_lab.stats.class_rates import EFFECTIVE, mean_rate_interval, wilson_bounds, worst_class

CONFUSIONS = 20  # pairs of classes listed, those with most images first


def audit_model(runs: Sequence[LoadedRun], options: Options, ece_highs: Mapping[str, float]) -> OneModel:
    """The audit of one model.

    Args:
        runs: of one variant, on the same images.
        options: level of the intervals, and the share of wrong answers that abstention allows.
        ece_highs: by run, the ECE that a calibrated net would stay below.
    """
    first, level = runs[0], options.level
    names, n = first.classes, len(first.scores)
    matrix = _mean_matrix(runs, [np.ones(n, dtype=bool)] * len(runs))
    sure = None if any(run.failed is None for run in runs) else _mean_matrix(runs, [_failed(run) for run in runs])
    images, right = matrix.sum(axis=1), matrix.diagonal()
    present = np.flatnonzero(images)
    classes = _describe_classes(matrix, sure, names, level)
    worst = worst_class([one.recall for one in classes], [one.n for one in classes])
    assert worst is not None  # there is at least one image
    accuracies = [float(run.scores.correct.mean()) for run in runs]
    failures = None if sure is None else float(sure.sum())
    return OneModel(
        name=first.variant,
        runs=len(runs),
        n=n,
        threshold=first.threshold,
        accuracy=estimate_rate(float(right.sum()), n, level),
        accuracy_sd=float(np.std(accuracies, ddof=1)) if len(runs) > 1 else None,
        errors=n - float(right.sum()),
        failures=failures,
        failure_rate=None if failures is None else estimate_rate(failures, n, level),
        balanced_accuracy=_mean_recall(right[present], images[present], level),
        worst_class=classes[worst].name,
        worst_recall=estimate_rate(float(right[worst]), int(images[worst]), 1 - (1 - level) / len(present)),
        classes=tuple(sorted(classes, key=lambda one: (one.recall is None, one.recall, -one.n))),
        absent=tuple(one.name for one in classes if not one.n),
        confusions=_list_confusions(matrix, sure, names),
        calibration=tuple(describe_calibration(run, level, ece_highs[run.name]) for run in runs if _is_sure(run)),
        abstention=tuple(describe_abstention(run, options) for run in runs if _is_sure(run)),
    )


def _is_sure(run: LoadedRun) -> bool:
    return run.scores.confidence is not None


def _failed(run: LoadedRun) -> BoolArray:
    """(N,) confident failures of a run that has confidences."""
    assert run.failed is not None
    return run.failed


def _mean_matrix(runs: Sequence[LoadedRun], chosen: Sequence[BoolArray]) -> FloatArray:
    """(K, K) chosen images by true class (rows) and answer, mean over the runs."""
    found = [
        count_confusions(run.scores.label[rows], run.scores.pred[rows], len(run.classes))
        for run, rows in zip(runs, chosen, strict=True)
    ]
    return np.mean(found, axis=0)  # type: ignore[no-any-return]


def _mean_recall(right: FloatArray, images: FloatArray, level: float) -> Estimate:
    """The mean of the classes' recalls."""
    low, high = mean_rate_interval(right, images, level)
    return Estimate(value=float((right / images).mean()), low=low, high=high, method=EFFECTIVE)


def _describe_classes(
    matrix: FloatArray, sure: FloatArray | None, names: Sequence[str], level: float
) -> list[ClassRates]:
    """Each class, in the order of the names."""
    images, answers, right = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    others = matrix - np.diag(right)
    recalls, precisions = _list_rates(right, images, level), _list_rates(right, answers, level)
    found = []
    for k, name in enumerate(names):
        taken = int(others[k].argmax())
        found.append(
            ClassRates(
                name=name,
                n=round(float(images[k])),
                predicted=float(answers[k]),
                recall=recalls[k][0],
                recall_interval=recalls[k][1],
                precision=precisions[k][0],
                precision_interval=precisions[k][1],
                confident_failures=None if sure is None else float(sure[k].sum()),
                taken_for=names[taken] if others[k, taken] else None,
                taken=float(others[k, taken]),
            )
        )
    return found


def _list_rates(count: FloatArray, n: FloatArray, level: float) -> list[tuple[float | None, Interval | None]]:
    """A rate and its interval for each class; None where there is nothing to count."""
    low, high = wilson_bounds(count, np.maximum(n, 1e-9), level)
    return [(float(count[k] / n[k]), (float(low[k]), float(high[k]))) if n[k] else (None, None) for k in range(len(n))]


def _list_confusions(matrix: FloatArray, sure: FloatArray | None, names: Sequence[str]) -> tuple[Confusion, ...]:
    """The most frequent confusions."""
    others = matrix - np.diag(matrix.diagonal())
    places = [divmod(int(place), len(names)) for place in np.argsort(-others, axis=None, kind="stable")[:CONFUSIONS]]
    return tuple(
        Confusion(
            true=names[i],
            predicted=names[j],
            count=float(others[i, j]),
            share=float(others[i, j] / matrix[i].sum()),
            confident=None if sure is None else float(sure[i, j]),
        )
        for i, j in places
        if others[i, j]
    )
