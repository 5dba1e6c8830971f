"""The same image under two models: Grad-CAM side by side for cases chosen by a stated rule."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stress_lab.comparison.cards import CASES, case_name, describe_cases
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.pairs import first_pairs, pair_name
from stress_lab.data.datamodules import ImageDataModule
from stress_lab.errors import StressLabError
from stress_lab.figures.gallery import draw_comparison_case
from stress_lab.figures.style import save_figure
from stress_lab.files import save_json
from stress_lab.preflight.finished_run import find_checkpoint
from stress_lab.records import IntArray
from stress_lab.runs.checkpoints import check_own
from stress_lab.runs.folder import CHECKPOINTS, RunDir, explained_layer
from stress_lab.runtime.hardware import choose_accelerator
from stress_lab.saliency.gradcam import find_layer, grad_cam
from stress_lab.saliency.maps import Cam
from stress_lab.stats.agreement import select_cases
from stress_lab.stats.pairing import rows_of
from stress_lab.storage.checkpoint_files import check_checkpoint
from stress_lab.storage.filesets import FileSet
from stress_lab.training.build import load_classifier, load_datamodule

log = logging.getLogger(__name__)


def draw_cases(
    pairs: Sequence[tuple[LoadedRun, LoadedRun]],
    files: FileSet,
    per_outcome: int,
    layer: str | None,
    root: str | None = None,
) -> list[Path]:
    """Draw the cases of the first pair of each two variants, as :func:`select_cases` chooses them.

    Needs the runs' checkpoints and images. Pictures that an earlier comparison left of a pair go when the new ones
    appear; where those cannot be drawn the earlier ones stay, and that is logged.

    Args:
        pairs: (reference, treatment) in launch order.
        files: of the comparison; the pictures are in its folder ``cases``.
        per_outcome: images of each outcome; 0 draws none.
        layer: None takes the layer of the runs' own Grad-CAM.
        root: folder of the data, where it has moved.
    """
    written: list[Path] = []
    for a, b in first_pairs(pairs):
        chosen, name = select_cases(a.scores, b.scores, per_outcome), f"cases/{pair_name(a, b)}"
        if not chosen:
            continue
        try:
            written += _draw_pair(a, b, chosen, files.path / name, layer, root)
        except StressLabError as error:
            cases = [(outcome, int(a.scores.index[row])) for outcome, row in chosen]
            shutil.rmtree(files.path / name, ignore_errors=True)  # those that were drawn before it failed
            kept = _describe_kept(
                files.folder / name, [case_name(number, *case) for number, case in enumerate(cases, 1)]
            )
            log.warning("no side-by-side maps of %s and %s: %s%s", a.name, b.name, error, kept)
        else:
            save_json(files.path / name / CASES, describe_cases(a, b, per_outcome, layer))
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
    a: LoadedRun, b: LoadedRun, chosen: Sequence[tuple[str, int]], out: Path, layer: str | None, root: str | None
) -> list[Path]:
    """Draw the cases of one pair into its folder."""
    test_a, classes = a.scores, a.classes
    rows = np.array([row for _, row in chosen])
    index, label = test_a.index[rows], test_a.label[rows]
    sources = {run.variant: load_datamodule(run.records, root, run.trusted) for run in (a, b)}
    maps = {run.variant: explain_images(run, sources[run.variant], index, label, layer) for run in (a, b)}
    explained = " and ".join(dict.fromkeys(explained_layer(run.records, layer) for run in (a, b)))
    images = sources[a.variant].split("test").images
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
    """What a model said of an image, and how sure it was of that and of the true class."""
    said = run.predictions["test"]
    return {
        "pred": run.classes[said.pred[row]],
        "confidence": float(said.confidence[row]),
        "true_confidence": float(said.probs[row, label]),
    }


def explain_images(
    loaded: LoadedRun, source: ImageDataModule, index: IntArray, label: IntArray, layer: str | None
) -> tuple[Cam, Cam]:
    """Maps of test images under the weights of one run's predictions, for these and for the true classes.

    They are made on the GPU where there is one, unless the run was told to use the CPU, and there where that fails.

    Args:
        loaded: the run. ``source`` its data.
        index: (n,) positions in the test split. ``label`` (n,) their classes.
        layer: dotted name within the net; None takes that of the run's own maps.
    """
    inputs = source.normalize(torch.from_numpy(np.array(source.split("test").images[index])))
    predictions = loaded.predictions["test"]
    said = predictions.pred[rows_of(predictions.index, index)]

    records = loaded.records
    checkpoint = records.config.get("checkpoint")  # in a folder that stress-lab evaluate made within the run's
    trained = records if checkpoint is None else RunDir(records.path.parent)
    which = checkpoint or "last"
    weights = find_checkpoint(trained, which)
    if which in CHECKPOINTS:  # of which a path says nothing
        check_own(check_checkpoint(weights), trained, which)

    def explain(device: str) -> tuple[Cam, Cam]:
        model = load_classifier(records, str(weights), source.spec, loaded.trusted).to(device)
        module, batch = find_layer(model.net, explained_layer(records, layer)), source.batch_size
        return grad_cam(model, module, inputs, said, batch), grad_cam(model, module, inputs, label, batch)

    device = choose_accelerator("cpu" if records.config["trainer"]["accelerator"] == "cpu" else "auto")
    try:
        return explain(device)
    except RuntimeError as error:  # its memory is full, or torch cannot use it
        if device == "cpu":
            raise
        log.warning("Grad-CAM is done on the CPU, since %s failed: %s", device, str(error).partition("\n")[0])
        return explain("cpu")
