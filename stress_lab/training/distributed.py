"""Several processes for one run.

Only the first process runs Hydra. The others are given a run's folder and read the config in it, so that no process can
draw other values, make its own folder, or start a second sweep.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from stress_lab.errors import RunError
from stress_lab.files import load_json, save_json
from stress_lab.plain_text import PlainFormatter, printable
from stress_lab.preflight.messages import explain
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.log_files import watch_log_files
from stress_lab.runtime.process_group import PATIENCE, World, make_cluster, outer_world
from stress_lab.runtime.signals import INTERRUPTED, end_with, stop_on_signals
from stress_lab.runtime.streams import take_over_streams

log = logging.getLogger(__name__)

REPORTS = ".ranks"  # folder in which ranks report to the process that started them
LEARNT, FAILURE = "learnt.json", "failure.json"
FAILED = 1  # exit status of a rank that reported why
LINE, TIME = "[%(asctime)s] %(message)s", "%H:%M:%S"  # as conf/train.yaml has them


def launch(run: RunDir, resumed: bool, world: World) -> dict[str, Any]:
    """Start one process per device for a run and wait for them; none outlives this call, however it ends.

    Returns:
        The fields that the first of them recorded, see :func:`stress_lab.training.fit.train_here`.

    Raises:
        RunError: one of them failed; the others were stopped.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # it prints tables
    reports = run.path / REPORTS
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=world.local_size,
        run_id=run.path.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(reports)),
    )
    try:
        with _restored_signals():
            arguments = (str(run.path), str(int(resumed)), str(os.getpid()))
            elastic_launch(config, sys.executable)("-m", "stress_lab.training.distributed", *arguments)
            learnt: dict[str, Any] = load_json(reports / LEARNT)
    except SignalException:
        raise KeyboardInterrupt from None
    except ChildFailedError as error:
        first = min(error.failures.values(), key=lambda one: (_rank_cause(one.exitcode), one.timestamp))
        raise RunError(_describe_failure(reports, first.local_rank, world.size, first.exitcode)) from None
    finally:
        shutil.rmtree(reports, ignore_errors=True)
    return learnt


def _rank_cause(exit_code: int) -> int:
    """How likely an exit is the cause: ranks that lose another fail, and then torch's agent terminates the rest."""
    return 2 if exit_code == -signal.SIGTERM else 1 if exit_code == FAILED else 0


def _describe_failure(reports: Path, rank: int, size: int, exit_code: int) -> str:
    """Why a rank ended: the signal that killed it, or what it reported itself; the others fail because of it."""
    file = reports / FAILURE
    if exit_code == FAILED and file.is_file():
        return str(load_json(file)["sentence"])
    if exit_code < 0:
        how = f"was killed by {signal.Signals(-exit_code).name}"
    else:
        how = "was interrupted" if exit_code == INTERRUPTED else "ended without an error message"
    return f"process {rank} of {size} {how}: run the same command to resume from the last complete epoch"


@contextmanager
def _restored_signals() -> Iterator[None]:
    """Put back the handlers that torch's agent replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def train_rank(folder: str, resumed: bool, parent: int) -> None:
    """The work of each process that :func:`launch` starts; torch's agent puts its rank into the environment."""
    env = os.environ
    world = World(int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"]), int(env["RANK"]), "stress-lab")
    end_with(parent)
    take_over_streams()
    _log_to(Path(folder) / "train.log", world.rank)
    learnt: dict[str, Any] = {}
    try:
        with stop_on_signals():
            _train(folder, resumed, world, learnt)
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            with (Path(folder) / "train.log").open("a", encoding="utf-8", errors="backslashreplace") as file_only:
                file_only.write(printable(traceback.format_exc(), keep="\n\t"))
            sentence = f"{type(error).__name__}: {error} (train.log has the traceback)"
        file = Path(folder) / REPORTS / FAILURE
        if not file.exists():  # the first to fail is the cause
            save_json(file, {"rank": world.rank, "sentence": sentence})
        sys.exit(FAILED)
    except KeyboardInterrupt:  # sent by whoever stops the ranks, mostly because another was lost
        sys.exit(INTERRUPTED)
    if world.rank == 0:
        save_json(Path(folder) / REPORTS / LEARNT, learnt)


def _train(folder: str, resumed: bool, world: World, learnt: dict[str, Any]) -> None:
    """Train a run of which this process knows only the folder."""
    from stress_lab.training.fit import train_here

    run = RunDir(folder)
    train_here(OmegaConf.create(run.config), run, resumed, learnt, world)


def _log_to(file: Path, rank: int) -> None:
    """Lines to the screen and the run's log: all of the first rank, warnings of the others."""
    in_file = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout), in_file]
    for handler in handlers:
        handler.setFormatter(PlainFormatter(LINE, TIME))
    logging.basicConfig(level=logging.WARNING if rank else logging.INFO, handlers=handlers, force=True)
    watch_log_files()


def join() -> None:
    """Meet the other processes that torchrun or srun started; they stay together for the whole sweep."""
    import torch
    from torch import distributed

    outer = outer_world()
    if outer is None or distributed.is_initialized():
        return
    if outer.by == "slurm":
        cluster = make_cluster(outer)
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = cluster.main_address, str(cluster.main_port)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, rank=outer.rank, world_size=outer.size, timeout=PATIENCE)


_lost: list[str] = []  # runs that ended here while the followers were in the middle of them, or may have been


@contextmanager
def followed(run: RunDir, resumed: bool, world: World) -> Iterator[None]:
    """Let the followers, where torchrun or srun started some, train the same run.

    If training fails here, this process ends, and the others with it: they may be waiting in an operation that never
    completes.
    """
    if world.size == 1:
        yield
        return
    from torch import distributed

    join()
    distributed.broadcast_object_list([{"folder": str(run.path.absolute()), "resumed": resumed}], src=0)
    try:
        yield
    except KeyboardInterrupt:
        _lost.append(run.path.name)
        raise
    except Exception as error:
        _lost.append(run.path.name)
        log.error("%s failed: %s", run.path.name, explain(error) or error, exc_info=explain(error) is None)
        raise SystemExit(1) from error


def abandon_followers() -> None:
    """Stop waiting for the followers: whatever interrupted this process reached them too."""
    _lost.append("")


def stop_followers() -> None:
    """Tell the followers, if any, that there are no more runs."""
    if outer_world() is None or _lost:
        return
    from torch import distributed

    join()
    distributed.broadcast_object_list([None], src=0)
    distributed.destroy_process_group()


def follow() -> None:
    """Train what the first process asks for, until it says stop."""
    from torch import distributed

    outer = outer_world()
    assert outer is not None
    take_over_streams()
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter(LINE, TIME))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    join()
    while True:
        message: list[Any] = [None]
        distributed.broadcast_object_list(message, src=0)
        if message[0] is None:
            distributed.destroy_process_group()
            return
        with stop_on_signals():
            _train(message[0]["folder"], message[0]["resumed"], outer, {})


if __name__ == "__main__":
    train_rank(sys.argv[1], sys.argv[2] == "1", int(sys.argv[3]))
