"""Run a suite of harder conditions on a finished run, cell by cell, and write what it adds up to."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stress_lab.data.datamodules import ImageDataModule
from stress_lab.data.splits import stratified_subset
from stress_lab.errors import RunError
from stress_lab.figures.stress import draw_stress
from stress_lab.figures.style import save_figure
from stress_lab.inference import device_of, predict
from stress_lab.plain_text import as_override
from stress_lab.recording import title_of
from stress_lab.records import IntArray, Predictions
from stress_lab.runs.folder import RunDir
from stress_lab.runs.stressed import cell_file, load_cell, save_cell, save_summary, sealed_figure
from stress_lab.storage.seals import digest_file
from stress_lab.stress.corruptions import corrupt
from stress_lab.stress.occlusion import hide
from stress_lab.stress.suite import CLEAN, OCCLUSION, Cell, contrast_runs, summarize

log = logging.getLogger(__name__)

TRIED = 32  # images on which a cell's time is estimated
BATCH = 256


@dataclass(frozen=True)
class Plan:
    """What a suite asks of a run.

    Attributes:
        suite: its name. ``cells``: in order.
        images: how many test images; None takes all.
        seed: of corruptions and squares. ``frost``: folder of photographs; None draws frost.
        checkpoint: whose weights, for the record.
    """

    suite: str
    cells: Sequence[Cell]
    images: int | None = None
    seed: int = 0
    frost: str | None = None
    checkpoint: str = "last"

    def choose_images(self, source: ImageDataModule) -> IntArray:
        """Positions in the test split, in order: all, or a stratified choice that all runs share."""
        index = source.indices["test"]
        if self.images is None or self.images >= len(index):
            return index
        return np.sort(index[stratified_subset(source.split("test").labels[index], self.images, seed=0)])

    def describe(self, count: int) -> dict[str, Any]:
        """What a cell's images depend on beside the cell."""
        return {"seed": self.seed, "images": count, "frost": self.frost}

    def describe_for(self, run: RunDir, count: int) -> dict[str, Any]:
        """What its predictions depend on; a cell that was made with something else is made again."""
        return {**self.describe(count), "weights": digest_file(run.checkpoint(self.checkpoint))}


def make_batches(
    source: ImageDataModule, index: IntArray, cell: Cell, plan: Plan, device: torch.device
) -> Iterator[Any]:
    """Batches of test images under a cell's condition, normalised, for :func:`stress_lab.inference.predict`."""
    split = source.split("test")
    for start in range(0, len(index), BATCH):
        where = index[start : start + BATCH]
        pixels = torch.from_numpy(np.array(split.images[where])).to(device)
        harder = apply_cell(pixels, cell, plan, where, source.spec.mean)
        yield source.normalize(harder), torch.from_numpy(split.labels[where]), torch.from_numpy(where)


def apply_cell(pixels: Tensor, cell: Cell, plan: Plan, index: IntArray, mean: Sequence[float]) -> Tensor:
    """Images under a cell's condition."""
    if cell.condition == CLEAN:
        return pixels
    if cell.condition == OCCLUSION:
        return hide(pixels, cell.severity, mean, plan.seed, index)
    return corrupt(pixels, cell.condition, int(cell.severity), plan.seed, index, plan.frost)


def estimate_seconds(
    model: nn.Module, source: ImageDataModule, index: IntArray, cells: Sequence[Cell], plan: Plan
) -> float:
    """How long the cells will take on this machine, from a few images of one cell of each condition."""
    some, device = index[:TRIED], device_of(model)
    seconds: dict[str, float] = {}
    for cell in cells:
        if cell.condition not in seconds:
            for _ in range(2):  # the first call also prepares what all later ones share
                start = time.perf_counter()
                predict(model, make_batches(source, some, cell, plan, device))
                seconds[cell.condition] = time.perf_counter() - start
    return sum(seconds[cell.condition] for cell in cells) * len(index) / len(some)


