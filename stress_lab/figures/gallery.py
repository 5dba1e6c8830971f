"""Failures as pictures: a grid, Grad-CAM tiles, and two models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stress_lab.figures.style import HEAT, new_figure, percent, show_image
from stress_lab.records import Failure
from stress_lab.saliency.maps import Cam

Images = NDArray[np.uint8]
EMPTY = "no positive evidence"


def draw_failure_grid(failures: Sequence[Failure], images: Images, total: int, title: str, columns: int = 5) -> Figure:
    """The most confident failures with true and predicted class.

    Args:
        failures: those shown. ``images`` (n, C, H, W) are theirs.
        total: how many there are in all.
        title: names run and split.
    """
    rows = max(1, -(-len(failures) // columns))
    figure = new_figure(1.75 * columns, 2.25 * rows + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, failure, image in zip(grid.flat, failures, images, strict=False):
        axes.axis("on")
        text = f"said: {failure.pred_name} {percent(failure.confidence)}\ntrue: {failure.label_name}\n#{failure.index}"
        show_image(axes, image, label=text, fontsize=8)
    shown = f"the {len(failures)} most confident of {total}" if failures else "none"
    figure.suptitle(f"{title}: confident failures, {shown}", fontsize=10)
    return figure


def draw_gradcam_tile(failure: Failure, image: Images, predicted: Cam, true: Cam, layer: str) -> Figure:
    """One failure: the image, the map for the predicted class, the map for the true class, on one common scale."""
    figure = new_figure(7.6, 3.1)
    grid = figure.subplots(1, 3)
    _draw_triplet(grid, failure, image, predicted, true, 0)
    figure.colorbar(ScalarMappable(cmap=HEAT), ax=list(grid), shrink=0.75, label="evidence (1 = larger peak)")
    cell = f"{predicted.raw.shape[1]}×{predicted.raw.shape[2]} cells"
    figure.suptitle(f"failure {failure.rank}, image {failure.index}: Grad-CAM at {layer} ({cell})", fontsize=10)
    return figure


def draw_contact_sheet(
    failures: Sequence[Failure], images: Images, predicted: Cam, true: Cam, layer: str, title: str, columns: int = 2
) -> Figure:
    """Many failures on one sheet, three tiles each."""
    rows = max(1, -(-len(failures) // columns))
    figure = new_figure(5.4 * columns, 2.05 * rows + 0.6)
    grid = figure.subplots(rows, 3 * columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for place, failure in enumerate(failures):
        row, column = divmod(place, columns)
        tiles = grid[row, 3 * column : 3 * column + 3]
        for axes in tiles:
            axes.axis("on")
        _draw_triplet(tiles, failure, images[place], predicted, true, place)
    figure.suptitle(
        f"{title}: Grad-CAM at {layer}\n"
        f"image, evidence for the predicted class, for the true class; brighter is more, one scale a pair",
        fontsize=10,
    )
    return figure


def _draw_triplet(grid: Any, failure: Failure, image: Images, predicted: Cam, true: Cam, place: int) -> None:
    """Image and two maps with a common peak."""
    peak = np.maximum(predicted.peak, true.peak)
    size = image.shape[-2:]
    show_image(grid[0], image, label=f"#{failure.index}", fontsize=8)
    for axes, cam, verb, name, confidence in (
        (grid[1], predicted, "said", failure.pred_name, failure.confidence),
        (grid[2], true, "true", failure.label_name, failure.true_confidence),
    ):
        empty = bool(cam.is_empty[place])
        heat = None if empty else cam.heat(size, peak)[place]
        label = f"{verb}: {name}\n{percent(confidence)}"
        show_image(axes, image, heat, label=label, fontsize=8)
        if empty:
            axes.set_xlabel(EMPTY, fontsize=7)


def draw_comparison_case(
    case: Mapping[str, Any], image: Images, cams: Mapping[str, tuple[Cam, Cam]], layer: str
) -> Figure:
    """One image under two models: a row each, with the maps for its own prediction and for the true class.

    All four maps share one scale within a model: logits of different networks are not in the same units.

    Args:
        case: ``index``, ``outcome``, ``label`` and, by variant, ``models`` with ``pred``, ``confidence`` and
            ``true_confidence``.
        image: (C, H, W).
        cams: by variant, the maps of this one image for the predicted and for the true class.
        layer: name of the explained layer.
    """
    figure = new_figure(7.2, 5.4)
    grid = figure.subplots(len(cams), 3, squeeze=False)
    for row, (variant, (predicted, true)) in zip(grid, cams.items(), strict=True):
        model = case["models"][variant]
        verdict = "right" if model["pred"] == case["label"] else "wrong"
        show_image(row[0], image, label=f"{variant}: {verdict}", fontsize=9)
        peak = np.maximum(predicted.peak, true.peak)
        labels = (
            f"said: {model['pred']} {percent(model['confidence'])}",
            f"true: {case['label']} {percent(model['true_confidence'])}",
        )
        for axes, cam, label in zip(row[1:], (predicted, true), labels, strict=True):
            empty = bool(cam.is_empty[0])
            show_image(axes, image, None if empty else cam.heat(image.shape[-2:], peak)[0], label=label, fontsize=9)
            if empty:
                axes.set_xlabel(EMPTY, fontsize=8)
    last = list(cams)[-1]
    outcome = {"fixed": f"fixed by {last}", "broken": f"broken by {last}"}.get(
        case["outcome"], case["outcome"].replace("_", " ")
    )
    figure.suptitle(
        f"image {case['index']}: {outcome}; Grad-CAM at {layer}, one scale per row (brighter is more)", fontsize=10
    )
    return figure
