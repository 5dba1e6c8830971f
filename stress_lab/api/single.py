"""One model alone: its metrics, its confident failures, where they cluster, and its temperature."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab import failures, records
from stress_lab.api.inputs import as_column, checked
from stress_lab.api.metadata import as_properties
from stress_lab.api.predictions import Predictions, as_predictions
from stress_lab.calibration import temperature
from stress_lab.comparison.loading import from_files
from stress_lab.comparison.measured import measure_runs
from stress_lab.comparison.options import Options
from stress_lab.comparison.variants import run_metrics
from stress_lab.errors import InputError
from stress_lab.evaluation import count_confusions, describe_classes
from stress_lab.records import BoolArray, Failure, FloatArray, IntArray
from stress_lab.slices import discovery
from stress_lab.slices.patterns import Patterns
from stress_lab.stats.paired import mcnemar_exact, mcnemar_mid_p, tabulate


@checked
def evaluate(
    predictions: Predictions | records.Predictions | Any,
    threshold: float = 0.7,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
) -> dict[str, Any]:
    """Accuracy, calibration and confident failures of one model, each with its interval over images.

    Args:
        predictions: of one model, or a run of ``load_runs``.
        threshold: confidence, a fraction, strictly above which a wrong answer is a confident failure.
        level: of the intervals: Wilson's for rates, the percentile bootstrap's for anything else.
        resamples: of the bootstrap.

    Returns:
        ``n`` images, ``errors``, ``threshold``; ``accuracy`` and ``accuracy_interval``, and likewise, as far as
        the predictions allow, ``confident_failure_rate``, ``nll``, ``brier``, ``ece``, ``adaptive_ece``,
        ``classwise_ece``, ``aurc``, ``augrc``; ``confident_failures`` counted; ``per_class`` recall and precision;
        ``confusion`` (K, K), true class in rows.

    Raises:
        InputError: these are not predictions.

    >>> found = evaluate(Predictions.from_labels([0, 1, 1], labels=[0, 1, 0], confidence=[0.9, 0.6, 0.8]))
    >>> found["errors"], found["confident_failures"], [round(one, 3) for one in found["accuracy_interval"]]
    (1, 1, [0.208, 0.939])
    """
    held = as_predictions(predictions)
    [run] = from_files({"model": [held.file]}, threshold)
    [metrics] = run_metrics(measure_runs([run], Options(level=level, resamples=resamples)), level)
    confusion = count_confusions(held.label, held.pred, len(held.classes))
    found: dict[str, Any] = {"n": len(held), "errors": int((~held.correct).sum()), "threshold": threshold}
    for name, one in metrics.items():
        if name != "confident_failures_matched":  # the same for one model
            name = "confident_failure_rate" if name == "confident_failures" else name
            found |= {name: one.value, f"{name}_interval": (one.low, one.high)}
    if run.failed is not None:
        found["confident_failures"] = int(run.failed.sum())
    return {**found, "per_class": describe_classes(confusion, held.classes), "confusion": confusion}


@dataclass(frozen=True)
class _Sure:
    """Predictions with known confidences, and what a list of failures shows of each image."""

    index: IntArray
    label: IntArray
    pred: IntArray
    confidence: FloatArray
    correct: BoolArray
    probs: FloatArray

    def __len__(self) -> int:
        return len(self.index)


def _as_sure(held: Predictions) -> _Sure:
    """The same predictions; raises InputError where they have no confidences."""
    if held.confidence is None:
        raise InputError(
            "predictions have no confidences: pass confidence= to Predictions.from_labels, or probabilities"
        )
    nothing = np.broadcast_to(np.float32(np.nan), (len(held), len(held.classes)))
    index = held.index if held.index.dtype.kind in "iu" else np.arange(len(held))
    probs = nothing if held.probs is None else held.probs
    return _Sure(index, held.label, held.pred, held.confidence, held.correct, probs)


@checked
def mine_failures(
    predictions: Predictions | records.Predictions | Any, threshold: float = 0.7, *, limit: int | None = None
) -> list[Failure]:
    """The images that a model gets wrong with a confidence strictly above the threshold, the most confident first.

    Args:
        predictions: of one model, or a run of ``load_runs``.
        threshold: a fraction in [0, 1).
        limit: keep at most this many; None keeps all.

    Returns:
        For each its rank, index, class names and confidence. If images are named by text, ``index`` numbers them
        and ``file`` is the text; ``true_confidence`` is NaN where only the predicted class's probability is known.

    Raises:
        InputError: the predictions have no confidences.

    >>> probs, classes = [[0.9, 0.1], [0.2, 0.8]], ["cat", "dog"]
    >>> made = Predictions.from_probs(probs, labels=[1, 1], index=["a.png", "b.png"], classes=classes)
    >>> [(one.file, one.pred_name, round(one.confidence, 2)) for one in mine_failures(made)]
    [('a.png', 'cat', 0.9)]
    """
    held = as_predictions(predictions)
    files = None if held.index.dtype.kind in "iu" else [str(one) for one in held.index]
    return failures.mine_failures(_as_sure(held), threshold, held.classes, files, limit)


@checked
def find_patterns(
    predictions: Predictions | records.Predictions | Any,
    groups: Any = None,
    *,
    threshold: float | None = 0.7,
    alpha: float = 0.05,
    seed: int = 0,
) -> Patterns:
    """Groups of images that fail more often than the rest: searched on one half of them, tested on the other.

    Args:
        predictions: of one model, or a run of ``load_runs``.
        groups: (N,) metadata, or several by name, as for ``compare``; None searches only classes and pairs of classes.
        threshold: of confident failures; None, or predictions without confidences, uses all errors.
        alpha: risk of any false confirmation (Holm's procedure over the tested groups).
        seed: of the split into halves.

    Returns:
        ``found`` has each tested group, ``confirmed`` marks those that hold; ``note`` is one sentence.

    Raises:
        InputError: the shapes differ, or a value is missing.
    """
    held = as_predictions(predictions)
    sure = held.confidence is not None and threshold is not None
    event = failures.is_confident_failure(_as_sure(held), float(threshold or 0)) if sure else ~held.correct
    properties = {} if groups is None else as_properties(groups, len(held))
    return discovery.find_patterns(event, held.label, held.pred, held.classes, properties, alpha, seed)


@checked
def fit_temperature(logits: Any, labels: Any) -> float:
    """Temperature T that makes softmax(logits / T) fit the labels best (Guo et al. 2017, section 4.2).

    Fit it on validation images: fitted on the images it is judged by, it looks better than it is.

    Args:
        logits: (N, K). labels: (N,) class numbers from 0.

    Raises:
        InputError: the shapes differ, or a number is missing.

    >>> round(fit_temperature([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]], [0, 0, 0, 1]), 3)
    3.641
    """
    held = Predictions.from_logits(logits, labels)
    assert held.logits is not None
    return temperature.fit_temperature(held.logits, held.label)


@checked
def mcnemar_test(correct_a: Any, correct_b: Any, *, exact: bool = False) -> float:
    """Two-sided p-value of McNemar's test: are two models right on equally many images?

    Only the images on which exactly one of them is right count. It is about these two trained networks, not other
    seeds (Dietterich 1998).

    Args:
        correct_a, correct_b: (N,) whether each model is right, the images in the same order.
        exact: McNemar's exact test (1947) in place of its less conservative mid-p value (Fagerland et al. 2013).

    Raises:
        InputError: the two have different lengths, or values other than true and false.

    >>> right = [True] * 5 + [True] + [False] * 7 + [False] * 2, [True] * 5 + [False] + [True] * 7 + [False] * 2
    >>> round(mcnemar_test(*right), 4), round(mcnemar_test(*right, exact=True), 4)
    (0.0391, 0.0703)
    """
    table = tabulate(_as_bool(correct_a, "correct_a"), _as_bool(correct_b, "correct_b"))
    return mcnemar_exact(table) if exact else mcnemar_mid_p(table)


def _as_bool(value: Any, name: str) -> BoolArray:
    """(N,) of true and false, or of 1 and 0."""
    column = as_column(value, name, "pass whether the model is right on each image (N,)")
    if not np.isin(column, (0, 1)).all():
        raise InputError(f"{name} holds values other than true and false: pass pred == labels")
    return np.asarray(column, bool)


@checked
def write_report(folder: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` again into a folder that holds a comparison, and return its path.

    Raises:
        InputError: there is no comparison in the folder, or it cannot be read.
    """
    from stress_lab.report import page  # a second or two of drawing libraries

    return page.write_report(Path(folder))
