"""How one image of an audit is opened, and the digest of what it was made from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from stress_lab.data.sources.decoding import read_image
from stress_lab.errors import DataError


class Reader(Protocol):
    """Opens one image; used in worker processes, so it must be picklable where those do not fork."""

    def __call__(self, place: int) -> tuple[Any, bytes]:
        """A PIL image, or a data set's tensor, and the SHA-256 of what it was made from."""


@dataclass(frozen=True)
class FileReader:
    """Opens files of a folder; ``upright`` applies the orientation that a camera recorded."""

    root: str
    files: tuple[str, ...]
    upright: bool = True

    def __call__(self, place: int) -> tuple[Image.Image, bytes]:
        """The image, and the digest of its file."""
        file = Path(self.root, self.files[place])
        pixels, _ = read_image(file, upright=self.upright)
        with file.open("rb") as stream:
            return Image.fromarray(pixels), hashlib.file_digest(stream, "sha256").digest()


@dataclass(frozen=True)
class ArrayReader:
    """Takes images from an array (N, H, W), (N, H, W, C) or (N, C, H, W) of uint8."""

    images: Any

    def __call__(self, place: int) -> tuple[Image.Image, bytes]:
        """The image, and the digest of its pixels."""
        pixels = np.ascontiguousarray(self.images[place])
        if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
            pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0))
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        return Image.fromarray(pixels), hashlib.sha256(pixels.tobytes()).digest()


@dataclass(frozen=True)
class DatasetReader:
    """Takes images from a map-style data set of pairs ``(image, label)``, or of mappings with the two keys."""

    dataset: Any
    keys: tuple[str, str] | None = None

    def __call__(self, place: int) -> tuple[Any, bytes]:
        """The image or tensor, and the digest of its content."""
        image = self.take(place)[0]
        if hasattr(image, "tobytes"):  # a PIL image or an array
            content = image.tobytes()
        else:
            content = np.ascontiguousarray(image.detach().cpu().numpy()).tobytes()
        return Image.fromarray(image) if isinstance(image, np.ndarray) else image, hashlib.sha256(content).digest()

    def take(self, place: int) -> tuple[Any, Any]:
        """Image and label; raises DataError where an item is something else."""
        item = self.dataset[place]
        if self.keys is not None:
            return item[self.keys[0]], item[self.keys[1]]
        if not isinstance(item, (tuple, list)) or len(item) < 2:
            raise DataError(f"item {place} of the data set is not a pair (image, label): let __getitem__ return one")
        return item[0], item[1]
