"""The images that the page shows, with their Grad-CAM maps under each variant, as one record of a comparison."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab.build import load_datamodule
from stress_lab.cases import explain_images
from stress_lab.comparison.cards import choose_cases, choose_images, describe_cards, first_runs
from stress_lab.comparison.loading import LoadedRun
from stress_lab.errors import StressLabError
from stress_lab.records import FloatArray, IntArray
from stress_lab.runs import save_json, setting, write_atomic

log = logging.getLogger(__name__)


def record_gallery(
    runs: Sequence[LoadedRun],
    comparison: Mapping[str, Any],
    out: Path,
    limit: int,
    per_outcome: int,
    layer: str | None,
    root: str | None = None,
    properties: Mapping[str, FloatArray] | None = None,
) -> None:
    """Write ``gallery.json`` (what is said of each image) and ``gallery.npz`` (pixels and raw maps).

    Where checkpoints or images are gone, the words are written alone, and maps of the same images that were recorded
    earlier are kept.

    Args:
        runs: comparable, the reference's first.
        comparison: that the page tells.
        out: folder to write into.
        limit: failures shown. ``per_outcome``: cases shown of fixed, broken and both wrong.
        layer: explained; None takes that of the runs' own Grad-CAM.
        root: folder of the data, where it has moved.
        properties: (N,) of each test image by name.
    """
    rows, found = choose_images(runs, limit)
    cases = choose_cases(runs, per_outcome)
    every = np.unique(np.concatenate([rows, np.array([row for _, row in cases], dtype=np.int64)]))
    cards = describe_cards(runs, every, comparison["patterns"], properties)
    place = {int(row): number for number, row in enumerate(every)}
    shown = first_runs(runs)
    name = layer or (setting(runs[0].records, "gradcam", "layer", "layer3") if runs[0].run else None)
    save_json(
        out / "gallery.json",
        {
            "failures_found": found,
            "order": [place[int(row)] for row in rows],
            "cases": [{"outcome": outcome, "card": place[row]} for outcome, row in cases],
            "layer": name,
            "runs": {variant: run.name for variant, run in shown.items()},
            "cards": cards,
        },
    )
    pictures = out / "gallery.npz"
    if not len(every) or any(run.run is None for run in shown.values()):
        pictures.unlink(missing_ok=True)
        return
    try:
        _save_pictures(pictures, shown, every, str(name), root)
    except StressLabError as error:
        if pictures.is_file() and not np.array_equal(np.load(pictures)["index"], runs[0].scores.index[every]):
            pictures.unlink()  # of other images
        log.warning("no images and maps on the page: %s", error)


def _save_pictures(path: Path, shown: Mapping[str, LoadedRun], rows: IntArray, layer: str, root: str | None) -> None:
    """Pixels, and for each variant the raw maps of its prediction and of the true class."""
    arrays: dict[str, Any] = {}
    for number, run in enumerate(shown.values()):
        index, label = run.scores.index[rows], run.scores.label[rows]
        source = load_datamodule(run.records, root)
        if not number:
            arrays |= {"index": index, "images": np.array(source.split("test").images[index])}
        said, true = explain_images(run, source, index, label, layer)
        arrays |= {f"predicted_{number}": said.raw, f"true_{number}": true.raw}

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)

    write_atomic(path, write)
