"""Labels that predictions contradict, the page to check them with, and near-duplicate images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab.api.inputs import as_array, checked
from stress_lab.api.predictions import Predictions, as_predictions
from stress_lab.errors import InputError
from stress_lab.files import write_atomic
from stress_lab.labels import confident_learning, near_duplicates
from stress_lab.labels.confident_learning import LabelIssues
from stress_lab.labels.near_duplicates import NearDuplicates
from stress_lab.labels.sampling import choose_checks


@checked
def find_label_issues(predictions: Predictions | Sequence[Predictions] | Any) -> LabelIssues:
    """The labels that the predictions contradict, by confident learning (Northcutt, Jiang and Chuang 2021).

    The predictions must be of images that the models were not trained on. Each finding is a reason to look at an image,
    not proof: models doubt right labels of odd images too.

    Args:
        predictions: of one model, or a list for several runs, whose probabilities are averaged; or runs of
            ``load_runs``. For arrays too large for memory see ``stress_lab.labels.confident_learning``.

    Returns:
        Arrays with one entry per image: ``is_suspect``, ``suggestion``, ``normalized_margin``, ``self_confidence``;
        ``ranked`` lists the suspects, the most suspect first; ``error_rate`` is the models' estimate.

    Raises:
        InputError: there are no probabilities, or the runs have other images or labels.

    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9], [0.6, 0.4]]
    >>> found = find_label_issues(Predictions.from_probs(probs, labels=[0, 0, 0, 1, 1]))
    >>> found.ranked.tolist(), found.suggestion[found.ranked].tolist()
    ([2, 4], [1, 0])
    """
    several = predictions if isinstance(predictions, (list, tuple)) else [predictions]
    held = [as_predictions(one, "predictions") for one in several]
    if not held:
        raise InputError("predictions is empty: pass those of one model or more")
    first = held[0]
    for number, one in enumerate(held):
        if one.probs is None:
            raise InputError(f"predictions[{number}] has no probabilities: pass Predictions.from_logits or from_probs")
        if not (np.array_equal(one.index, first.index) and np.array_equal(one.label, first.label)):
            raise InputError(f"predictions[{number}] has other images or labels than the first: pass them in one order")
        if one.classes != first.classes:
            raise InputError(f"predictions[{number}] has other classes than the first: pass the columns in one order")
    return confident_learning.find_label_issues([one.probs for one in held if one.probs is not None], first.label)


@checked
def write_label_check(
    path: str | os.PathLike[str],
    issues: LabelIssues,
    *,
    images: Any = None,
    ids: Sequence[Any] | None = None,
    classes: Sequence[str] | None = None,
    count: int = 300,
    title: str = "labels",
) -> Path:
    """Write a page to check labels by eye, with yes and no keys, and return its path.

    Half of the images are suspects, half others, mixed at random; the page saves ``corrections.csv``.

    Args:
        path: of the HTML file.
        issues: from ``find_label_issues``.
        images: (N, H, W) or (N, H, W, C) uint8, which the page shows; None shows only the names.
        ids: N names of the images; None numbers them from 0.
        classes: K names; None numbers them from 0.
        count: images at most.
        title: of the page.

    Raises:
        InputError: an array has another length, or the images are not uint8.
    """
    from stress_lab.report.label_check import render_label_check  # a second of drawing libraries

    n, k = len(issues), len(issues.thresholds)
    names = list(range(n)) if ids is None else [one.item() if isinstance(one, np.generic) else one for one in ids]
    words = list(map(str, classes)) if classes is not None else list(map(str, range(k)))
    if len(names) != n or len(words) != k:
        raise InputError(f"pass {n} ids and {k} classes, got {len(names)} and {len(words)}")
    rows = choose_checks(issues.is_suspect, count)
    items = [
        {
            "id": names[row],
            "given": words[issues.label[row]],
            "may_be": words[issues.suggestion[row]] if issues.is_suspect[row] else None,
        }
        for row in rows.tolist()
    ]
    shown = None if images is None else _as_pictures(as_array(images, "images"), n)[rows]
    text = render_label_check(items, words, title, shown)
    return write_atomic(Path(path), lambda partial: partial.write_text(text, encoding="utf-8"))


def _as_pictures(images: Any, n: int) -> Any:
    """(N, C, H, W) uint8 with one or three channels; raises InputError for anything else."""
    grey = images.ndim == 3
    if (
        images.dtype != np.uint8
        or len(images) != n
        or images.ndim not in (3, 4)
        or not (grey or images.shape[3] in (1, 3))
    ):
        raise InputError(
            f"images is {images.shape} of {images.dtype}: pass uint8 of shape ({n}, H, W) or ({n}, H, W, C), C 1 or 3"
        )
    return images[:, None] if grey else images.transpose(0, 3, 1, 2)


@checked
def find_near_duplicates(images: Any, others: Any = None) -> NearDuplicates:
    """Each image's most similar one among others, and whether the two are the same photograph but for small changes.

    A test image that is also a training image, a little brighter or shifted by a pixel, measures memory.

    Args:
        images: (M, H, W) or (M, H, W, C) uint8, C 1 or 3, such as test images.
        others: (N, …) alike, such as training images; None compares the images with each other.

    Raises:
        InputError: there are no two images, or they are not uint8 of one or three channels.
    """
    among = None if others is None else as_array(others, "others")
    return near_duplicates.find_near_duplicates(as_array(images, "images"), among)
