"""Checks on what a user's own class loads: shapes, types and class numbers, each with what to write instead."""

from __future__ import annotations

from typing import Any

import numpy as np

from stress_lab.data.images import ImageData
from stress_lab.errors import DataError

CHANNELS = (1, 3)


def check_data(data: Any, name: str) -> None:
    """Check what a method ``load`` returned.

    Args:
        data: should be an ImageData.
        name: of the method, for messages.

    Raises:
        DataError: it is something else, its splits do not match, or labels are not class numbers.
    """
    if not isinstance(data, ImageData):
        raise DataError(
            f"{name} returns an object of class {type(data).__name__}: return a stress_lab.data.images.ImageData"
        )
    missing = [split for split in ("train", "test") if split not in data.splits]
    if missing:
        raise DataError(f"{name} gives no {missing[0]} split, only {', '.join(data.splits) or 'none'}: add it")
    if len(data.classes) < 2:
        raise DataError(f"{name} gives {len(data.classes)} class names: name two classes or more")
    channels = data.splits["train"].images.shape[1]
    for split, part in data.splits.items():
        _check_channels(part.images.shape, f"{name} gives {split} images of shape {part.images.shape}")
        if part.images.shape[1] != channels:
            raise DataError(f"{name} gives train images of {channels} channels, but {split} of {part.images.shape[1]}")
        check_labels(part.labels, len(data.classes), f"{name} gives {split}")


def _check_channels(shape: tuple[int, ...], given: str) -> None:
    """Grey or colour, with the channels second."""
    if shape[1] in CHANNELS:
        return
    if shape[3] in CHANNELS:
        raise DataError(f"{given}, whose channels come last: use images.transpose(0, 3, 1, 2), for (N, C, H, W)")
    raise DataError(f"{given}, which has {shape[1]} channels: only grey (1) and colour (3) are supported")


def check_labels(labels: Any, classes: int, given: str) -> None:
    """Raise DataError unless labels are ``(N,)`` whole numbers from 0 to ``classes - 1``; ``given`` begins the message.

    One class per image: multi-label data and regression targets are not supported.
    """
    if not isinstance(labels, np.ndarray):
        raise DataError(f"{given} labels as {type(labels).__name__}: use np.asarray(labels)")
    if labels.ndim != 1:
        which = "turn one-hot rows into class numbers with labels.argmax(axis=1)" if labels.ndim == 2 else "use (N,)"
        which = "use labels[:, 0]" if labels.ndim == 2 and labels.shape[1] == 1 else which
        raise DataError(f"{given} labels of shape {labels.shape}, but each image has one class here: {which}")
    if not np.issubdtype(labels.dtype, np.integer):
        whole = labels.dtype.kind == "b" or (labels.dtype.kind == "f" and bool((labels == np.round(labels)).all()))
        instead = "use labels.astype(int)" if whole else "give the position of each image's class among the class names"
        raise DataError(f"{given} labels of type {labels.dtype}, but class numbers are needed: {instead}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        instead = "use labels - 1" if (low, high) == (1, classes) else "give each its position among the class names"
        raise DataError(
            f"{given} labels from {low} to {high}, but the classes are numbered from 0 to {classes - 1}: {instead}"
        )
