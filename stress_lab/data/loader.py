"""Whole batches from one uint8 array, in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from stress_lab.data.images import ImageSplit
from stress_lab.records import IntArray
from stress_lab.transforms.pipeline import Pipeline
from stress_lab.transforms.randomness import epoch_generator

Batch = tuple[Tensor, Tensor, Tensor]


class BatchLoader:
    """Yields ``(images (B, C, H, W) float32, labels (B,) int64, index (B,) int64)``.

    Being a pure function of (seed, epoch), an epoch is the same in a fresh process, for any history.

    Args:
        split: decoded images.
        index: positions in ``split`` to serve.
        pipeline: turns uint8 images into what the net sees.
        batch_size: the last batch may be smaller.
        shuffle: draw a new order every epoch; else keep that of ``index``.
        seed: of the order.
    """

    batch_sampler = None  # Lightning asks whatever has a ``sampler`` for it

    def __init__(
        self,
        split: ImageSplit,
        index: IntArray,
        pipeline: Pipeline,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        self.split = split
        self.index = np.asarray(index, dtype=np.int64)
        self.pipeline = pipeline
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0

    @property
    def sampler(self) -> BatchLoader:
        """Lightning calls ``set_epoch`` on the ``sampler`` of a loader before it iterates: this one is its own."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, whose order and augmentation come next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.index) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = torch.arange(len(self.index))
        if self.shuffle:
            order = torch.randperm(len(self.index), generator=epoch_generator(self.seed, self.epoch, "order"))
        self.pipeline.set_epoch(self.epoch)
        for positions in torch.split(order, self.batch_size):
            index = self.index[positions.numpy()]
            images = torch.from_numpy(self.split.images[index])
            labels = torch.from_numpy(self.split.labels[index])
            where = torch.from_numpy(index)
            yield self.pipeline(images, where), labels, where
