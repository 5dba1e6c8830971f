"""The records of a trained run, one after the other; used by the callbacks after training and by stress-lab evaluate.

Each function writes into the run's folder and returns the figures it drew, by tag, to show elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from stress_lab.calibration.bins import bin_confidence
from stress_lab.data.image_source import ImageSource
from stress_lab.data.splits import stratified_subset
from stress_lab.evaluation import evaluate_predictions
from stress_lab.failures import count_failures, mine_failures
from stress_lab.figures.confusion import draw_confusion_matrix
from stress_lab.figures.gallery import draw_failure_grid
from stress_lab.figures.reliability import draw_reliability
from stress_lab.figures.style import render, save_figure
from stress_lab.figures.tiles import draw_contact_sheet, draw_gradcam_tile
from stress_lab.figures.training import draw_training_curves
from stress_lab.files import save_csv, write_atomic
from stress_lab.inference import predict
from stress_lab.records import IntArray, Predictions
from stress_lab.runs.folder import RunDir
from stress_lab.saliency.gradcam import find_layer, grad_cam
from stress_lab.saliency.maps import Cam, Maps
from stress_lab.saliency.road import score_beside
from stress_lab.slices.properties import measure_properties

Figures = dict[str, Image.Image]
SHEET = 20  # failures on the contact sheet


def title_of(run: RunDir, split: str) -> str:
    """A run's name in figures."""
    weights = f" ({run.config['checkpoint']} weights)" if "checkpoint" in run.config else ""
    seed = "" if run.is_audit else f", seed {run.config['seed']}"
    return f"{run.config['variant']}{seed}, {run.load_spec().name} {split}{weights}"


def record_predictions(
    run: RunDir,
    model: nn.Module,
    source: ImageSource,
    split: str,
    examples: int | None = None,
) -> Predictions:
    """Predict a split and write it.

    Args:
        run: where to write.
        model: images to logits.
        source: of the images.
        split: train, val or test; training images come without augmentation.
        examples: predict at most this many, a stratified choice that all runs share; None takes all.
    """
    index = source.indices.get(split)
    if examples is not None and index is not None:
        index = index[stratified_subset(source.split(split).labels[index], examples, seed=0)]
    predictions = predict(model, source.eval_loader(split, index))
    run.save_predictions(split, predictions)
    return predictions


def record_properties(run: RunDir, source: ImageSource, split: str) -> None:
    """Measure the images of a split, so that failures can be described by image properties."""
    index = source.indices[split]
    run.save_properties(split, index, measure_properties(source.split(split).images, index))


def record_evaluation(run: RunDir, split: str, source: ImageSource) -> Figures:
    """Evaluate the predictions of a split and draw confusion matrix and reliability diagram for it.

    The preprocessing of the images is stored beside the numbers.
    """
    spec, predictions, threshold = run.load_spec(), run.load_predictions(split), run.config["threshold"]
    evaluation = evaluate_predictions(predictions, spec.classes, threshold)
    evaluation["preprocessing"] = repr(source.eval_loader(split).pipeline)
    run.save_evaluation(split, evaluation)
    if split == "train":
        return {}
    title = title_of(run, split)
    n, accuracy = evaluation["n"], evaluation["accuracy"]
    bins = bin_confidence(predictions.confidence, predictions.correct)
    figures: Figures = {
        f"{split}/confusion_matrix": render(
            draw_confusion_matrix(
                evaluation["confusion"], spec.classes, f"{title}\naccuracy {100 * accuracy:.2f} % of {n:,} images"
            )
        ),
        f"{split}/reliability": render(draw_reliability(bins, threshold, title)),
    }
    for tag, figure in figures.items():
        save_figure(figure, run.figures / f"{tag.replace('/', '_')}.png")
    return figures


def record_failures(run: RunDir, source: ImageSource, split: str, shown: int) -> Figures:
    """Mine all confident failures of a split and draw the first ``shown`` of them."""
    predictions, spec, threshold = run.load_predictions(split), run.load_spec(), run.config["threshold"]
    images = source.split(split)
    failures = mine_failures(predictions, threshold, spec.classes, images.files)
    run.save_failures(failures, {"split": split, **count_failures(predictions, threshold)})
    top = failures[:shown]
    pixels = np.array(images.images[[failure.index for failure in top]])
    grid = render(draw_failure_grid(top, pixels, len(failures), title_of(run, split)))
    save_figure(grid, run.failure_grid)
    return {"failures/grid": grid}


