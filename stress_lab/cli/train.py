"""Train one run, or with -m every variant of an experiment and then compare them.

stress-lab                            one quick run on the bundled sample
stress-lab -m experiment=demo         baseline and cutout, then the comparison
stress-lab --cfg job                  every config key
"""

from __future__ import annotations

import contextlib
import copy
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from stress_lab.cli.app import leave_cleanly, open_door, see_current_folder
from stress_lab.data.sources.snapshot import one_snapshot
from stress_lab.errors import RunError
from stress_lab.preflight.configs import resolve_config
from stress_lab.preflight.finished_run import ANEW, check_images_of
from stress_lab.preflight.messages import explain
from stress_lab.preflight.rules import check_config
from stress_lab.records import RunInfo
from stress_lab.runs.checkpoints import find_loss, is_whole, recover_id, refuse_others
from stress_lab.runs.folder import RunDir
from stress_lab.runtime import gpus
from stress_lab.runtime.cores import count_cores
from stress_lab.runtime.log_files import watch_log_files
from stress_lab.runtime.process_group import World, is_follower, plan_world
from stress_lab.runtime.signals import INTERRUPTED, stop_on_signals
from stress_lab.storage.launches import FAILED, FINISHED, REFUSED, SKIPPED, STARTED, VARIABLE, Ticket
from stress_lab.storage.seals import explain_foreign, write_seal
from stress_lab.sweeps import callback
from stress_lab.sweeps.jobs import read_threads
from stress_lab.sweeps.resume import hold_run, refuse_other_config
from stress_lab.training import distributed
from stress_lab.training.code import describe_code

log = logging.getLogger(__name__)

KEPT = {"config.yaml", "status.json", "data.json"}  # rewritten, or compared, when a run resumes


def main() -> None:
    """The command ``stress-lab``."""
    if is_follower():
        see_current_folder()
        try:
            distributed.follow()
        except KeyboardInterrupt:  # the first process reports it
            sys.exit(INTERRUPTED)
        return
    with leave_cleanly("run the same command to resume from the last complete epoch"):
        _lead()


def _lead() -> NoReturn:
    """Train, compare what finished, and exit with the status of both."""
    callback.forget()
    try:
        open_door("train", _task)
    except KeyboardInterrupt:
        distributed.abandon_followers()
        raise
    except (Exception, SystemExit) as error:  # from a launcher, say: the runs that finished are still compared
        if not callback.finish_after(error):
            raise
    finally:
        distributed.stop_followers()
    sys.exit(callback.exit_status())


def _task(cfg: DictConfig) -> dict[str, float] | None:
    """A single run, or one job of a sweep."""
    hydra_config = HydraConfig.get()
    run_dir = Path(hydra_config.runtime.output_dir)
    watch_log_files()
    if hydra_config.mode == RunMode.MULTIRUN:
        return _train_job(cfg, run_dir, _find_ticket(cfg, run_dir))
    metrics = train(cfg, run_dir).metrics
    if RunDir(run_dir).evaluation_file.is_file():
        callback.compare_alone(cfg, run_dir)
    return metrics


def _find_ticket(cfg: DictConfig, run_dir: Path) -> Ticket:
    """Where a job of a sweep leaves its outcome."""
    whole = copy.deepcopy(cfg)
    with open_dict(whole):
        whole.hydra = HydraConfig.get()
    name = str(OmegaConf.select(whole, "hydra.sweep.subdir"))
    launch = str(HydraConfig.get().job.env_set.get(VARIABLE, "unknown"))
    return Ticket(run_dir.parents[len(Path(name).parts) - 1], launch, name)


def _train_job(cfg: DictConfig, run_dir: Path, ticket: Ticket) -> dict[str, float] | None:
    """One job of a sweep: it leaves its outcome; a failure is reported at the end, and the others continue."""
    before = _read_status(run_dir)
    try:
        ticket.leave(STARTED)
        metrics = train(cfg, run_dir).metrics
        ticket.leave(SKIPPED if _read_status(run_dir) == before else FINISHED)
    except BaseException as error:
        with contextlib.suppress(OSError):  # the disk may be full: "started" then stays, and counts as failed
            ticket.leave(REFUSED if _read_status(run_dir) == before else FAILED, _describe_reason(error))
        if not isinstance(error, Exception):
            raise
        sentence = explain(error)
        log.error("%s failed: %s", run_dir.name, sentence or error, exc_info=sentence is None)
        return None
    return metrics


def _read_status(run_dir: Path) -> bytes:
    """The bytes of ``status.json``, which every run that begins changes; empty where there is none."""
    file = RunDir(run_dir).status_file
    return bytes(file.read_bytes()) if file.is_file() else b""


def train(cfg: DictConfig, run_dir: Path) -> RunInfo:
    """Turn a config into a folder of records; what an earlier call finished is not repeated.

    Args:
        cfg: composed from ``conf/train.yaml``, without the node ``hydra``.
        run_dir: of this run.

    Returns:
        What the run's ``status.json`` holds, with the final metrics.

    Raises:
        StressLabError: the input cannot work, or the training diverged; what was saved stays.
    """
    check_config(cfg)
    with hold_run(run_dir), one_snapshot():
        return _train(cfg, RunDir(run_dir))


