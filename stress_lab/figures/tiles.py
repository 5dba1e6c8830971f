"""Failures with their Grad-CAM maps, drawn pixel by pixel, since axes would be slow for hundreds of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import matplotlib
import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stress_lab.figures.style import HEAT, percent
from stress_lab.plain_text import printable
from stress_lab.records import Failure
from stress_lab.saliency.maps import Cam

Images = NDArray[np.uint8]
EMPTY = "no positive evidence"
PANEL, SMALL = 208, 144  # pixels of a panel's longer side, about: of a tile, and of a contact sheet
GAP = 12  # pixels between panels
INK, PAPER = "black", "white"


def as_rgb(image: NDArray[np.uint8]) -> Image.Image:
    """(C, H, W) as a picture."""
    pixels = np.repeat(image, 3, axis=0) if image.shape[0] == 1 else image
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def fit(picture: Image.Image, side: int) -> Image.Image:
    """About ``side`` pixels wide: whole multiples of small images with crisp pixels, large ones reduced."""
    width, height = picture.size
    if max(width, height) <= side:
        factor = side // max(width, height)
        return picture.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    scale = side / max(width, height)
    return picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS)


def colour_heat(heat: NDArray[np.float32]) -> Image.Image:
    """Heat (H, W) in [0, 1] with the transparency of :func:`overlay`, to lie over a picture."""
    pixels = np.concatenate([255 * _colours()[_levels(heat)], 255 * _opacity(heat)], axis=2)
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def _opacity(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 1) in [0, 1]: stronger where the heat is higher."""
    return np.asarray((0.3 + 0.4 * heat)[:, :, None])


def overlay(picture: Image.Image, heat: NDArray[np.float32]) -> Image.Image:
    """Heat (H, W) in [0, 1] over a picture of that size, stronger where the heat is higher."""
    alpha = _opacity(heat)
    pixels = (1 - alpha) * np.asarray(picture, dtype=np.float32) + alpha * 255 * _colours()[_levels(heat)]
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def _levels(heat: NDArray[np.float32]) -> NDArray[np.intp]:
    """The index, of 256 colours, for each heat."""
    return np.minimum(heat * 256, 255).astype(np.intp)


@cache
def _colours() -> NDArray[np.float32]:
    """(256, 3) of the heat scale."""
    colours: NDArray[np.float32] = matplotlib.colormaps[HEAT](np.arange(256))[:, :3].astype(np.float32)
    return colours


def draw_gradcam_tile(failure: Failure, image: Images, predicted: Cam, true: Cam, layer: str) -> Image.Image:
    """One failure: the image, the map for the predicted class, the map for the true class, on one common scale.

    Args:
        failure: with the names of its classes.
        image: (C, H, W). ``predicted`` and ``true`` hold only its maps.
        layer: the explained one.
    """
    body = _draw_triplet(failure, image, predicted, true, PANEL, 15)
    cells = f"{predicted.raw.shape[1]}×{predicted.raw.shape[2]} cells"
    title = f"failure {failure.rank}, image {failure.index}: Grad-CAM at {layer} ({cells})"
    return _frame(body, [title], 16)


def draw_contact_sheet(
    failures: Sequence[Failure], images: Images, predicted: Cam, true: Cam, layer: str, title: str, columns: int = 2
) -> Image.Image:
    """Many failures on one sheet, three panels each."""
    bodies = [
        _draw_triplet(failure, images[place], predicted.only(place), true.only(place), SMALL, 12)
        for place, failure in enumerate(failures)
    ]
    width, height = bodies[0].width + 2 * GAP, bodies[0].height + GAP
    rows = -(-len(bodies) // columns)
    sheet = Image.new("RGB", (width * min(columns, len(bodies)) - 2 * GAP, height * rows - GAP), PAPER)
    for place, body in enumerate(bodies):
        sheet.paste(body, (place % columns * width, place // columns * height))
    return _frame(sheet, [title, f"Grad-CAM at {layer}: image, evidence for predicted class, for true class"], 14)


def _draw_triplet(failure: Failure, image: Images, predicted: Cam, true: Cam, side: int, size: int) -> Image.Image:
    """Image and two maps with a common peak, a two-line caption over each."""
    plain = fit(as_rgb(image), side)
    peak = np.maximum(predicted.peak, true.peak)
    panels = [(plain, f"image {failure.index}", "", "")]
    for cam, verb, name, confidence in (
        (predicted, "predicted", failure.pred_name, failure.confidence),
        (true, "true", failure.label_name, failure.true_confidence),
    ):
        empty = bool(cam.is_empty[0])
        picture = plain if empty else overlay(plain, cam.heat((plain.height, plain.width), peak)[0])
        panels.append((picture, f"{verb}: {name}", percent(confidence), EMPTY if empty else ""))
    caption = 2 * (size + 4)
    body = Image.new("RGB", (3 * plain.width + 2 * GAP, plain.height + caption), PAPER)
    pen = ImageDraw.Draw(body)
    for place, (picture, *lines, note) in enumerate(panels):
        left = place * (plain.width + GAP)
        body.paste(picture, (left, caption))
        for number, line in enumerate(lines):
            pen.text((left, number * (size + 4)), _cut(line, plain.width, size), INK, _font(size))
        where, small = (left + 3, body.height - size - 5), size - 2
        pen.text(where, _cut(note, plain.width, small), PAPER, _font(small), stroke_width=2, stroke_fill=INK)
    return body


def _frame(body: Image.Image, title: Sequence[str], size: int) -> Image.Image:
    """White margins, the title above and the scale of the heat below."""
    top, foot = GAP + len(title) * (size + 6), size + 2 * GAP
    words = ("evidence: none", "most (the larger peak of a pair)")
    bar = 120
    needed = round(sum(_font(size - 3).getlength(word) for word in words)) + bar + 2 * GAP
    width = max(body.width, needed) + 2 * GAP
    picture = Image.new("RGB", (width, body.height + top + foot), PAPER)
    picture.paste(body, (GAP, top))
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(title):
        pen.text((GAP, GAP // 2 + number * (size + 6)), _cut(line, width - 2 * GAP, size), INK, _font(size))
    y, x = top + body.height + GAP, GAP
    pen.text((x, y), words[0], INK, _font(size - 3))
    x += round(_font(size - 3).getlength(words[0])) + GAP // 2
    ramp = np.broadcast_to(np.linspace(0, 1, bar, dtype=np.float32), (size - 2, bar))
    picture.paste(Image.fromarray((255 * _colours()[_levels(ramp)]).astype(np.uint8)), (x, y))
    pen.text((x + bar + GAP // 2, y), words[1], INK, _font(size - 3))
    return picture


def _cut(text: str, width: int, size: int) -> str:
    """A printable line no wider than its panel."""
    text = printable(text)
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font that ships with matplotlib and that the other figures use."""
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
