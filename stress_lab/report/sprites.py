"""Images and heat maps of the page as a few sprites, so that 400 failures stay small."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stress_lab.figures.tiles import as_rgb, fit, overlay
from stress_lab.saliency.maps import Cam

COLUMNS = 20  # tiles in a row of a sprite
TILE = 96  # approximate pixels of a tile on screen
LOSSLESS = 64  # images up to this side keep every pixel


@dataclass(frozen=True)
class Sprite:
    """A sheet of equal tiles, the first at the top left, filled row by row.

    Attributes:
        name: CSS class.
        uri: ``data:`` address with the picture inside.
        columns: tiles in a row. ``rows``: rows.
        width, height: of a tile, in pixels.
        lossless: whether every pixel of the images is kept.
    """

    name: str
    uri: str
    columns: int
    rows: int
    width: int
    height: int
    lossless: bool


def make_sprites(pictures: Mapping[str, NDArray[Any]], variants: int) -> tuple[list[Sprite], list[dict[str, bool]]]:
    """Sheets of the images and of both maps of each variant, and which maps are empty.

    Args:
        pictures: ``images (n, C, H, W)`` uint8; for each variant number v ``predicted_v`` and ``true_v (n, h, w)``.
        variants: how many variants there are.

    Returns:
        The sheets ``image``, ``predicted_0``, ``true_0``, …; and for each image ``{"predicted_0": is empty, …}``.
    """
    plain = [as_rgb(image) for image in pictures["images"]]
    small = max(pictures["images"].shape[2:]) <= LOSSLESS
    sheets = [_make_sheet("image", plain if small else [fit(tile, TILE) for tile in plain], lossless=small)]
    empty: list[dict[str, bool]] = [{} for _ in plain]
    for number in range(variants):
        cams = {kind: Cam(pictures[f"{kind}_{number}"]) for kind in ("predicted", "true")}
        peak = np.maximum(cams["predicted"].peak, cams["true"].peak)
        for kind, cam in cams.items():
            name = f"{kind}_{number}"
            tiles = _overlay(plain, cam, peak)
            sheets.append(_make_sheet(name, tiles, lossless=False))
            for place, is_empty in enumerate(cam.is_empty.tolist()):
                empty[place][name] = is_empty
    return sheets, empty


def _overlay(plain: list[Image.Image], cam: Cam, peak: NDArray[np.float32]) -> list[Image.Image]:
    """Heat over each image, as in the figures; an empty map leaves the image as it is."""
    fitted = [fit(tile, TILE) for tile in plain]
    heats = cam.heat((fitted[0].height, fitted[0].width), peak)
    return [
        tile if is_empty else overlay(tile, heat)
        for tile, heat, is_empty in zip(fitted, heats, cam.is_empty, strict=True)
    ]


def _make_sheet(name: str, tiles: list[Image.Image], lossless: bool) -> Sprite:
    """Put tiles on one sheet: WebP, which every current browser reads."""
    width, height = tiles[0].size
    columns = min(len(tiles), max(COLUMNS, math.isqrt(len(tiles)) + 1))  # WebP allows at most 16,383 pixels a side
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height))
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % columns * width, place // columns * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", lossless=lossless, quality=82)
    uri = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Sprite(name, uri, columns, rows, width, height, lossless)
