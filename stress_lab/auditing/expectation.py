"""Why an accuracy measured elsewhere does not come out: what may differ is tried on some of the images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from stress_lab.auditing.preprocessing import CIFAR10, IMAGENET, Preprocessing, Shape, from_keys
from stress_lab.auditing.readers import FileReader
from stress_lab.auditing.record import Audit
from stress_lab.auditing.source import AuditSource
from stress_lab.errors import StressLabError
from stress_lab.inference import predict
from stress_lab.records import IntArray, Predictions
from stress_lab.runs.folder import RunDir

TRIED = 512  # images on which other preprocessings are tried
SLACK = 5e-4  # an accuracy is given with three digits or more
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
NONE = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def explain_difference(audit: Audit, run: RunDir, expected: float) -> list[str]:
    """Lines about what may differ where the accuracy is not the expected one; none where it is.

    Other preprocessings are tried on at most ``TRIED`` images, and a permutation of the classes on all predictions.
    """
    predictions = run.load_predictions("test")
    found = float(predictions.correct.mean())
    if abs(found - expected) <= SLACK:
        return []
    lines = [f"the accuracy is {found:.4f}, not {expected:.4f}, with preprocessing {audit.source.preprocessing.line}"]
    index = np.unique(np.linspace(0, len(predictions) - 1, min(TRIED, len(predictions))).astype(np.int64))
    here = float(predictions.correct[index].mean())
    tried = sorted(_try_others(audit, index), key=lambda one: abs(one[1] - expected))
    nearer = [(name, one) for name, one in tried if abs(one - expected) < abs(here - expected)]
    of = f"on {len(index):,} of the images, where it is {here:.4f} as it is"
    if nearer:
        lines += [f"{name} gives {one:.4f} {of}" for name, one in nearer[:3]]
    elif tried:
        lines.append(f"none of {', '.join(name for name, _ in tried)} comes nearer, {of}")
    lines += _describe_order(predictions, audit.source.photographs["test"].classes)
    lines.append("what else may differ: the file of weights, the images, their labels, and which of them were counted")
    return lines


def _try_others(audit: Audit, index: IntArray) -> Iterator[tuple[str, float]]:
    """Accuracies on some images under other preprocessings, each with what to type for it."""
    source = audit.source
    for name, other in _list_others(source.preprocessing):
        changed = AuditSource(source.photographs, other, source.batch_size, source.workers, source.name)
        try:
            found = predict(audit.model, changed.eval_loader("test", index))
        except (StressLabError, RuntimeError, ValueError):  # images of that size, or of several, do not fit the net
            continue
        yield name, float(found.correct.mean())
    reader = source.photographs["test"].read
    if isinstance(reader, FileReader):
        turned = replace(source.photographs["test"], read=replace(reader, upright=not reader.upright))
        changed = AuditSource({"test": turned}, source.preprocessing, source.batch_size, source.workers, source.name)
        found = predict(audit.model, changed.eval_loader("test", index))
        yield f"data.upright={str(not reader.upright).lower()}", float(found.correct.mean())


def _list_others(given: Preprocessing) -> Iterator[tuple[str, Preprocessing]]:
    """Preprocessings that differ from one in one respect; none for the user's own callable."""
    shape = given.shape
    if not isinstance(shape, Shape) or len(given.mean) != 3:
        return
    keys = {name: getattr(shape, name) for name in ("resize", "crop", "fit", "interpolation")}
    keys |= {"mean": given.mean, "std": given.std}
    constants = {"ImageNet's": IMAGENET, "CIFAR-10's": CIFAR10, "0.5": HALF, "no": NONE}
    for name, other in constants.items():
        if other["mean"] != given.mean:
            yield f"{name} mean and std (transform.mean, transform.std)", from_keys({**keys, **other})
    side = shape.crop or shape.resize
    for fit in ("crop", "pad", "squash"):
        if side and fit != shape.fit:
            resize = shape.resize if fit == "crop" else side
            yield f"transform.fit={fit} transform.resize={resize}", from_keys({**keys, "fit": fit, "resize": resize})
    if shape.crop and shape.resize != shape.crop:
        yield f"transform.resize={shape.crop}", from_keys({**keys, "resize": shape.crop})
    smooth = "bicubic" if shape.interpolation == "bilinear" else "bilinear"
    if shape.resize:
        yield f"transform.interpolation={smooth}", from_keys({**keys, "interpolation": smooth})


def _describe_order(predictions: Predictions, classes: tuple[str, ...]) -> list[str]:
    """A line where the answers fit the labels far better with the classes in another order."""
    k = len(classes)
    counts = np.zeros((k, k), dtype=np.int64)
    np.add.at(counts, (predictions.pred, predictions.label), 1)
    outputs, labels = linear_sum_assignment(-counts)
    best, now = counts[outputs, labels].sum() / len(predictions), counts.trace() / len(predictions)
    if best < 2 * now or best < 0.3:
        return []
    order = ", ".join(classes[label] for label in labels[:12])
    return [
        f"with the classes in another order the accuracy is {best:.4f}: 'classes=[{order}{', …' if k > 12 else ''}]'"
    ]
