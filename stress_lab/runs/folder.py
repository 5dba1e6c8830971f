"""The folder of a run: the only module that knows its file names (multirun/README.md explains them).

Every file is written beside its place and then moved there, so that nobody ever reads half a record.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from stress_lab.errors import RunError
from stress_lab.files import (
    LARGEST_JSON,
    LARGEST_YAML,
    PARTIAL,
    parse_json,
    parse_yaml,
    read_record,
    save_csv,
    save_json,
    write_atomic,
)
from stress_lab.plain_text import as_override
from stress_lab.records import DatasetSpec, Failure, FloatArray, IntArray, Predictions, RunInfo, is_number
from stress_lab.runs.tables import check_growth, read_whole_numbers
from stress_lab.storage.limits import measure_chunks, refuse_too_large
from stress_lab.storage.seals import NAME as SEAL
from stress_lab.storage.seals import Seal, digest_bytes, load_seal, write_seal

log = logging.getLogger(__name__)

CHECKPOINTS = ("last", "best")
SPARE = "previous.ckpt"  # may be missing once a run has finished
SEALED = (  # the files a seal lists; not logs and TensorBoard files, which others write
    *("config.yaml", "status.json", "data.json", "split.json", "fingerprint.json", "throughput.json", "history.*"),
    *("evaluation.json", ".hydra/*.yaml", "predictions/*.parquet", "properties/*.parquet", "checkpoints/*.ckpt"),
    "images/*.parquet",
    *("failures/failures.*", "failures/grid.png", "figures/*.png", "gradcam/*.png", "gradcam/maps.*"),
)
EVALUATED = ("predictions/test.", "properties/test.", "evaluation.", "failures/", "gradcam/", "figures/test_")
LARGER = "use a machine with more memory, or put back this run's own file if it was replaced"


class RunDir:
    """One run's folder. Paths are properties; ``save_`` and ``load_`` move records in and out of them.

    Args:
        path: the folder; created by the first ``save_``.
        staging: of a file set (:mod:`stress_lab.storage.filesets`): records are saved there, and read there first.

    Attributes:
        retired: files of ``path`` that the records in ``staging`` replace by nothing.
        seal: each record is compared with it when read; None, the default, compares nothing.
        digests: SHA-256 of each record that was read, by its path within the folder.
    """

    def __init__(self, path: str | Path, staging: Path | None = None) -> None:
        self.path = Path(path)
        self.staging = staging
        self.retired: set[Path] = set()
        self.seal: Seal | None = None
        self.digests: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    def place(self, name: str) -> Path:
        """Where a record is written."""
        return (self.staging or self.path) / name

    def find(self, name: str) -> Path:
        """Where a record is read."""
        staged = self.place(name)
        return staged if staged.exists() else self.path / name

    def _name(self, path: Path) -> str:
        """Path of a record within the folder, wherever it is read."""
        staged = self.staging is not None and path.is_relative_to(self.staging)
        return path.relative_to(self.place("") if staged else self.path).as_posix()

    def retire(self, files: Iterable[Path]) -> None:
        """Remove files of earlier records; with staged records, they are removed when those appear."""
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
    seal_file = property(lambda self: self.find(SEAL))
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
        content = self._read(self.config_file, LARGEST_YAML)
        try:
            config = parse_yaml(content)
        except ValueError as error:
            raise RunError(f"{self.config_file} cannot be read ({error}): .hydra/config.yaml holds a copy") from None
        if not isinstance(config, dict) or not {"variant", "seed"} <= config.keys():
            raise RunError(f"{self.config_file} is not the config of a run: it names no variant and seed")
        if not isinstance(config["variant"], str) or not isinstance(config["seed"], int):  # they become file names
            raise RunError(f"{self.config_file} was edited: variant must be text and seed a whole number")
        threshold = config.get("threshold", 0.7)
        if not is_number(threshold) or not 0 <= threshold < 1:
            raise RunError(f"{self.config_file} was edited: threshold must be a fraction from 0 to below 1")
        return config

    @property
    def threshold(self) -> float:
        """Confidence above which an error is a confident failure; raises RunError where the config has none."""
        if "threshold" not in self.config:
            raise RunError(f"{self.config_file} was edited: it has no threshold, .hydra/config.yaml holds a copy")
        return float(self.config["threshold"])

    @property
    def is_audit(self) -> bool:
        """Whether the net was trained elsewhere, and ``stress-lab audit`` wrote the records."""
        return isinstance(self.config.get("audit"), dict)

    @property
    def config_digest(self) -> str:
        """SHA-256 of the config as :attr:`config` read it."""
        _ = self.config
        return self.digests["config.yaml"]

    def sealed(self) -> RunDir:
        """This folder as a new object that compares each record with the seal, if there is one, when reading it.

        Raises:
            RunError: the seal cannot be read.
        """
        run = RunDir(self.path, self.staging)
        run.seal = load_seal(run.seal_file.parent)
        return run

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

    def _read(self, path: Path, largest: int = LARGEST_JSON) -> bytes:
        """The bytes of a record; raises RunError where it is missing, too large, or not the sealed one."""
        self.has(path)
        name, content = self._name(path), read_record(path, largest)
        self.digests[name] = digest_bytes(content)
        self._compare(name, self.digests[name])
        return content

    def _compare(self, name: str, digest: str | None = None) -> None:
        """Raise RunError, with what to type, where a record is missing or not the sealed one."""
        if self.seal is not None and not self.seal.holds(self.path, name, digest):
            self.seal.check(self.path, name, digest, self._sealed_remedy(name))

    def _load_json(self, path: Path) -> Any:
        """Read a record that is JSON."""
        return parse_json(self._read(path), path)

    def _sealed_remedy(self, name: str) -> str:
        """What to type where a record is not the sealed one."""
        if name == "config.yaml" or (name == "status.json" and "checkpoint" not in self.config):
            return f"put it back, or run the command in {self.status_file} again, which recreates the records"
        return self._remedy("test" if name.startswith(EVALUATED) else "")

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

    def has(self, path: Path) -> bool:
        """Whether an optional record exists; raises RunError where the seal lists one that is gone."""
        if path.is_file():
            return True
        self._compare(self._name(path))
        return False

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
        write_atomic(
            self.place(f"predictions/{split}.parquet"),
            lambda partial: pq.write_table(table, partial, write_page_checksum=True),
        )

    def load_predictions(self, split: str) -> Predictions:
        """Read predictions; raises RunError when the file is missing or broken."""
        table = self._read_table(self.predictions_file(split), split, ["index", "label", "logits"])
        try:
            if len(pc.unique(pc.list_value_length(table["logits"]))) > 1:
                raise ValueError("rows of logits differ in length")
            flat = table["logits"].combine_chunks().flatten().to_numpy()
            logits = flat.reshape(table.num_rows, -1).astype(np.float32, copy=False)
            index, label = (read_whole_numbers(table[name]) for name in ("index", "label"))
        except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
            raise RunError(f"{self.predictions_file(split)} was edited ({error}): {self._remedy(split)}") from None
        return Predictions(index, label, logits)

    def properties_file(self, split: str) -> Path:
        """Path of the measured properties of one split's images."""
        return self.find(f"properties/{split}.parquet")

    def save_properties(self, split: str, index: IntArray, properties: Mapping[str, FloatArray]) -> None:
        """Write Parquet with the column index and one per property, each (N,)."""
        table = pa.table({"index": index, **properties})
        write_atomic(
            self.place(f"properties/{split}.parquet"),
            lambda partial: pq.write_table(table, partial, write_page_checksum=True),
        )

    def load_properties(self, split: str) -> tuple[IntArray, dict[str, FloatArray]]:
        """Read index (N,) and the properties, each (N,); raises RunError when the file is missing or broken."""
        table = self._read_table(self.properties_file(split), split)
        try:
            index = read_whole_numbers(table["index"])
            columns = {name: table[name].to_numpy() for name in table.column_names if name != "index"}
            wrong = [name for name, values in columns.items() if values.dtype.kind not in "fiub"]
            if wrong:
                raise ValueError(f"{wrong[0]} has no numbers")
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{self.properties_file(split)} was edited ({error}): {self._remedy(split)}") from None
        return index, columns

    def _read_table(self, path: Path, split: str, columns: list[str] | None = None) -> pa.Table:
        """Read Parquet; raises RunError, with the command that rewrites it, when it is missing or broken.

        Pages are verified where the file has checksums for them. The size in the footer is compared with the memory
        that is available, and the first images with each other, before the rest is read.
        """
        if not path.is_file():
            raise RunError(f"{path} is missing: {self._remedy(split)}")
        content = self._read(path, path.stat().st_size)
        try:
            self._check_table(path, content, split, columns)
            return pq.read_table(pa.BufferReader(content), columns=columns, page_checksum_verification=True)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise RunError(f"{path} cannot be read ({reason}): {self._remedy(split)}") from None

    def _check_table(self, path: Path, content: bytes, split: str, columns: list[str] | None) -> None:
        """Raise RunError for a table that is too large, or one whose first rows repeat an image."""
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
            check_growth(file, len(content))
            footer, groups = file.metadata, range(file.metadata.num_row_groups)
            names = [footer.schema.column(leaf).path.partition(".")[0] for leaf in range(footer.num_columns)]
            leaves = [leaf for leaf, name in enumerate(names) if columns is None or name in columns]
            chunks = [footer.row_group(group).column(leaf) for group in groups for leaf in leaves]
            refuse_too_large(path, measure_chunks(chunks), LARGER, RunError)
            parts = file.iter_batches(1 << 16, columns=["index"])
            first = next((column for part in parts for column in part.columns), None)
        repeated = 0 if first is None else len(first) - pc.count_distinct(first).as_py()
        if repeated:
            raise RunError(f"{path} was edited ({repeated:,} images occur twice): {self._remedy(split)}")

    def _remedy(self, split: str = "") -> str:
        """The command that rewrites a damaged record: stress-lab evaluate for the test split, else the run's own."""
        if "checkpoint" in self.config:  # stress-lab evaluate made the folder
            made = (as_override("run", self.path.parent), as_override("checkpoint", self.config["checkpoint"]))
            options = f"split={split or 'test'} {as_override('out', self.path)}"
            return f"stress-lab evaluate {' '.join(made)} {options} rewrites it"
        if split == "test" and not self.is_audit:
            return f"stress-lab evaluate {as_override('run', self.path)} rewrites it"
        return f"the command in {self.status_file}, run again with the same code, rewrites it"

    def save_images(self, split: str, columns: Mapping[str, Any]) -> None:
        """Write Parquet with index, file and sha256 of each image of an audit, and the user's further columns."""
        table = pa.table(dict(columns))
        write_atomic(
            self.place(f"images/{split}.parquet"),
            lambda partial: pq.write_table(table, partial, write_page_checksum=True),
        )

    def load_image_digests(self, split: str) -> list[str]:
        """SHA-256 of each image of an audit, as it was found, in the order of the split."""
        table = self._read_table(self.find(f"images/{split}.parquet"), split, ["index", "sha256"])
        return [str(one) for one in table["sha256"].to_pylist()]

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

    def list_lost(self) -> list[str]:
        """Paths within the folder of sealed files that are gone or changed, such as pictures, maps and checkpoints.

        Only the presence of a checkpoint is checked: it holds its own checksums, which are compared on loading.
        """
        seal = load_seal(self.path)
        return [] if seal is None else [name for name in seal.files if not seal.holds(self.path, name)]


def _is_row(row: Mapping[Any, Any]) -> bool:
    """Whether a row of history has an epoch and numbers."""
    return "epoch" in row and all(isinstance(key, str) and is_number(value) for key, value in row.items())


def _is_evaluation(split: str, one: Mapping[str, Any]) -> bool:
    """Whether an evaluation has its numbers, and its split a name that is not a path."""
    whole = all(is_number(one.get(key), whole=True) for key in ("n", "errors"))
    return whole and is_number(one.get("accuracy")) and re.fullmatch(r"\w+", split) is not None


def setting(run: RunDir, callback: str, key: str, otherwise: Any) -> Any:
    """The setting of a run's callback, or ``otherwise`` where the run had no such callback."""
    callbacks = run.config.get("callbacks")
    chosen = callbacks.get(callback) if isinstance(callbacks, dict) else None
    return chosen.get(key, otherwise) if isinstance(chosen, dict) else otherwise


def explained_layer(run: RunDir, asked: str | None) -> str:
    """Dotted name of the layer that Grad-CAM explains: the one asked for, else that of the run's own maps."""
    return str(asked or setting(run, "gradcam", "layer", "layer3"))
