"""Which test images the page shows, and what it says about each."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab.comparison.agreement import stack_failures, tag_variants
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.result import PatternFindings
from stress_lab.errors import PairingError, RunError
from stress_lab.files import load_json, write_atomic
from stress_lab.records import BoolArray, FloatArray, IntArray
from stress_lab.runs.folder import explained_layer
from stress_lab.slices.rules import event_inside, is_member
from stress_lab.stats.agreement import select_cases
from stress_lab.stats.pairing import rows_of
from stress_lab.stats.stability import TAGS, one_variant_tags

FOLD = 200  # how many times pictures may grow when read, if they then take more than ROOM
ROOM = 1 << 28  # bytes
PICTURES = "gallery.npz"
CASES = "cases.json"  # beside the pictures of a pair; describes them
SAME = "predictions"  # key of the digests of test predictions


def first_runs(runs: Sequence[LoadedRun]) -> dict[str, LoadedRun]:
    """The run of each variant whose maps and confidences are shown: the first one launched."""
    found: dict[str, LoadedRun] = {}
    for run in runs:
        found.setdefault(run.variant, run)
    return found


def choose_images(runs: Sequence[LoadedRun], limit: int) -> tuple[IntArray, int]:
    """Rows of the images that fail with confidence in any run; those that fail in most runs first, then by confidence.

    Returns:
        At most ``limit`` rows, and the total number.
    """
    if any(run.failed is None for run in runs):
        return np.arange(0), 0
    failed = np.stack([run.failed for run in runs if run.failed is not None])
    confidence = np.stack([run.scores.confidence for run in runs if run.scores.confidence is not None])
    rows = np.flatnonzero(failed.any(axis=0))
    worst = np.where(failed, confidence, 0).max(axis=0)
    order = np.lexsort((rows, -worst[rows], -failed[:, rows].sum(axis=0)))
    return rows[order][:limit], len(rows)


def choose_cases(runs: Sequence[LoadedRun], per_outcome: int) -> list[tuple[str, int]]:
    """(outcome, row) of the images worth seeing under the reference and the first other variant, by a fixed rule."""
    shown = list(first_runs(runs).values())
    if len(shown) < 2 or any(run.scores.confidence is None for run in shown[:2]):
        return []
    return select_cases(shown[0].scores, shown[1].scores, per_outcome)  # type: ignore[arg-type]


def make_gallery(
    runs: Sequence[LoadedRun],
    patterns: PatternFindings,
    properties: Mapping[str, FloatArray] | None,
    limit: int,
    per_outcome: int,
    layer: str | None,
    layers: Sequence[str] = (),
) -> dict[str, Any]:
    """What ``gallery.json`` holds: the images that the page shows, in order, and what it says about each.

    Args:
        runs: comparable, the reference's first.
        patterns: of the comparison; confirmed ones become tags.
        properties: (N,) by name, to find which images belong to a pattern.
        limit: failures shown. ``per_outcome``: cases shown of fixed, broken and both wrong.
        layer: the one the maps explain, as the page names it; None without maps. ``layers``: by variant.
    """
    rows, found = choose_images(runs, limit)
    cases = choose_cases(runs, per_outcome)
    every = np.unique(np.concatenate([rows, np.array([row for _, row in cases], dtype=np.int64)]))
    place = {int(row): number for number, row in enumerate(every)}
    return {
        "failures_found": found,
        "order": [place[int(row)] for row in rows],
        "cases": [{"outcome": outcome, "card": place[row]} for outcome, row in cases],
        "layer": layer,
        "layers": list(layers) or None,
        "runs": {variant: run.name for variant, run in first_runs(runs).items()},
        "folders": [run.folder for run in first_runs(runs).values()],
        "predictions": [run.digest for run in first_runs(runs).values()],
        "cards": describe_cards(runs, every, patterns, properties),
    }


def describe_cases(a: LoadedRun, b: LoadedRun, per_outcome: int, layer: str | None) -> dict[str, Any]:
    """The predictions and layers that the pictures of a pair are made from, and their file names."""
    chosen = select_cases(a.scores, b.scores, per_outcome)
    return {
        "predictions": [a.digest, b.digest],
        "layers": [explained_layer(run.records, layer) for run in (a, b)],
        "pictures": [
            case_name(number, outcome, int(a.scores.index[row])) for number, (outcome, row) in enumerate(chosen, 1)
        ],
    }


def case_name(number: int, outcome: str, index: int) -> str:
    """File name of a case."""
    return f"case_{number}_{outcome}_index_{index}.png"


def are_drawn(folder: Path, cases: Mapping[str, Any]) -> bool:
    """Whether a pair's folder holds exactly these cases, from the same predictions and layers."""
    try:
        known = load_json(folder / CASES) if cases["pictures"] else cases
    except RunError:
        return False
    return bool(known == cases and all((folder / name).is_file() for name in cases["pictures"]))


