"""Make an epoch depend on the seed and its number, not on what ran before."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from stress_lab.transforms.randomness import epoch_generator


class EpochSeed(Callback):
    """Seeds torch's global generators at the start of each epoch, for nets that draw from them, as in dropout.

    A resumed run thus draws what it would have drawn. Order and augmentation have their own generators
    and do not need this.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the CPU and every device, each process with its own numbers."""
        purpose = f"global{trainer.global_rank or ''}"
        torch.manual_seed(epoch_generator(self.seed, trainer.current_epoch, purpose).initial_seed())
