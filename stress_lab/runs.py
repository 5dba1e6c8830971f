"""The folder of a run: the only module that knows its file names (multirun/README.md tells them to people).

Every file is written beside its place and then moved there, so that a reader never meets half a record.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from stress_lab.errors import RunError
from stress_lab.files import load_json, save_csv, save_json, write_atomic
from stress_lab.filesets import COMPARISON, list_committed, settle
from stress_lab.launches import load_launch
from stress_lab.records import DatasetSpec, Failure, FloatArray, IntArray, Predictions, RunInfo

log = logging.getLogger(__name__)

CHECKPOINTS = ("last", "best")
NAMED_AS = "2026-11-21_10-00-00"  # folders of sweeps, with microseconds after it


class RunDir:
    """One run's folder. Paths are properties; ``save_`` and ``load_`` move records in and out of them.

    Args:
        path: the folder; created by the first ``save_``.
        staging: of a file set (:mod:`stress_lab.filesets`): records are saved there, and looked for there first.

    Attributes:
        retired: files of ``path`` that the records in ``staging`` do without.
    """

    def __init__(self, path: str | Path, staging: Path | None = None) -> None:
        self.path = Path(path)
        self.staging = staging
        self.retired: set[Path] = set()

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    def place(self, name: str) -> Path:
        """Where a record is written."""
        return (self.staging or self.path) / name

    def find(self, name: str) -> Path:
        """Where a record is read."""
        staged = self.place(name)
        return staged if staged.exists() else self.path / name

    def retire(self, files: Iterable[Path]) -> None:
        """Remove files of earlier records; where records are staged, they go when those appear."""
        for file in files:
            if self.staging is None:
                file.unlink(missing_ok=True)
            else:
                self.retired.add(file)

    config_file = property(lambda self: self.find("config.yaml"))
    status_file = property(lambda self: self.find("status.json"))
    data_file = property(lambda self: self.find("data.json"))
    split_file = property(lambda self: self.find("split.json"))
    fingerprint_file = property(lambda self: self.find("fingerprint.json"))
    history_file = property(lambda self: self.find("history.json"))
    throughput_file = property(lambda self: self.find("throughput.json"))
    evaluation_file = property(lambda self: self.find("evaluation.json"))
    failures_file = property(lambda self: self.find("failures/failures.json"))
    failure_grid = property(lambda self: self.place("failures/grid.png"))
    gradcam = property(lambda self: self.place("gradcam"))
    figures = property(lambda self: self.place("figures"))
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
        return self.find(f"predictions/{split}.parquet")

    def save_config(self, config: dict[str, Any]) -> None:
        """Write the resolved config."""
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        write_atomic(self.place("config.yaml"), lambda partial: partial.write_text(text, encoding="utf-8"))

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
        save_json(self.place("status.json"), dataclasses.asdict(info))

    def load_info(self) -> RunInfo:
        """Read the status."""
        return RunInfo.from_dict(load_json(self.status_file), str(self.status_file))

    def save_spec(self, spec: DatasetSpec) -> None:
        """Write what the data set is."""
        save_json(self.place("data.json"), dataclasses.asdict(spec))

    def load_spec(self) -> DatasetSpec:
        """Read what the data set is."""
        return DatasetSpec.from_dict(load_json(self.data_file), str(self.data_file))

    def save_split(self, indices: dict[str, IntArray]) -> None:
        """Write the official train positions of each split that was cut from them."""
        save_json(self.place("split.json"), {name: index.tolist() for name, index in indices.items()})

    def save_fingerprint(self, fingerprint: dict[str, Any]) -> None:
        """Write the digests of what the seed decided."""
        save_json(self.place("fingerprint.json"), fingerprint)

    def load_fingerprint(self) -> dict[str, Any]:
        """Read the digests of what the seed decided."""
        fingerprint: dict[str, Any] = load_json(self.fingerprint_file)
        return fingerprint

    def save_throughput(self, record: dict[str, Any]) -> None:
        """Write how fast training was."""
        save_json(self.place("throughput.json"), record)

    def save_history(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write one row an epoch, as JSON and CSV."""
        save_json(self.place("history.json"), list(rows))
        columns = list(dict.fromkeys(key for row in rows for key in row))
        save_csv(self.place("history.csv"), rows, columns)

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
        write_atomic(self.place(f"predictions/{split}.parquet"), lambda partial: pq.write_table(table, partial))

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
        return self.find(f"properties/{split}.parquet")

    def save_properties(self, split: str, index: IntArray, properties: Mapping[str, FloatArray]) -> None:
        """Write Parquet with the column index and one a property, each (N,)."""
        table = pa.table({"index": index, **properties})
        write_atomic(self.place(f"properties/{split}.parquet"), lambda partial: pq.write_table(table, partial))

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
            told = f"checkpoint={self.config['checkpoint']} split={split or 'test'} out={self.path}"
            return f"stress-lab-evaluate run={self.path.parent} {told} writes it again"
        if split == "test":
            return f"stress-lab-evaluate run={self.path} writes it again"
        return f"the command in {self.status_file}, given again with the same code, writes it again"

    def save_evaluation(self, split: str, evaluation: dict[str, Any]) -> None:
        """Put the evaluation of one split beside those of the other splits."""
        known = load_json(self.evaluation_file) if self.evaluation_file.is_file() else {}
        save_json(self.place("evaluation.json"), {**known, split: evaluation})

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
        save_json(self.place("failures/failures.json"), {**counts, "failures": rows})
        save_csv(self.place("failures/failures.csv"), rows, [field.name for field in dataclasses.fields(Failure)])

    def load_failures(self, split: str | None = None) -> list[Failure]:
        """Read the confident failures, the most confident first; none where they are of another split than asked."""
        record = load_json(self.failures_file)
        if split is not None and record.get("split", split) != split:  # older records name none
            return []
        return [Failure(**row) for row in record["failures"]]

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


