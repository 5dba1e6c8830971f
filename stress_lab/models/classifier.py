"""The LightningModule that trains any net: cross-entropy, accuracy, one optimiser, one schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from stress_lab.data.loader import Batch
from stress_lab.models.recipe import FUSED_ON, make_optimizer, make_schedule


class Classifier(LightningModule):
    """Logs ``train/loss``, ``train/acc``, ``val/loss``, ``val/acc`` and ``lr`` once per epoch.

    Training metrics are of augmented images while the weights change; gaps between splits are computed
    later, from predictions of the final weights on plain images.

    Args:
        net: ``(B, C, H, W)`` to logits ``(B, K)``.
        num_classes: K.
        optim: the keys of ``conf/optim``, as plain containers.
        channels_last: memory format of weights and images, faster on CPUs and on GPUs with tensor cores.
    """

    def __init__(self, net: nn.Module, num_classes: int, optim: Mapping[str, Any], channels_last: bool = True) -> None:
        super().__init__()
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(memory_format=memory_format)  # type: ignore[call-overload]
        self.memory_format = memory_format
        self.optim = dict(optim)
        self._steps: tuple[Callable[[Tensor], Tensor], ...] = ()  # in a tuple, so that its weights do not count twice
        splits = ("train", "val")
        self.mean_loss = nn.ModuleDict({f"in_{split}": MeanMetric(nan_strategy="disable") for split in splits})
        self.accuracy = nn.ModuleDict(
            {f"in_{split}": MulticlassAccuracy(num_classes, average="micro", validate_args=False) for split in splits}
        )

    def forward(self, images: Tensor) -> Tensor:
        """``(B, C, H, W)`` normalised images to logits ``(B, K)``."""
        return self.net(images.contiguous(memory_format=self.memory_format))  # type: ignore[no-any-return]

    def compile_steps(self, backend: str = "inductor") -> None:
        """Compile the net for training and validation steps; predictions and Grad-CAM keep using the uncompiled one."""
        self._steps = (torch.compile(self.net, backend=backend),)

    @property
    def compiled(self) -> bool:
        """Whether steps are compiled."""
        return bool(self._steps)

    def _step(self, batch: Batch, batch_index: int, split: str) -> Tensor:
        """Loss of a batch; the epoch's mean loss and accuracy are kept for logging.

        The first batch registers the metrics with Lightning, which reads and resets them when the epoch ends; repeating
        that at every step would only cost time.
        """
        images, labels, _ = batch
        net = self._steps[0] if self._steps else self.net
        logits = net(images.contiguous(memory_format=self.memory_format))
        smoothing = self.optim["label_smoothing"] if split == "train" else 0.0
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        mean_loss, accuracy = self.mean_loss[f"in_{split}"], self.accuracy[f"in_{split}"]
        mean_loss.update(loss.detach().expand(len(labels)))  # type: ignore[operator]  # torchmetrics 1.9 drops weights
        accuracy.update(logits.detach(), labels)  # type: ignore[operator]
        if batch_index == 0:
            epoch = {"on_step": False, "on_epoch": True, "batch_size": len(labels)}
            self.log(f"{split}/loss", mean_loss, **epoch)  # type: ignore[arg-type]
            self.log(f"{split}/acc", accuracy, **epoch)  # type: ignore[arg-type]
        return loss

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Cross-entropy of one batch; with several processes, weighted so that their mean is that of all images."""
        loss = self._step(batch, batch_index, "train")
        if self.trainer.world_size == 1:
            return loss
        weight: float = self.trainer.train_dataloader.weigh(batch_index, len(batch[1]))  # type: ignore[union-attr]
        return loss * weight

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """The same on plain images."""
        self._step(batch, batch_index, "val")

    def on_train_epoch_start(self) -> None:
        """Log the learning rate at the start of the epoch."""
        self.log("lr", self.optimizers().param_groups[0]["lr"], sync_dist=self.trainer.world_size > 1)  # type: ignore[union-attr]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimiser and schedule, which moves once per step for one_cycle, else once per epoch."""
        clips = self.trainer.gradient_clip_val or self.trainer.scaler is not None
        fused = self.device.type in FUSED_ON and not clips  # in mixed precision Lightning does not clip before it
        optimizer = make_optimizer(self.optim, self.net, fused)
        epochs, steps = self.trainer.max_epochs or 1, int(self.trainer.estimated_stepping_batches)
        each_step = self.optim.get("schedule") == "one_cycle"
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": make_schedule(self.optim, optimizer, epochs, steps),
                "interval": "step" if each_step else "epoch",
            },
        }
