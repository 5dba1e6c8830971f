"""Where a sweep or run goes: to a new folder, or back to the one that the same command left behind.

A folder of ``multirun/NAME/`` records in ``launch.json`` what was typed and which code ran. The same command with the
same code resumes it: finished runs are skipped, an interrupted one continues from its last complete epoch.
``resume=false`` starts over in a new folder.
"""

from __future__ import annotations

import json
import logging
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from stress_lab.errors import ConfigError, RunError
from stress_lab.files import flatten, load_json, save_json
from stress_lab.runs.find import launch_order
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.locks import LOCK, Lock, acquire, hold, is_held
from stress_lab.storage.filesets import complete
from stress_lab.storage.launches import RECORD, WAITING, Outcome, forget_outcomes, new_id, next_number, now
from stress_lab.training.code import hash_code, list_named_versions, list_own_sources, pick_groups

log = logging.getLogger(__name__)

HARMLESS = ("threads", "resume", "jobs", "comparison")  # config keys that may change when a run resumes
IRRELEVANT = (
    "resume=",
    "threads=",
    "jobs=",
    "launcher=",
    "hydra.verbose=",
    "hydra.launcher.",
)  # what cannot change a number, or a folder
MULTIRUN = ("-m", "--multirun")
DECISIVE = ("torch", "lightning", "numpy")  # packages where another version may give other numbers


def name_folder(name: str, resume: bool, *groups: DictConfig) -> str:
    """What ``${launch:NAME,RESUME,GROUP,...}`` stands for: a folder's name below ``multirun/NAME``.

    It is the folder that this very command left, finished or not, else a new one, named after the moment for people.
    ``groups`` are the parts of the config that may name classes of the user's.
    """
    new = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{uuid.uuid4().hex[:8]}"  # many commands may start in one second
    if resume is not True:
        return new
    known = find_launch(Path("multirun") / name, describe_launch(sys.argv[1:], *groups))
    return new if known is None else known.name


def describe_launch(typed: Sequence[str], *groups: DictConfig) -> dict[str, Any]:
    """What identifies the folder of a command: its overrides in any order, sweep or not, code and versions."""
    overrides = sorted(one for one in typed if one not in MULTIRUN and not one.startswith(IRRELEVANT))
    return {
        "multirun": not set(typed).isdisjoint(MULTIRUN),
        "overrides": overrides,
        "code": hash_code(*list_own_sources(*groups)),
        "versions": {name: metadata.version(name) for name in DECISIVE} | list_named_versions(*groups),
    }


def find_launch(base: Path, launch: dict[str, Any]) -> Path | None:
    """The newest folder below ``base`` that was made by the same launch, or None."""
    if not base.is_dir():
        return None
    same = [path.parent for path in base.glob(f"*/{RECORD}") if _describes(path, launch)]
    return max(same, default=None, key=launch_order)


def _describes(path: Path, launch: dict[str, Any]) -> bool:
    """Whether a record is of this launch, at any time; an unreadable one is not."""
    try:
        record = load_json(path)
    except RunError:
        return False
    return isinstance(record, dict) and {key: record.get(key) for key in launch} == launch


_locks: list[Lock] = []  # held until the process ends, however it ends


def claim_folder(folder: Path, cfg: DictConfig, jobs: Sequence[str] | None = None) -> str:
    """Write what was typed into the folder of a sweep or run, and hold it until this process ends.

    Args:
        folder: of the sweep or run.
        cfg: of training.
        jobs: names of their folders, as far as they are known; None for a single run.

    Returns:
        The id of this launch.

    Raises:
        RunError: another process holds it, or started the same command just before this one.
    """
    launch = describe_launch(sys.argv[1:], *pick_groups(cfg))
    with _one_at_a_time(folder, cfg):
        _refuse_twin(folder, cfg, launch)
        _locks.append(acquire(folder / LOCK, INSTANT, GIVEN_TWICE))
        forget_outcomes(folder)
        launch |= {"id": new_id(), "started": now(), "number": next_number(folder.absolute().parent)}
        if jobs is not None:
            launch["jobs"] = {name: asdict(Outcome(WAITING)) for name in jobs}
        save_json(folder / RECORD, launch)
    return str(launch["id"])


