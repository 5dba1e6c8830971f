"""Ways in which a run goes wrong, planted by tests: by its seed, so that every other run of the sweep is spared."""

import os
import signal
from pathlib import Path

from lightning.pytorch import Callback

RAISES, DIES = 2, 3  # seeds


class Fault(Callback):
    """In training: an exception, or a process that is gone."""

    def __init__(self, seed, preempted=False):
        self.seed, self.preempted = seed, preempted

    def on_train_start(self, trainer, pl_module):
        if self.seed == RAISES:
            raise RuntimeError("planted")
        if self.seed == DIES:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_epoch_start(self, trainer, pl_module):
        """What SLURM sends when it needs the machine, once, in the second epoch."""
        sent = Path(trainer.default_root_dir) / "preempted"
        if self.preempted and trainer.current_epoch == 1 and not sent.exists():
            sent.touch()
            os.kill(os.getpid(), signal.SIGUSR2)
