"""The images of a config, found and decoded before torch is imported, and the keys that depend on their size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from stress_lab.data.images import ImageData
from stress_lab.data.sources.cifar10 import load_cifar10
from stress_lab.data.sources.fashion_mnist import load_fashion_mnist, load_fashion_sample
from stress_lab.data.sources.folder import load_folder
from stress_lab.data.splits import check_val_size, refuse_cut
from stress_lab.transforms.limits import check_crop, check_cutout

MODULE = "stress_lab.data.datamodules"


@dataclass(frozen=True)
class Facts:
    """What keys are checked against: training images, classes, (height, width) in pixels, and who brings val images."""

    train: int
    classes: int
    size: tuple[int, int]
    val_source: str | None = None


KNOWN = {  # data sets whose facts are known before they are found
    f"{MODULE}.FashionSampleDataModule": Facts(7_000, 10, (28, 28)),
    f"{MODULE}.FashionMNISTDataModule": Facts(60_000, 10, (28, 28)),
    f"{MODULE}.CIFAR10DataModule": Facts(50_000, 10, (32, 32)),
}
LOADERS: dict[str, Callable[[Any], ImageData]] = {
    f"{MODULE}.FashionSampleDataModule": lambda data: load_fashion_sample(),
    f"{MODULE}.FashionMNISTDataModule": lambda data: load_fashion_mnist(data.get("root"), data.get("download", True)),
    f"{MODULE}.CIFAR10DataModule": lambda data: load_cifar10(data.get("root"), data.get("download", True)),
    f"{MODULE}.ImageFolderDataModule": lambda data: load_folder(data.get("root"), data.get("image_size")),
}


def check_images(jobs: Sequence[DictConfig]) -> None:
    """Check the sizes that are known, then find and decode each built-in data set and check the rest.

    Decoded images stay in the cache, from which the run maps them.

    Raises:
        StressLabError: the data is missing or broken, or a key does not fit it.
    """
    for cfg in jobs:
        if cfg.data._target_ in KNOWN:
            check_facts(cfg, KNOWN[cfg.data._target_])
    found: dict[str, Facts] = {}
    for cfg in jobs:
        if cfg.data._target_ not in LOADERS or cfg.data._target_.endswith("FashionSampleDataModule"):
            continue
        key = OmegaConf.to_yaml(cfg.data, resolve=True)
        if key not in found:
            found[key] = describe(LOADERS[cfg.data._target_](cfg.data))
        check_facts(cfg, found[key])


def describe(data: ImageData) -> Facts:
    """The facts of a data set that was read."""
    train = data.splits["train"]
    height, width = train.images.shape[2:]
    own = data.source if "val" in data.splits else None
    return Facts(len(train), len(np.unique(train.labels)), (height, width), own)


def check_facts(cfg: DictConfig, facts: Facts) -> None:
    """Raise ConfigError where a size in the config does not fit the images."""
    check_crop(cfg.augment.crop_padding, facts.size)
    if cfg.augment.cutout is not None:
        check_cutout(cfg.augment.cutout, facts.size)
    size = cfg.data.get("val_size")
    if facts.val_source is not None:
        refuse_cut(facts.val_source, size)
    elif size:
        check_val_size(size, facts.train, facts.classes)
