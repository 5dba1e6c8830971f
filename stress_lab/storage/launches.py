"""What one launch of a sweep did: its jobs, and how each of them ended, whatever process it ran in.

``launch.json`` in the sweep's folder records what was typed, when, and the jobs. While they run, each job puts
its outcome into ``.launch/<id>/``; when the sweep ends, all of them move into ``launch.json``. Success is read from
these outcomes alone: what an earlier launch left in the folder says nothing about this one.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stress_lab.errors import RunError
from stress_lab.files import load_json, save_json

RECORD, OUTCOMES = "launch.json", ".launch"
VARIABLE = "STRESS_LAB_LAUNCH"  # passes the id of its launch to a job

WAITING, STARTED, FINISHED, SKIPPED, REFUSED, FAILED = (
    "waiting",  # no process has taken the job yet
    "started",
    "finished",
    "skipped",  # it finished before, which was verified
    "refused",  # it failed before it changed a record
    "failed",
)
DAMAGED = "damaged"  # it finished, but one of its records cannot be read
GOOD = (FINISHED, SKIPPED)


@dataclass(frozen=True)
class Outcome:
    """How a job of a launch ended: its ``state``, and the ``error`` that says why it failed."""

    state: str
    error: str = ""


@dataclass(frozen=True)
class Ticket:
    """What a job needs to leave its outcome: the sweep's ``folder``, the launch's id, the job's ``name``."""

    folder: Path
    launch: str
    name: str

    def leave(self, state: str, error: str = "") -> None:
        """Write how far the job got."""
        save_json(self.folder / OUTCOMES / self.launch / f"{self.name}.json", asdict(Outcome(state, error)))


def new_id() -> str:
    """A name for a launch; the letter keeps a config from reading it as a number."""
    return f"launch-{uuid.uuid4().hex[:12]}"


def now() -> str:
    """The current time in UTC, as records have it."""
    return datetime.now(UTC).isoformat()


def load_launch(folder: Path) -> dict[str, Any]:
    """What ``launch.json`` holds; empty where it is missing or unreadable."""
    try:
        record = load_json(folder / RECORD)
    except (OSError, RunError):
        return {}
    return record if isinstance(record, dict) else {}


def read_number(record: Mapping[str, Any]) -> int:
    """The number of a record's launch among those of one folder, from 1; 0 where it is not recorded."""
    number = record.get("number")
    return number if isinstance(number, int) else 0


def next_number(base: Path) -> int:
    """The number for a launch that begins now: larger than any in the folders below ``base``."""
    try:
        folders = list(base.iterdir())
    except OSError:  # it may be entered but not listed
        return 1
    return 1 + max((read_number(load_launch(folder)) for folder in folders), default=0)


def load_outcomes(folder: Path, launch: str) -> dict[str, Outcome]:
    """The outcomes that the jobs of a launch have left so far, by the names of their folders."""
    place = folder / OUTCOMES / launch
    found = {}
    for file in sorted(place.rglob("[!.]*.json")) if launch else []:  # not one that a killed process left half written
        outcome = _read(load_json(file))
        if outcome is not None:
            found[str(file.relative_to(place).with_suffix(""))] = outcome
    return found


def load_jobs(folder: Path) -> dict[str, Outcome] | None:
    """The jobs of a folder's last launch, by the names of their folders; None where that is not recorded."""
    record = load_launch(folder)
    listed = record.get("jobs")
    if not isinstance(listed, dict):
        return None
    known = {name: outcome for name, value in listed.items() if (outcome := _read(value)) is not None}
    return {**known, **load_outcomes(folder, str(record.get("id", "")))} or None


def save_jobs(folder: Path, jobs: Mapping[str, Outcome]) -> None:
    """Put the outcomes into ``launch.json`` when the launch is over."""
    save_json(folder / RECORD, {**load_launch(folder), "jobs": {name: asdict(one) for name, one in jobs.items()}})
    forget_outcomes(folder)


def forget_outcomes(folder: Path) -> None:
    """Remove the outcomes of every launch from the folder, except those in ``launch.json``."""
    shutil.rmtree(folder / OUTCOMES, ignore_errors=True)


def _read(value: Any) -> Outcome | None:
    """An outcome from JSON, or None where it is something else."""
    if not isinstance(value, dict) or not isinstance(value.get("state"), str):
        return None
    return Outcome(value["state"], str(value.get("error", "")))
