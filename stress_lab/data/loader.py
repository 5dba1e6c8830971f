"""Whole batches from one uint8 array, in an order that depends only on seed and epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from stress_lab.data.images import ImageSplit
from stress_lab.records import IntArray
from stress_lab.transforms.pipeline import Pipeline
from stress_lab.transforms.randomness import epoch_generator

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor, Tensor]


class BatchLoader:
    """Yields ``(images (B, C, H, W) float32, labels (B,) int64, index (B,) int64)``.

    An epoch is a pure function of (seed, epoch), so it is the same in a fresh process.

    Args:
        split: decoded images.
        index: positions in ``split`` to serve.
        pipeline: turns uint8 images into the net's input.
        batch_size: the last batch may be smaller.
        shuffle: draw a new order every epoch; else keep that of ``index``.
        seed: of the order.
        share: (rank, size): serve every ``size``-th image of each batch from the ``rank``-th, so that the batches
            of all ranks together are those of one process. A rank without images in the last batch skips it.
        device: where batches are made. Images that fit are kept there; others are copied batch by batch, while the
            device computes.
        kept: the images and labels of ``split`` on ``device``, if they are there already.
    """

    batch_sampler = None  # Lightning expects it beside a ``sampler``

    def __init__(
        self,
        split: ImageSplit,
        index: IntArray,
        pipeline: Pipeline,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
        device: torch.device | str = "cpu",
        kept: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.split = split
        self.index = np.asarray(index, dtype=np.int64)
        self.pipeline = pipeline
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.share = share
        self.device = torch.device(device)
        self.kept = kept
        self.epoch = 0

    @property
    def sampler(self) -> BatchLoader:
        """Lightning calls ``set_epoch`` on the ``sampler`` of a loader before it iterates; this loader is its own."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, whose order and augmentation come next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.index) // self.batch_size)

    def order(self) -> Tensor:
        """(N,) positions in ``index``, in the order of this epoch."""
        if not self.shuffle:
            return torch.arange(len(self.index))
        return torch.randperm(len(self.index), generator=epoch_generator(self.seed, self.epoch, "order"))

    def weigh(self, number: int, images: int) -> float:
        """Factor of the mean loss over ``images`` of batch ``number``, for the mean over ranks to be the batch's."""
        whole = min(self.batch_size, len(self.index) - number * self.batch_size)
        return self.share[1] * images / whole

    def __iter__(self) -> Iterator[Batch]:
        self.pipeline.set_epoch(self.epoch, self.device)
        order = torch.from_numpy(self.index)[self.order()]
        on_device = order.to(self.device)
        rank, size = self.share
        for start in range(0, len(order), self.batch_size):
            mine = slice(start + rank, min(start + self.batch_size, len(order)), size)
            where = on_device[mine]
            if len(where) == 0:
                continue
            images, labels = self._gather(order[mine], where)
            yield self.pipeline(images, where), labels, where

    def _gather(self, index: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels at ``index (B,)``, where ``where`` is its copy on the device."""
        if self.kept is not None:
            images, labels = self.kept
            return images.index_select(0, where), labels.index_select(0, where)
        positions = index.numpy()
        pair = torch.from_numpy(self.split.images[positions]), torch.from_numpy(self.split.labels[positions])
        if self.device.type == "cpu":
            return pair
        if self.device.type == "cuda":  # a copy from pinned memory does not wait for the device's computation
            pair = pair[0].pin_memory(), pair[1].pin_memory()
        return pair[0].to(self.device, non_blocking=True), pair[1].to(self.device, non_blocking=True)


def keep_on(device: torch.device, split: ImageSplit) -> tuple[Tensor, Tensor] | None:
    """A split's images and labels on a device, or None on the CPU, and where they do not fit.

    They may take half of the free memory.
    """
    if device.type == "cpu":
        return None
    if device.type == "cuda" and split.images.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
        gigabytes = split.images.nbytes / 1e9
        log.info("%.1f GB of images do not fit on the GPU: they are copied batch by batch", gigabytes)
        return None
    return torch.tensor(split.images, device=device), torch.tensor(split.labels, device=device)
