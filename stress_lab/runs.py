"""The folder of a run: the only module that knows its file names (multirun/README.md tells them to people).

Every file is written beside its place and then moved there, so that a reader never meets half a record.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from stress_lab.errors import RunError
from stress_lab.files import load_json, save_csv, save_json, write_atomic
from stress_lab.launches import load_launch, read_number
from stress_lab.plain_text import as_override
from stress_lab.records import DatasetSpec, Failure, FloatArray, IntArray, Predictions, RunInfo

CHECKPOINTS = ("last", "best")


class RunDir:
    """One run's folder. Paths are properties; ``save_`` and ``load_`` move records in and out of them.

    Args:
        path: the folder; created by the first ``save_``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    config_file = property(lambda self: self.path / "config.yaml")
    status_file = property(lambda self: self.path / "status.json")
    data_file = property(lambda self: self.path / "data.json")
    split_file = property(lambda self: self.path / "split.json")
    fingerprint_file = property(lambda self: self.path / "fingerprint.json")
    history_file = property(lambda self: self.path / "history.json")
    throughput_file = property(lambda self: self.path / "throughput.json")
    evaluation_file = property(lambda self: self.path / "evaluation.json")
    failures_file = property(lambda self: self.path / "failures" / "failures.json")
    failure_grid = property(lambda self: self.path / "failures" / "grid.png")
    gradcam = property(lambda self: self.path / "gradcam")
    figures = property(lambda self: self.path / "figures")
    checkpoints = property(lambda self: self.path / "checkpoints")
    tensorboard = property(lambda self: self.path / "tensorboard")

    def checkpoint(self, which: str) -> Path:
        """Path of the ``last`` or ``best`` checkpoint; raises RunError when it is not there."""
        path: Path = self.checkpoints / f"{which}.ckpt"
        if not path.is_file():
            there = ", ".join(sorted(p.stem for p in self.checkpoints.glob("*.ckpt"))) or "none"
            raise RunError(f"{path} is missing; checkpoints of this run: {there}")
        return path

    def predictions_file(self, split: str) -> Path:
        """Path of the predictions of one split."""
        return self.path / "predictions" / f"{split}.parquet"

    def save_config(self, config: dict[str, Any]) -> None:
        """Write the resolved config."""
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        write_atomic(self.config_file, lambda partial: partial.write_text(text, encoding="utf-8"))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config; raises RunError when the folder is not a run."""
        if not self.config_file.is_file():
            raise RunError(f"{self.path} is not a run folder: it has no config.yaml")
        try:
            config = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise RunError(f"{self.config_file} cannot be read ({reason}): .hydra/config.yaml holds a copy") from None
        if not isinstance(config, dict) or not {"variant", "seed"} <= config.keys():
            raise RunError(f"{self.config_file} is not the config of a run: it names no variant and seed")
        if not isinstance(config["variant"], str) or not isinstance(config["seed"], int):  # they become file names
            raise RunError(f"{self.config_file} was edited: variant must be text and seed a whole number")
        return config

    def save_hydra(self, name: str, text: str) -> None:
        """Write one file of Hydra's own record: ``config``, ``hydra`` or ``overrides``."""
        write_atomic(self.path / ".hydra" / f"{name}.yaml", lambda partial: partial.write_text(text, encoding="utf-8"))

    @property
    def overrides(self) -> list[str]:
        """What was typed after ``stress-lab`` for this run; empty where Hydra's record of it is gone."""
        path = self.path / ".hydra" / "overrides.yaml"
        found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else []
        return [str(one) for one in found] if isinstance(found, list) else []

    def save_info(self, info: RunInfo) -> None:
        """Write the status."""
        save_json(self.status_file, dataclasses.asdict(info))

    def load_info(self) -> RunInfo:
        """Read the status."""
        return RunInfo.from_dict(load_json(self.status_file), str(self.status_file))

    def save_spec(self, spec: DatasetSpec) -> None:
        """Write what the data set is."""
        save_json(self.data_file, dataclasses.asdict(spec))

    def load_spec(self) -> DatasetSpec:
        """Read what the data set is."""
        return DatasetSpec.from_dict(load_json(self.data_file), str(self.data_file))

    def save_split(self, indices: dict[str, IntArray]) -> None:
        """Write the official train positions of each split that was cut from them."""
        save_json(self.split_file, {name: index.tolist() for name, index in indices.items()})

    def save_fingerprint(self, fingerprint: dict[str, Any]) -> None:
        """Write the digests of what the seed decided."""
        save_json(self.fingerprint_file, fingerprint)

    def load_fingerprint(self) -> dict[str, Any]:
        """Read the digests of what the seed decided."""
        fingerprint: dict[str, Any] = load_json(self.fingerprint_file)
        return fingerprint

    def save_throughput(self, record: dict[str, Any]) -> None:
        """Write how fast training was."""
        save_json(self.throughput_file, record)

    def save_history(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write one row an epoch, as JSON and CSV."""
        save_json(self.history_file, list(rows))
        columns = list(dict.fromkeys(key for row in rows for key in row))
        save_csv(self.history_file.with_suffix(".csv"), rows, columns)

    def load_history(self) -> list[dict[str, Any]]:
        """Read one row an epoch."""
        rows: list[dict[str, Any]] = load_json(self.history_file)
        return rows

    def save_predictions(self, split: str, predictions: Predictions) -> None:
        """Write Parquet with columns index, label, pred, confidence, correct, logits (a list of K)."""
        logits = np.ascontiguousarray(predictions.logits, dtype=np.float32)
        table = pa.table(
            {
                "index": predictions.index,
                "label": predictions.label,
                "pred": predictions.pred,
                "confidence": predictions.confidence,
                "correct": predictions.correct,
                "logits": pa.FixedSizeListArray.from_arrays(logits.ravel(), logits.shape[1]),
            }
        )
        write_atomic(self.predictions_file(split), lambda partial: pq.write_table(table, partial))

    def load_predictions(self, split: str) -> Predictions:
        """Read predictions; raises RunError when the file is missing or broken."""
        table = self._read_table(self.predictions_file(split), split, ["index", "label", "logits"])
        try:
            flat = table["logits"].combine_chunks().flatten().to_numpy()
            logits = flat.reshape(table.num_rows, -1).astype(np.float32, copy=False)
            index, label = (table[name].to_numpy().astype(np.int64, copy=False) for name in ("index", "label"))
        except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
            raise RunError(f"{self.predictions_file(split)} was edited ({error}): {self._again(split)}") from None
        return Predictions(index, label, logits)

    def properties_file(self, split: str) -> Path:
        """Path of what was measured on the images of one split."""
        return self.path / "properties" / f"{split}.parquet"

    def save_properties(self, split: str, index: IntArray, properties: Mapping[str, FloatArray]) -> None:
        """Write Parquet with the column index and one a property, each (N,)."""
        table = pa.table({"index": index, **properties})
        write_atomic(self.properties_file(split), lambda partial: pq.write_table(table, partial))

    def load_properties(self, split: str) -> tuple[IntArray, dict[str, FloatArray]]:
        """Read index (N,) and the properties, each (N,); raises RunError when the file is missing or broken."""
        table = self._read_table(self.properties_file(split), split)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        return columns.pop("index"), columns

    def _read_table(self, path: Path, split: str, columns: list[str] | None = None) -> pa.Table:
        """Read Parquet; raises RunError, with the command that writes it again, when it is missing or broken."""
        if not path.is_file():
            raise RunError(f"{path} is missing: {self._again(split)}")
        try:
            return pq.read_table(path, columns=columns)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise RunError(f"{path} cannot be read ({error}): {self._again(split)}") from None

    def _again(self, split: str = "") -> str:
        """What writes a damaged record again: for the test split a command of its own, else the run's own command."""
        if "checkpoint" in self.config:  # stress-lab-evaluate made the folder
            made = (as_override("run", self.path.parent), as_override("checkpoint", self.config["checkpoint"]))
            told = f"split={split or 'test'} {as_override('out', self.path)}"
            return f"stress-lab-evaluate {' '.join(made)} {told} writes it again"
        if split == "test":
            return f"stress-lab-evaluate {as_override('run', self.path)} writes it again"
        return f"the command in {self.status_file}, given again with the same code, writes it again"

    def save_evaluation(self, split: str, evaluation: dict[str, Any]) -> None:
        """Put the evaluation of one split beside those of the other splits."""
        known = load_json(self.evaluation_file) if self.evaluation_file.is_file() else {}
        save_json(self.evaluation_file, {**known, split: evaluation})

    def load_evaluation(self) -> dict[str, Any]:
        """Read the evaluations, by split."""
        evaluation: dict[str, Any] = load_json(self.evaluation_file)
        known = isinstance(evaluation, dict) and all(isinstance(one, dict) for one in evaluation.values())
        if not known or any({"n", "errors", "accuracy"} - one.keys() for one in evaluation.values()):
            raise RunError(f"{self.evaluation_file} was edited: {self._again()}")
        return evaluation

    def save_failures(self, failures: Sequence[Failure], counts: dict[str, Any]) -> None:
        """Write the confident failures as JSON, under their counts, and as CSV."""
        rows = [dataclasses.asdict(failure) for failure in failures]
        save_json(self.failures_file, {**counts, "failures": rows})
        save_csv(self.failures_file.with_suffix(".csv"), rows, [field.name for field in dataclasses.fields(Failure)])

    def load_failures(self) -> list[Failure]:
        """Read the confident failures, the most confident first."""
        return [Failure(**row) for row in load_json(self.failures_file)["failures"]]

    def find_damage(self) -> str | None:
        """What is wrong with the records that a comparison reads, or None where all of them can be read."""
        try:
            self.load_info(), self.load_spec(), self.config
            for split in self.load_evaluation():
                self.load_predictions(split)
            for file in (self.history_file, self.failures_file):
                if file.is_file():
                    load_json(file)
        except RunError as error:
            return str(error)
        return None


def setting(run: RunDir, callback: str, key: str, otherwise: Any) -> Any:
    """What a run's own callback was told, or ``otherwise`` where the run did without that callback."""
    return ((run.config.get("callbacks") or {}).get(callback) or {}).get(key, otherwise)


def explained_layer(run: RunDir, asked: str | None) -> str:
    """Dotted name of the layer that Grad-CAM explains: the one asked for, else that of the run's own maps."""
    return str(asked or setting(run, "gradcam", "layer", "layer3"))


def is_run(path: Path) -> bool:
    """Whether a folder holds a run that at least started."""
    return (path / "status.json").is_file() and (path / "config.yaml").is_file()


def natural(name: str) -> list[Any]:
    """Sort key that puts 2_cutout before 10_cutout."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def load_runs(sweep: str | Path) -> list[RunDir]:
    """The runs of a sweep's folder in the order in which they were launched.

    Raises:
        RunError: the folder does not exist or holds no run.
    """
    folder = Path(sweep)
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder: give sweep=FOLDER, such as one below multirun/")
    runs = [
        RunDir(path)
        for path in sorted(folder.iterdir(), key=lambda path: natural(path.name))
        if path.is_dir() and is_run(path)
    ]
    if not runs:
        deeper = sorted(path for path in folder.iterdir() if path.is_dir() and any(map(is_run, path.iterdir())))
        if deeper:
            last = max(deeper, key=launch_order)
            raise RunError(f"{folder} holds no runs, but {last} does: say {as_override('sweep', last)}")
        raise RunError(
            f"{folder} holds no runs: give the folder that holds config.yaml's folders, one level up or down"
        )
    return runs


def launch_order(folder: Path) -> tuple[int, float, str]:
    """What orders the folders of launches: the number that each launch takes, whatever the clock and the time zone say.

    Launches of older versions have none and come first, by when they were launched.
    """
    return read_number(load_launch(folder)), when_launched(folder), folder.name


def when_launched(folder: Path) -> float:
    """When a command last wrote the folder of a sweep or run, in seconds since 1970.

    ``launch.json`` says so in UTC. Where it does not, the first start of a run does, and then the time at which the
    folder was changed; its name is for people, and holds the time of day where it was made.
    """
    moments = [_read_moment(load_launch(folder).get("started"))]
    if moments == [None]:
        moments = [_read_moment(_load_started(RunDir(path))) for path in folder.iterdir() if is_run(path)]
    known = [moment for moment in moments if moment is not None]
    return min(known, default=folder.stat().st_mtime)


def _load_started(run: RunDir) -> Any:
    """When a run says that it started, or nothing."""
    try:
        return run.load_info().started
    except RunError:
        return None


def _read_moment(text: Any) -> float | None:
    """Seconds since 1970 of a moment as records have it, in UTC where it names no zone; None for something else."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def newest_sweep(base: str | Path) -> Path:
    """The sweep below ``multirun/NAME`` that was launched last and compared, or where none was, the last that began.

    Raises:
        RunError: there is none.
    """
    folder = Path(base)
    there = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    begun = [path for path in there if load_launch(path).get("multirun", True) and any(map(is_run, path.iterdir()))]
    sweeps = [path for path in begun if (path / "comparison.json").is_file()] or begun
    if not sweeps:
        raise RunError(
            f"{folder.absolute()} holds no sweep: run stress-lab -m experiment=demo first, or name another folder"
        )
    return max(sweeps, key=launch_order)