def load_pictures(path: Path, gallery: Mapping[str, Any]) -> dict[str, Any] | None:
    """Images and maps of ``gallery.npz``, one row per card of ``gallery.json`` in its order, joined by index.

    Args:
        path: of ``gallery.npz``.
        gallery: what ``gallery.json`` holds.

    Returns:
        None where the file is of another comparison: it lacks an image, or its maps are of other runs, answers or
        layers, as far as both files record them.
    """
    pictures = load_arrays(path)
    if pictures is None or gallery.get("id") not in (None, str(pictures.get("comparison"))):
        return None
    return arrange_pictures(pictures, gallery)


def load_arrays(path: Path) -> dict[str, Any] | None:
    """The arrays of a file; None where it is missing or unreadable, or would fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > max(ROOM, FOLD * path.stat().st_size):
            return None
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # numpy leaves a broken file open
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        return None


def save_pictures(path: Path, pictures: Mapping[str, Any], gallery: Mapping[str, Any]) -> None:
    """Write ``gallery.npz`` as part of the gallery's comparison."""

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez_compressed(file, **{**pictures, "comparison": np.array(gallery.get("id", ""))})

    write_atomic(path, write)


def arrange_pictures(pictures: Mapping[str, Any], gallery: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arrays of a gallery with one row per card, whichever comparison wrote them; None where they do not match."""
    stated = {name: gallery.get(key) for name, key in (("runs", "folders"), ("layers", "layers"), (SAME, SAME))}
    known = {name: value for name, value in stated.items() if value is not None and name in pictures}
    if not all(pictures[name].tolist() == value for name, value in known.items()):
        return None
    cards, index = gallery["cards"], pictures.get("index", np.arange(0))
    if not cards or index.ndim != 1 or not len(index) or index.dtype.kind not in "iu":
        return None
    variants = len(cards[0]["models"])
    names = ["images", *(f"{kind}_{number}" for number in range(variants) for kind in ("predicted", "true"))]
    if any(name not in pictures or not _are_pictures(pictures[name], len(index), name) for name in names):
        return None
    try:
        rows = rows_of(index, np.array([card["index"] for card in cards], dtype=np.int64))
    except (PairingError, ValueError):  # ids in prediction files may be text
        return None
    kept = {name: pictures[name] for name in known}
    return {**kept, "index": index[rows], **{name: pictures[name][rows] for name in names}}


def _are_pictures(array: Any, n: int, name: str) -> bool:
    """Whether an array holds ``n`` images, or as many maps."""
    if name == "images":
        return bool(array.dtype == np.uint8 and array.ndim == 4 and len(array) == n and array.shape[1] in (1, 3))
    return bool(array.dtype.kind == "f" and array.ndim == 3 and len(array) == n and np.isfinite(array).all())


def describe_cards(
    runs: Sequence[LoadedRun],
    rows: IntArray,
    patterns: PatternFindings,
    properties: Mapping[str, FloatArray] | None,
) -> list[dict[str, Any]]:
    """The name of each image, what each variant predicted for it, and its tags.

    Args:
        runs: comparable, the reference's first.
        rows: images to describe.
        patterns: of the comparison; confirmed ones become tags.
        properties: (N,) by name, to find which images belong to a pattern.
    """
    first, shown = runs[0], first_runs(runs)
    scores, classes = first.scores, first.classes
    names = first.name_images(np.ones(len(scores), dtype=bool))
    tags, files = _tags(runs), _files_of(runs)
    failed = {variant: stack_failures(runs, variant) for variant in shown}
    members = {
        one.pattern.words: _belongs(one.pattern.rule, runs, properties or {})
        for one in patterns.found
        if one.pattern.confirmed
        and (one.pattern.rule["pair"] or one.pattern.rule["bounds"])  # a class alone is not news
    }
    return [
        {
            "index": names[row],
            "label": classes[scores.label[row]],
            "file": files.get(names[row], ""),
            "models": {
                variant: {
                    **_said(run, row),
                    "failure_rate": _rate(failed[variant], row),
                    "any_wrong": any(not one.scores.correct[row] for one in runs if one.variant == variant),
                    **_failed(runs, variant, row),
                }
                for variant, run in shown.items()
            },
            "tags": {variant: TAGS[one[row]] for variant, one in tags.items()},
            "patterns": [words for words, member in members.items() if member[row]],
        }
        for row in rows.tolist()
    ]


def _belongs(rule: Mapping[str, Any], runs: Sequence[LoadedRun], properties: Mapping[str, FloatArray]) -> BoolArray:
    """(N,) inside a pattern; of a pair only where a run mistakes the image for the other class."""
    scores, classes = runs[0].scores, runs[0].classes
    member = is_member(rule, scores.label, properties, classes)
    if not rule["pair"]:
        return member
    taken = [event_inside(rule, ~run.scores.correct, scores.label, run.scores.pred, classes) for run in runs]
    return np.asarray(member & np.any(taken, axis=0))


def _tags(runs: Sequence[LoadedRun]) -> dict[str, IntArray]:
    """(N,) tag numbers of each other variant against the reference, or of the only one over its seeds."""
    variants = list(first_runs(runs))
    failed = {variant: stack_failures(runs, variant) for variant in variants}
    known = {variant: one for variant, one in failed.items() if one is not None}
    if len(known) < len(variants):
        return {}
    if len(variants) > 1:
        changed = {variant: tag_variants(runs, variants[0], variant) for variant in variants[1:]}
        return {variant: tags for variant, tags in changed.items() if tags is not None}
    reference = known[variants[0]]
    return {variants[0]: one_variant_tags(reference)} if len(reference) > 1 else {}


def _said(run: LoadedRun, row: int) -> dict[str, Any]:
    """The answer of a model."""
    confidence, nll = run.scores.confidence, run.scores.nll
    return {
        "pred": run.classes[run.scores.pred[row]],
        "confidence": None if confidence is None else float(confidence[row]),
        "true_confidence": None if nll is None else float(np.exp(-nll[row])),
        "correct": bool(run.scores.correct[row]),
        "failed": None if run.failed is None else bool(run.failed[row]),
    }


def _rate(failed: Any, row: int) -> float | None:
    """Share of a variant's runs that fail an image."""
    return None if failed is None else float(failed[:, row].mean())


def _failed(runs: Sequence[LoadedRun], variant: str, row: int) -> dict[str, Any]:
    """Over the runs of a variant that fail an image: the highest confidence (None where none fails) and the answers."""
    found = [
        (float(run.scores.confidence[row]), run.classes[run.scores.pred[row]])
        for run in runs
        if run.variant == variant and run.failed is not None and run.failed[row] and run.scores.confidence is not None
    ]
    return {
        "failed_confidence": max((confidence for confidence, _ in found), default=None),
        "failed_preds": sorted({pred for _, pred in found}),
    }


def _files_of(runs: Iterable[LoadedRun]) -> dict[Any, str]:
    """Path of each recorded failure within the data folder, where images have files."""
    folders = [run.run for run in runs if run.run is not None and run.run.has(run.run.failures_file)]
    return {failure.index: failure.file for folder in folders for failure in folder.load_failures("test")}
