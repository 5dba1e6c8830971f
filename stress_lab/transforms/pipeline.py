"""The one pipeline that every variant shares: crop, flip, normalise, then Cutout or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stress_lab.errors import ConfigError
from stress_lab.transforms.base import BatchTransform
from stress_lab.transforms.crop import RandomCrop
from stress_lab.transforms.cutout import Cutout
from stress_lab.transforms.flip import HorizontalFlip
from stress_lab.transforms.limits import check_crop, check_cutout
from stress_lab.transforms.normalize import Normalize
from stress_lab.transforms.randomness import epoch_generator
from stress_lab.transforms.resizing import ProgressiveResizing


class Pipeline:
    """An augmented image depends only on seed, epoch and its index.

    Each transform draws from its own stream, named after it: adding Cutout changes no crop and no flip, so that
    baseline and treatment see the same images except for the hole.

    Args:
        normalize: between the two groups.
        before: transforms of uint8 pixels, by name.
        after: transforms of normalised images, by name.
        count: images in the official split that indices refer to.
        size: (height, width) in pixels.
        seed: of the run.
        resizing: how large images are served in each epoch; None keeps their size.
    """

    def __init__(
        self,
        normalize: Normalize,
        before: Mapping[str, BatchTransform] | None = None,
        after: Mapping[str, BatchTransform] | None = None,
        count: int = 0,
        size: tuple[int, int] = (0, 0),
        seed: int = 0,
        resizing: ProgressiveResizing | None = None,
    ) -> None:
        self.normalize = normalize
        self.before = dict(before or {})
        self.after = dict(after or {})
        self.count = count
        self.size = size
        self.seed = seed
        self.resizing = resizing
        self.served = size
        self.parameters: dict[str, Tensor] = {}
        self.constant: set[str] = set()  # transforms without randomness

    def __repr__(self) -> str:
        """The transforms in order, so that two preprocessings can be compared."""
        return " > ".join([*self.before, repr(self.normalize), *self.after])

    def set_epoch(self, epoch: int, device: torch.device | str = "cpu") -> None:
        """Draw the parameters of every image for an epoch (some milliseconds for 50,000 images), and move them."""
        self.served = self.size if self.resizing is None else self.resizing.size_in(epoch, self.size)
        self.parameters = {
            name: self._draw(name, transform, epoch).to(device)
            for name, transform in {**self.before, **self.after}.items()
        }

    def _draw(self, name: str, transform: BatchTransform, epoch: int) -> Tensor:
        """The parameters of every image, always drawn on the CPU, so that every device gets the same."""
        if isinstance(transform, HorizontalFlip) and transform.alternate:
            return self._draw_at(name, transform, 0) ^ bool(epoch % 2)
        return self._draw_at(name, transform, epoch)

    def _draw_at(self, name: str, transform: BatchTransform, epoch: int) -> Tensor:
        generator = epoch_generator(self.seed, epoch, name)
        before = generator.get_state()
        drawn = transform.draw(self.count, *self.size, generator)
        if torch.equal(generator.get_state(), before):
            self.constant.add(name)
        return drawn

    def __call__(self, images: Tensor, index: Tensor) -> Tensor:
        """``images (B, C, H, W)`` uint8 with their ``index (B,)`` to float32; ``set_epoch`` comes first."""
        for name, transform in self.before.items():
            images = transform.apply(images, self.parameters[name][index])
        images = self.normalize(images)
        for name, transform in self.after.items():
            images = transform.apply(images, self.parameters[name][index])
        if self.served != tuple(images.shape[-2:]) and self.resizing is not None:
            images = F.interpolate(images, self.served, mode="bilinear", antialias=True)
        return images


def make_pipeline(
    augment: Mapping[str, Any],
    normalize: Normalize,
    count: int,
    size: tuple[int, int],
    seed: int,
    epochs: int | None = None,
) -> Pipeline:
    """Compose the training pipeline from the keys of ``conf/augment``.

    Args:
        augment: ``crop_padding`` (pixels), ``flip``, ``cutout`` (None, or ``holes`` and ``length``, where length None
            means half the shorter side), ``extra`` (the user's own batch transforms, last); perhaps ``initial_scale``
            and ``finetune_fraction``, as for :class:`ProgressiveResizing`.
        normalize, count, size, seed: as for :class:`Pipeline`.
        epochs: of the run, which growing images need.

    Raises:
        ConfigError: a length does not fit the images, or an extra transform is not one.
    """
    before: dict[str, BatchTransform] = {}
    after: dict[str, BatchTransform] = {}
    check_crop(augment["crop_padding"], size)
    if augment["crop_padding"]:
        before["crop"] = RandomCrop(augment["crop_padding"])
    if augment["flip"]:
        before["flip"] = HorizontalFlip(alternate=augment["flip"] == "alternate")
    if augment["cutout"] is not None:
        after["cutout"] = Cutout(check_cutout(augment["cutout"], size), augment["cutout"]["holes"])
    for number, extra in enumerate(augment["extra"]):
        if not isinstance(extra, BatchTransform):
            raise ConfigError(f"augment.extra[{number}] is not a batch transform: it needs the methods draw and apply")
        after[f"extra{number}:{type(extra).__name__}"] = extra
    scale = augment.get("initial_scale")
    resizing = None
    if scale is not None and epochs is not None:
        resizing = ProgressiveResizing(scale, augment["finetune_fraction"], epochs)
    return Pipeline(normalize, before, after, count, size, seed, resizing)


def eval_pipeline(normalize: Normalize) -> Pipeline:
    """The pipeline for evaluation images: normalisation only."""
    return Pipeline(normalize)
