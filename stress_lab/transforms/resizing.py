"""Progressive resizing (fast.ai 2018): early epochs cost less, and the last ones see every pixel."""

from __future__ import annotations

from dataclasses import dataclass

STEP = 4  # smallest growth of a side in pixels; convolutions of odd sizes are slow


@dataclass(frozen=True)
class ProgressiveResizing:
    """The side of the images in each epoch: it grows linearly, then stays at full size.

    Attributes:
        initial_scale: fraction of the full side in the first epoch.
        finetune_fraction: final fraction of the run with full-size images.
        epochs: of the run.
    """

    initial_scale: float
    finetune_fraction: float
    epochs: int

    def size_in(self, epoch: int, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) in pixels, multiples of four below the full ``size``, in an epoch counted from 0.

        >>> [ProgressiveResizing(0.5, 0.4, 10).size_in(epoch, (32, 32))[0] for epoch in range(10)]
        [16, 20, 20, 24, 28, 28, 32, 32, 32, 32]
        >>> ProgressiveResizing(0.5, 0.4, 1).size_in(0, (32, 32))
        (32, 32)
        """
        growing = min((1 - self.finetune_fraction) * self.epochs, self.epochs - 1)  # epochs; the last one is full
        done = min(1.0, epoch / growing) if growing else 1.0
        scale = self.initial_scale + (1 - self.initial_scale) * done
        height, width = (min(side, max(STEP, STEP * int(side * scale / STEP + 0.5))) for side in size)
        return (height, width) if scale < 1 else size