INSTANT = 0.5  # seconds to wait when only asking whether a lock is held
GIVEN_TWICE = "it runs the same command, so wait for it, or set resume=false to get a new folder"


def _has_own_name(folder: Path, cfg: DictConfig) -> bool:
    """Whether a folder was named by the resolver, and not by the user."""
    return folder.parent == Path("multirun") / str(cfg.name)


@contextmanager
def _one_at_a_time(folder: Path, cfg: DictConfig) -> Iterator[None]:
    """Let commands claim folders one at a time, so that two equal commands started together see each other."""
    if not _has_own_name(folder, cfg):
        yield
        return
    with hold(folder.parents[1] / LOCK, 60, "run the same command again"):
        yield


def _refuse_twin(folder: Path, cfg: DictConfig, launch: dict[str, Any]) -> None:
    """Raise RunError where the same command claimed another folder after this one looked for its own."""
    if cfg.resume is not True or not _has_own_name(folder, cfg):
        return
    twin = find_launch(folder.parent, launch)
    if twin is None or twin == folder:
        return
    if is_held(twin / LOCK):
        raise RunError(f"{twin} is being written by another process: {GIVEN_TWICE}")
    raise RunError(f"the same command made {twin} a moment ago: run it again to resume there")


def refuse_other_config(run: RunDir, config: dict[str, Any], may_resume: bool) -> None:
    """Raise ConfigError where a folder holds a run that may not be resumed, or one of another config.

    Args:
        run: a folder with the record of a run.
        config: resolved, of the run that is to be trained there.
        may_resume: the value of ``resume``.
    """
    if not may_resume:
        raise ConfigError(f"{run.path} already holds a run: choose another folder, remove that one, or set resume=true")
    _refuse_odd_keys(run)
    known, new = flatten(run.config), flatten(config)
    differing = {key for key in {*known, *new} if known.get(key) != new.get(key)}
    other = sorted(key for key in differing if key.split(".")[0] not in HARMLESS)
    if other:
        shown = [f"{key}={_show(known, key)}, now {_show(new, key)}" for key in other[:5]]
        raise ConfigError(
            f"{run.path} holds a run of another config ({'; '.join(shown)}): use the same values, or choose "
            "another folder"
        )


def _refuse_odd_keys(run: RunDir) -> None:
    """Raise ConfigError where a config has keys that no command writes, so that two configs could seem to be one."""
    todo: list[Any] = [run.config]
    while todo:
        value = todo.pop()
        odd = [key for key in value if not isinstance(key, str) or "." in key] if isinstance(value, dict) else []
        if odd:
            raise ConfigError(f"{run.config_file} was edited: {odd[0]!r} is not a key that a command writes")
        todo += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []


def _show(flat: dict[str, Any], key: str) -> str:
    """A value of a flat config as one types it."""
    if key not in flat:
        return "without"
    return json.dumps(flat[key], ensure_ascii=False) if not isinstance(flat[key], str) else flat[key]


@contextmanager
def hold_run(folder: Path, patience: float = 60) -> Iterator[None]:
    """Keep every other process from training in a folder, such as one that outlived its sweep.

    Args:
        folder: of a run.
        patience: seconds to wait for a process that is about to end.

    Raises:
        RunError: another process does.
    """
    with hold(folder / LOCK, patience, "wait for it, or stop it", doing="trained"):
        complete(folder)  # what a killed evaluation left behind
        yield


def release_folders() -> None:
    """Release every folder; one process may run several sweeps."""
    while _locks:
        _locks.pop().release()
