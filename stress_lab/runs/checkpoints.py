"""The checkpoints in a run's folder: which one a run resumes from, which are its own, and what is lost without them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from stress_lab.errors import RunError
from stress_lab.records import RunInfo
from stress_lab.runs.folder import CHECKPOINTS, RunDir
from stress_lab.runs.settings import setting
from stress_lab.storage.checkpoint_files import Checkpoint, DamagedError, check_checkpoint

log = logging.getLogger(__name__)

NEWEST = ("last", "previous")
SELDOM = ("every_n_epochs", "every_n_train_steps", "train_time_interval")  # last.ckpt may be older then


def find_checkpoint(run: RunDir, load: Callable[[Path], object] | None = None) -> Checkpoint | None:
    """The newest checkpoint that a run can resume from, or None; an unreadable one is reported and skipped.

    Args:
        run: its folder.
        load: raises RunError where torch cannot read a file whose checksums are right.

    Raises:
        RunError: one is of another run.
    """
    info = load_info(run)
    for name in NEWEST:
        path = run.checkpoints / f"{name}.ckpt"
        if not path.is_file():
            continue
        try:
            found = check_checkpoint(path)
            if load is not None:
                load(path)
        except RunError as error:
            reason = error.reason if isinstance(error, DamagedError) else error
            log.warning("%s cannot be read (%s): the one before it is used", path, reason)
            continue
        if info is not None:
            refuse_foreign(found, run, info)
        if found.epoch is not None:
            return found
        log.warning("%s cannot be read as a Lightning checkpoint: the one before it is used", path)
    return None


def load_info(run: RunDir) -> RunInfo | None:
    """A run's status, or None where it cannot be read."""
    try:
        return run.load_info()
    except RunError:
        return None


def recover_id(run: RunDir) -> str:
    """The id of a run whose status is gone, from its newest checkpoint; empty where that does not say."""
    for name in NEWEST:
        path = run.checkpoints / f"{name}.ckpt"
        try:
            if path.is_file() and (found := check_checkpoint(path)).run:
                return found.run
        except RunError:
            continue
    return ""


def is_foreign(found: Checkpoint, info: RunInfo) -> bool:
    """Whether a checkpoint says that another run wrote it."""
    return found.run not in ("", info.id)


def refuse_others(run: RunDir) -> None:
    """Raise RunError where a run would resume from another run's checkpoint."""
    info = load_info(run)
    for path in [run.checkpoints / f"{name}.ckpt" for name in NEWEST]:
        try:
            found = check_checkpoint(path) if path.is_file() else None
        except RunError:  # reported where it is read
            continue
        if found is not None and info is not None:
            return refuse_foreign(found, run, info)
    return None


def refuse_foreign(found: Checkpoint, run: RunDir, info: RunInfo) -> None:
    """Raise RunError where a run would resume from another run's checkpoint, and overwrite it."""
    if is_foreign(found, info):
        fault = f"is of another run than {run.path} ({name_epoch(found)} of run {found.run})"
    elif found.epoch is not None and _is_counted(info) and found.epoch > info.epochs:
        fault = f"holds epoch {found.epoch}, and {run.path} trained {info.epochs}"
    else:
        return
    raise RunError(
        f"{found.path} {fault}: move it to another folder and run the same command again, which resumes from an older "
        "checkpoint or from the start"
    )


def check_own(found: Checkpoint, run: RunDir, which: str) -> None:
    """Raise RunError where a run's ``last`` or ``best`` is of another run, or of an epoch its records contradict."""
    info = load_info(run)
    if info is None:
        return
    if is_foreign(found, info):
        fault = f"is of another run than {run.path} ({name_epoch(found)} of run {found.run})"
    elif found.epoch is not None and not _fits(found.epoch, which, run, info):
        fault = f"holds epoch {found.epoch}, but status.json counts {info.epochs} trained epochs"
    else:
        return
    raise RunError(
        f"{found.path} {fault}: put the run's own back{describe_whole(run, which)}, or set checkpoint={found.path} to "
        "use it as it is"
    )


def _is_counted(info: RunInfo) -> bool:
    """Whether a status counts the epochs trained; during training it counts only those of earlier processes."""
    return bool(info.epochs) and (info.trained or info.state == "finished")


def _fits(epoch: int, which: str, run: RunDir, info: RunInfo) -> bool:
    """Whether a checkpoint can be of an epoch; runs of older versions do not record how many they have."""
    if not _is_counted(info):
        return True
    if which == "last" and info.trained and not any(setting(run, "checkpoint_last", key, None) for key in SELDOM):
        return epoch == info.epochs
    return epoch <= info.epochs


def name_epoch(found: Checkpoint) -> str:
    """Which epoch a checkpoint holds."""
    return "an unknown epoch" if found.epoch is None else f"epoch {found.epoch}"


def describe_whole(run: RunDir, but: str) -> str:
    """Which other checkpoints of a run can be used, as part of a sentence; empty where there are none."""
    whole = []
    for name in ("last", "previous", "best"):
        path = run.checkpoints / f"{name}.ckpt"
        try:
            found = check_checkpoint(path) if path.is_file() and name != but else None
        except RunError:
            continue
        info = load_info(run)
        if found is not None and (info is None or not is_foreign(found, info)):
            whole.append(f"checkpoint={name if name in CHECKPOINTS else path} ({name_epoch(found)})")
    return f", use {' or '.join(whole)}" if whole else ""


def find_loss(run: RunDir) -> str | None:
    """What can no longer be done with a finished run because its last or best checkpoint is gone or damaged, or None.

    A run whose config keeps no checkpoints is not missing any.
    """
    lost = [fault for name in CHECKPOINTS if _is_expected(run, name) and (fault := _find_fault(run, name)) is not None]
    if not lost:
        return None
    usable = describe_whole(run, "").removeprefix(", use ")
    others = f"stress-lab evaluate run={run.path} takes {usable}" if usable else "no other one is intact"
    return (
        f"{'; '.join(lost)}. Its records are complete and can be compared; new predictions and maps need a checkpoint: "
        f"{others}; resume=false trains the run again, in a new folder"
    )


def is_whole(run: RunDir, name: str) -> bool:
    """Whether a checkpoint of a run exists, can be read, and is the run's own."""
    return _find_fault(run, name) is None


def _is_expected(run: RunDir, name: str) -> bool:
    """Whether a finished run must have left a checkpoint of this name, by its config and its history."""
    options = (run.config.get("callbacks") or {}).get(f"checkpoint_{name}")
    if not isinstance(options, dict) or options.get("filename") != name or any(options.get(key) for key in SELDOM):
        return False
    monitor = options.get("monitor")
    try:
        return monitor is None or any(monitor in row for row in run.load_history())
    except RunError:  # a run may have no history
        return False


def _find_fault(run: RunDir, name: str) -> str | None:
    """What is wrong with one checkpoint of a finished run, or None."""
    path: Path = run.checkpoints / f"{name}.ckpt"
    if not path.is_file():
        return f"{path} is missing"
    try:
        check_own(check_checkpoint(path), run, name)
    except DamagedError as error:
        return f"{path} is damaged ({error.reason})"
    except RunError as error:
        return str(error).partition(": ")[0]
    return None