def stress_run(run: RunDir, model: nn.Module, source: ImageDataModule, plan: Plan) -> dict[Cell, Predictions]:
    """Predict every cell of a plan that is not finished yet, each recorded before the next begins.

    Returns:
        The predictions of all cells, those of earlier calls included.
    """
    index = plan.choose_images(source)
    asked = plan.describe_for(run, len(index))
    kept = {cell: load_cell(run, plan.suite, cell, asked) for cell in plan.cells}
    todo = [cell for cell, found in kept.items() if found is None]
    if len(todo) < len(kept):
        log.info("%d of %d cells are finished already", len(kept) - len(todo), len(kept))
    if todo:
        minutes = estimate_seconds(model, source, index, todo, plan) / 60
        log.info("%d cells of %s images take about %s", len(todo), f"{len(index):,}", _describe_minutes(minutes))
    for number, cell in enumerate(todo, start=1):
        kept[cell] = found = predict(model, make_batches(source, index, cell, plan, device_of(model)))
        save_cell(run, plan.suite, cell, found, asked)
        log.info("%d/%d %s: %.1f %%", number, len(todo), cell.name, 100 * found.correct.mean())
    return {cell: one for cell, one in kept.items() if one is not None}


def _describe_minutes(minutes: float) -> str:
    """A duration for people.

    >>> _describe_minutes(0.3), _describe_minutes(7.2), _describe_minutes(300)
    ('18 seconds', '7 minutes', '5.0 hours')
    """
    if minutes < 1:
        return f"{60 * minutes:.0f} seconds"
    return f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"


def check_reference(reference: RunDir, plan: Plan) -> None:
    """Raise RunError, before long work, where a run was not stressed by this suite."""
    for cell in plan.cells:
        if not (reference.path / cell_file(plan.suite, cell)).is_file():
            raise _miss_cell(reference, cell, plan)


def _miss_cell(reference: RunDir, cell: Cell, plan: Plan) -> RunError:
    """The error for a cell that a reference run lacks, or has of other images."""
    typed = f"{as_override('run', reference.path)} suite={plan.suite} seed={plan.seed}"
    return RunError(
        f"{reference.path / cell_file(plan.suite, cell)} is missing or of other images: first run "
        f"stress-lab stress {typed}"
    )


def load_reference(reference: RunDir, found: dict[Cell, Predictions], plan: Plan) -> dict[Cell, Predictions]:
    """The same cells of another run.

    Raises:
        RunError: it has not been stressed by this suite, or on other images.
    """
    cells: dict[Cell, Predictions] = {}
    for cell, ours in found.items():
        theirs = load_cell(reference, plan.suite, cell, plan.describe(len(ours)))
        if theirs is None or not (
            np.array_equal(theirs.index, ours.index) and np.array_equal(theirs.label, ours.label)
        ):
            raise _miss_cell(reference, cell, plan)
        cells[cell] = theirs
    return cells


def publish(
    run: RunDir, found: dict[Cell, Predictions], plan: Plan, level: float, resamples: int, reference: RunDir | None
) -> tuple[dict[str, Any], list[Path]]:
    """Summarise a run's cells, write ``summary.json`` and the figure; returns the summary and both files."""
    correct = {cell: predictions.correct for cell, predictions in found.items()}
    summary: dict[str, Any] = {
        "suite": plan.suite,
        "seed": plan.seed,
        "frost": plan.frost or "drawn",
        "checkpoint": plan.checkpoint,
    }
    summary |= summarize(correct, level, resamples)
    title = f"{title_of(run, 'test')}: {plan.suite} suite, {summary['n']:,} images"
    if reference is not None:
        theirs = {cell: one.correct for cell, one in load_reference(reference, found, plan).items()}
        summary["reference"] = str(reference.path)
        summary["contrast"] = contrast_runs(theirs, correct, level, resamples)
        title += f"\nminus {title_of(reference, 'test')}"
    file = save_summary(run, plan.suite, summary)
    with sealed_figure(run, plan.suite) as picture:
        save_figure(draw_stress(summary, title), picture)
    return summary, [file, picture]
