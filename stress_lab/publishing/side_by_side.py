"""The same image under two models: Grad-CAM side by side for cases chosen by a fixed rule."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab.comparison.cards import CASES, case_name, describe_cases
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.pairs import first_pairs, pair_name
from stress_lab.errors import StressLabError
from stress_lab.figures.gallery import draw_comparison_case
from stress_lab.figures.style import save_figure
from stress_lab.files import save_json
from stress_lab.publishing.explained import Explainer
from stress_lab.runs.settings import explained_layer
from stress_lab.stats.agreement import select_cases
from stress_lab.stats.pairing import rows_of
from stress_lab.storage.filesets import FileSet

log = logging.getLogger(__name__)


def draw_cases(
    pairs: Sequence[tuple[LoadedRun, LoadedRun]],
    files: FileSet,
    per_outcome: int,
    explainer: Explainer,
) -> list[Path]:
    """Draw the cases of the first pair of each two variants, as :func:`select_cases` chooses them.

    Needs the runs' checkpoints and images. A pair's pictures from an earlier comparison are removed when the new ones
    appear; if those cannot be drawn, the earlier ones stay, and that is logged.

    Args:
        pairs: (reference, treatment) in launch order.
        files: of the comparison; the pictures are in its folder ``cases``.
        per_outcome: images of each outcome; 0 draws none.
        explainer: of the runs.
    """
    written: list[Path] = []
    for a, b in first_pairs(pairs):
        chosen, name = select_cases(a.scores, b.scores, per_outcome), f"cases/{pair_name(a, b)}"
        if not chosen:
            continue
        try:
            written += _draw_pair(a, b, chosen, files.path / name, explainer)
        except StressLabError as error:
            cases = [(outcome, int(a.scores.index[row])) for outcome, row in chosen]
            shutil.rmtree(files.path / name, ignore_errors=True)  # those drawn before the failure
            kept = _describe_kept(
                files.folder / name, [case_name(number, *case) for number, case in enumerate(cases, 1)]
            )
            log.warning("no side-by-side maps of %s and %s: %s%s", a.name, b.name, error, kept)
        else:
            save_json(files.path / name / CASES, describe_cases(a, b, per_outcome, explainer.layer))
            files.remove((files.folder / name).glob("case_*.png"))
    return written


def _describe_kept(folder: Path, names: Sequence[str]) -> str:
    """A sentence about the pictures that stay in a pair's folder; empty where there are none."""
    kept = sorted(path.name for path in folder.glob("case_*.png"))
    if not kept:
        return ""
    other = "" if kept == sorted(names) else ", which chose other images"
    return f"; {folder} keeps the pictures of an earlier comparison{other}"


def _draw_pair(
    a: LoadedRun, b: LoadedRun, chosen: Sequence[tuple[str, int]], out: Path, explainer: Explainer
) -> list[Path]:
    """Draw the cases of one pair into its folder."""
    test_a, classes = a.scores, a.classes
    rows = np.array([row for _, row in chosen])
    index, label = test_a.index[rows], test_a.label[rows]
    maps = {run.variant: explainer.explain(run, index) for run in (a, b)}
    explained = " and ".join(dict.fromkeys(explained_layer(run.records, explainer.layer) for run in (a, b)))
    images = explainer.source(a).split("test").images
    places = {run.variant: rows_of(run.predictions["test"].index, index) for run in (a, b)}
    written = []
    for place, (outcome, _) in enumerate(chosen):
        case = {
            "index": int(index[place]),
            "outcome": outcome,
            "label": classes[label[place]],
            "models": {
                run.variant: _describe_answer(run, places[run.variant][place], int(label[place])) for run in (a, b)
            },
        }
        cams = {variant: (predicted.only(place), true.only(place)) for variant, (predicted, true) in maps.items()}
        path = out / case_name(place + 1, outcome, int(index[place]))
        written.append(save_figure(draw_comparison_case(case, np.array(images[index[place]]), cams, explained), path))
    return written


def _describe_answer(run: LoadedRun, row: int, label: int) -> dict[str, Any]:
    """A model's answer for an image, and its confidence in that and in the true class."""
    said = run.predictions["test"]
    return {
        "pred": run.classes[said.pred[row]],
        "confidence": float(said.confidence[row]),
        "true_confidence": float(said.probs[row, label]),
    }