def record_gradcam(
    run: RunDir,
    model: nn.Module,
    net: nn.Module,
    source: ImageSource,
    layer: str,
    split: str,
    limit: int | None,
    method: str = "gradcam",
) -> Figures:
    """Grad-CAM of the first ``limit`` recorded failures, for the predicted and for the true class.

    Writes the raw maps (``maps.npz``), a table of their peaks, a PNG for each failure, and a contact sheet of
    the first ones.

    Args:
        run: holds the failures.
        model: images to logits. ``net`` is the part that has the layer.
        source: of the images.
        layer: dotted name within ``net``.
        split: of the failures.
        limit: None explains all of them, 0 none.
        method: as for ``grad_cam``.
    """
    module = find_layer(net, layer)
    found = run.load_failures()
    failures = found[:limit]
    if not failures:
        _retire_maps(run, [])
        return {}
    images = source.split(split).images
    maps: list[tuple[Maps, Maps]] = []
    written: list[Path] = []
    for start in range(0, len(failures), source.batch_size):
        some = failures[start : start + source.batch_size]
        pixels = np.array(images[[failure.index for failure in some]])
        inputs = read_inputs(source, split, np.array([failure.index for failure in some]))
        predicted = grad_cam(model, module, inputs, np.array([failure.pred for failure in some]), len(some), method)
        true = grad_cam(model, module, inputs, np.array([failure.label for failure in some]), len(some), method)
        maps.append((predicted.raw, true.raw))
        for place, failure in enumerate(some):
            tile = draw_gradcam_tile(failure, pixels[place], predicted.only(place), true.only(place), layer)
            path = run.gradcam / f"failure_{failure.rank:03d}_index_{failure.index}.png"
            written.append(save_figure(tile, path))
    predicted, true = (Cam(np.concatenate(raw)) for raw in zip(*maps, strict=True))
    written += _save_maps(run, [failure.index for failure in failures], {"predicted": predicted, "true": true})
    shown = f"{title_of(run, split)}: the {min(SHEET, len(failures))} most confident of {len(found):,} failures"
    first = np.array(images[[failure.index for failure in failures[:SHEET]]])
    sheet = render(draw_contact_sheet(failures[:SHEET], first, predicted, true, layer, shown))
    written.append(save_figure(sheet, run.gradcam / "contact_sheet.png"))
    _retire_maps(run, written)  # from earlier failures, or another limit
    return {f"gradcam/{layer}": sheet}


def record_road(run: RunDir, model: nn.Module, source: ImageSource, split: str) -> str | None:
    """Write ``gradcam/road.csv``: ROAD of each recorded map for the predicted class, beside random and Sobel maps.

    Args:
        run: holds failures and their maps.
        model: images to logits. ``source``: of the images, in ``split``.

    Returns:
        A sentence with the means; None where there are no maps.
    """
    path = run.gradcam / "maps.npz"
    if not path.is_file():
        return None
    with np.load(path) as arrays:
        index, raw = arrays["index"], arrays["predicted"]
    said = {failure.index: failure.pred for failure in run.load_failures()}
    inputs = read_inputs(source, split, index)
    targets = np.array([said[one] for one in index.tolist()])
    scores = score_beside(model, inputs, targets, raw, source.batch_size)
    rows = [
        {"index": one, **{name: float(values[place]) for name, values in scores.items()}}
        for place, one in enumerate(index.tolist())
    ]
    told = [{**row, "beats_random": row["road"] > row["road_random"]} for row in rows]
    save_csv(run.gradcam / "road.csv", told, list(told[0]))
    road, random, sobel = (values.mean() for values in scores.values())
    few = sum(not row["beats_random"] for row in told)
    return (
        f"ROAD of {len(told)} maps, 0 being chance: {road:.3f}, of random maps {random:.3f}, of Sobel {sobel:.3f}; "
        f"{few} do no better than a random map (gradcam/road.csv)"
    )


def read_inputs(source: ImageSource, split: str, index: IntArray) -> torch.Tensor:
    """The net's inputs (n, C, H, W) at some positions of a split, in their order, on the CPU."""
    return torch.cat([inputs.cpu() for inputs, _, _ in source.eval_loader(split, np.array(index))])


def describe_drawn(run: RunDir, command: str) -> str | None:
    """How many failures have a picture and how to draw the others; None where all have one.

    Args:
        run: holds failures and their maps.
        command: the one that writes these records.
    """
    found, drawn = len(run.load_failures()), len(list(run.gradcam.glob("failure_*.png")))
    if drawn >= found:
        return None
    return f"Grad-CAM: {drawn:,} of {found:,} confident failures drawn; {command} limit=all draws them all"


def _retire_maps(run: RunDir, written: list[Path]) -> None:
    """Remove what an earlier call of :func:`record_gradcam` left and this one did not rewrite."""
    patterns, kept = ("failure_*.png", "maps.*", "contact_sheet.png", "road.csv"), {path.name for path in written}
    there = [path for pattern in patterns for path in (run.path / "gradcam").glob(pattern)]
    run.retire(path for path in there if path.name not in kept)


def _save_maps(run: RunDir, index: list[int], cams: dict[str, Cam]) -> list[Path]:
    """Raw maps for later pages, and their peaks for people; returns both files."""
    arrays: dict[str, Any] = {name: cam.raw for name, cam in cams.items()}

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez_compressed(file, index=np.array(index), **arrays)

    raw = write_atomic(run.gradcam / "maps.npz", write)
    rows = [
        {
            "index": one,
            "class": name,
            "peak": float(cam.peak[place]),
            "positive_share": float(cam.positive_share[place]),
            "empty": bool(cam.is_empty[place]),
        }
        for place, one in enumerate(index)
        for name, cam in cams.items()
    ]
    return [raw, save_csv(run.gradcam / "maps.csv", rows, list(rows[0]))]


def record_history(run: RunDir) -> Figures:
    """Draw the training curves of the recorded history."""
    config = run.config
    figure = render(draw_training_curves(run.load_history(), f"{config['variant']}, seed {config['seed']}"))
    save_figure(figure, run.figures / "training_curves.png")
    return {"training/curves": figure}


def collect_metrics(run: RunDir) -> dict[str, float]:
    """The final metrics of a run from its records, under the names that loggers and sweepers use."""
    metrics: dict[str, float] = {}
    if not run.evaluation_file.is_file():
        return metrics
    for split, evaluation in run.load_evaluation().items():
        metrics |= {
            f"{split}/acc": evaluation["accuracy"],
            f"{split}/nll": evaluation["nll"],
            f"{split}/ece": evaluation["ece"],
        }
        if split == "test":
            metrics["failures/count"] = float(evaluation["confident_failures"]["count"])
    return metrics
