"""Lightning shells around the image sources: one class per data set, each a few lines on a common base."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from stress_lab.data.arrays import check_data
from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.loader import BatchLoader, keep_on
from stress_lab.data.sources.cifar10 import load_cifar10
from stress_lab.data.sources.fashion_mnist import load_fashion_mnist, load_fashion_sample
from stress_lab.data.sources.folder import load_folder
from stress_lab.data.splits import refuse_cut, stratified_split
from stress_lab.errors import DataError
from stress_lab.records import DatasetSpec, IntArray
from stress_lab.transforms.normalize import Normalize
from stress_lab.transforms.pipeline import Pipeline, eval_pipeline, make_pipeline

NO_AUGMENT = {"crop_padding": 0, "flip": False, "cutout": None, "extra": ()}
EVAL_BATCH = 256  # images per evaluation batch; at most twice the training batch


class ImageDataModule(LightningDataModule):
    """Serves train, val and test batches of any source, and describes the data set.

    The test split is the official one. Validation is split off train, unless the source has its own.

    Args:
        name: config name of the data set.
        val_size: images to split off train; 0 means no validation; None takes the source's own, or a tenth of train.
        split_seed: seed of that split, separate from the run's seed, so that all runs share it.
        batch_size: of training.
        augment: the keys of ``conf/augment``; None trains on plain images.
        seed: of order and augmentation.
    """

    def __init__(
        self,
        name: str,
        val_size: int | None = None,
        split_seed: int = 0,
        batch_size: int = 128,
        augment: Mapping[str, Any] | None = None,
        seed: int = 42,
    ) -> None:
        super().__init__()
        self.dataset = name
        self.val_size = val_size
        self.split_seed = split_seed
        self.batch_size = batch_size
        self.augment = NO_AUGMENT if augment is None else augment
        self.seed = seed
        self._kept: dict[tuple[torch.device, str], tuple[Tensor, Tensor] | None] = {}  # by device and official split
        self.epochs: int | None = None  # of the run; set when training with growing images

    @abstractmethod
    def load(self) -> ImageData:
        """Find and decode the images; called once in each process."""

    @cached_property
    def images(self) -> ImageData:
        """The decoded images of every official split."""
        data = self.load()
        check_data(data, f"{type(self).__module__}.{type(self).__qualname__}.load")
        return data

    @cached_property
    def indices(self) -> dict[str, IntArray]:
        """Positions of each split: of train and val in the official train, of test in test."""
        splits = self.images.splits
        if "val" in splits and self.val_size != 0:
            refuse_cut(self.images.source, self.val_size)
            return {name: _everything(split) for name, split in splits.items()}
        labels, classes = splits["train"].labels, self.images.classes
        size = max(len(classes), len(labels) // 10) if self.val_size is None else self.val_size
        train, val = stratified_split(labels, size, self.split_seed, classes)
        cut = {"train": train, "val": val} if len(val) else {"train": train}
        return {**cut, "test": _everything(splits["test"])}

    @cached_property
    def spec(self) -> DatasetSpec:
        """The facts that a model and a reader need; the constants come from the official training pixels."""
        train = self.images.splits["train"].images
        mean, std = self.images.statistics
        return DatasetSpec(
            name=self.dataset,
            classes=self.images.classes,
            channels=train.shape[1],
            height=train.shape[2],
            width=train.shape[3],
            mean=mean,
            std=std,
            sizes={name: len(index) for name, index in self.indices.items()},
            source=self.images.source,
            index_order=self.images.index_order,
            fingerprint={name: split.fingerprint for name, split in self.images.splits.items()},
            duplicates=self.images.duplicates,
        )

    def prepare_data(self) -> None:
        """Find, download and cache, in one process per machine."""
        _ = self.images

    def setup(self, stage: str) -> None:
        """Split and check, in every process."""
        _ = self.spec, self.train_pipeline

    @cached_property
    def normalize(self) -> Normalize:
        """The transform from pixels to the net's input."""
        return Normalize(self.spec.mean, self.spec.std)

    @cached_property
    def train_pipeline(self) -> Pipeline:
        """The transforms of training images."""
        count = len(self.images.splits["train"])
        return make_pipeline(
            self.augment, self.normalize, count, (self.spec.height, self.spec.width), self.seed, self.epochs
        )

    def split(self, name: str) -> ImageSplit:
        """The decoded images that a split's positions index."""
        splits = self.images.splits
        if name not in self.indices:
            raise DataError(f"{self.dataset} has no {name} split here: use one of {', '.join(self.indices)}")
        return splits[name] if name in splits else splits["train"]

    def train_dataloader(self) -> BatchLoader:
        """Shuffled, augmented batches."""
        return BatchLoader(
            self.split("train"),
            self.indices["train"],
            self.train_pipeline,
            self.batch_size,
            shuffle=True,
            seed=self.seed,
            share=self._share(),
            **self._place("train"),
        )

    def _place(self, name: str) -> dict[str, Any]:
        """The device that batches of a split are made on: the trainer's, where there is one."""
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        official = name if name in self.images.splits else "train"
        if (device, official) not in self._kept:
            self._kept[device, official] = keep_on(device, self.split(name))
        return {"device": device, "kept": self._kept[device, official]}

    def _share(self) -> tuple[int, int]:
        """This process's share of every batch."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def eval_loader(self, name: str, index: IntArray | None = None, share: tuple[int, int] = (0, 1)) -> BatchLoader:
        """Unaugmented batches of a split, in order; ``index`` chooses positions, None takes all of the split's."""
        split = self.split(name)
        return BatchLoader(
            split,
            self.indices[name] if index is None else index,
            eval_pipeline(self.normalize),
            min(EVAL_BATCH, 2 * self.batch_size),
            share=share,
            **self._place(name),
        )

    def val_dataloader(self) -> BatchLoader | list[Any]:
        """Batches of the validation split, or none."""
        return self.eval_loader("val", share=self._share()) if "val" in self.indices else []

    def test_dataloader(self) -> BatchLoader:
        """Batches of the official test split."""
        return self.eval_loader("test")


