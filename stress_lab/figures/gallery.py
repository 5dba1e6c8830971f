"""Failures as pictures: a grid, and two models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stress_lab.figures.style import new_figure, percent, show_image
from stress_lab.figures.tiles import EMPTY
from stress_lab.records import Failure
from stress_lab.saliency.maps import Cam

Images = NDArray[np.uint8]


def draw_failure_grid(failures: Sequence[Failure], images: Images, total: int, title: str, columns: int = 5) -> Figure:
    """The most confident failures with true and predicted class.

    Args:
        failures: those shown. ``images`` (n, C, H, W) are theirs.
        total: number of failures.
        title: names run and split.
    """
    rows = max(1, -(-len(failures) // columns))
    figure = new_figure(1.75 * columns, 2.25 * rows + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, failure, image in zip(grid.flat, failures, images, strict=False):
        axes.axis("on")
        answer = f"predicted: {failure.pred_name} {percent(failure.confidence)}"
        text = f"{answer}\ntrue: {failure.label_name}\n#{failure.index}"
        show_image(axes, image, label=text, fontsize=8)
    shown = f"the {len(failures)} most confident of {total}" if failures else "none"
    figure.suptitle(f"{title}: confident failures, {shown}", fontsize=10)
    return figure


def draw_comparison_case(
    case: Mapping[str, Any], image: Images, cams: Mapping[str, tuple[Cam, Cam]], layer: str
) -> Figure:
    """One image under two models: one row each, with the maps for its own prediction and for the true class.

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
            f"predicted: {model['pred']} {percent(model['confidence'])}",
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