TRACES = (  # files that only a run leaves; .hydra is left by a job that was refused, too
    *("status.json", "split.json", "fingerprint.json", "history.json", "throughput.json", "evaluation.json"),
    *("predictions/*.parquet", "properties/*.parquet", "failures/failures.json", "gradcam/maps.npz"),
    *("checkpoints/*.ckpt", "seal.json"),
)
TELLING = {"config.yaml": ("variant:", "seed:"), "data.json": ('"fingerprint"', '"classes"')}  # names that others use
NEEDED = ("config.yaml", "status.json")


def is_run(path: Path) -> bool:
    """Whether a folder holds a run that at least started."""
    return all((path / name).is_file() for name in NEEDED)


def has_traces(path: Path) -> bool:
    """Whether a folder holds anything that only a run leaves, so that a run it was, whole or not."""
    if any(True for pattern in TRACES for _ in path.glob(pattern)):
        return True
    return any(_holds(path / name, words) for name, words in TELLING.items())


def _holds(file: Path, words: Sequence[str]) -> bool:
    """Whether a text file is there and has all of these words."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError:
        return True  # what cannot be read is not passed over
    return text != "" and all(word in text for word in words)


def list_absent(path: Path) -> str:
    """What a folder lacks to be a run, in words."""
    return " and ".join(name for name in NEEDED if not (path / name).is_file())


def open_run(path: str | Path) -> RunDir:
    """A run's folder, ready to be read: a set of records that a killed process was moving there is completed first.

    Raises:
        RunError: another process is moving one, and does not end.
    """
    return RunDir(path, settle(Path(path)))


def natural(name: str) -> list[Any]:
    """Sort key that puts 2_cutout before 10_cutout."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def load_runs(sweep: str | Path) -> list[RunDir]:
    """The runs of a sweep's folder in the order in which they were launched; a warning names each that is not whole.

    Raises:
        RunError: the folder does not exist or holds no run.
    """
    runs, lost = find_runs(sweep)
    for sentence in lost.values():
        log.warning("%s", sentence)
    return runs


def find_runs(sweep: str | Path) -> tuple[list[RunDir], dict[str, str]]:
    """The runs of a sweep's folder, and those that lost what makes a run.

    Returns:
        The runs in the order in which they were launched; by name of its folder a sentence about each of the others.
        Folders without a trace of a run, such as a user's own, are neither.

    Raises:
        RunError: the folder does not exist or holds no run.
    """
    folder = Path(sweep)
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder: give sweep=FOLDER, such as one below multirun/")
    there = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: natural(path.name))
    opened = {path.name: open_run(path) for path in there if not path.name.startswith(".")}
    runs = [run for run in opened.values() if run.config_file.is_file() and run.status_file.is_file()]
    whole = {run.path.name for run in runs}
    lost = {name: say_lost(run.path) for name, run in opened.items() if name not in whole and has_traces(run.path)}
    if not runs and lost:
        raise RunError(f"{folder} holds no whole run: {'; '.join(lost.values())}")
    if not runs:
        deeper = sorted(path for path in there if any(map(is_run, path.iterdir())))
        if deeper:
            raise RunError(f"{folder} holds no runs, but {deeper[-1]} does: say sweep={deeper[-1]}")
        raise RunError(
            f"{folder} holds no runs: give the folder that holds config.yaml's folders, one level up or down"
        )
    return runs, lost


def say_lost(path: Path) -> str:
    """A sentence about a folder that holds only a part of a run."""
    absent = list_absent(path)
    return (
        f"{path.name} is left out: it lacks {absent}; put {'them' if ' and ' in absent else 'it'} back, or remove the "
        "folder and give the sweep's command again"
    )


def when_launched(folder: Path) -> float:
    """When a command last wrote the folder of a sweep or run, in seconds since 1970.

    ``launch.json`` says so in UTC. Where it does not, the first start of a run does, and then the folder's name, which
    holds the time of day at the place where it was made.
    """
    moments = [_read_moment(load_launch(folder).get("started"))]
    if moments == [None]:
        moments = [_read_moment(_load_started(RunDir(path))) for path in folder.iterdir() if is_run(path)]
    known = [moment for moment in moments if moment is not None]
    if known:
        return min(known)
    try:
        return datetime.strptime(folder.name[: len(NAMED_AS)], "%Y-%m-%d_%H-%M-%S").timestamp()
    except ValueError:
        return 0.0


def _load_started(run: RunDir) -> Any:
    """When a run says that it started, or nothing."""
    try:
        return run.load_info().started
    except RunError:
        return None


def _read_moment(text: Any) -> float | None:
    """Seconds since 1970 of a moment as records have it, or None where it is something else."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None


def newest_sweep(base: str | Path) -> Path:
    """The sweep below ``multirun/NAME`` that was launched last and compared, or where none was, the last that began.

    Raises:
        RunError: there is none.
    """
    folder = Path(base)
    there = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    begun = [path for path in there if load_launch(path).get("multirun", True) and _holds_runs(path)]
    compared = [path for path in begun if (path / "comparison.json").is_file() or list_committed(path, COMPARISON)]
    if not begun:
        raise RunError(
            f"{folder.absolute()} holds no sweep: run stress-lab -m experiment=demo first, or name another folder"
        )
    newest = max(compared or begun, key=lambda path: (when_launched(path), path.name))
    settle(newest, COMPARISON)
    return newest


def _holds_runs(folder: Path) -> bool:
    """Whether a folder holds folders of runs, or what is left of some."""
    return any(is_run(path) or has_traces(path) for path in folder.glob("[!.]*") if path.is_dir())
