"""What all figures share: colours, sizes, saving."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter
from numpy.typing import NDArray
from PIL import Image

from stress_lab.files import write_atomic
from stress_lab.plain_text import printable

# Okabe and Ito's colours, which colour-blind readers can distinguish; the first two are the first two variants.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
HEAT = "inferno"  # perceptually uniform
DPI = 130


def new_figure(width: float, height: float) -> Figure:
    """A figure of ``width`` by ``height`` inches that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained", dpi=DPI)


def save_figure(figure: Figure | Image.Image, path: Path) -> Path:
    """Write a PNG in one step."""
    image = render(figure)
    return write_atomic(path, lambda partial: image.save(partial, format="png"))


def render(figure: Figure | Image.Image) -> Image.Image:
    """Draw a figure once, for its PNG and for TensorBoard, as an RGB image; what is one already stays as it is.

    Two dollars in a name make no formula, and hidden characters show as escapes.
    """
    if isinstance(figure, Image.Image):
        return figure
    clean_labels(figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]


def clean_labels(figure: Figure) -> None:
    """Show names literally: no formulas between dollars, hidden characters as escapes."""
    ticks = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in _made_labels(axis)}
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            _show_plainly(axis)
    for text in figure.findobj(lambda artist: isinstance(artist, Text) and artist not in ticks):
        text.set_parse_math(False)  # type: ignore[attr-defined]
        text.set_text(printable(text.get_text(), keep="\n"))  # type: ignore[attr-defined]


def _show_plainly(axis: Axis) -> None:
    """Escape the labels that are names, which matplotlib recreates on every draw."""
    names = axis.get_major_formatter()
    if isinstance(names, (FixedFormatter, FuncFormatter)):
        axis.set_major_formatter(FuncFormatter(lambda value, place=None: printable(names(value, place), keep="\n")))


def _made_labels(axis: Axis) -> Iterable[Text]:
    """Labels that matplotlib makes from numbers, powers of ten as formulas."""
    if not isinstance(axis.get_major_formatter(), (FixedFormatter, FuncFormatter)):
        yield from axis.get_majorticklabels()
    yield from axis.get_minorticklabels()


def to_display(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(C, H, W) to (H, W) for grey or (H, W, 3) for colour."""
    return image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)


def show_image(axes: Axes, image: NDArray[np.uint8], heat: NDArray[np.float32] | None = None, **title: Any) -> None:
    """Draw an image with crisp pixels and, if given, a heat map (H, W) over it; ``title`` goes to set_title."""
    axes.imshow(to_display(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    if heat is not None:
        axes.imshow(heat, cmap=HEAT, vmin=0, vmax=1, alpha=0.3 + 0.4 * heat, interpolation="bilinear")
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(**title)


def percent(rate: float, digits: int = 1) -> str:
    """A rate as a person reads it.

    >>> percent(0.9398)
    '94.0 %'
    """
    return f"{100 * rate:.{digits}f} %"


def plain_percent(rate: float) -> str:
    """A chosen rate, with no more digits than it has.

    >>> plain_percent(0.95), plain_percent(0.995)
    ('95 %', '99.5 %')
    """
    return f"{100 * rate:.9g} %"


def short(name: str, length: int = 44) -> str:
    """A name that fits beside an axis, hidden characters as escapes.

    >>> short("cutout (" + "x" * 60 + ")")
    'cutout (xxxxxxxxxxxxxxxxx…xxxxxxxxxx)'
    """
    name = printable(name)
    return name if len(name) <= length else f"{name[: length // 2 + 3]}…{name[-length // 4 :]}"
