"""Images in folders named after their classes.

root/train/<class>/*.png      classes are these folder names, sorted
root/test/<class>/*.png       matched to train's classes by name
root/val/<class>/*.png        optional; then nothing is split off train

``training``, ``testing``, ``valid``, ``validation`` and ``dev`` also work, in any case. If there is no
test folder, as in ImageNet, val's images are the test split, and validation is split off train.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources.cache import Allocate, cached
from stress_lab.data.sources.decoding import read_image
from stress_lab.data.sources.listing import Listing, Picture, list_tree
from stress_lab.data.sources.snapshot import once
from stress_lab.errors import DataError

log = logging.getLogger(__name__)

AT_ONCE = 256  # images decoded before they are stored
HELD = 1 << 30  # bytes of images decoded at once
DECODER = 2  # raise when decoding changes pixels


@once
def load_folder(root: str | None, image_size: int | None = None) -> ImageData:
    """Read the tree that ``data.root`` names; raises DataError as :func:`read_tree` does."""
    if root is None or not Path(root).expanduser().is_dir():
        raise DataError(f"data.root={root} is not a folder: give the one that holds train/ and test/")
    return read_tree(Path(root).expanduser(), image_size)


def read_tree(root: Path, image_size: int | None = None) -> ImageData:
    """Decode a class-folder tree, or map it from the cache; unused files are reported in one line.

    Args:
        root: holds train/, test/ and perhaps val/.
        image_size: resize every image to this many pixels square; None requires equal sizes.

    Raises:
        DataError: a split is missing or empty, a class of test or val is not in train, a class would lose all its
            images of a split, an image is broken, larger than the limit, deeper than 8 bits, or of another size than
            the others.
    """
    listing = list_tree(root)
    if listing.val_is_test:
        folder = listing.folders["test"].name
        log.warning(
            "%s has no test folder: %s is its test split, and data.val_size sets what to split off train", root, folder
        )
    if left_out := listing.left_out.describe():
        log.warning("left out of %s: %s", root, left_out)
    classes = tuple(sorted(listing.splits["train"]))
    _check_classes(listing, classes)
    pictures = [picture for found in listing.splits.values() for group in found.values() for picture in group]
    return cached(
        root.name or "tree",
        pictures,
        f"{image_size}|{DECODER}",
        lambda allocate: _decode(root, listing.splits, classes, image_size, allocate),
    )


def _check_classes(listing: Listing, classes: Sequence[str]) -> None:
    """Raise DataError unless there are two classes or more, and no others in test and val."""
    train = listing.folders["train"]
    for name, found in listing.splits.items():
        unknown = sorted(found.keys() - set(classes))
        if unknown:
            raise DataError(
                f"{listing.folders[name]} has the class folder {unknown[0]!r}, which {train} lacks: "
                f"rename it to one of {', '.join(classes[:12])}{' …' if len(classes) > 12 else ''}, or add it to train"
            )
    if len(classes) < 2:
        raise DataError(f"{train} has only one class, {classes[0]!r}: a classifier needs two or more")


def _decode(
    root: Path,
    splits: Mapping[str, Mapping[str, Sequence[Picture]]],
    classes: Sequence[str],
    image_size: int | None,
    allocate: Allocate,
) -> ImageData:
    """Read every file into arrays that ``allocate`` makes; grey only if all images of all splits are."""
    files = {
        name: [picture.path for label in classes for picture in found.get(label, [])] for name, found in splits.items()
    }
    log.info("reading %s images from %s", f"{sum(map(len, files.values())):,}", root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # such images are refused
        first, _ = read_image(files["train"][0], image_size)
        images = _fill(files, first, image_size, allocate, channels=1 if first.ndim == 2 else 3)
        if images is None:
            images = _fill(files, first, image_size, allocate, channels=3)
    assert images is not None
    made = {}
    for name, found in splits.items():
        labels = [number for number, label in enumerate(classes) for _ in found.get(label, [])]
        paths = tuple(str(Path(file).relative_to(root)) for file in files[name])
        made[name] = ImageSplit(images[name], np.array(labels, dtype=np.int64), paths)
    return ImageData(made, tuple(classes), str(root), "files sorted by class, then by path, within a split")


def _fill(
    files: Mapping[str, Sequence[str]],
    first: NDArray[np.uint8],
    image_size: int | None,
    allocate: Allocate,
    channels: int,
) -> dict[str, NDArray[np.uint8]] | None:
    """Images (N, channels, H, W) of each split, all of the first one's size; None if one of them has more channels.

    A grey image among colour ones gets three equal channels.
    """
    images, several = {}, 0
    at_once = max(1, min(AT_ONCE, HELD // first.nbytes))

    def read(file: str) -> tuple[NDArray[np.uint8], bool]:
        def check(width: int, height: int) -> None:
            if image_size is None and sorted((height, width)) != sorted(first.shape[:2]):
                _check_size(file, (height, width), files["train"][0], first)

        return read_image(file, image_size, check)

    with ThreadPoolExecutor() as pool:
        for name, paths in files.items():
            images[name] = allocate(name, (len(paths), channels, *first.shape[:2]))
            for start in range(0, len(paths), at_once):
                some = paths[start : start + at_once]
                for place, (image, more) in enumerate(pool.map(read, some)):
                    _check_size(some[place], image.shape[:2], files["train"][0], first)
                    if image.ndim > 2 and channels == 1:
                        return None
                    images[name][start + place] = image if image.ndim == 2 else image.transpose(2, 0, 1)
                    several += more
    if several:
        log.warning("%s files hold several images (animations, pages): the first of each is used", f"{several:,}")
    return images


def _check_size(file: str, size: tuple[int, ...], other: str, first: NDArray[np.uint8]) -> None:
    """Raise DataError where an image's height and width differ from the first one's."""
    if size != first.shape[:2]:
        (height, width), (first_height, first_width) = size, first.shape[:2]
        raise DataError(
            f"{file} has {width}×{height} pixels, but {other} has {first_width}×{first_height}: "
            f"make them equal, or resize all with data.image_size=PIXELS"
        )
