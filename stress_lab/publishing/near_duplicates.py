"""Near-duplicates of test images among a run's training images: a table, their pictures, and which labels they have."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.triage import LabelEvidence
from stress_lab.errors import RunError
from stress_lab.figures.tiles import as_rgb, fit
from stress_lab.files import save_csv, write_atomic
from stress_lab.labels.near_duplicates import NearDuplicates, find_near_duplicates
from stress_lab.publishing.settings import Settings
from stress_lab.records import IntArray
from stress_lab.storage.filesets import FileSet

log = logging.getLogger(__name__)

TABLE, PICTURE = "near_duplicates.csv", "near_duplicates.png"
COLUMNS = ("index", "label", "train_index", "train_label", "similarity", "mirrored", "comparison")
Pairs = list[dict[str, Any]]
SHOWN, ACROSS, TILE = 120, 12, 64  # pairs in the picture, of them side by side, pixels


def add_near_duplicates(
    evidence: LabelEvidence, first: LoadedRun, files: FileSet, settings: Settings
) -> tuple[LabelEvidence, Pairs | None]:
    """The evidence with what the training images say, if that was asked for, and the pairs; draws the picture.

    Raises:
        RunError: the first run has no images of its own, or they may not be loaded.
    """
    if not settings.near_duplicates:
        files.remove([files.folder / TABLE, files.folder / PICTURE])  # from another comparison
        return evidence, None
    if first.run is None or not first.trusted:
        raise RunError(
            "near_duplicates=true needs the images of a run that is your own (or trust=true): leave it out"
            if first.run is not None
            else "near_duplicates=true needs images, which prediction files do not have: leave it out"
        )
    from stress_lab.publishing.explained import Explainer  # which imports torch

    source = Explainer(settings.layer, settings.root).source(first)
    rows = np.sort(np.concatenate([source.indices[name] for name in ("train", "val") if name in source.indices]))
    train, test = source.split("train"), source.split("test")
    index = first.scores.index
    log.info("looking for near-duplicates of %d test images among %d others", len(index), len(rows))
    images, others = (np.asarray(one).transpose(0, 2, 3, 1) for one in (test.images[index], train.images[rows]))
    found = find_near_duplicates(images, others)
    label = np.asarray(train.labels)[rows[found.nearest]]
    pairs = [(images[row], others[found.nearest[row]]) for row in found.ranked[:SHOWN]]
    sheet = draw_pairs(pairs)
    write_atomic(files.path / PICTURE, lambda partial: sheet.save(partial, format="png"))
    other = np.where(found.is_duplicate & (label != first.scores.label), label, -1)
    return replace(evidence, has_twin=found.is_duplicate, twin=other), _list_pairs(first, found, rows, label)


def save_pairs(pairs: Pairs | None, comparison: str, files: FileSet) -> None:
    """Write the table of the pairs, if they were looked for, with the comparison's id."""
    if pairs is not None:
        save_csv(files.path / TABLE, [{**pair, "comparison": comparison} for pair in pairs], COLUMNS)


def _list_pairs(first: LoadedRun, found: NearDuplicates, rows: IntArray, label: IntArray) -> Pairs:
    """A row for each test image with a near-duplicate, the most similar first."""
    return [
        {
            "index": int(first.scores.index[row]),
            "label": first.classes[first.scores.label[row]],
            "train_index": int(rows[found.nearest[row]]),
            "train_label": first.classes[label[row]],
            "similarity": round(float(found.similarity[row]), 4),
            "mirrored": bool(found.mirrored[row]),
        }
        for row in found.ranked.tolist()
    ]


def draw_pairs(pairs: list[tuple[Any, Any]]) -> Image.Image:
    """Pairs of images (H, W, C), each test image above its near-duplicate."""
    tiles = [[fit(as_rgb(one.transpose(2, 0, 1)), TILE) for one in pair] for pair in pairs]
    width, height = tiles[0][0].size if tiles else (TILE, TILE)
    down = -(-max(1, len(tiles)) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * (width + 4), down * (2 * height + 10)), "white")
    for number, pair in enumerate(tiles):
        left, top = number % ACROSS * (width + 4), number // ACROSS * (2 * height + 10)
        for place, tile in enumerate(pair):
            sheet.paste(tile, (left, top + place * height))
    return sheet
