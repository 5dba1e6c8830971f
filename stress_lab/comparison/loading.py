"""What a comparison reads: finished runs, or prediction files made by another program."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
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
from stress_lab.prediction_files.scoring import ProbabilitySource
from stress_lab.records import BoolArray, DatasetSpec, FloatArray, IntArray, Predictions, RunInfo, Scores
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.locks import LOCK, is_held
from stress_lab.storage.filesets import read_whole
from stress_lab.storage.seals import is_own


@dataclass(frozen=True)
class LoadedRun:
    """One model on the test images, with whatever else its source provides.

    Attributes:
        name: of this run in tables. ``variant`` and ``seed`` say which runs belong together.
        threshold: of its confident failures.
        classes: K names.
        scores: of the test split.
        run: its folder, None for a prediction file; ``folder`` is the name of either.
        spec, info, history, evaluation, predictions, fingerprint: the run's records, empty for a file.
        ids: (N,) the file's names for its images.
        trusted: whether its net may be built: the run is the user's own, or the user trusts it.
        source: where a file's probabilities are read.
        given: (N,) labels before corrections, None without any; ``checked`` (N,) which of them somebody looked at.
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
    trusted: bool = False
    source: ProbabilitySource | None = field(default=None, repr=False)
    given: IntArray | None = None
    checked: BoolArray | None = None

    def __post_init__(self) -> None:
        if self.ids is not None and len(self.ids) != len(self.scores):
            raise RunError(f"{self.name} has {len(self.ids)} ids for {len(self.scores)} images: write one per image")

    @property
    def records(self) -> RunDir:
        """Its folder; raises RunError for a prediction file."""
        if self.run is None:
            raise RunError(f"{self.name} is a prediction file: it has no run folder")
        return self.run

    def name_images(self, chosen: BoolArray) -> list[Any]:
        """Index, or the file's id, of each chosen test image."""
        names: list[Any] = (self.scores.index if self.ids is None else self.ids)[chosen].tolist()
        return names

    @property
    def digest(self) -> str | None:
        """SHA-256 of its test predictions, and of the labels where they were corrected; None for a file."""
        known = self.run.digests.get("predictions/test.parquet") if self.run else None
        if known is None or self.given is None:
            return known
        return hashlib.sha256(known.encode() + self.scores.label.astype(np.int64).tobytes()).hexdigest()

    def stream_probs(self) -> Iterator[tuple[IntArray, FloatArray]] | None:
        """Rows (B,) and their test probabilities (B, K), part by part; None where they are not known."""
        test = self.predictions.get("test")
        if test is not None:
            return iter([(np.arange(len(test)), test.probs)])
        return self.source.stream() if self.source is not None else None

    @property
    def weights(self) -> str:
        """Which weights made its predictions."""
        if self.run is None:
            return "unknown"
        if self.run.is_audit:
            return self.info.weights.get("file", "the net's own") if self.info else "unknown"
        return f"checkpoint={self.run.config['checkpoint']}" if "checkpoint" in self.run.config else "last epoch"

    @property
    def failed(self) -> BoolArray | None:
        """(N,) whether each test image is a confident failure; None without confidences."""
        if self.scores.confidence is None:
            return None
        return np.asarray(~self.scores.correct & (self.scores.confidence > self.threshold))

    @cached_property
    def temperature(self) -> float | None:
        """Fitted on the validation split only; None without one."""
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
        f"{run.path.name} is left out: {_describe_state(run, info)}{f' ({info.error})' if info.error else ''}"
        for run in runs
        if (info := run.load_info()).state != "finished"
    ]


def _describe_state(run: RunDir, info: RunInfo) -> str:
    """How far an unfinished run got."""
    if info.state != "started":
        return info.state
    return "still being trained" if is_training(run) else "interrupted"


def is_training(run: RunDir) -> bool:
    """Whether a process is training a run right now."""
    return is_held(run.path / LOCK)


def load_finished(runs: Sequence[RunDir], trust: bool = False) -> list[LoadedRun]:
    """Read the runs that finished, checking each record against the run's seal.

    Args:
        runs: in launch order.
        trust: whether all of them count as the user's own, no matter who sealed them.

    Raises:
        RunError: none did, or a record is not the one that its run left.
    """
    finished = [run for run in runs if run.load_info().state == "finished"]
    if not finished:
        raise RunError(f"none of the {len(runs)} runs finished: see status.json in {runs[0].path}")
    return _name([_load(run, trust) for run in finished])


