"""Which processes train a run together: one, or one per device, started here, by torchrun or by SLURM's srun."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stress_lab.errors import ConfigError

PATIENCE = timedelta(days=2)  # ranks wait while the first one checks, records and compares


@dataclass(frozen=True)
class World:
    """The processes that train one run together, and which of them is this one.

    Attributes:
        size: processes in all; ``local_size`` on this machine.
        rank: of this process, 0 for the one that writes the records.
        by: who started them: ``""`` (a single process), ``stress-lab``, ``torchrun`` or ``slurm``.
    """

    size: int = 1
    local_size: int = 1
    rank: int = 0
    by: str = ""

    def describe(self) -> dict[str, int]:
        """For the record of the hardware."""
        return {"devices": self.size, "nodes": self.size // self.local_size}

    def name(self, device: str) -> str:
        """The device, with its number of processes."""
        return device if self.size == 1 else f"{self.size} × {device}"

    def check_batches(self, images: int, batch_size: int, val: int = 0) -> None:
        """Raise ConfigError where some batch, or all of val, has too few images for every process to get one."""
        if 0 < val < self.size:
            raise ConfigError(
                f"data.val_size={val} is too few for {self.size} devices: take {self.size} images or more, or 0"
            )
        smallest = min(batch_size, images % batch_size or batch_size)
        if smallest < self.size:
            raise ConfigError(
                f"optim.batch_size={batch_size} leaves a batch of {smallest} of the {images:,} training images, too "
                f"few for {self.size} devices: choose another optim.batch_size (it is the total over all devices)"
            )


ALONE = World()


def outer_world() -> World | None:
    """The processes that torchrun or srun started, or None where this process runs alone."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env and int(env["WORLD_SIZE"]) > 1:
        return World(int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"]), int(env["RANK"]), "torchrun")
    if int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        nodes = int(env.get("SLURM_STEP_NUM_NODES", "1"))
        tasks = int(env["SLURM_STEP_NUM_TASKS"])
        return World(tasks, tasks // nodes, int(env["SLURM_PROCID"]), "slurm")
    return None


def is_follower() -> bool:
    """Whether torchrun or srun started this process only to follow the first one."""
    outer = outer_world()
    return outer is not None and outer.rank > 0


def plan_world(trainer: DictConfig) -> World:
    """How many processes a run needs, and who has started or will start them.

    Raises:
        ConfigError: there are too few devices, or torchrun or srun started another number of processes.
    """
    local = count_devices(trainer)
    nodes = int(trainer.num_nodes)
    outer = outer_world()
    if outer is not None and outer.by == "slurm":
        refuse_uneven(os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    if outer is not None and (outer.size, outer.local_size) != (local * nodes, local):
        raise ConfigError(
            f"{outer.by} started {outer.local_size} processes on each of {outer.size // outer.local_size} machines: "
            f"set trainer=ddp trainer.devices={outer.local_size} trainer.num_nodes={outer.size // outer.local_size}"
        )
    if outer is not None:
        return outer
    if nodes > 1:
        raise ConfigError(
            f"trainer.num_nodes={nodes} needs srun or torchrun to start a process for each device of each machine: "
            f"see scripts/sweep_nodes.slurm"
        )
    return World(local, local, 0, "stress-lab") if local > 1 else ALONE


def refuse_uneven(tasks: str) -> None:
    """Raise ConfigError where srun started more processes on one machine than on another.

    Args:
        tasks: per machine, as SLURM writes them, such as ``2(x3),1``.
    """
    counts = [int(one.partition("(")[0]) for one in tasks.split(",") if one]
    if len(set(counts)) > 1:
        raise ConfigError(
            f"srun started {' and '.join(map(str, counts))} processes on its machines, which need equally many: use "
            f"srun --ntasks-per-node={max(counts)}"
        )


def count_devices(trainer: DictConfig) -> int:
    """Number of devices that a run uses on one machine; raises ConfigError where there are too few."""
    wanted = OmegaConf.to_container(trainer)["devices"]  # type: ignore[call-overload,index]
    if wanted in (1, "1"):
        return 1
    from stress_lab.runtime import hardware

    return hardware.count_devices(trainer.accelerator, wanted)


def uses_cpu(trainer: DictConfig) -> bool:
    """Whether a run trains in one process on the CPU."""
    if trainer.num_nodes != 1 or trainer.devices not in (1, "1"):
        return False
    from stress_lab.runtime import hardware

    return hardware.choose_accelerator(trainer.accelerator) == "cpu"


def make_cluster(world: World) -> Any:
    """How Lightning learns of the processes that were started together.

    Lightning refuses srun processes requested by number alone (``srun -n 2``), and mistakes what the job was
    given for what this step was given. The number per machine is known here, so it is passed on.
    """
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if world.by != "slurm":
        return TorchElasticEnvironment()
    env = os.environ
    env["SLURM_NTASKS"], env["SLURM_NTASKS_PER_NODE"] = str(world.size), str(world.local_size)
    env["SLURM_NNODES"] = str(world.size // world.local_size)
    env["SLURM_NODELIST"] = env.get("SLURM_STEP_NODELIST", env.get("SLURM_NODELIST", "127.0.0.1"))
    return SLURMEnvironment(auto_requeue=False)


def make_strategy(trainer: DictConfig, world: World) -> dict[str, Any]:
    """Trainer arguments that make it use exactly these processes, whatever the environment looks like.

    Buffers are not broadcast at each step: batch norms are shared (see :mod:`stress_lab.models.shared_norm`), and the
    validation batches of the ranks may differ in number.
    """
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.pytorch.strategies import DDPStrategy
    from torch.nn.parallel import DistributedDataParallel

    if world.size == 1:
        return {} if "plugins" in trainer else {"plugins": [LightningEnvironment()]}
    parameters = inspect.signature(DistributedDataParallel).parameters  # torch 2.15 renames the argument
    keep = "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers"
    unused = str(trainer.strategy).endswith("find_unused_parameters_true")
    options: dict[str, Any] = {"find_unused_parameters": unused, keep: False}
    chosen: dict[str, Any] = {
        "strategy": DDPStrategy(timeout=PATIENCE, **options),
        "plugins": [make_cluster(world)],
        "use_distributed_sampler": False,
    }
    if not OmegaConf.is_list(trainer.devices):
        chosen["devices"] = world.local_size
    return chosen
