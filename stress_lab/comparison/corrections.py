"""Runs under corrected labels: everything that depends on a label is scored again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stress_lab.calibration.scores import score_predictions
from stress_lab.comparison.loading import LoadedRun
from stress_lab.evaluation import evaluate_predictions
from stress_lab.prediction_files.label_files import read_corrections
from stress_lab.records import IntArray, Predictions, Scores


def correct_labels(runs: Sequence[LoadedRun], path: Path) -> list[LoadedRun]:
    """The same runs under the labels that a file corrects.

    Raises:
        RunError: the file is missing or broken, or names an image or a class that a run does not have.
    """
    return [_correct(run, path) for run in runs]


def _correct(run: LoadedRun, path: Path) -> LoadedRun:
    """One run under corrected labels."""
    given = run.scores.label
    rows, right = read_corrections(path, run.scores.index if run.ids is None else run.ids, run.classes)
    label, checked = given.copy(), np.zeros(len(given), dtype=bool)
    label[rows], checked[rows] = right, True
    return replace(_rescore(run, label), given=given, checked=checked)


def _rescore(run: LoadedRun, label: IntArray) -> LoadedRun:
    """A run whose test images have other labels (N,)."""
    test, scores = run.predictions.get("test"), run.scores
    if test is not None:
        test = Predictions(test.index, label, test.logits)
        evaluation = dict(run.evaluation)
        if "test" in evaluation:
            evaluation["test"] = evaluate_predictions(test, run.classes, run.threshold)
        predictions = {**run.predictions, "test": test}
        return replace(run, scores=score_predictions(test), predictions=predictions, evaluation=evaluation)
    if run.source is not None:
        return replace(run, scores=run.source.score(label))
    return replace(run, scores=Scores(scores.index, label, scores.pred, scores.confidence))
