"""From a photograph to a net's input, by rules that the user or the net's library states; nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from stress_lab.auditing.lookup import call_library, import_dotted
from stress_lab.errors import ConfigError, DataError

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}
NAMED: Mapping[str, Mapping[str, Any]] = {
    "imagenet": {"resize": 256, "crop": 224, "fit": "crop", "interpolation": "bilinear", **IMAGENET},
    "cifar10": {"resize": None, "crop": None, "fit": "crop", "interpolation": "bilinear", **CIFAR10},
}
KEYS = ("resize", "crop", "fit", "interpolation", "mean", "std")
FITS = ("crop", "pad", "squash")
INTERPOLATIONS = tuple(mode.value for mode in InterpolationMode)
SAY = (
    "say transform=imagenet, transform=cifar10, transform.mean=[…] and the other keys, or "
    "transform=mine.eval_transform for your own function of a PIL image"
)


@dataclass(frozen=True)
class Preprocessing:
    """Turns a PIL image into a net's input in two steps: in a worker process, then for a whole batch.

    Attributes:
        line: what it does, as the reader sees it.
        shape: changes the size of a PIL image; None where ``own`` does everything.
        mean, std: per channel; empty for ``own``.
        own: the user's callable, from a PIL image to a tensor (C, H, W).
    """

    line: str
    shape: Callable[[Image.Image], Image.Image] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    own: Callable[[Image.Image], Any] | None = None

    def __repr__(self) -> str:
        return self.line

    def prepare(self, image: Any) -> Tensor:
        """(C, H, W) uint8 pixels of the size that the net takes; what ``own`` or a data set makes stays as it is."""
        if isinstance(image, Tensor):
            if self.own is not None or self.shape is not None:
                raise DataError("the data set gives tensors, so transform has no effect: pass transform=none")
            return image
        if self.own is None and self.shape is None:
            raise DataError(f"the images are not tensors, so a transform is needed: {SAY}")
        if self.own is not None:
            made = self.own(image)
            if not isinstance(made, Tensor) or made.ndim != 3:
                raise DataError(f"{self.line} must return a tensor (C, H, W) for one image, got {_describe(made)}")
            return made
        assert self.shape is not None
        pixels: Tensor = F.pil_to_tensor(self.shape(image.convert("L" if len(self.mean) == 1 else "RGB")))
        return pixels

    def finish(self, batch: Tensor) -> Tensor:
        """Prepared images ``(B, C, H, W)`` to the net's input, as torchvision's ToTensor and Normalize compute it."""
        if self.shape is None:
            return batch
        inputs: Tensor = F.normalize(batch.to(torch.float32).div(255), list(self.mean), list(self.std))
        return inputs

    def show(self, batch: Tensor) -> NDArray[np.uint8]:
        """(B, 1 or 3, H, W) pixels of prepared images, for people; those of an own transform are undone if possible."""
        if batch.dtype == torch.uint8:
            return np.asarray(_as_colours(batch).numpy())
        images = _as_colours(batch.float())
        constants = find_constants(self.own)
        if constants is not None and len(constants[0]) == images.shape[1]:
            mean, std = (torch.tensor(part)[:, None, None] for part in constants)
            images = images * std + mean
        elif float(images.min()) < -0.01 or float(images.max()) > 1.01:
            low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
            images = (images - low) / (high - low).clamp_min(1e-6)
        return np.asarray((images * 255).round().clamp(0, 255).to(torch.uint8).numpy())


def _describe(made: Any) -> str:
    """What an own transform returned."""
    return f"a tensor {tuple(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"


def _as_colours(images: Tensor) -> Tensor:
    """Three channels, or one."""
    return images if images.shape[1] in (1, 3) else images[:, :1]


def find_constants(own: Any) -> tuple[Sequence[float], Sequence[float]] | None:
    """Mean and deviation of the Normalize in a transform that is a chain of steps; None where there is none."""
    for step in reversed(getattr(own, "transforms", None) or []):
        if type(step).__name__ == "Normalize":
            return [float(one) for one in step.mean], [float(one) for one in step.std]
    return None


@dataclass(frozen=True)
class Shape:
    """Changes an image's size; pixels equal those of torchvision's Resize and CenterCrop.

    Attributes:
        resize: pixels of the shorter side (``crop``), of the longer one (``pad``), or of both (``squash``); None keeps.
        crop: pixels of the square that remains; None keeps what there is.
        fit: ``crop``, ``pad`` or ``squash``.
        interpolation: of the resizing.
        fill: colour of what ``pad`` adds.
    """

    resize: int | None
    crop: int | None
    fit: str = "crop"
    interpolation: str = "bilinear"
    fill: tuple[int, ...] = field(default=(0, 0, 0))

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image with its new size."""
        mode, side = InterpolationMode(self.interpolation), self.resize
        if side is not None:
            size = [side] if self.fit == "crop" else [side, side]
            if self.fit == "pad":
                ratio = side / max(image.size)
                size = [max(1, round(image.height * ratio)), max(1, round(image.width * ratio))]
            image = F.resize(image, size, mode)
            if self.fit == "pad":
                image = self._pad(image, side)
        return image if self.crop is None else F.center_crop(image, [self.crop, self.crop])

    def _pad(self, image: Image.Image, side: int) -> Image.Image:
        """A square image with this one in the middle."""
        across, down = side - image.width, side - image.height
        edges = [across // 2, down // 2, across - across // 2, down - down // 2]
        padded: Image.Image = F.pad(image, edges, self.fill[0] if image.mode == "L" else self.fill)
        return padded

    def describe(self) -> str:
        """What happens to an image's size."""
        how = {"crop": "of the shorter side", "pad": "padded to a square", "squash": "square, aspect lost"}[self.fit]
        resized = f"resize {self.resize} {how} ({self.interpolation})" if self.resize else "size as it is"
        return resized + (f", centre crop {self.crop}" if self.crop else "")


def make_preprocessing(spec: Any, net: str, weights: str | None = None) -> Preprocessing:
    """The preprocessing that a config names.

    Args:
        spec: ``auto``, ``imagenet``, ``cifar10``, ``none``, the dotted path of a callable, or a mapping of keys with
            ``like`` for those it leaves out.
        net: the one it is for, whose library answers ``auto``.
        weights: ``pretrained``, or a file.

    Raises:
        ConfigError: it names nothing that exists, or a key has a value that cannot work.
    """
    keys = dict(spec) if isinstance(spec, Mapping) else {"like": spec}
    unknown = [key for key in keys if key not in (*KEYS, "like")]
    if unknown:
        raise ConfigError(f"transform.{unknown[0]} is not a key: use {', '.join(KEYS)}, or like")
    like = keys.pop("like", None)
    given = {key: value for key, value in keys.items() if value is not None}
    if callable(like):
        return Preprocessing(f"own transform {getattr(like, '__name__', type(like).__name__)}", own=like)
    if like is None and not {"mean", "std"} <= given.keys():
        raise ConfigError(f"no transform is given, and images are never preprocessed by guesswork: {SAY}")
    if like == "none":
        return Preprocessing("none: tensors as the data set gives them")
    if like == "auto":
        return _ask_library(net, given)
    if isinstance(like, str) and "." in like:
        return _import_own(like, given)
    if like is not None and like not in NAMED:
        raise ConfigError(
            f"transform={like} does not work: use auto, {', '.join(NAMED)}, or {SAY.partition(', or ')[2]}"
        )
    base = NAMED.get(like or "", {"fit": "crop", "interpolation": "bilinear"})
    return from_keys({**base, **given}, f"{like}: " if like else "")


def _import_own(path: str, given: Mapping[str, Any]) -> Preprocessing:
    """The user's callable; one that takes no image, such as ``mine.make_transform``, is not called here."""
    if given:
        raise ConfigError(f"transform.{next(iter(given))} has no effect beside transform={path}: leave one of them out")
    own = import_dotted(path, "transform")
    if not callable(own):
        raise ConfigError(f"transform={path} is not callable: name a function of a PIL image")
    return Preprocessing(f"own transform {path}", own=own)


def from_keys(keys: Mapping[str, Any], origin: str = "") -> Preprocessing:
    """The preprocessing of plain keys; raises ConfigError where one cannot work."""
    _check_keys(keys)
    mean, std = (tuple(map(float, keys[name])) for name in ("mean", "std"))
    fill = tuple(round(255 * one) for one in mean)
    shape = Shape(keys.get("resize"), keys.get("crop"), keys["fit"], keys["interpolation"], fill)
    return Preprocessing(f"{origin}{shape.describe()}, {_name_constants(mean, std)}", shape, mean, std)


def _name_constants(mean: Sequence[float], std: Sequence[float]) -> str:
    """``mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225)``."""
    first, second = (", ".join(f"{one:g}" for one in part) for part in (mean, std))
    return f"mean ({first}), std ({second})"


def _check_keys(keys: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first key that cannot work."""
    for name in ("resize", "crop"):
        value = keys.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ConfigError(f"transform.{name}={value} does not work: use null or a whole number of pixels")
    for name, known in (("fit", FITS), ("interpolation", INTERPOLATIONS)):
        if keys.get(name) not in known:
            raise ConfigError(f"transform.{name}={keys.get(name)} does not work: use one of {', '.join(known)}")
    for name in ("mean", "std"):
        value = keys.get(name)
        numbers = isinstance(value, Sequence) and len(value) in (1, 3) and not isinstance(value, str)
        numbers = numbers and all(isinstance(one, (int, float)) for one in value or ())
        if not numbers or (name == "std" and min(value or [0]) <= 0):
            raise ConfigError(
                f"transform.{name}={value} does not work: use a number for each channel, as in [0.5,0.5,0.5]"
            )
    if len(keys["mean"]) != len(keys["std"]):
        raise ConfigError("transform.mean and transform.std have different numbers of channels: give one each")


def _ask_library(net: str, given: Mapping[str, Any]) -> Preprocessing:
    """What timm or torchvision says that the weights it publishes under a net's name expect."""
    library, _, name = net.rpartition("/")
    found = call_library(library, name, "transform") if library == "timm" or "." not in net else None
    if found is None:
        raise ConfigError(f"transform=auto does not work for net={net}, which names no library that would know: {SAY}")
    if isinstance(found, Mapping):
        return from_keys({**found, **given}, f"auto ({library or 'torchvision'}): ")
    if given:
        raise ConfigError(
            f"transform.{next(iter(given))} does not work beside what timm does for {name}: give all keys"
        )
    line, shape, mean, std = found
    return Preprocessing(f"auto (timm): {line}, {_name_constants(mean, std)}", shape, mean, std)
