"""Images in folders named after their classes.

root/train/<class>/*.png      classes are these folder names, sorted
root/test/<class>/*.png       matched to train's classes by name
root/val/<class>/*.png        optional; then nothing is cut from train
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources.cache import Allocate, cached
from stress_lab.errors import DataError

log = logging.getLogger(__name__)

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
LAYOUT = "train/<class>/*.png with test/<class>/*.png"
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # no others: Pillow gives PostScript to Ghostscript
MAX_PIXELS = 50_000_000  # one image; more is a mistake or a decompression bomb
AT_ONCE = 256  # images decoded before they are put where they belong
ORIENTATION = (
    0x0112  # EXIF tag: 1 is upright; ImageOps.exif_transpose also rewrites all other tags, and odd ones end it
)
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
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
            found[entry.name] = sorted(_walk(entry))
    found = {label: files for label, files in found.items() if files}
    if not found:
        raise DataError(f"{folder} has no class folders with images: the layout is {LAYOUT}")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Image files of a class, in its inner folders too, but for hidden ones, and for links, which may lead anywhere."""
    for parent, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in inner:
            if (Path(parent) / name).is_symlink():
                log.warning(
                    "the linked folder %s is left out: put its images, or links to them, in its place",
                    Path(parent) / name,
                )
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                file = Path(parent) / name
                if not _is_text(str(file.relative_to(folder))):
                    raise DataError(f"the name of {str(file)!r} is not in UTF-8: rename the file or its folder")
                yield file


def _is_text(name: str) -> bool:
    """Whether a file's name can be written down."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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
            if image.mode in DEEP_MODES or any(re.search(";16[BLN]", str(tile[3])) for tile in image.tile):
                raise DataError(f"{file} has more than 8 bits a channel ({image.mode}): save it with 8")
            turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))  # other tags may be odd
            upright = (image if turn is None else image.transpose(turn)).convert(
                "L" if image.mode in ("1", "L") else "RGB"
            )
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
