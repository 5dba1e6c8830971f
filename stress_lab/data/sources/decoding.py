"""One image file to an array: which formats are read, upright, with 8 bits per channel, grey or colour."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from stress_lab.errors import DataError

# suffixes by Pillow's format name; no others are opened: Pillow passes PostScript to Ghostscript
FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp", ".mpo"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpf", ".jpx"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
MISSING_DECODERS = {  # by suffix: why it is not read here
    **dict.fromkeys(FORMATS["HEIF"], "no decoder: pip install pillow-heif"),
    ".avif": "no decoder: pip install 'pillow>=11.3'",
    **dict.fromkeys((*FORMATS["WEBP"], *FORMATS["JPEG2000"]), "Pillow was built without its decoder"),
    **dict.fromkeys((".svg", ".eps", ".ps", ".pdf", ".psd"), "not a picture of pixels: export it as PNG"),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raw"), "camera raw: export it"),
}
MAX_PIXELS = 50_000_000  # one image; more is a mistake or a decompression bomb
MAX_BYTES = 1 << 30  # of a file; the largest image has a fifth of it uncompressed
STACKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8")  # first bytes of formats that may hold many images
ORIENTATION = 0x0112  # EXIF tag; 1 is upright
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DEEP_MODES = ("I", "F")  # prefixes of modes with more than 8 bits per channel, such as I;16B
MOVING = ("GIF", "TIFF", "PNG", "WEBP", "AVIF")  # may hold several images of equal rank; a camera's MPO holds previews


@cache
def list_formats() -> tuple[str, ...]:
    """Pillow's names of the formats read here; HEIF if the package pillow-heif is installed."""
    if importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN and _has_decoder(name))


def _has_decoder(name: str) -> bool:
    """Whether Pillow was built with a format's decoder; the plugin exists without it too."""
    if name == "JPEG2000":
        return bool(features.check_codec("jpg_2000"))
    plugins = {"WEBP": "PIL.WebPImagePlugin", "AVIF": "PIL.AvifImagePlugin"}
    return name not in plugins or bool(importlib.import_module(plugins[name]).SUPPORTED)


@cache
def list_suffixes() -> frozenset[str]:
    """Suffixes of the files read here, in lower case."""
    return frozenset(suffix for name in list_formats() for suffix in FORMATS[name])


def read_image(
    file: str | Path,
    image_size: int | None = None,
    check: Callable[[int, int], None] | None = None,
    upright: bool = True,
) -> tuple[NDArray[np.uint8], bool]:
    """One image as (H, W) if grey, else (H, W, 3), and whether the file holds more images than this first one.

    Alpha is dropped: a transparent pixel gets its stored colour.

    Args:
        file: of any name; its content decides.
        image_size: resize to this many pixels square.
        check: called with width and height before the pixels are decoded; orientation may swap the two.
        upright: whether to apply the EXIF orientation.

    Raises:
        DataError: it cannot be read, is larger than the limit, or has more than 8 bits per channel.
    """
    try:
        _refuse_long_file(file)
        with Image.open(file, formats=list_formats()) as image:
            _check_depth_and_size(file, image)
            if check is not None:
                check(*image.size)
            image.load()  # before the tag is read: Pillow turns a TIFF itself; in a PNG the tag may follow the pixels
            turn = UPRIGHT.get(_find_orientation(image)) if upright else None
            turned = image if turn is None else image.transpose(turn)
            turned.info.pop("transparency", None)  # a colour or list that encodes alpha
            turned = turned.convert("L" if turned.mode in ("1", "L") else "RGB")
            if image_size is not None:
                turned = turned.resize((image_size, image_size), Image.Resampling.BILINEAR)
            return np.asarray(turned, dtype=np.uint8), image.format in MOVING and bool(_is_moving(image))
    except DataError:
        raise
    except Exception as error:  # broken bytes make Pillow's plugins raise anything
        raise DataError(f"{file} cannot be read as an image ({error}): replace or remove it") from None


def _refuse_long_file(file: str | Path) -> None:
    """Refuse a file that is too long for one image, which some decoders would read whole; stacks may be longer."""
    if os.stat(file).st_size > MAX_BYTES:
        with open(file, "rb") as stream:
            if not stream.read(4).startswith(STACKS):
                raise DataError(f"{file} has more than {MAX_BYTES:,} bytes: save it as one image, or remove it")


def _check_depth_and_size(file: str | Path, image: Image.Image) -> None:
    """Refuse, by its header alone, an image that is too large, or whose values do not fit into a byte."""
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{file} has {image.width}×{image.height} pixels, more than {MAX_PIXELS:,}: remove it")
    tiles: Any = getattr(image, "tile", ())
    if image.mode.startswith(DEEP_MODES) or any(re.search(";16[BLN]", str(tile[3])) for tile in tiles):
        raise DataError(f"{file} has more than 8 bits per channel ({image.mode}): save it with 8")


def _find_orientation(image: Image.Image) -> Any:
    """The orientation tag of a loaded image; 1 if missing or unreadable.

    ``ImageOps.exif_transpose`` also rewrites all other tags, and fails if one of them is unusual.
    """
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # broken EXIF data, which viewers ignore too
        return 1


def _is_moving(image: Image.Image) -> bool:
    """Whether an open file holds further images."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the second one is broken; the first was read
        return True
