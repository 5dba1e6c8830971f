"""One training step, timed: nothing but the net, the way of the original scripts, and a plain LightningModule."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as v1

from stress_lab.callbacks.throughput import wait_for
from stress_lab.models.recipe import make_optimizer
from stress_lab.models.resnet import ResNet18
from stress_lab.runtime import hardware

BATCH = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
ACCELERATOR = hardware.choose_accelerator("auto")
DEVICE = torch.device(ACCELERATOR)
TYPE = torch.bfloat16 if hardware.choose_precision("auto", ACCELERATOR) == "bf16-mixed" else None


def make_bare_step(width: int, compiled: bool = False, batch: int = BATCH) -> Callable[[], None]:
    """A step of nothing but the net: the product's precision and optimiser, the images of a batch ready."""
    net: torch.nn.Module = ResNet18(width=width).to(DEVICE).to(memory_format=torch.channels_last)
    optim = {"optimizer": "SGD", "lr": 0.1, "args": {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}}
    optimizer = make_optimizer(optim, net, fused=True)
    images = torch.randn(batch, 3, 32, 32, device=DEVICE).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=DEVICE) % 10
    if compiled:
        net = torch.compile(net)  # type: ignore[assignment]

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(DEVICE.type, TYPE, enabled=TYPE is not None):
            loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()

    return step


class BareBetween(pl.Callback):
    """Bare steps between those of a run of the product, so that both see the same moments of the machine.

    Args:
        width: of the bare net.
        turn: steps of each before it is the other's turn; more than one on devices that need not be waited for.
        batch: images of a bare step.
    """

    whole: ClassVar[list[float]] = []  # seconds a step of the last run, turn by turn
    bare: ClassVar[list[float]] = []

    def __init__(self, width: int, turn: int, batch: int = BATCH) -> None:
        self.step, self.turn = make_bare_step(width, batch=batch), turn
        self.resumed: float | None = None
        self.whole.clear()
        self.bare.clear()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End the turn of the whole step, and take that of the bare one."""
        if (batch_idx + 1) % self.turn:
            return
        wait_for(DEVICE)
        if self.resumed is None:  # what ended were the first steps, which warm up
            time_steps(self.step, self.turn)
        else:
            self.whole.append((time.perf_counter() - self.resumed) / self.turn)
            self.bare.append(time_warm(self.step, self.turn))
        self.resumed = time.perf_counter()


class EpochStarts(pl.Callback):
    """Notes when each epoch of a run starts."""

    at: ClassVar[list[float]] = []  # of the last run

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the run before."""
        self.at.clear()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note."""
        self.at.append(time.perf_counter())


class WatchWaits(pl.Callback):
    """Makes torch warn of each operation that waits for the GPU, for ``steps`` steps after ten that warm up."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Begin and end between two steps."""
        if DEVICE.type == "cuda" and batch_idx in (10, 10 + self.steps):
            torch.cuda.set_sync_debug_mode("warn" if batch_idx == 10 else "default")


class FirstStep(pl.Callback):
    """Makes the file ``first_step`` when a step has ended."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A run of one step makes it once."""
        wait_for(DEVICE)
        Path("first_step").touch()


def time_steps(step: Callable[[], None], steps: int) -> float:
    """Seconds a step, after two that are not counted."""
    for _ in range(2):
        step()
    return time_warm(step, steps)


def time_warm(step: Callable[[], Any], steps: int) -> float:
    """Seconds a step, the first one counted too."""
    wait_for(DEVICE)
    began = time.perf_counter()
    for _ in range(steps):
        step()
    wait_for(DEVICE)
    return (time.perf_counter() - began) / steps


class PilImages(Dataset):  # type: ignore[type-arg]
    """Single images through torchvision's transforms of PIL images, as the original scripts have them."""

    def __init__(self, images: int) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
        self.transform = v1.Compose(
            [v1.RandomCrop(32, 4), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)]
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), index % 10


def _pil_loader(steps: int) -> DataLoader:  # type: ignore[type-arg]
    return DataLoader(PilImages(BATCH * (steps + 2)), BATCH, shuffle=True, num_workers=2, pin_memory=True)


def scripts_way(width: int, steps: int) -> float:
    """Seconds a step of the original scripts: PIL transforms, two workers, float32, ``loss.item()`` at each step."""
    net = ResNet18(width=width).to(DEVICE)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    batches = iter(_pil_loader(steps))

    def step() -> None:
        images, labels = (part.to(DEVICE) for part in next(batches))
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        loss.item()

    return time_steps(step, steps)


class PlainModule(pl.LightningModule):
    """What a Lightning tutorial has."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = ResNet18(width=width)

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
        """Loss, with both figures logged at every step."""
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits, labels)
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/acc", (logits.argmax(1) == labels).float().mean(), prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The original scripts' optimiser."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)


class Clock(pl.Callback):
    """Times the steps after the second."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Start or stop."""
        if batch_idx == 1:
            wait_for(DEVICE)
            self.began = time.perf_counter()
        if batch_idx + 1 == trainer.num_training_batches:
            wait_for(DEVICE)
            self.seconds = (time.perf_counter() - self.began) / (batch_idx - 1)


def plain_lightning(width: int, steps: int) -> float:
    """Seconds a step of a plain LightningModule with the original scripts' loader, in float32."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=1, default_root_dir=folder, callbacks=[clock], accelerator=DEVICE.type, devices=1,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(PlainModule(width), _pil_loader(steps))
    return clock.seconds
