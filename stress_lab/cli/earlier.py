"""What an earlier process left in a run's folder: what of it stays, and what training resumes from."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from stress_lab.errors import RunError
from stress_lab.preflight.finished_run import ANEW, check_images_of
from stress_lab.records import RunInfo
from stress_lab.runs.checkpoints import is_whole, recover_id
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.cores import count_cores
from stress_lab.runtime.process_group import World
from stress_lab.storage.seals import explain_foreign
from stress_lab.sweeps.placement import read_threads
from stress_lab.sweeps.resume import refuse_other_config

log = logging.getLogger(__name__)

KEPT = {"config.yaml", "status.json", "data.json"}  # rewritten, or compared, when a run resumes


def find_earlier(run: RunDir, config: dict[str, Any], cfg: DictConfig) -> RunInfo:
    """What an earlier process left in the folder.

    Raises:
        ConfigError: it must not be resumed, or is a run of another config.
        RunError: it is a finished run of other images.
    """
    refuse_other_config(run, config, bool(cfg.resume))
    try:
        info = run.load_info()
    except RunError as error:
        log.warning("%s: treated as interrupted", error)
        return RunInfo(cfg.variant, cfg.seed, "started", "", id=recover_id(run))
    if info.state == "finished" and run.data_file.is_file():
        from stress_lab.training import build

        spec = build.build_datamodule(cfg).spec
        try:
            recorded = run.load_spec()
        except RunError:  # the run is damaged
            run.data_file.unlink(missing_ok=True)
        else:
            check_images_of(run, recorded, spec.fingerprint, spec.source, ANEW)
    return info


def find_work(run: RunDir) -> str | None:
    """Why the records of a finished run must be recreated, or None; what cannot be recreated is only reported."""
    damage = run.find_damage()
    if damage is not None:
        return damage
    lost = [name for name in run.list_lost() if not name.endswith(".ckpt")]  # find_loss reports those
    again = [name for name in lost if name != run.throughput_file.name]  # which training alone measures
    if again and is_whole(run, "last"):
        return f"{_enumerate(again)} {'is' if len(again) == 1 else 'are'} missing or changed"
    if lost:
        log.warning(
            "%s: %s %s missing or changed, and only training can recreate that: resume=false trains in a new folder",
            run.path.name,
            _enumerate(lost),
            "is" if len(lost) == 1 else "are",
        )
    return None


def _enumerate(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def drop_changed(run: RunDir) -> None:
    """Remove files that are not the run's before they are sealed as if they were; the checkpoint restores a history."""
    try:
        lost = {name for name in run.list_lost() if not name.endswith(".ckpt")} - KEPT
    except RunError:  # the seal cannot be read
        return
    if "history.csv" in lost:  # both are written together
        lost.add(run.history_file.name)
    for name in lost:
        (run.path / name).unlink(missing_ok=True)


def warn_foreign(run: RunDir) -> None:
    """Warn that training resumes from somebody else's checkpoint; the classes are still the ones that were typed."""
    reason = explain_foreign(run.path) if run.seal_file.is_file() else None
    if reason is not None:
        log.warning("%s: resuming from the weights and records found there", reason)


def choose_threads(cfg: DictConfig, run: RunDir, earlier: RunInfo | None, world: World) -> int:
    """CPU threads of each process: the number typed, the one the run began with, or cores divided by processes."""
    now: int = cfg.threads or max(1, count_cores() // world.local_size)
    typed = any(one.lstrip("+").startswith("threads=") for one in sys.argv[1:])
    began = None if earlier is None or typed else read_threads(run, earlier)
    if began in (None, now):
        return now
    log.info(
        "%s resumes with threads=%d, as it began, since results depend on it; a new run would use %d",
        run.path.name,
        began,
        now,
    )
    return began


def sum_seconds(run: RunDir, earlier: RunInfo) -> float:
    """Seconds earlier processes spent on a run; a killed one left only those of its epochs."""
    try:
        return max(earlier.seconds, sum(float(row["seconds"]) for row in run.load_history()))
    except (RunError, KeyError, TypeError):
        return earlier.seconds


def count_epochs(run: RunDir, earlier: RunInfo) -> dict[str, Any]:
    """How far the training of an earlier process got, for ``status.json``; epochs done, not planned."""
    if earlier.trained:
        return {"epochs": earlier.epochs, "max_epochs": earlier.max_epochs, "trained": True}
    try:
        epochs = len(run.load_history())
    except (RunError, TypeError):
        epochs = 0
    return {"epochs": epochs, "max_epochs": earlier.max_epochs, "trained": earlier.state == "finished" and epochs > 0}


def set_aside(run: RunDir) -> None:
    """Remove half-written records, and keep Lightning's table of epochs: its logger starts a new one in its place."""
    for partial in list(run.path.rglob(".partial-*")):  # of a process that was killed
        shutil.rmtree(partial, ignore_errors=True) if partial.is_dir() else partial.unlink(missing_ok=True)
    run.evaluation_file.unlink(missing_ok=True)  # rewritten split by split
    table = run.path / "csv" / "metrics.csv"
    if table.is_file():
        number = 1 + len(list(table.parent.glob("metrics_before_*.csv")))
        table.replace(table.with_name(f"metrics_before_{number}.csv"))