def load_readable(runs: Sequence[RunDir], trust: bool = False) -> tuple[list[LoadedRun], list[str], list[str]]:
    """Read the runs that finished and whose records can be read; arguments as in :func:`load_finished`.

    Returns:
        The runs; a sentence about each of the others; and those of these sentences that report lost results,
        not a run that is still training.

    Raises:
        RunError: there is none.
    """
    loaded: list[LoadedRun] = []
    left_out, lost = [], []
    for run in runs:
        try:
            sentences = list_unfinished([run])
            if not sentences:
                loaded.append(_load(run, trust))
        except RunError as error:
            sentences = [f"{run.path.name} is left out: {error}"]
        left_out += sentences
        lost += [] if is_training(run) else sentences
    if not loaded:
        raise RunError(f"none of the {len(runs)} runs can be compared: {'; '.join(left_out)}")
    return _name(loaded), left_out, lost


def _name(loaded: Sequence[LoadedRun]) -> list[LoadedRun]:
    """The same runs with the names of their variants, each run with a unique name."""
    named: list[LoadedRun] = []
    for one, variant in zip(loaded, name_variants([one.records for one in loaded]), strict=True):
        seed = "" if one.records.is_audit else f", seed {one.seed}"
        name, taken = f"{variant}{seed}", {other.name for other in named}
        candidates = itertools.chain([name, f"{name} ({one.folder})"], (f"{name} ({n})" for n in itertools.count(2)))
        named.append(replace(one, variant=variant, name=next(free for free in candidates if free not in taken)))
    return named


def _load(run: RunDir, trust: bool) -> LoadedRun:
    """Read one run, all records from one set; its variant is named later."""
    return read_whole(run.path, lambda staging: _read(RunDir(run.path, staging).sealed(), trust))


def _read(run: RunDir, trust: bool) -> LoadedRun:
    """Read one run from its files as they are."""
    info, spec = run.load_info(), run.load_spec()
    if info.state != "finished":
        raise RunError(f"{run.path} is no longer finished: another process began to train it again, so wait for it")
    if "test" not in run.load_evaluation():
        command = f"stress-lab evaluate {as_override('run', run.path)}"
        raise RunError(f"{run.evaluation_file} has no test split: {command} writes it")
    evaluation, predictions = run.load_results()
    _check_classes(run, spec, predictions)
    predictions["test"] = _by_index(predictions["test"])  # only sums of the others are used
    return LoadedRun(
        name=run.path.name,
        variant=run.config["variant"],
        seed=run.config["seed"],
        threshold=run.threshold,
        classes=spec.classes,
        scores=score_predictions(predictions["test"]),
        folder=run.path.name,
        run=run,
        spec=spec,
        info=info,
        history=run.load_history() if run.has(run.history_file) else [],
        fingerprint=run.load_fingerprint() if run.has(run.fingerprint_file) else {},
        evaluation=evaluation,
        predictions=predictions,
        trusted=trust or is_own(run.seal_file.parent, run.config_digest),
    )


def _by_index(predictions: Predictions) -> Predictions:
    """The same predictions in the order of their indices, as every run writes those of the test split."""
    if (np.diff(predictions.index) > 0).all():
        return predictions
    order = np.argsort(predictions.index)
    return Predictions(predictions.index[order], predictions.label[order], predictions.logits[order])


def _check_classes(run: RunDir, spec: DatasetSpec, predictions: Mapping[str, Predictions]) -> None:
    """Raise RunError where a run's data and predictions have different classes or images."""
    for split, one in predictions.items():
        if one.logits.shape[1] != len(spec.classes) or len(set(spec.classes)) < len(spec.classes):
            raise RunError(
                f"{run.data_file} and {run.predictions_file(split)} contradict each other, so one of them was changed: "
                f"{len(spec.classes)} classes, and {one.logits.shape[1]} logits per image"
            )
    if "test" not in spec.fingerprint:
        raise RunError(f"{run.data_file} was edited: it has no fingerprint of the test images; put it back")


def from_files(groups: Mapping[str, Sequence[PredictionFile]], threshold: float, word: str = "file") -> list[LoadedRun]:
    """Models known by their predictions only.

    Args:
        groups: files of each variant, one per seed, the reference first.
        threshold: of confident failures.
        word: that numbers the files of a variant.
    """
    return [
        LoadedRun(
            name=variant if len(files) == 1 else f"{variant}, {word} {number}",
            variant=variant,
            seed=number,
            threshold=threshold,
            classes=file.classes,
            scores=file.scores,
            folder=file.path.name,
            ids=file.ids,
            source=file.source,
        )
        for variant, files in groups.items()
        for number, file in enumerate(files, start=1)
    ]
