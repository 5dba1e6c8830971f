"""How fast training is, how long it waits for data, and how near it comes to what the device can compute."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from stress_lab.callbacks.slowdown import Slowdown
from stress_lab.inference import eval_mode, keep_precision
from stress_lab.runs.folder import RunDir

log = logging.getLogger(__name__)

TRAINING = 3  # a training step computes about three times a forward pass: outputs and two gradients
SIDE = {"cpu": 2048}  # of the square matrices whose product measures a device's rate
LARGE = 8192  # the same on any other device
TYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


Mark = float | torch.cuda.Event


class ThroughputWriter(Callback):
    """Writes ``throughput.json``, one row per epoch, and the same under ``speed/`` to the loggers.

    Without validation: images per second; the share of time from the end of a step to the start of the next, which is
    waiting for data, on a GPU by its own clock; floating-point operations per second as a share of those in one large
    matrix product at the same precision, the best measured on that device at each start or resume of the run
    (model FLOPs utilisation, but relative to what the device reaches, not its data sheet). It synchronises only at
    the end of an epoch. It comes last among the callbacks: work of those after it at the end of a step would
    count as waiting.

    On the CPU it warns once where steps become several times slower because something else uses the cores.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.device = ""  # with its threads
        self.rates: dict[str, float] = {}  # of each device the run was on
        self.work: dict[tuple[int, ...], int] = {}
        self.slowdown: Slowdown | None = None
        self._restart()

    def _restart(self, device: torch.device | None = None) -> None:
        self.began = time.perf_counter()
        self.last = mark(device)
        self.waits: list[tuple[Mark, Mark]] = []
        self.images, self.flops = 0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the device."""
        measured = measure_matmul(pl_module.device, TYPES.get(str(trainer.precision), torch.float32))
        self.device = name_device(pl_module.device)
        if pl_module.device.type == "cpu" and trainer.is_global_zero:
            self.slowdown = Slowdown(torch.get_num_threads())
        self.rates[self.device] = max(self.rates.get(self.device, 0.0), measured)  # lower if something else ran
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)  # the matrices above, and runs before this one

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._restart(pl_module.device)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A batch has come."""
        self.waits.append((self.last, mark(pl_module.device)))
        images = batch[0]
        shape = tuple(images.shape[1:])
        if shape not in self.work:
            self.work[shape] = count_flops(pl_module, images[:1])
        self.images += len(images)
        self.flops += TRAINING * self.work[shape] * len(images)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step has ended; the last one of the epoch closes its row."""
        self._watch(tuple(batch[0].shape))
        if batch_idx + 1 == trainer.num_training_batches:
            wait_for(pl_module.device)
            self._close(trainer, time.perf_counter() - self.began)
        self.last = mark(pl_module.device)

    def _watch(self, shape: tuple[int, ...]) -> None:
        """Warn where steps with images of this shape have become much slower."""
        began = self.waits[-1][1]
        if self.slowdown is None or not isinstance(began, float):
            return
        factor = self.slowdown.add(shape, time.perf_counter() - began)
        if factor is not None:
            log.warning(
                "steps take %.1f times as long as before: something else keeps the cores busy, and the %d threads of "
                "this run wait for each other. End the other program; or stop this run and run the same command with "
                "threads=1, which shares a core fairly: it resumes from its last complete epoch",
                factor,
                self.slowdown.threads,
            )

    def _close(self, trainer: Trainer, seconds: float) -> None:
        """Write the row of an epoch; with several processes, for all of them, assumed alike."""
        measured = {
            "images_per_s": trainer.world_size * self.images / seconds,
            "waiting_share": sum(seconds_between(*wait) for wait in self.waits) / seconds,
            "flops_per_s": self.flops / seconds,
        }
        self.rows.append({"epoch": trainer.current_epoch + 1, "device": self.device, "seconds": seconds, **measured})
        for row in self.rows:
            row["peak_share"] = row["flops_per_s"] / self.rates[row["device"]]
        if not trainer.is_global_zero:
            return
        shown = {f"speed/{name}": self.rows[-1][name] for name in ("images_per_s", "waiting_share", "peak_share")}
        for logger in trainer.loggers:
            logger.log_metrics(shown, trainer.global_step)
        RunDir(trainer.default_root_dir).save_throughput(
            {
                "matmul_flops_per_s": self.rates,
                "peak_memory_bytes": peak_memory(trainer.strategy.root_device),
                "epochs": self.rows,
            }
        )

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, and the best rates."""
        return {"rows": self.rows, "rates": self.rates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows of an interrupted run."""
        self.rows, self.rates = list(state_dict["rows"]), dict(state_dict["rates"])


def mark(device: torch.device | None) -> Mark:
    """The current time; on a GPU an event after its queued work, without waiting."""
    if device is None or device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


def seconds_between(first: Mark, second: Mark) -> float:
    """Seconds from one mark to a later one; on a GPU after :func:`wait_for`."""
    if isinstance(first, torch.cuda.Event) and isinstance(second, torch.cuda.Event):
        return float(first.elapsed_time(second)) / 1e3
    assert isinstance(first, float)
    assert isinstance(second, float)
    return second - first


def wait_for(device: torch.device) -> None:
    """Return when a device has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def name_device(device: torch.device) -> str:
    """What a rate was measured on: a GPU's name, or the kind of device with its threads."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} {torch.get_num_threads()}"


def measure_matmul(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """Floating-point operations per second in the product of two large square matrices, the best of ``repeats``.

    On GPUs float32 may become TF32 if convolutions may use it, which is torch's default only for them.
    """
    side = SIDE.get(device.type, LARGE)
    generator = torch.Generator(device).manual_seed(0)  # a GPU is faster on constants; the run's draws stay
    matrix = torch.randn(side, side, device=device, dtype=dtype, generator=generator)
    best = float("inf")
    with tf32_as_in_convolutions(device):
        matrix @ matrix  # the first one chooses its kernel
        for _ in range(repeats):
            wait_for(device)
            began = time.perf_counter()
            matrix @ matrix
            wait_for(device)
            best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


@contextmanager
def tf32_as_in_convolutions(device: torch.device) -> Iterator[None]:
    """Allow TF32 in matrix products on a GPU if convolutions have it, and restore the setting."""
    cudnn: Any = torch.backends.cudnn  # its stubs lack conv
    with keep_precision():
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high" if cudnn.conv.fp32_precision == "tf32" else "highest")
        yield


def count_flops(model: torch.nn.Module, images: Tensor) -> int:
    """Floating-point operations of a forward pass over ``images (B, C, H, W)``: two per multiplication."""
    counter = FlopCounterMode(display=False)
    with eval_mode(model), torch.no_grad(), counter:
        model(images)
    return counter.get_total_flops()


def peak_memory(device: torch.device) -> int:
    """The most memory so far, in bytes, or 0 if unknown.

    On a GPU what torch held there in this run, else what the process used, including earlier runs in it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not available on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
