"""Finding runs: what makes a folder a run, the runs of a sweep, the sweep launched last."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stress_lab.errors import RunError
from stress_lab.plain_text import as_override
from stress_lab.runs.folder import RunDir
from stress_lab.storage.filesets import COMPARISON, list_committed, recover
from stress_lab.storage.launches import load_launch, read_number

log = logging.getLogger(__name__)

TRACES = (  # files that only a run leaves; a refused job leaves .hydra too
    *("status.json", "split.json", "fingerprint.json", "history.json", "throughput.json", "evaluation.json"),
    *("predictions/*.parquet", "properties/*.parquet", "failures/failures.json", "gradcam/maps.npz"),
    *("checkpoints/*.ckpt", "seal.json"),
)


TELLING = {"config.yaml": ("variant:", "seed:"), "data.json": ('"fingerprint"', '"classes"')}  # common names


NEEDED = ("config.yaml", "status.json")


def is_run(path: Path) -> bool:
    """Whether a folder holds a run that at least started."""
    return all((path / name).is_file() for name in NEEDED)


def has_traces(path: Path) -> bool:
    """Whether a folder holds anything that only a run leaves, so that it was once a run, complete or not."""
    if any(True for pattern in TRACES for _ in path.glob(pattern)):
        return True
    return any(_holds(path / name, words) for name, words in TELLING.items())


def _holds(file: Path, words: Sequence[str]) -> bool:
    """Whether a text file exists and contains all of these words."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError:
        return True  # an unreadable file is not ignored
    return text != "" and all(word in text for word in words)


def list_absent(path: Path) -> str:
    """What a folder lacks to be a run, in words."""
    return " and ".join(name for name in NEEDED if not (path / name).is_file())


def open_run(path: str | Path) -> RunDir:
    """A run's folder, ready to read: a move of records that a killed process left half done is completed first.

    Raises:
        RunError: another process is moving records and does not finish.
    """
    return RunDir(path, recover(Path(path)))


def natural(name: str) -> list[Any]:
    """Sort key that puts 2_cutout before 10_cutout."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def load_runs(sweep: str | Path) -> list[RunDir]:
    """The runs of a sweep's folder in launch order; a warning names each incomplete one.

    Raises:
        RunError: the folder does not exist or has no runs.
    """
    runs, lost = find_runs(sweep)
    for sentence in lost.values():
        log.warning("%s", sentence)
    return runs


def find_runs(sweep: str | Path) -> tuple[list[RunDir], dict[str, str]]:
    """The runs of a sweep's folder, and those that have lost files.

    Returns:
        The runs in launch order; by folder name, a sentence about each of the others.
        Folders without a trace of a run, such as a user's own, are neither.

    Raises:
        RunError: the folder does not exist or has no runs.
    """
    folder = Path(sweep)
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder: give sweep=FOLDER, such as one below multirun/")
    there = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: natural(path.name))
    opened = {path.name: open_run(path) for path in there if not path.name.startswith(".")}
    runs = [run for run in opened.values() if run.config_file.is_file() and run.status_file.is_file()]
    whole = {run.path.name for run in runs}
    lost = {name: describe_lost(run.path) for name, run in opened.items() if name not in whole and has_traces(run.path)}
    if not runs and lost:
        raise RunError(f"{folder} has no complete run: {'; '.join(lost.values())}")
    if not runs:
        deeper = sorted(path for path in there if any(map(is_run, path.iterdir())))
        if deeper:
            last = max(deeper, key=launch_order)
            raise RunError(f"{folder} has no runs, but {last} does: set {as_override('sweep', last)}")
        raise RunError(
            f"{folder} has no runs: give the folder whose subfolders hold a config.yaml, one level up or down"
        )
    return runs, lost


def describe_lost(path: Path) -> str:
    """A sentence about a folder that holds only a part of a run."""
    absent = list_absent(path)
    return (
        f"{path.name} is left out: it lacks {absent}; put {'them' if ' and ' in absent else 'it'} back, or remove the "
        "folder and run the sweep's command again"
    )


def launch_order(folder: Path) -> tuple[int, float, str]:
    """Sort key for launch folders: the number that each launch takes, independent of clock and time zone.

    Launches of older versions have none and come first, by when they were launched.
    """
    return read_number(load_launch(folder)), when_launched(folder), folder.name


def when_launched(folder: Path) -> float:
    """When a command last wrote the folder of a sweep or run, in seconds since 1970.

    Read from ``launch.json`` (UTC), else from the first start of a run, else from the time at which the
    folder was changed; its name is for people, and holds local time.
    """
    moments = [_read_moment(load_launch(folder).get("started"))]
    if moments == [None]:
        moments = [_read_moment(_load_started(RunDir(path))) for path in folder.iterdir() if is_run(path)]
    known = [moment for moment in moments if moment is not None]
    return min(known, default=folder.stat().st_mtime)


def _load_started(run: RunDir) -> Any:
    """The start time that a run recorded, or nothing."""
    try:
        return run.load_info().started
    except RunError:
        return None


def _read_moment(text: Any) -> float | None:
    """Seconds since 1970 of a time in a record, in UTC where it names no zone; None for something else."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def newest_sweep(base: str | Path) -> Path:
    """The sweep below ``multirun/NAME`` that was launched last and compared, or if none was, the last that began.

    Raises:
        RunError: there is none.
    """
    folder = Path(base)
    there = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    begun = [path for path in there if load_launch(path).get("multirun", True) and _holds_runs(path)]
    compared = [path for path in begun if (path / "comparison.json").is_file() or list_committed(path, COMPARISON)]
    if not begun:
        raise RunError(
            f"{folder.absolute()} has no sweep: run stress-lab -m experiment=demo first, or name another folder"
        )
    newest = max(compared or begun, key=launch_order)
    recover(newest, COMPARISON)
    return newest


def _holds_runs(folder: Path) -> bool:
    """Whether a folder holds folders of runs, or their remains."""
    return any(is_run(path) or has_traces(path) for path in folder.glob("[!.]*") if path.is_dir())
