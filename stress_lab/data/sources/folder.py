"""Images in folders named after their classes.

root/train/<class>/*.png      classes are these folder names, sorted
root/test/<class>/*.png       matched to train's classes by name
root/val/<class>/*.png        optional; then nothing is cut from train
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources.cache import Allocate, cached
from stress_lab.errors import DataError

log = logging.getLogger(__name__)

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
LAYOUT = "train/<class>/*.png with test/<class>/*.png"
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # no others: Pillow gives PostScript to Ghostscript
MAX_PIXELS = 50_000_000  # one image; more is a mistake or a decompression bomb
AT_ONCE = 256  # images decoded before they are put where they belong
DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L"}  # more than 8 bits a channel


def load_folder(root: str | None, image_size: int | None = None) -> ImageData:
    """Read the tree that ``data.root`` names; raises DataError as :func:`read_tree` does."""
    if root is None or not Path(root).expanduser().is_dir():
        raise DataError(f"data.root={root} is not a folder: give the one that holds train/ and test/")
    return read_tree(Path(root).expanduser(), image_size)


def read_tree(root: Path, image_size: int | None = None) -> ImageData:
    """Decode a class-folder tree, or map it from the cache.

    Args:
        root: holds train/, test/ and perhaps val/.
        image_size: resize every image to this many pixels square; None demands that all have one size already.

    Raises:
        DataError: a split is missing or empty, a class of test or val is not in train, an image is broken, larger than
            the limit, deeper than 8 bits, or of another size than the others.
    """
    listing = {
        name: _list_split(root, name) for name in ("train", "test", "val") if name != "val" or (root / name).is_dir()
    }
    classes = tuple(sorted(listing["train"]))
    for name, found in listing.items():
        strangers = sorted(found.keys() - set(classes))
        if strangers:
            raise DataError(
                f"{root / name} has the class folder {strangers[0]!r}, which {root / 'train'} lacks: "
                f"rename it to one of {', '.join(classes[:12])}{' …' if len(classes) > 12 else ''}, or add it to train"
            )
    if len(classes) < 2:
        raise DataError(f"{root / 'train'} has one class only, {classes[0]!r}: a classifier needs two or more")
    files = [file for found in listing.values() for group in found.values() for file in group]
    return cached(
        root.name or "tree", files, f"{image_size}", lambda make: _decode(root, listing, classes, image_size, make)
    )


def _list_split(root: Path, name: str) -> dict[str, list[Path]]:
    """Image files by class folder, both sorted by name."""
    folder = root / name
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: the layout is {LAYOUT}, below one folder")
    found = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() and not entry.exists():
            raise DataError(f"{entry} cannot be opened: it is a link that leads nowhere; mend or remove it")
        if not entry.is_dir():
            continue
        if not entry.name.isprintable():
            raise DataError(
                f"{str(entry)!r} has a character that cannot be printed in its name: rename the class folder"
            )
        if entry.name.startswith("."):
            log.warning("the hidden folder %s is left out", entry)
        else:
            found[entry.name] = sorted(
                Path(parent) / file
                for parent, _, names in os.walk(entry)
                for file in names
                if Path(file).suffix.lower() in SUFFIXES and not file.startswith(".")
            )
    found = {label: files for label, files in found.items() if files}
    if not found:
        raise DataError(f"{folder} has no class folders with images: the layout is {LAYOUT}")
    return found


def _decode(
    root: Path,
    listing: dict[str, dict[str, list[Path]]],
    classes: Sequence[str],
    image_size: int | None,
    allocate: Allocate,
) -> ImageData:
    """Read every file into arrays that ``allocate`` makes; grey only where all images of all splits are."""
    files = {name: [file for label in classes for file in found.get(label, [])] for name, found in listing.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # such images are refused below
        first = _read_image(files["train"][0], image_size)
        images = _fill(files, first, image_size, allocate, channels=1 if first.ndim == 2 else 3)
        if images is None:
            images = _fill(files, first, image_size, allocate, channels=3)
    assert images is not None
    splits = {}
    for name, found in listing.items():
        labels = [number for number, label in enumerate(classes) for _ in found.get(label, [])]
        paths = tuple(str(file.relative_to(root)) for file in files[name])
        splits[name] = ImageSplit(images[name], np.array(labels, dtype=np.int64), paths)
    return ImageData(splits, tuple(classes), str(root), "files sorted by class, then by path, within a split")


def _fill(
    files: dict[str, list[Path]], first: NDArray[np.uint8], image_size: int | None, allocate: Allocate, channels: int
) -> dict[str, NDArray[np.uint8]] | None:
    """Images (N, channels, H, W) of each split, all of the first one's size; None where one of them has more channels.

    A grey image among colour ones gets three equal channels.
    """
    images = {}
    with ThreadPoolExecutor() as pool:
        for name, paths in files.items():
            images[name] = allocate(name, (len(paths), channels, *first.shape[:2]))
            for start in range(0, len(paths), AT_ONCE):
                some = paths[start : start + AT_ONCE]
                for place, image in enumerate(pool.map(lambda file: _read_image(file, image_size), some)):
                    _check_size(some[place], image, files["train"][0], first)
                    if image.ndim > 2 and channels == 1:
                        return None
                    images[name][start + place] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return images


def _read_image(file: Path, image_size: int | None) -> NDArray[np.uint8]:
    """One image as (H, W) where grey, else (H, W, 3); alpha is dropped, a camera's rotation applied."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{file} has {image.width}×{image.height} pixels, more than {MAX_PIXELS:,}: remove it")
            if image.mode in DEEP_MODES:
                raise DataError(f"{file} has more than 8 bits a channel ({image.mode}): save it with 8")
            upright = ImageOps.exif_transpose(image).convert("L" if image.mode in ("1", "L") else "RGB")
            if image_size is not None:
                upright = upright.resize((image_size, image_size), Image.Resampling.BILINEAR)
            return np.asarray(upright, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image ({error}): replace or remove it") from None


def _check_size(file: Path, image: NDArray[np.uint8], other: Path, first: NDArray[np.uint8]) -> None:
    """An image must have the size of the first one."""
    if image.shape[:2] != first.shape[:2]:
        (height, width), (first_height, first_width) = image.shape[:2], first.shape[:2]
        raise DataError(
            f"{file} has {width}×{height} pixels, but {other} has {first_width}×{first_height}: "
            f"make them equal, or resize all with data.image_size=PIXELS"
        )
