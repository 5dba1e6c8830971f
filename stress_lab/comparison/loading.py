"""What a comparison reads: finished runs, or files of predictions that another program made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stress_lab.calibration.scores import score_predictions
from stress_lab.calibration.temperature import apply_temperature, fit_temperature
from stress_lab.comparison.naming import name_variants
from stress_lab.errors import RunError
from stress_lab.plain_text import as_override
from stress_lab.prediction_files import PredictionFile
from stress_lab.records import BoolArray, DatasetSpec, FloatArray, Predictions, RunInfo, Scores
from stress_lab.runs import RunDir


@dataclass(frozen=True)
class LoadedRun:
    """One model on the test images, with whatever else its source tells.

    Attributes:
        name: of this run in tables. ``variant`` and ``seed`` say which runs belong together.
        threshold: of its confident failures.
        classes: K names.
        scores: of the test split.
        run: its folder, None for a file of predictions; ``folder`` is the name of either.
        spec, info, history, evaluation, predictions, fingerprint: the run's records, empty for a file.
        ids: (N,) what a file calls its images.
    """

    name: str
    variant: str
    seed: int
    threshold: float
    classes: tuple[str, ...]
    scores: Scores
    folder: str
    run: RunDir | None = None
    spec: DatasetSpec | None = None
    info: RunInfo | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    evaluation: dict[str, Any] = field(default_factory=dict)
    predictions: dict[str, Predictions] = field(default_factory=dict)
    fingerprint: dict[str, Any] = field(default_factory=dict)
    ids: NDArray[Any] | None = None

    @property
    def records(self) -> RunDir:
        """Its folder; raises RunError for a file of predictions."""
        if self.run is None:
            raise RunError(f"{self.name} is a file of predictions: it has no run folder")
        return self.run

    def name_images(self, chosen: BoolArray) -> list[Any]:
        """Index, or the file's id, of each chosen test image."""
        names: list[Any] = (self.scores.index if self.ids is None else self.ids)[chosen].tolist()
        return names

    @property
    def weights(self) -> str:
        """Which weights made its predictions."""
        if self.run is None:
            return "unknown"
        return f"checkpoint={self.run.config['checkpoint']}" if "checkpoint" in self.run.config else "last epoch"

    @property
    def failed(self) -> BoolArray | None:
        """(N,) whether each test image is a confident failure; None without confidences."""
        if self.scores.confidence is None:
            return None
        return np.asarray(~self.scores.correct & (self.scores.confidence > self.threshold))

    @cached_property
    def temperature(self) -> float | None:
        """Fitted on the validation split alone; None where there is none."""
        val = self.predictions.get("val")
        return None if val is None else fit_temperature(val.logits, val.label)

    @cached_property
    def calibrated_confidence(self) -> FloatArray | None:
        """(N,) test confidence after temperature scaling; None without a validation split."""
        if self.temperature is None:
            return None
        return apply_temperature(self.predictions["test"], self.temperature).confidence


def list_unfinished(runs: Sequence[RunDir]) -> list[str]:
    """A sentence for each run that has no results to compare."""
    return [
        f"{run.path.name} is left out: {'interrupted' if info.state == 'started' else info.state}"
        f"{f' ({info.error})' if info.error else ''}"
        for run in runs
        if (info := run.load_info()).state != "finished"
    ]


def load_finished(runs: Sequence[RunDir]) -> list[LoadedRun]:
    """Read the runs that finished.

    Raises:
        RunError: none did.
    """
    finished = [run for run in runs if run.load_info().state == "finished"]
    if not finished:
        raise RunError(f"none of the {len(runs)} runs finished: see status.json in {runs[0].path}")
    loaded: list[LoadedRun] = []
    for run, variant in zip(finished, name_variants(finished), strict=True):
        one = _load(run, variant)
        repeat = one.name in {other.name for other in loaded}
        loaded.append(replace(one, name=f"{one.name} ({one.folder})") if repeat else one)
    return loaded


def _load(run: RunDir, variant: str) -> LoadedRun:
    """Read one run."""
    evaluation, spec = run.load_evaluation(), run.load_spec()
    if "test" not in evaluation:
        command = f"stress-lab-evaluate {as_override('run', run.path)}"
        raise RunError(f"{run.evaluation_file} has no test split: {command} writes it")
    predictions = {split: run.load_predictions(split) for split in evaluation}
    return LoadedRun(
        name=f"{variant}, seed {run.config['seed']}",
        variant=variant,
        seed=run.config["seed"],
        threshold=run.config["threshold"],
        classes=spec.classes,
        scores=score_predictions(predictions["test"]),
        folder=run.path.name,
        run=run,
        spec=spec,
        info=run.load_info(),
        history=run.load_history() if run.history_file.is_file() else [],
        fingerprint=run.load_fingerprint() if run.fingerprint_file.is_file() else {},
        evaluation=evaluation,
        predictions=predictions,
    )


def from_files(groups: Mapping[str, Sequence[PredictionFile]], threshold: float) -> list[LoadedRun]:
    """Models known by their predictions only.

    Args:
        groups: files of each variant, one a seed, the reference first.
        threshold: of confident failures.
    """
    return [
        LoadedRun(
            name=variant if len(files) == 1 else f"{variant}, file {number}",
            variant=variant,
            seed=number,
            threshold=threshold,
            classes=file.classes,
            scores=file.scores,
            folder=file.path.name,
            ids=file.ids,
        )
        for variant, files in groups.items()
        for number, file in enumerate(files, start=1)
    ]
