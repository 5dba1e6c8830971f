"""What ends a training before its last epoch, as users have it."""

from lightning.pytorch import Callback


class StopAfter(Callback):
    """Tells the Trainer to stop in an epoch: at its end, or within it."""

    def __init__(self, epoch, batch=None):
        self.epoch, self.batch = epoch, batch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.batch is not None and trainer.current_epoch + 1 == self.epoch and batch_idx + 1 == self.batch:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer, pl_module):
        if self.batch is None and trainer.current_epoch + 1 == self.epoch:
            trainer.should_stop = True
