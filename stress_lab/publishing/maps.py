"""The images that the page shows, with their Grad-CAM maps under each variant, as one record of a comparison."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stress_lab.comparison.cards import PICTURES, arrange_pictures, load_arrays, save_pictures
from stress_lab.comparison.chosen import first_runs
from stress_lab.comparison.loading import LoadedRun
from stress_lab.errors import StressLabError
from stress_lab.publishing.explained import Explainer
from stress_lab.records import IntArray
from stress_lab.runs.settings import explained_layer
from stress_lab.storage.filesets import FileSet

log = logging.getLogger(__name__)


def record_pictures(
    runs: Sequence[LoadedRun], gallery: Mapping[str, Any], files: FileSet, explainer: Explainer
) -> None:
    """Write ``gallery.npz``: the pixels of test images, and raw maps of each variant's first run.

    If checkpoints or images are missing, that is logged and the earlier file stays; it joins this comparison
    if it holds the same images of the same runs.

    Args:
        runs: comparable, the reference's first.
        gallery: what ``gallery.json`` holds.
        files: of the comparison.
        explainer: of the runs.
    """
    shown = first_runs(runs)
    try:
        arrays = _make_pictures(shown, shown_index(gallery), explainer)
    except StressLabError as error:
        kept = "; those of an earlier comparison are kept" if (files.folder / PICTURES).is_file() else ""
        log.warning("no new images and maps for the page: %s%s", error, kept)
        earlier = load_arrays(files.folder / PICTURES)
        fitting = None if earlier is None else arrange_pictures(earlier, gallery)
        if fitting is None:
            return
        arrays = fitting
    save_pictures(files.path / PICTURES, arrays, gallery)


def shown_index(gallery: Mapping[str, Any]) -> IntArray:
    """(n,) positions in the test split of the images that a gallery shows."""
    return np.array([card["index"] for card in gallery["cards"]], dtype=np.int64)


def _make_pictures(shown: Mapping[str, LoadedRun], index: IntArray, explainer: Explainer) -> dict[str, Any]:
    """Pixels, and for each variant the raw maps of its prediction and of the true class."""
    first, *_ = shown.values()
    arrays: dict[str, Any] = {
        "runs": np.array([run.folder for run in shown.values()]),
        "layers": np.array([explained_layer(run.records, explainer.layer) for run in shown.values()]),
        "predictions": np.array([run.digest for run in shown.values()]),
        "index": index,
        "images": np.array(explainer.source(first).split("test").images[index]),
    }
    for number, run in enumerate(shown.values()):
        said, true = explainer.explain(run, index)
        arrays |= {f"predicted_{number}": said.raw, f"true_{number}": true.raw}
    return arrays
