"""Images and heat maps of the page as a few sprites, so that 400 failures stay light."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stress_lab.figures.style import HEAT
from stress_lab.saliency.maps import Cam

COLUMNS = 20  # tiles in a row of a sprite
TILE = 96  # pixels that a tile is shown at, about
LOSSLESS = 64  # images up to this side keep every pixel


@dataclass(frozen=True)
class Sprite:
    """A sheet of equal tiles, the first at the top left, filled row by row.

    Attributes:
        name: CSS class.
        uri: ``data:`` address with the picture inside.
        columns: tiles in a row. ``rows``: rows.
    """

    name: str
    uri: str
    columns: int
    rows: int


def make_sprites(pictures: Mapping[str, NDArray[Any]], variants: int) -> tuple[list[Sprite], list[dict[str, bool]]]:
    """Sheets of the images and of both maps of each variant, and which maps are empty.

    Args:
        pictures: ``images (n, C, H, W)`` uint8; for each variant number v ``predicted_v`` and ``true_v (n, h, w)``.
        variants: how many variants there are.

    Returns:
        The sheets ``image``, ``predicted_0``, ``true_0``, …; and for each image ``{"predicted_0": is empty, …}``.
    """
    plain = [_as_rgb(image) for image in pictures["images"]]
    small = max(pictures["images"].shape[2:]) <= LOSSLESS
    sheets = [_make_sheet("image", plain if small else [_fit(tile) for tile in plain], lossless=small)]
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


def _as_rgb(image: NDArray[np.uint8]) -> Image.Image:
    """(C, H, W) as a picture."""
    pixels = np.repeat(image, 3, axis=0) if image.shape[0] == 1 else image
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _fit(tile: Image.Image) -> Image.Image:
    """About TILE pixels wide: whole multiples of small images with crisp pixels, large ones reduced."""
    width, height = tile.size
    if max(width, height) <= TILE:
        factor = max(1, TILE // max(width, height))
        return tile.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    scale = TILE / max(width, height)
    return tile.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS)


def _overlay(plain: list[Image.Image], cam: Cam, peak: NDArray[np.float32]) -> list[Image.Image]:
    """Heat over each image, as in the figures; an empty map leaves the image as it is."""
    colours = matplotlib.colormaps[HEAT]
    sizes = [_fit(tile) for tile in plain[:1]]
    heats = cam.heat((sizes[0].height, sizes[0].width), peak)
    tiles = []
    for tile, heat, is_empty in zip(plain, heats, cam.is_empty, strict=True):
        pixels = np.asarray(_fit(tile), dtype=np.float32)
        if not is_empty:
            alpha = (0.3 + 0.4 * heat)[:, :, None]
            pixels = (1 - alpha) * pixels + alpha * 255 * colours(heat)[:, :, :3]
        tiles.append(Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)))
    return tiles


def _make_sheet(name: str, tiles: list[Image.Image], lossless: bool) -> Sprite:
    """Put tiles on one sheet: WebP, which every current browser reads."""
    width, height = tiles[0].size
    columns, rows = min(COLUMNS, len(tiles)), -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (columns * width, rows * height))
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % COLUMNS * width, place // COLUMNS * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", lossless=lossless, quality=82)
    uri = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Sprite(name, uri, columns, rows)
