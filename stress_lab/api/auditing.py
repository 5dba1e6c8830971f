"""A net in memory on images in memory: the run folder and the findings that ``stress-lab audit`` leaves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stress_lab.api.inputs import checked
from stress_lab.api.result import Comparison
from stress_lab.comparison.assemble import compare_matched
from stress_lab.comparison.comparable import match_runs
from stress_lab.comparison.loading import load_finished
from stress_lab.comparison.options import Options
from stress_lab.errors import InputError
from stress_lab.runs.folder import RunDir

if TYPE_CHECKING:
    from torch import nn

    from stress_lab.auditing.images import Photographs

COMMAND = ["stress_lab.audit"]  # in status.json, in place of what was typed


@checked
def audit(
    model: nn.Module | Mapping[str, nn.Module],
    images: Any,
    *,
    classes: Sequence[str] | None = None,
    val: Any = None,
    transform: Any = None,
    layer: str | None = "auto",
    out: str = "logits",
    output: str | int | None = None,
    threshold: float = 0.7,
    limit: int | None = 50,
    batch_size: int = 32,
    workers: int = 0,
    accelerator: str = "auto",
    folder: str | os.PathLike[str] = "audit",
) -> Comparison:
    """Where a net that is trained already fails, as a run folder and as findings that show themselves in a notebook.

    Args:
        model: a net; or several by name, of which the first is the reference.
        images: a map-style data set of ``(image, label)``, a DataLoader of one, or the path of a folder of
            ``test/<class>/*`` or ``<class>/*``. Tensors are used as they are.
        classes: K names in the order of the net's outputs; None takes those of the data.
        val: other images of the same kind, for temperature scaling.
        transform: for images that are not tensors: ``imagenet``, ``cifar10``, keys, or a callable on a PIL image.
        layer: dotted name of the part that Grad-CAM explains; ``auto`` finds one, None draws no maps.
        out: what the net returns: ``logits``, ``probs`` or ``sigmoid`` (one logit, two classes).
        output: key or place of the logits, where the net returns several things.
        threshold: confidence, a fraction, strictly above which a wrong answer is a confident failure.
        limit: failures explained by Grad-CAM; None explains all.
        batch_size: images at once. ``workers``: processes that open images.
        accelerator: ``auto``, ``cpu``, ``gpu``, ``mps``.
        folder: for the run folders, one a net, as ``folder/0_NAME``; those of an earlier call are replaced.

    Returns:
        The findings; ``save`` writes the page.

    Raises:
        InputError: net, images and classes do not fit together; the message says what to pass instead.
    """
    from stress_lab.auditing.nets import NetSpec
    from stress_lab.auditing.record import Settings, prepare_audit, record_audit
    from stress_lab.preflight.audit_rules import name_folder

    named = model if isinstance(model, Mapping) else {type(model).__name__: model}
    photographs = {"test": _find(images, classes, "images")}
    if val is not None:
        photographs["val"] = _find(val, photographs["test"].classes, "val")
    title = Path(photographs["test"].source).stem if isinstance(images, (str, os.PathLike)) else "images"
    settings = Settings(
        threshold=threshold, batch_size=batch_size, workers=workers, accelerator=accelerator, limit=limit, title=title
    )
    spec: dict[str, Any] = {"transform": transform or "none", "layer": layer, "out": out, "output": output}
    audits = [prepare_audit(name, NetSpec(net=net, **spec), photographs, settings) for name, net in named.items()]
    places = [Path(folder) / f"{number}_{name_folder(one.name)}" for number, one in enumerate(audits)]
    for place in places:
        _make_room(place)
    runs = [record_audit(one, place, command=COMMAND) for one, place in zip(audits, places, strict=True)]
    matched = match_runs(load_finished(runs), strict=True)
    notes = [f"{one.name}: preprocessing {one.source.preprocessing.line}" for one in audits]
    options = Options()
    return Comparison(compare_matched(matched, title, options, notes), matched, options)


def _make_room(place: Path) -> None:
    """Remove records of an earlier call, which are of objects that are gone; raises InputError for anything else."""
    if not place.exists():
        return
    run = RunDir(place)
    if not (run.status_file.is_file() and run.config_file.is_file()) or run.load_info().command != COMMAND:
        raise InputError(f"{place} holds something else than the records of stress_lab.audit: pass another folder")
    shutil.rmtree(place)


def _find(images: Any, classes: Sequence[str] | None, name: str) -> Photographs:
    """The images that an argument holds."""
    from stress_lab.auditing.images import find_photographs, from_dataset, take_loader

    given = None if classes is None else list(map(str, classes))
    if isinstance(images, (str, os.PathLike)):
        return find_photographs({"root": os.fspath(images)}, given, name)
    if hasattr(images, "batch_sampler") and hasattr(images, "dataset"):
        return take_loader(images, given, name)
    if not hasattr(images, "__getitem__") or not hasattr(images, "__len__"):
        raise InputError(
            f"{name} is {type(images).__name__}: pass a data set of (image, label), a DataLoader, or a folder"
        )
    return from_dataset(images, given, name)
