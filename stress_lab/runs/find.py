"""Finding runs: what makes a folder one, those of a sweep, the sweep that was launched last."""

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
from stress_lab.storage.filesets import COMPARISON, list_committed, settle
from stress_lab.storage.launches import load_launch, read_number

log = logging.getLogger(__name__)

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
            last = max(deeper, key=launch_order)
            raise RunError(f"{folder} holds no runs, but {last} does: say {as_override('sweep', last)}")
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
    begun = [path for path in there if load_launch(path).get("multirun", True) and _holds_runs(path)]
    compared = [path for path in begun if (path / "comparison.json").is_file() or list_committed(path, COMPARISON)]
    if not begun:
        raise RunError(
            f"{folder.absolute()} holds no sweep: run stress-lab -m experiment=demo first, or name another folder"
        )
    newest = max(compared or begun, key=launch_order)
    settle(newest, COMPARISON)
    return newest


def _holds_runs(folder: Path) -> bool:
    """Whether a folder holds folders of runs, or what is left of some."""
    return any(is_run(path) or has_traces(path) for path in folder.glob("[!.]*") if path.is_dir())
