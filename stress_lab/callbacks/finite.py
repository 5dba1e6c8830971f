"""Stop a training that has diverged, while the last good checkpoint still exists."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from stress_lab.errors import RunError
from stress_lab.runs.folder import RunDir

GOOD = 2**62  # no step is that far


class FiniteLoss(Callback):
    """Ends the run at the first loss that is not finite, with epoch, step and learning rate.

    The first bad step is kept on the device and read every ``every`` steps and before an epoch is saved, so that a GPU
    need not wait; on the CPU, where reading is free, it is read at every step.

    Args:
        every: steps between two checks on a device other than the CPU.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self.first: Tensor | None = None
        self.rates: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clear the rates of the previous epoch."""
        self.rates.clear()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the rate of this step; the schedule moves on before the step's end is reported."""
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the step of the first loss that is not finite."""
        loss = outputs["loss"].detach()
        step = torch.where(torch.isfinite(loss), GOOD, batch_idx + 1)
        self.first = step if self.first is None else torch.minimum(self.first, step)
        if loss.device.type == "cpu" or (batch_idx + 1) % self.every == 0:
            self._stop_if_bad(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check before the epoch is saved."""
        self._stop_if_bad(trainer, pl_module)

    def _stop_if_bad(self, trainer: Trainer, module: LightningModule) -> None:
        """Raise RunError where a step was bad."""
        if self.first is None or int(self.first) == GOOD:
            return
        rate = self.rates[int(self.first) - 1]
        saved = (RunDir(trainer.default_root_dir).checkpoints / "last.ckpt").is_file()
        kept = f"checkpoints/last.ckpt holds epoch {trainer.current_epoch}" if saved else "no epoch was saved"
        raise RunError(
            f"the loss is not finite at step {int(self.first)} of epoch {trainer.current_epoch + 1}, at learning rate "
            f"{rate:g}: lower optim.lr, or set trainer.gradient_clip_val=1 ({kept})"
        )
