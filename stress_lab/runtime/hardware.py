"""Device, precision and threads: chosen, overridable, and logged."""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from stress_lab.errors import ConfigError
from stress_lab.runtime import gpus
from stress_lab.runtime.cores import count_cores

PACKAGES = (
    "stress_lab",
    "torch",
    "torchvision",
    "lightning",
    "hydra-core",
    "omegaconf",
    "torchmetrics",
    "numpy",
    "grad-cam",
)

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
LARGEST_BLOCK = 2**30  # bytes that come from the heap


def set_threads(threads: int | None, processes: int = 1) -> int:
    """Use ``threads`` CPU threads, or this process's share of the available cores; returns the number.

    Args:
        threads: of this process; None takes the cores divided by ``processes``.
        processes: how many train side by side on this machine.
    """
    count = threads or max(1, count_cores() // processes)
    torch.set_num_threads(count)
    return count


def keep_freed_memory() -> bool:
    """Tell glibc to keep the memory of freed tensors for the next ones; returns whether that worked.

    By default it gives large blocks back to the kernel, which clears each page again when the next step asks for it
    (``benchmarks/profile_step.py`` measures what that costs). The price of keeping them is that a process keeps its
    highest memory. Other C libraries and systems are left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    from_heap = mallopt(MMAP_THRESHOLD, LARGEST_BLOCK) or mallopt(MMAP_MAX, 0)  # older versions refuse such a threshold
    return bool(from_heap and mallopt(TRIM_THRESHOLD, 2**31 - 1))


def count_devices(requested: str, devices: int | str | list[int]) -> int:
    """How many devices ``trainer.devices`` means: a number, a list of them, or -1 and ``auto`` for every one.

    Raises:
        ConfigError: the machine has fewer.
    """
    accelerator = choose_accelerator(requested)
    there = torch.cuda.device_count() if accelerator == "cuda" else 1
    if devices in (-1, "-1", "auto"):
        return there
    numbers = devices if isinstance(devices, list) else range(int(devices))
    if accelerator != "cpu" and not set(numbers) <= set(range(there)):
        raise ConfigError(
            f"trainer.devices={devices}, but this machine has {there} of kind {accelerator}: set trainer.devices=auto, "
            f"or trainer.accelerator=cpu to try it with processes on the CPU"
        )
    return len(numbers)


def choose_accelerator(requested: str, key: str = "trainer.accelerator") -> str:
    """``auto`` becomes cuda, mps or cpu, ``gpu`` cuda or mps.

    Raises:
        ConfigError: the machine has no such device.
    """
    found = [name for name in ("cuda", "mps") if _has(name)]
    matching = [
        name for name in [*found, "cpu"] if requested in ("auto", name) or (requested == "gpu" and name != "cpu")
    ]
    if not matching:
        there = ", ".join(["cpu", *found])
        raise ConfigError(f"{key}={requested}, but this machine has: {there}; use auto, or trainer=cpu for the CPU")
    return matching[0]


def _has(name: str) -> bool:
    """Whether torch can use a kind of device here."""
    return torch.cuda.is_available() if name == "cuda" else torch.backends.mps.is_available()


def choose_device(cfg: DictConfig, accelerator: str) -> int | None:
    """The GPU that this run claims, if single-device runs share the machine; None leaves the choice to Lightning."""
    if cfg.jobs in (None, 1) or accelerator != "cuda" or cfg.trainer.devices not in (1, "1"):
        return None
    return gpus.claim_gpu(gpus.name_gpus(torch.cuda.device_count()))


def first_device(devices: int | str | Sequence[int]) -> int:
    """Number of the GPU that ``trainer.devices`` names first."""
    return 0 if isinstance(devices, int | str) else int(devices[0])


def choose_precision(requested: str, accelerator: str, gpu: int = 0) -> str:
    """``auto`` becomes bf16-mixed where the device computes it in hardware, else 32-true; anything else stays."""
    if requested == "16-mixed" and accelerator == "cpu":
        raise ConfigError("trainer.precision=16-mixed needs a GPU: use bf16-mixed, 32-true or auto")
    if requested != "auto":
        return requested
    if accelerator == "cuda":
        with torch.cuda.device(gpu):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator == "cpu":
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    else:
        native = False
    return "bf16-mixed" if native else "32-true"


def release_memory() -> None:
    """Free what earlier runs in this process left on a GPU: reference cycles hold it until Python collects them."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def describe_device(accelerator: str, gpu: int = 0) -> str:
    """Name of the GPU of this number, or of the processor."""
    if accelerator == "cuda":
        return torch.cuda.get_device_name(gpu)
    if accelerator == "mps":
        return "Apple GPU"
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    names = [line for line in text.splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def describe_hardware(accelerator: str, precision: str, threads: int, gpu: int = 0) -> dict[str, Any]:
    """What a run computes on, for its record."""
    return {
        "accelerator": accelerator,
        "device": describe_device(accelerator, gpu),
        "precision": precision,
        "threads": threads,
        "platform": platform.platform(),
    }


def list_versions() -> dict[str, str]:
    """Versions of Python and of every package that can change a result."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
