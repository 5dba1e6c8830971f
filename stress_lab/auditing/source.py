"""Photographs as a stream of batches, decoded in worker processes; memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stress_lab.auditing.images import Photographs
from stress_lab.auditing.preprocessing import Preprocessing
from stress_lab.data.images import ImageSplit
from stress_lab.errors import DataError
from stress_lab.records import DatasetSpec, IntArray

IN_MAIN = 64  # images that are not worth a worker process


@dataclass(frozen=True)
class Batch:
    """Prepared images of a batch.

    Attributes:
        prepared: (B, C, H, W) of :meth:`Preprocessing.prepare`.
        index: (B,) positions in the split.
        digests: SHA-256 of each image as it was found.
    """

    prepared: Tensor
    index: IntArray
    digests: list[bytes]


class Prepared(Dataset[tuple[int, Any, bytes]]):
    """Opens and prepares single images; an image that cannot be used is returned as the sentence about it."""

    def __init__(self, photographs: Photographs, preprocessing: Preprocessing) -> None:
        self.photographs, self.preprocessing = photographs, preprocessing

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, place: int) -> tuple[int, Any, bytes]:
        try:
            image, digest = self.photographs.read(place)
            return place, self.preprocessing.prepare(image), digest
        except DataError as error:
            return place, str(error), b""
        except Exception as error:  # a user's transform may raise anything
            name = self.photographs.names[place]
            return place, f"{name} cannot be preprocessed: {' '.join(str(error).split())[:300]}", b""


def gather(items: Sequence[tuple[int, Any, bytes]], names: Sequence[str]) -> Batch:
    """A batch of prepared images; raises DataError for the first that cannot be used."""
    for place, image, _ in items:
        if isinstance(image, str):
            raise DataError(image)
        if image.shape != items[0][1].shape:
            (first, other), (one, two) = ((names[p] for p in (items[0][0], place)), (items[0][1].shape, image.shape))
            raise DataError(
                f"{first} is {tuple(one)} and {other} is {tuple(two)} after preprocessing: a batch needs one size, so "
                "set transform.resize and transform.crop"
            )
    return Batch(
        torch.stack([image for _, image, _ in items]),
        np.array([place for place, _, _ in items], dtype=np.int64),
        [digest for _, _, digest in items],
    )


def stream(
    photographs: Photographs, preprocessing: Preprocessing, index: IntArray, batch_size: int, workers: int
) -> Iterator[Batch]:
    """Batches of the images at ``index``, in that order."""
    loader = DataLoader(
        Prepared(photographs, preprocessing),
        batch_size=batch_size,
        sampler=cast("Any", index.tolist()),
        num_workers=0 if len(index) <= IN_MAIN else workers,
        collate_fn=list,
    )
    for items in loader:
        yield gather(items, photographs.names)


class ShownImages:
    """Looks like an array (N, C, H, W) of uint8, and decodes what is asked for: pixels as the net sees them."""

    ndim, dtype = 4, np.dtype(np.uint8)

    def __init__(self, source: AuditSource, name: str) -> None:
        self._source, self._name = source, name
        self.shape = (len(source.photographs[name]), source.spec.channels, source.spec.height, source.spec.width)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> NDArray[np.uint8]:
        index = np.atleast_1d(np.arange(len(self))[chosen])
        batches = self._source.stream(self._name, index)
        shown = [self._source.preprocessing.show(batch.prepared) for batch in batches]
        pixels = np.concatenate(shown) if shown else np.empty((0, *self.shape[1:]), np.uint8)
        return pixels if np.ndim(np.arange(len(self))[chosen]) else pixels[0]


class InputLoader:
    """Batches ``(inputs (B, C, H, W), labels (B,), index (B,))`` of a split."""

    def __init__(self, source: AuditSource, name: str, index: IntArray) -> None:
        self._source, self._name, self._index = source, name, index
        self.pipeline = source.preprocessing

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        labels = self._source.photographs[self._name].labels
        for batch in self._source.stream(self._name, self._index):
            inputs = self._source.preprocessing.finish(batch.prepared)
            yield inputs, torch.from_numpy(labels[batch.index]), torch.from_numpy(batch.index)


class AuditSource:
    """The images of an audit, in the form that records are made from (``recording.ImageSource``).

    Args:
        photographs: by split; ``test``, and perhaps ``val``.
        preprocessing: of all of them.
        batch_size: images at once.
        workers: processes that decode.
        name: of the data in titles.
    """

    def __init__(
        self,
        photographs: Mapping[str, Photographs],
        preprocessing: Preprocessing,
        batch_size: int,
        workers: int,
        name: str,
    ) -> None:
        self.photographs, self.preprocessing = dict(photographs), preprocessing
        self.batch_size, self.workers, self.name = batch_size, workers, name
        self.fingerprint: dict[str, str] = {}
        self.expected: dict[str, list[str]] = {}  # SHA-256 of each image of a split, where they must not have changed
        self._size: tuple[int, int, int] | None = None

    @property
    def spec(self) -> DatasetSpec:
        """The facts of the data; height and width are those of the net's input."""
        if self._size is None:
            self._size = self.preprocessing.show(self.first(1).prepared).shape[1:]
        channels, height, width = self._size
        test, given = self.photographs["test"], self.preprocessing
        return DatasetSpec(
            name=self.name,
            classes=test.classes,
            channels=channels,
            height=height,
            width=width,
            mean=given.mean if len(given.mean) == channels else (0.0,) * channels,
            std=given.std if len(given.std) == channels else (1.0,) * channels,
            sizes={name: len(found) for name, found in self.photographs.items()},
            source=test.source,
            index_order=test.order,
            fingerprint=self.fingerprint,
        )

    @property
    def indices(self) -> dict[str, IntArray]:
        """Positions of each split."""
        return {name: np.arange(len(found)) for name, found in self.photographs.items()}

    def first(self, n: int, split: str = "test") -> Batch:
        """The first images, and some from the middle and the end."""
        count = len(self.photographs[split])
        chosen = np.unique(np.linspace(0, count - 1, min(n, count)).astype(np.int64))
        return next(self.stream(split, chosen))

    def stream(self, name: str, index: IntArray) -> Iterator[Batch]:
        """Prepared batches of a split."""
        expected = self.expected.get(name)
        for batch in stream(self.photographs[name], self.preprocessing, index, self.batch_size, self.workers):
            if expected is not None:
                self._check_same(batch, name, expected)
            yield batch

    def _check_same(self, batch: Batch, name: str, expected: Sequence[str]) -> None:
        """Raise DataError for an image that is not the one that was audited."""
        for place, digest in zip(batch.index, batch.digests, strict=True):
            if digest.hex() != expected[place]:
                file = self.photographs[name].names[place]
                raise DataError(
                    f"{file} in {self.photographs[name].source} is not the image that was audited: put it back"
                )

    def split(self, name: str) -> ImageSplit:
        """The images of a split, decoded when asked for."""
        if name not in self.photographs:
            raise DataError(f"this audit has no {name} split: use one of {', '.join(self.photographs)}")
        found = self.photographs[name]
        files = found.names if found.has_files else None
        return ImageSplit(cast("NDArray[np.uint8]", ShownImages(self, name)), found.labels, files)

    def eval_loader(self, name: str, index: IntArray | None = None) -> InputLoader:
        """Inputs of a split, in the order of ``index``; None takes all."""
        return InputLoader(self, name, self.indices[name] if index is None else index)
