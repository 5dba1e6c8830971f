"""Train one run, or with -m every variant of an experiment and then compare them.

stress-lab                            one quick run on the bundled sample
stress-lab -m experiment=demo         baseline and cutout, then the comparison
stress-lab --cfg job                  every config key
"""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
import time
from collections.abc import Iterator
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
from stress_lab.cli.earlier import (
    choose_threads,
    count_epochs,
    drop_changed,
    find_earlier,
    find_work,
    set_aside,
    sum_seconds,
    warn_foreign,
)
from stress_lab.data.sources.snapshot import one_snapshot
from stress_lab.errors import RunError
from stress_lab.preflight.configs import resolve_config
from stress_lab.preflight.messages import explain
from stress_lab.preflight.rules import check_config
from stress_lab.records import RunInfo
from stress_lab.runs.checkpoints import find_loss, refuse_others
from stress_lab.runs.folder import RunDir
from stress_lab.runtime import gpus
from stress_lab.runtime.log_files import watch_log_files
from stress_lab.runtime.process_group import is_follower, plan_world
from stress_lab.runtime.signals import INTERRUPTED, stop_on_signals
from stress_lab.storage.launches import FAILED, FINISHED, REFUSED, SKIPPED, STARTED, VARIABLE, Ticket
from stress_lab.storage.seals import write_seal
from stress_lab.sweeps import callback
from stress_lab.sweeps.resume import hold_run
from stress_lab.training import distributed
from stress_lab.training.code import describe_code

log = logging.getLogger(__name__)


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
        earlier = find_earlier(run, config, cfg)
        if earlier.state == "finished":
            damage = find_work(run)
            if damage is None:
                log.info("%s finished before: skipped (resume=false trains it again, in a new folder)", run.path.name)
                if (loss := find_loss(run)) is not None:
                    log.warning("%s: %s", run.path.name, loss)
                return earlier
            log.warning("%s finished before, but %s; its records are being recreated", run.path.name, damage)
            drop_changed(run)
        warn_foreign(run)
        refuse_others(run)
        spent = sum_seconds(run, earlier)
        info = replace(info, started=earlier.started, seconds=spent, resumed=earlier.resumed + 1)
        info = replace(info, id=earlier.id or info.id)
        info = replace(info, **count_epochs(run, earlier))
        set_aside(run)
    cfg.threads = config["threads"] = choose_threads(cfg, run, earlier, world)
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
            learnt = {**count_epochs(run, _reload(run, info)), **learnt}
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
