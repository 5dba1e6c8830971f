"""The images that the page shows, with their Grad-CAM maps under each variant, as one record of a comparison."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab.build import load_datamodule
from stress_lab.cases import explain_images
from stress_lab.comparison.cards import first_runs
from stress_lab.comparison.loading import LoadedRun
from stress_lab.errors import StressLabError
from stress_lab.files import write_atomic
from stress_lab.records import IntArray
from stress_lab.runs import explained_layer

log = logging.getLogger(__name__)


def record_pictures(
    runs: Sequence[LoadedRun], index: IntArray, path: Path, layer: str | None, root: str | None = None
) -> None:
    """Write ``gallery.npz``: the pixels of test images, and raw maps of each variant's first run.

    Where checkpoints or images are gone this is logged and the earlier file stays; the page shows it only where it
    holds the same images of the same runs.

    Args:
        runs: comparable, the reference's first.
        index: (n,) test images, of which ``gallery.json`` speaks.
        path: of the file.
        layer: explained, a dotted name within the nets; None takes that of each run's own maps.
        root: folder of the data, where it has moved.
    """
    shown = first_runs(runs)
    rows = np.searchsorted(runs[0].scores.index, index)
    try:
        _save_pictures(path, shown, rows, layer, root)
    except StressLabError as error:
        kept = "; those of an earlier comparison are kept" if path.is_file() else ""
        log.warning("no new images and maps for the page: %s%s", error, kept)


def _save_pictures(
    path: Path, shown: Mapping[str, LoadedRun], rows: IntArray, layer: str | None, root: str | None
) -> None:
    """Pixels, and for each variant the raw maps of its prediction and of the true class."""
    arrays: dict[str, Any] = {
        "runs": np.array([run.folder for run in shown.values()]),
        "layers": np.array([explained_layer(run.records, layer) for run in shown.values()]),
        "predictions": np.array([run.digest for run in shown.values()]),
    }
    for number, run in enumerate(shown.values()):
        index, label = run.scores.index[rows], run.scores.label[rows]
        source = load_datamodule(run.records, root, run.trusted)
        if not number:
            arrays |= {"index": index, "images": np.array(source.split("test").images[index])}
        said, true = explain_images(run, source, index, label, layer)
        arrays |= {f"predicted_{number}": said.raw, f"true_{number}": true.raw}

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)

    write_atomic(path, write)