def _train(cfg: DictConfig, run: RunDir) -> RunInfo:
    """Train in a folder that no other process writes."""
    world = plan_world(cfg.trainer)
    config = resolve_config(cfg)
    info = RunInfo(cfg.variant, cfg.seed, "started", datetime.now(UTC).isoformat(timespec="seconds"), id=uuid4().hex)
    earlier = None
    if run.status_file.exists():
        earlier = _find_earlier(run, config, cfg)
        if earlier.state == "finished":
            damage = _find_work(run)
            if damage is None:
                log.info("%s finished before: skipped (resume=false trains it again, in a new folder)", run.path.name)
                if (loss := find_loss(run)) is not None:
                    log.warning("%s: %s", run.path.name, loss)
                return earlier
            log.warning("%s finished before, but %s; its records are being recreated", run.path.name, damage)
            _drop_changed(run)
        _warn_foreign(run)
        refuse_others(run)
        spent = _sum_seconds(run, earlier)
        info = replace(info, started=earlier.started, seconds=spent, resumed=earlier.resumed + 1)
        info = replace(info, id=earlier.id or info.id)
        info = replace(info, **_count_epochs(run, earlier))
        set_aside(run)
    cfg.threads = config["threads"] = _choose_threads(cfg, run, earlier, world)
    run.save_config(config)
    write_seal(run.path, [run.config_file.name], info.id)
    _save_overrides(run, cfg)
    info = replace(info, command=["stress-lab", *sys.argv[1:]], code=describe_code(cfg))
    with _status(run, info) as learnt, stop_on_signals(), gpus.releasing():
        resumed = info.resumed > 0
        if world.by == "stress-lab":
            learnt.update(distributed.launch(run, resumed, world))
        else:
            from stress_lab.training.fit import train_here  # torch and Lightning take ten seconds to import

            with distributed.followed(run, resumed, world):
                train_here(cfg, run, resumed, learnt, world)
    return run.load_info()


def _find_work(run: RunDir) -> str | None:
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


def _drop_changed(run: RunDir) -> None:
    """Remove files that are not the run's before they are sealed as if they were; the checkpoint restores a history."""
    try:
        lost = {name for name in run.list_lost() if not name.endswith(".ckpt")} - KEPT
    except RunError:  # the seal cannot be read
        return
    if "history.csv" in lost:  # both are written together
        lost.add(run.history_file.name)
    for name in lost:
        (run.path / name).unlink(missing_ok=True)


def _warn_foreign(run: RunDir) -> None:
    """Warn that training resumes from somebody else's checkpoint; the classes are still the ones that were typed."""
    reason = explain_foreign(run.path) if run.seal_file.is_file() else None
    if reason is not None:
        log.warning("%s: resuming from the weights and records found there", reason)


def _choose_threads(cfg: DictConfig, run: RunDir, earlier: RunInfo | None, world: World) -> int:
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


def _find_earlier(run: RunDir, config: dict[str, Any], cfg: DictConfig) -> RunInfo:
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


def _sum_seconds(run: RunDir, earlier: RunInfo) -> float:
    """Seconds earlier processes spent on a run; a killed one left only those of its epochs."""
    try:
        return max(earlier.seconds, sum(float(row["seconds"]) for row in run.load_history()))
    except (RunError, KeyError, TypeError):
        return earlier.seconds


def _count_epochs(run: RunDir, earlier: RunInfo) -> dict[str, Any]:
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


@contextmanager
def _status(run: RunDir, info: RunInfo) -> Iterator[dict[str, Any]]:
    """Keep status.json true: started, then finished, or failed with the error; yields the fields to fill in."""
    learnt: dict[str, Any] = {}
    begun = time.perf_counter() - info.seconds  # those of earlier processes
    run.save_info(info)
    try:
        yield learnt
    except BaseException as error:
        reason = _describe_reason(error)
        with contextlib.suppress(OSError):  # the disk may be full: "started" then stays, and counts as interrupted
            learnt = {**_count_epochs(run, _reload(run, info)), **learnt}
            run.save_info(replace(info, state="failed", error=reason, seconds=time.perf_counter() - begun, **learnt))
        raise
    run.save_info(replace(info, state="finished", seconds=time.perf_counter() - begun, **learnt))
    run.write_seal(info.id)  # last of all


def _reload(run: RunDir, info: RunInfo) -> RunInfo:
    """The status that the training processes left, or what it was when they began."""
    try:
        return run.load_info()
    except RunError:
        return info


def _describe_reason(error: BaseException) -> str:
    """Why a run failed, in a sentence where there is one."""
    cause = error.__cause__ if isinstance(error, SystemExit) and error.__cause__ else error  # of ranks.followed
    if isinstance(cause, (KeyboardInterrupt, SystemExit)):
        return "interrupted"
    return explain(cause) or f"{type(cause).__name__}: {cause}"


def _save_overrides(run: RunDir, cfg: DictConfig) -> None:
    """Write Hydra's own record of a run that begins; Hydra itself would also write it for a refused one."""
    settings: Any = HydraConfig.instance().cfg
    if settings is None or settings.hydra.output_subdir is not None:
        return
    for name, record in {"config": cfg, "hydra": settings, "overrides": settings.hydra.overrides.task}.items():
        run.save_hydra(name, OmegaConf.to_yaml(record))


if __name__ == "__main__":
    main()