def _everything(split: ImageSplit) -> IntArray:
    """All positions of a split."""
    return np.arange(len(split))


class CIFAR10DataModule(ImageDataModule):
    """CIFAR-10 from the official batches, a class-folder tree or a download.

    Args:
        root: folder to look in first.
        download: whether a download may be tried.
        **common: as for :class:`ImageDataModule`.
    """

    def __init__(self, root: str | None = None, download: bool = True, **common: Any) -> None:
        super().__init__("cifar10", **common)
        self.root, self.download = root, download

    def load(self) -> ImageData:
        """Find CIFAR-10."""
        return load_cifar10(self.root, self.download)


class FashionMNISTDataModule(ImageDataModule):
    """Fashion-MNIST from its four files or a download.

    Args:
        root: folder to look in first.
        download: whether a download may be tried.
        **common: as for :class:`ImageDataModule`.
    """

    def __init__(self, root: str | None = None, download: bool = True, **common: Any) -> None:
        super().__init__("fashion_mnist", **common)
        self.root, self.download = root, download

    def load(self) -> ImageData:
        """Find Fashion-MNIST."""
        return load_fashion_mnist(self.root, self.download)


class FashionSampleDataModule(ImageDataModule):
    """The sample of Fashion-MNIST inside this package; takes the arguments of :class:`ImageDataModule`."""

    def __init__(self, **common: Any) -> None:
        super().__init__("fashion_sample", **common)

    def load(self) -> ImageData:
        """Unpack the sample."""
        return load_fashion_sample()


class ImageFolderDataModule(ImageDataModule):
    """The user's own images in folders named after their classes.

    Args:
        root: holds ``train/<class>/``, ``test/<class>/`` and perhaps ``val/<class>/``; other usual names are taken too.
        image_size: resize to this many pixels square; None demands equal sizes.
        **common: as for :class:`ImageDataModule`.
    """

    def __init__(self, root: str | None = None, image_size: int | None = None, **common: Any) -> None:
        super().__init__("image_folder", **common)
        self.root, self.image_size = root, image_size

    def load(self) -> ImageData:
        """Read the tree."""
        return load_folder(self.root, self.image_size)
