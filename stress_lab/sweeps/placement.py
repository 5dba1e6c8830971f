"""Where a sweep's jobs run: whether the launcher that was chosen works here, and how many run at a time."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, flag_override

from stress_lab.errors import ConfigError, RunError
from stress_lab.records import RunInfo
from stress_lab.runs.find import is_run
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.cores import Share, count_cores, share_cores, share_machine
from stress_lab.runtime.process_group import outer_world, uses_cpu

EXTRAS = {  # hydra.launcher or hydra.sweeper: the package it needs, the extra that brings it
    "stress_lab_submitit": ("submitit", "slurm"),
    "stress_lab_ray": ("ray", "ray"),
    "stress_lab_optuna": ("optuna", "optuna"),
}


def check_launch(config: DictConfig) -> None:
    """Refuse a launcher or sweeper whose package is missing, or that cannot work here.

    Args:
        config: with the node ``hydra``.

    Raises:
        ConfigError: with what to type instead.
    """
    for node in (config.hydra.launcher, config.hydra.sweeper):
        package, extra = EXTRAS.get(str(node._target_).split(".")[1], (None, None))
        if package is not None and importlib.util.find_spec(package) is None:
            raise ConfigError(f"the package {package} is not installed: pip install 'stress_lab[{extra}]'")
    if config.hydra.runtime.choices.get("launcher") == "basic" and config.jobs not in (None, 1):
        raise ConfigError(
            f"jobs={config.jobs} does not work with launcher=basic, which runs one at a time: leave one out"
        )
    chosen = config.hydra.runtime.choices.get("launcher")
    if config.jobs is None and chosen in ("joblib", "ray", "slurm_local"):
        raise ConfigError(
            f"jobs=null does not work with launcher={chosen}: use a number, such as jobs=2, or leave jobs out"
        )
    if config.hydra.launcher.get("cluster") == "slurm" and not config.hydra.launcher.dry and not shutil.which("sbatch"):
        raise ConfigError(
            "this machine has no sbatch: start launcher=slurm on a login node of the cluster, see the script with "
            "launcher=slurm_dry, or try the same jobs here with launcher=slurm_local"
        )
    reserves = "cluster" in config.hydra.launcher or "num_cpus" in config.hydra.launcher
    if reserves and not isinstance(config.trainer.devices, int):
        raise ConfigError(
            f"trainer.devices={config.trainer.devices} does not work with launcher="
            f"{config.hydra.runtime.choices.get('launcher')}, which reserves as many: use a number, such as "
            "trainer.devices=2"
        )
    if config.hydra.launcher.get("dry") and not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        raise ConfigError("a dry run gives no results to a sweeper that learns from them: use launcher=slurm")


def spread_runs(config: DictConfig, jobs: Sequence[DictConfig], need: int) -> None:
    """Let Hydra run a sweep's jobs side by side in separate processes, unless the user chose a launcher.

    On CPUs the runs fill the cores (:func:`stress_lab.runtime.cores.share_machine`). Runs stay sequential, in
    this process, if they use a GPU or several devices, if the sweeper learns from results, or if
    torchrun or srun started them. ``jobs`` overrides all of this; ``threads`` limits how many fit.

    Args:
        config: of the sweep, with the node ``hydra``, before its sweeper is made; changed in place.
        jobs: their configs.
        need: bytes of memory that one of them may use.
    """
    chosen = config.hydra.runtime.choices
    typed = any(str(one).startswith("hydra/launcher=") for one in config.hydra.overrides.hydra)
    if typed or chosen.get("launcher") is not None or chosen["hydra/launcher"] != "basic" or outer_world() is not None:
        return
    share = _share(config, jobs, need)
    with flag_override(config.hydra, ["struct", "readonly"], [False, False]):
        if share.threads is not None and all(cfg.threads is None for cfg in jobs):
            config.hydra.overrides.task.append(f"threads={share.threads}")
            hidden = [*config.hydra.job.config.override_dirname.exclude_keys, "threads"]  # the user did not type it
            config.hydra.overrides.hydra.append(f"hydra.job.config.override_dirname.exclude_keys=[{','.join(hidden)}]")
        if share.at_a_time > 1:
            config.hydra.launcher = {
                "_target_": "hydra_plugins.stress_lab_joblib.JoblibLauncher",
                "n_jobs": share.at_a_time,
            }


def _share(config: DictConfig, jobs: Sequence[DictConfig], need: int) -> Share:
    """Runs at a time, and CPU threads of each."""
    if config.jobs is not None:
        at_a_time = count_cores() if config.jobs < 0 else config.jobs
        return Share(at_a_time, share_cores(at_a_time) if at_a_time > 1 else None)
    known = config.hydra.sweeper._target_.endswith("BasicSweeper")
    if not known or not all(uses_cpu(cfg.trainer) for cfg in jobs):
        return Share()
    left = _list_left(Path(config.hydra.sweep.dir))
    threads = {cfg.threads for cfg in jobs if cfg.threads is not None} or {number for number, _ in left}
    return share_machine(len(jobs), sorted(threads), len(jobs) - sum(done for _, done in left), need)


def _list_left(folder: Path) -> list[tuple[int, bool]]:
    """CPU threads of each run that an earlier launch left in a sweep's folder, and whether it finished."""
    found = []
    for run in [RunDir(path) for path in folder.glob("*") if path.is_dir() and is_run(path)]:
        with contextlib.suppress(RunError):  # a broken record is reported elsewhere
            info = run.load_info()
            if (threads := read_threads(run, info)) is not None:
                found.append((threads, info.state == "finished"))
    return found


def read_threads(run: RunDir, info: RunInfo) -> int | None:
    """CPU threads that a run began with, or None where it ended before that was decided."""
    threads = info.hardware.get("threads") or run.config.get("threads")
    return threads if isinstance(threads, int) else None


def runs_here(config: DictConfig) -> bool:
    """Whether a sweep's jobs run on this machine, rather than on a cluster with other devices."""
    launcher = config.hydra.launcher
    return launcher.get("cluster") != "slurm" and launcher.get("address") is None


def check_single(config: DictConfig) -> None:
    """Refuse a launcher or sweeper for a single run; raises ConfigError."""
    for group in ("launcher", "sweeper"):
        chosen = config.hydra.runtime.choices.get(group)
        if chosen is not None:
            raise ConfigError(f"{group}={chosen} is for a sweep: add -m, or leave it out for a single run")
