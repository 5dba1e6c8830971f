"""Ways in which a run goes wrong, planted by tests: by its seed, so that every other run of the sweep is spared."""

import os
import signal

from lightning.pytorch import Callback

RAISES, DIES = 2, 3  # seeds


class Fault(Callback):
    """In training: an exception, or a process that is gone."""

    def __init__(self, seed):
        self.seed = seed

    def on_train_start(self, trainer, pl_module):
        if self.seed == RAISES:
            raise RuntimeError("planted")
        if self.seed == DIES:
            os.kill(os.getpid(), signal.SIGKILL)
