"""The folder of a run: the only module that knows its file names (multirun/README.md explains them).

Every file is written beside its place and then moved there, so that nobody ever reads half a record.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from stress_lab.errors import RunError
from stress_lab.files import (
    LARGEST_YAML,
    PARTIAL,
    parse_yaml,
    save_csv,
    save_json,
    write_atomic,
)
from stress_lab.records import DatasetSpec, Failure, IntArray, Predictions, RunInfo, is_number
from stress_lab.runs.tables import TableFolder
from stress_lab.storage.seals import NAME as SEAL
from stress_lab.storage.seals import digest_bytes, write_seal

log = logging.getLogger(__name__)

CHECKPOINTS = ("last", "best")
SPARE = "previous.ckpt"  # may be missing once a run has finished
SEALED = (  # the files a seal lists; not logs and TensorBoard files, which others write
    *("config.yaml", "status.json", "data.json", "split.json", "fingerprint.json", "throughput.json", "history.*"),
    *("evaluation.json", ".hydra/*.yaml", "predictions/*.parquet", "properties/*.parquet", "checkpoints/*.ckpt"),
    "images/*.parquet",
    *("failures/failures.*", "failures/grid.png", "figures/*.png", "gradcam/*.png", "gradcam/maps.*"),
    *("stress/*/*.parquet", "stress/*/summary.json", "stress/*/accuracy.png"),
)


class RunDir(TableFolder):
    """One run's folder. Paths are properties; ``save_`` and ``load_`` move records in and out of them.

    Args:
        path: the folder; created by the first ``save_``.
        staging: of a file set (:mod:`stress_lab.storage.filesets`): records are saved there, and read there first.

    Attributes:
        retired: files of ``path`` that the records in ``staging`` replace by nothing.
        seal: each record is compared with it when read; None, the default, compares nothing.
        digests: SHA-256 of each record that was read, by its path within the folder.
    """

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

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
        """Path of the ``last`` or ``best`` checkpoint; raises RunError when it is missing."""
        path: Path = self.checkpoints / f"{which}.ckpt"
        if not path.is_file():
            there = ", ".join(sorted(p.stem for p in self.checkpoints.glob("*.ckpt"))) or "none"
            raise RunError(f"{path} is missing; checkpoints of this run: {there}")
        return path

    def save_config(self, config: dict[str, Any]) -> None:
        """Write the resolved config."""
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        write_atomic(self.place("config.yaml"), lambda partial: partial.write_text(text, encoding="utf-8"))

    def list_records(self) -> list[str]:
        """Paths within the folder of everything a run leaves that exists."""
        places = {self.path, self.place("")}
        found = (path for place in places for pattern in SEALED for path in place.glob(pattern) if path.is_file())
        gone = {self._name(path) for path in self.retired}
        whole = (path for path in found if path.name != SPARE and not path.name.startswith(PARTIAL))
        return sorted({name for path in whole if (name := self._name(path)) not in gone or self.place(name).is_file()})

    def write_seal(self, run_id: str) -> None:
        """Seal the folder as it is; called when a run's last record was written."""
        write_seal(self.place(""), self.list_records(), run_id, find=self.find)

    def save_hydra(self, name: str, text: str) -> None:
        """Write one file of Hydra's own record: ``config``, ``hydra`` or ``overrides``."""
        write_atomic(self.path / ".hydra" / f"{name}.yaml", lambda partial: partial.write_text(text, encoding="utf-8"))

    @property
    def overrides(self) -> list[str]:
        """What was typed after ``stress-lab`` for this run; empty where Hydra's record of it is gone."""
        path = self.path / ".hydra" / "overrides.yaml"
        if not path.is_file():
            return []
        try:
            found = parse_yaml(self._read(path, LARGEST_YAML))
        except ValueError as error:
            raise RunError(f"{path} cannot be read ({error}): put it back, or remove it") from None
        return [str(one) for one in found] if isinstance(found, list) else []

    def save_info(self, info: RunInfo) -> None:
        """Write the status."""
        save_json(self.place("status.json"), dataclasses.asdict(info))

    def load_info(self) -> RunInfo:
        """Read the status; raises RunError where it cannot be read, or the folder's seal is of another run."""
        info = RunInfo.from_dict(self._load_json(self.status_file), str(self.status_file))
        if self.seal is not None and self.seal.run != info.id:
            raise RunError(
                f"{self.seal_file} is of another run than {self.status_file}: put back the one that is wrong"
            )
        if self.seal is not None and info.state == "finished" and "status.json" not in self.seal.files:
            raise RunError(
                f"{self.path} was interrupted as it finished, so {SEAL} lists no results: run the command in "
                f"{self.status_file} again"
            )
        return info

    def save_spec(self, spec: DatasetSpec) -> None:
        """Write what the data set is."""
        save_json(self.place("data.json"), dataclasses.asdict(spec))

    def load_spec(self) -> DatasetSpec:
        """Read what the data set is."""
        return DatasetSpec.from_dict(self._load_json(self.data_file), str(self.data_file))

    def save_split(self, indices: dict[str, IntArray]) -> None:
        """Write the official train positions of each split made from them."""
        save_json(self.place("split.json"), {name: index.tolist() for name, index in indices.items()})

    def save_fingerprint(self, fingerprint: dict[str, Any]) -> None:
        """Write the digests of what the seed decided."""
        save_json(self.place("fingerprint.json"), fingerprint)

    def load_fingerprint(self) -> dict[str, Any]:
        """Read the digests of what the seed decided."""
        fingerprint = self._load_json(self.fingerprint_file)
        if not isinstance(fingerprint, dict) or not {"weights", "order", "augmentation"} <= fingerprint.keys():
            raise RunError(f"{self.fingerprint_file} was edited: {self._remedy()}")
        return fingerprint  # type: ignore[no-any-return]

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
        rows = self._load_json(self.history_file)
        if not isinstance(rows, list) or not all(isinstance(row, dict) and _is_row(row) for row in rows):
            raise RunError(f"{self.history_file} was edited: {self._remedy()}")
        return rows

    def save_evaluation(self, split: str, evaluation: dict[str, Any]) -> None:
        """Put the evaluation of one split beside those of the other splits, with the digest of its predictions."""
        known = self.load_evaluation() if self.evaluation_file.is_file() else {}
        save_json(self.place("evaluation.json"), {**known, split: {**evaluation, **self._derived_from(split)}})

    def _derived_from(self, split: str) -> dict[str, str]:
        """Which predictions a record was made from."""
        file = self.predictions_file(split)
        return {"predictions_sha256": digest_bytes(file.read_bytes())} if file.is_file() else {}

    def load_evaluation(self) -> dict[str, Any]:
        """Read the evaluations, by split."""
        evaluation = self._load_json(self.evaluation_file)
        known = isinstance(evaluation, dict) and all(isinstance(one, dict) for one in evaluation.values())
        if not known or not all(_is_evaluation(split, one) for split, one in evaluation.items()):
            raise RunError(f"{self.evaluation_file} was edited: {self._remedy('test')}")
        return evaluation  # type: ignore[no-any-return]

    def save_failures(self, failures: Sequence[Failure], counts: dict[str, Any]) -> None:
        """Write the confident failures as JSON, under their counts, and as CSV."""
        rows = [dataclasses.asdict(failure) for failure in failures]
        derived = self._derived_from(str(counts.get("split", "test")))
        save_json(self.place("failures/failures.json"), {**counts, **derived, "failures": rows})
        save_csv(self.place("failures/failures.csv"), rows, [field.name for field in dataclasses.fields(Failure)])

    def load_failures(self, split: str | None = None) -> list[Failure]:
        """Read the confident failures, the most confident first; none where they are of another split than asked.

        Raises:
            RunError: the record cannot be read, or is of other predictions than those just read.
        """
        record = self._load_json(self.failures_file)
        if not isinstance(record, dict) or not isinstance(record.get("failures"), list):
            raise RunError(f"{self.failures_file} was edited: {self._remedy('test')}")
        of = record.get("split", "test")  # older records name none
        if split is not None and of != split:
            return []
        self.check_derived(self.failures_file, record, of if isinstance(of, str) else "test")
        return [Failure.from_dict(row, str(self.failures_file)) for row in record["failures"]]

    def check_derived(self, file: Path, record: Mapping[str, Any], split: str) -> None:
        """Raise RunError where a record was made from other predictions of a split than those just read."""
        read = self.digests.get(f"predictions/{split}.parquet")
        if read is not None and record.get("predictions_sha256", read) != read:
            raise RunError(
                f"{file} and {self.predictions_file(split)} contradict each other, so one of them was changed: "
                f"{self._remedy(split)}"
            )

    def load_results(self) -> tuple[dict[str, Any], dict[str, Predictions]]:
        """Evaluation and predictions of each split.

        Raises:
            RunError: one of them is missing or broken, or they contradict each other.
        """
        evaluation = self.load_evaluation()
        predictions = {split: self.load_predictions(split) for split in evaluation}
        for split, one in evaluation.items():
            self.check_derived(self.evaluation_file, one, split)
            counted = {"n": len(predictions[split]), "errors": int((~predictions[split].correct).sum())}
            if any(one[key] != count for key, count in counted.items()):
                raise RunError(
                    f"{self.evaluation_file} reports {one['errors']} errors among {one['n']} {split} images, but "
                    f"{self.predictions_file(split)} has {counted['errors']} of {counted['n']}: {self._remedy(split)}"
                )
        return evaluation, predictions

    def find_damage(self) -> str | None:
        """What is wrong with the records that a comparison reads, or None where all can be read and agree."""
        try:
            run = self.sealed()
            run.load_info(), run.load_spec(), run.config, run.overrides
            run.load_results()
            optional: list[tuple[Path, Callable[[], Any]]] = [
                (run.history_file, run.load_history),
                (run.fingerprint_file, run.load_fingerprint),
                (run.failures_file, run.load_failures),
                (run.properties_file("test"), lambda: run.load_properties("test")),
            ]
            for file, load in optional:
                if run.has(file):
                    load()
        except RunError as error:
            return str(error)
        return None


def _is_row(row: Mapping[Any, Any]) -> bool:
    """Whether a row of history has an epoch and numbers."""
    return "epoch" in row and all(isinstance(key, str) and is_number(value) for key, value in row.items())


def _is_evaluation(split: str, one: Mapping[str, Any]) -> bool:
    """Whether an evaluation has its numbers, and its split a name that is not a path."""
    whole = all(is_number(one.get(key), whole=True) for key in ("n", "errors"))
    return whole and is_number(one.get("accuracy")) and re.fullmatch(r"\w+", split) is not None
