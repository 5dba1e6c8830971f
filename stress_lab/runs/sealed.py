"""What reading a record of a run takes: where it lies, whether it is the one the run left, and what to type if not."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from stress_lab.errors import RunError
from stress_lab.files import LARGEST_JSON, LARGEST_YAML, parse_json, parse_yaml, read_record
from stress_lab.plain_text import as_override
from stress_lab.records import is_number
from stress_lab.storage.seals import NAME as SEAL
from stress_lab.storage.seals import Seal, digest_bytes, load_seal

EVALUATED = ("predictions/test.", "properties/test.", "evaluation.", "failures/", "gradcam/", "figures/test_")


class SealedFolder:
    """A run's folder whose records are compared with its seal when read, and its config.

    Its arguments and attributes are those of :class:`stress_lab.runs.folder.RunDir`.
    """

    def __init__(self, path: str | Path, staging: Path | None = None) -> None:
        self.path = Path(path)
        self.staging = staging
        self.retired: set[Path] = set()
        self.seal: Seal | None = None
        self.digests: dict[str, str] = {}

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
    seal_file = property(lambda self: self.find(SEAL))

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

    def sealed(self) -> Self:
        """This folder as a new object that compares each record with the seal, if there is one, when reading it.

        Raises:
            RunError: the seal cannot be read.
        """
        run = type(self)(self.path, self.staging)
        run.seal = load_seal(run.seal_file.parent)
        return run

    def has(self, path: Path) -> bool:
        """Whether an optional record exists; raises RunError where the seal lists one that is gone."""
        if path.is_file():
            return True
        self._compare(self._name(path))
        return False

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

    def _remedy(self, split: str = "") -> str:
        """The command that rewrites a damaged record: stress-lab evaluate for the test split, else the run's own."""
        if "checkpoint" in self.config:  # stress-lab evaluate made the folder
            made = (as_override("run", self.path.parent), as_override("checkpoint", self.config["checkpoint"]))
            options = f"split={split or 'test'} {as_override('out', self.path)}"
            return f"stress-lab evaluate {' '.join(made)} {options} rewrites it"
        if split == "test" and not self.is_audit:
            return f"stress-lab evaluate {as_override('run', self.path)} rewrites it"
        return f"the command in {self.status_file}, run again with the same code, rewrites it"

    def list_lost(self) -> list[str]:
        """Paths within the folder of sealed files that are gone or changed, such as pictures, maps and checkpoints.

        Only the presence of a checkpoint is checked: it holds its own checksums, which are compared on loading.
        """
        seal = load_seal(self.path)
        return [] if seal is None else [name for name in seal.files if not seal.holds(self.path, name)]
