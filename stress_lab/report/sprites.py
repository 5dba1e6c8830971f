"""Images and heat maps of the page as a few sprites, so that 400 failures stay small.

A heat map is stored apart from the image that it lies over, at a few pixels a cell, and the reader's browser blends and
enlarges it; so ten variants cost little more than two.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stress_lab.figures.tiles import as_rgb, colour_heat, fit
from stress_lab.saliency.maps import Cam

COLUMNS = 20  # tiles in a row of a sprite
LARGEST = 16_383  # pixels a side of a WebP
SMALL = 64  # images up to this side are enlarged with crisp pixels
SHOWN, PHOTOGRAPH = 144, 224  # pixels of a tile on screen: at least, and of a larger image's longer side
LOSSLESS = 101  # stands for a quality that keeps every pixel
SMALL_LOOKS = ((SMALL, LOSSLESS), (SMALL, 90), (SMALL, 75))
LOOKS = ((256, 80), (224, 78), (192, 75), (160, 72), (128, 70), (96, 65))  # (longer side, quality), the best first
CELL, HEAT_SIDE = 4, 32  # pixels a cell of a heat map, and at most of its longer side
PROBES = 24  # tiles that tell how many bytes a look takes
BASE64 = 4 / 3


@dataclass(frozen=True)
class Sprite:
    """A sheet of equal tiles, the first at the top left, filled row by row.

    Attributes:
        name: CSS class.
        uri: ``data:`` address with the picture inside.
        columns: tiles in a row. ``rows``: rows.
        width, height: of a tile, in pixels, without the ``pad`` that repeats its border on each side.
        shown: width on screen in CSS pixels; 0 for a map, which is as large as its image.
        crisp: whether enlarging it keeps the pixels' edges.
    """

    name: str
    uri: str
    columns: int
    rows: int
    width: int
    height: int
    pad: int
    shown: int
    crisp: bool

    def style(self) -> str:
        """CSS that shows the tile in column ``--c`` and row ``--r`` of a card."""
        sizes, places = zip(
            *(_stretch(n, side, self.pad) for n, side in ((self.columns, self.width), (self.rows, self.height))),
            strict=True,
        )
        across, down = (
            f"calc(var(--{axis})*{step:.6f}% + {start:.6f}%)" for axis, (step, start) in zip("cr", places, strict=True)
        )
        shape = f"aspect-ratio:{self.width}/{self.height};--shown:{self.shown}px;" if self.shown else ""
        crisp = "image-rendering:pixelated" if self.crisp else ""
        return (
            f"background-image:url({self.uri});background-size:{sizes[0]:.4f}% {sizes[1]:.4f}%;"
            f"background-position:{across} {down};{shape}{crisp}"
        )


def _stretch(tiles: int, side: int, pad: int) -> tuple[float, tuple[float, float]]:
    """Of one axis: ``background-size`` in percent, and the step a tile and the start of ``background-position``."""
    cell, room = side + 2 * pad, tiles * (side + 2 * pad) - side  # what lies outside the window
    return 100 * tiles * cell / side, (100 * cell / room, 100 * pad / room) if room else (0, 0)


def make_sprites(
    pictures: Mapping[str, NDArray[Any]], variants: int, budget: float = math.inf
) -> tuple[list[Sprite], list[dict[str, bool]]]:
    """Sheets of the images and of both maps of each variant, and which maps are empty.

    Args:
        pictures: ``images (n, C, H, W)`` uint8; for each variant number v ``predicted_v`` and ``true_v (n, h, w)``.
        variants: how many variants there are.
        budget: bytes that they should take on the page; the images become smaller until they fit.

    Returns:
        The sheets ``image``, ``predicted_0``, ``true_0``, …; and for each image ``{"predicted_0": is empty, …}``.
    """
    empty: list[dict[str, bool]] = [{} for _ in pictures["images"]]
    heats: list[Sprite] = []
    for number in range(variants):
        cams = {kind: Cam(pictures[f"{kind}_{number}"]) for kind in ("predicted", "true")}
        peak = np.maximum(cams["predicted"].peak, cams["true"].peak)
        for kind, cam in cams.items():
            name = f"{kind}_{number}"
            heats.append(_make_heat(name, cam, peak))
            for place, is_empty in enumerate(cam.is_empty.tolist()):
                empty[place][name] = is_empty
    left = budget - sum(len(sheet.uri) for sheet in heats)
    return [_make_images([as_rgb(image) for image in pictures["images"]], left), *heats], empty


def _make_images(plain: Sequence[Image.Image], budget: float) -> Sprite:
    """The best look of the images within a budget, or else the smallest."""
    small = max(plain[0].size) <= SMALL
    looks = SMALL_LOOKS if small else LOOKS
    best = min(max(plain[0].size), LARGEST // max(COLUMNS, math.isqrt(len(plain)) + 1) - 2)
    for side, quality in looks:
        if small or side <= best or (side, quality) == looks[-1]:
            probes = [_shrink(plain[place], side, small) for place in _spread(len(plain))]
            if len(_encode(probes, quality, small)[0]) * len(plain) / len(probes) * BASE64 <= budget:
                break
    tiles = [_shrink(one, side, small) for one in plain]
    width, height = tiles[0].size
    longest = max(width, height)
    factor = -(-SHOWN // longest) if small else max(PHOTOGRAPH, SHOWN * longest / min(width, height)) / longest
    return _make_sheet("image", tiles, quality, crisp=small, shown=round(width * factor))


def _spread(n: int) -> list[int]:
    """Some places among n, evenly."""
    return sorted({place * n // PROBES for place in range(PROBES)} if n else set())


def _shrink(picture: Image.Image, side: int, small: bool) -> Image.Image:
    """At most ``side`` pixels; a small image stays as it is."""
    return picture if small or max(picture.size) <= side else fit(picture, side)


def _make_heat(name: str, cam: Cam, peak: NDArray[np.float32]) -> Sprite:
    """Heat with its transparency, to lie over the images; nothing where a map is empty."""
    cells = cam.raw.shape[1:]
    factor = max(1, min(CELL, HEAT_SIDE // max(cells)))
    height, width = (min(HEAT_SIDE, factor * cell) for cell in cells)
    clear = Image.new("RGBA", (width, height))
    heats = cam.heat((height, width), peak)
    tiles = [clear if is_empty else colour_heat(heat) for heat, is_empty in zip(heats, cam.is_empty, strict=True)]
    return _make_sheet(name, tiles, 75, crisp=False, shown=0)


def _make_sheet(name: str, tiles: Sequence[Image.Image], quality: int, crisp: bool, shown: int) -> Sprite:
    """Put tiles on one sheet."""
    data, columns = _encode(tiles, quality, crisp)
    width, height = tiles[0].size
    uri = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
    return Sprite(name, uri, columns, -(-len(tiles) // columns), width, height, 0 if crisp else 1, shown, crisp)


def _encode(tiles: Sequence[Image.Image], quality: int, crisp: bool) -> tuple[bytes, int]:
    """A WebP, which every current browser reads, and its columns.

    Smooth tiles get a border of their own colours, since enlarging mixes neighbours.
    """
    pad = 0 if crisp else 1
    width, height = (side + 2 * pad for side in tiles[0].size)
    columns = min(len(tiles), max(COLUMNS, math.isqrt(len(tiles)) + 1))
    sheet = Image.new(tiles[0].mode, (columns * width, -(-len(tiles) // columns) * height))
    for place, tile in enumerate(tiles):
        padded = Image.fromarray(np.pad(np.asarray(tile), ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
        sheet.paste(padded, (place % columns * width, place // columns * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", lossless=quality == LOSSLESS, quality=min(100, quality), alpha_quality=75)
    return buffer.getvalue(), columns
