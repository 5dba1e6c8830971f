"""The records of an audit: a run folder like any other, except that nobody trained."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from stress_lab.auditing.images import Photographs
from stress_lab.auditing.lookup import digest_source
from stress_lab.auditing.nets import PRETRAINED, NetSpec, find_net
from stress_lab.auditing.outputs import LogitNet, make_logit_net
from stress_lab.auditing.predicting import Piece, fingerprint, predict_split, remove_pieces
from stress_lab.auditing.preprocessing import make_preprocessing
from stress_lab.auditing.source import AuditSource
from stress_lab.auditing.weights import Loaded
from stress_lab.errors import ConfigError, StressLabError
from stress_lab.inference import device_of
from stress_lab.recording import collect_metrics, record_evaluation, record_failures, record_gradcam
from stress_lab.records import FloatArray, Predictions, RunInfo
from stress_lab.runs.folder import RunDir
from stress_lab.runtime import hardware
from stress_lab.runtime.locks import LOCK, hold
from stress_lab.saliency.choosing import choose_layer
from stress_lab.saliency.gradcam import check_layer
from stress_lab.storage.seals import write_seal

log = logging.getLogger(__name__)

PIECES = "partial"  # folder of predictions while an audit is under way
TRIED = 4  # images that a net is tried on
PATIENCE = 10.0  # seconds for another process that writes the folder
WAIT = "wait until it has ended, then run the same command"


@dataclass(frozen=True)
class Settings:
    """What does not depend on the net.

    Attributes:
        threshold: of confident failures.
        batch_size: images at once. ``workers``: processes that decode. ``threads``: of the CPU; None takes every core.
        accelerator: ``auto``, ``cpu``, ``gpu`` …
        shown: failures in the grid. ``limit``: failures explained by Grad-CAM; None explains all.
        title: of the data in titles and folders.
    """

    threshold: float = 0.7
    batch_size: int = 32
    workers: int = 1
    threads: int | None = None
    accelerator: str = "auto"
    shown: int = 25
    limit: int | None = 50
    title: str = "images"


@dataclass(frozen=True)
class Audit:
    """A net that was tried on the first images, and is ready for the others.

    Attributes:
        name: of the variant.
        spec: of the net. ``settings``: of the audit.
        source: of the images. ``model``: images to logits, on its device. ``layer``: explained; None draws no maps.
        loaded: what its file of weights held; None where there was no file.
        described: what a config says of net and data, so that both can be found again; empty for objects in memory.
    """

    name: str
    spec: NetSpec
    settings: Settings
    source: AuditSource
    model: LogitNet
    layer: str | None
    loaded: Loaded | None
    described: Mapping[str, Any] = field(default_factory=dict)


def prepare_audit(
    name: str,
    spec: NetSpec,
    photographs: Mapping[str, Photographs],
    settings: Settings,
    described: Mapping[str, Any] | None = None,
) -> Audit:
    """Build a net and try it on a few images, so that a mistake is found before long work.

    Raises:
        StressLabError: net, weights, preprocessing or images do not fit together.
    """
    preprocessing = make_preprocessing(spec.transform, spec.net if isinstance(spec.net, str) else "", spec.weights)
    source = AuditSource(photographs, preprocessing, settings.batch_size, settings.workers, settings.title)
    classes = photographs["test"].classes
    net, loaded = find_net(spec, classes)
    device = hardware.choose_accelerator(settings.accelerator, "accelerator")
    inputs = preprocessing.finish(source.first(TRIED).prepared)
    model = make_logit_net(net.to(device), inputs, classes, spec.out, spec.output, spec.name)
    layer = _find_layer(model, inputs, spec.layer, settings.limit)
    return Audit(name, spec, settings, source, model, layer, loaded, described or {})


def _find_layer(model: LogitNet, inputs: Any, asked: str | None, limit: int | None) -> str | None:
    """The layer that Grad-CAM explains; None where no maps are wanted or possible."""
    if asked is None or limit == 0:
        return None
    if asked != "auto":
        check_layer(model.net, asked, inputs, "layer")
        return asked
    try:
        found = choose_layer(model, inputs)
    except RuntimeError as error:  # an exported net, or one without gradients
        log.warning("no maps: the net has no gradients (%s)", str(error).partition("\n")[0][:120])
        return None
    if found is None:
        log.warning("no maps: no part of the net returns a map of the image that its answer depends on")
    return None if found is None else found.removeprefix("net.") or None


def is_recorded(run: RunDir, audit: Audit) -> bool:
    """Whether a folder holds the finished records of the same audit.

    Raises:
        ConfigError: it holds those of another one.
    """
    if not run.status_file.is_file() or not run.config_file.is_file():
        return False
    if run.config != _make_config(audit):
        raise ConfigError(f"{run.path} holds another audit or run: choose another with folder=FOLDER")
    return run.load_info().state == "finished" and run.find_damage() is None


def record_audit(audit: Audit, folder: Path, command: list[str] | None = None) -> RunDir:
    """Predict, evaluate, mine and explain; records that are there already are kept.

    Args:
        audit: ready to go.
        folder: of the run.
        command: for ``status.json``; None takes what was typed.

    Raises:
        StressLabError: an image cannot be used, or a number is not finite; the same call continues after that.
    """
    run = RunDir(folder)
    with hold(run.path / LOCK, PATIENCE, WAIT, doing="audited"):
        if is_recorded(run, audit):
            log.info("%s was audited before: its records are used", run.path.name)
            return run
        before = run.load_info() if run.status_file.is_file() else None
        started = datetime.now(UTC).isoformat(timespec="seconds")
        info = RunInfo(audit.name, 0, "started", started, id=before.id if before else uuid4().hex)
        info = replace(
            info,
            resumed=before.resumed + 1 if before else 0,
            parameters=sum(one.numel() for one in audit.model.parameters()),
            hardware=_describe_machine(audit),
            versions=hardware.list_versions(),
            command=command or ["stress-lab", *sys.argv[1:]],
            weights=describe_weights(audit),
        )
        run.save_config(_make_config(audit))
        write_seal(run.path, [run.config_file.name], info.id)
        _write(run, audit, info)
    return run


def _describe_machine(audit: Audit) -> dict[str, Any]:
    """The device, and how numbers are computed."""
    threads = hardware.set_threads(audit.settings.threads)
    return hardware.describe_hardware(device_of(audit.model).type, "32-true", threads)


def _write(run: RunDir, audit: Audit, info: RunInfo) -> None:
    """Write the records between a status that says started and one that says finished."""
    begun = time.perf_counter()
    run.save_info(info)
    try:
        _record(run, audit)
    except BaseException as error:
        with suppress(OSError):  # the disk may be full
            reason = str(error) if isinstance(error, StressLabError) else type(error).__name__
            run.save_info(replace(info, state="failed", error=reason, seconds=time.perf_counter() - begun))
        raise
    spent = time.perf_counter() - begun
    run.save_info(replace(info, state="finished", trained=True, seconds=spent, metrics=collect_metrics(run)))
    run.write_seal(info.id)
    remove_pieces(run.path / PIECES)


def _record(run: RunDir, audit: Audit) -> None:
    """Every record but the status."""
    source = audit.source
    passes = {split: predict_split(audit.model, source, split, run.path / PIECES) for split in source.photographs}
    source.fingerprint = {split: fingerprint(piece, found.label) for split, (found, piece) in passes.items()}
    run.save_spec(source.spec)
    for split, (predictions, piece) in passes.items():
        run.save_predictions(split, predictions)
        run.save_images(split, _tabulate(source.photographs[split], predictions, piece))
        record_evaluation(run, split, source)
    predictions, piece = passes["test"]
    columns = _read_numbers(source.photographs["test"].columns)
    run.save_properties("test", predictions.index, {**piece.properties, **columns})
    record_failures(run, source, "test", audit.settings.shown)
    if audit.layer is not None:
        record_gradcam(run, audit.model, audit.model.net, source, audit.layer, "test", audit.settings.limit)


def _tabulate(found: Photographs, predictions: Predictions, piece: Piece) -> dict[str, Any]:
    """A row for each image: its file, what it was made from, and the further columns of the user's table."""
    digests = [bytes(row).hex() for row in piece.digests]
    own = {f"column.{name}": values for name, values in found.columns.items()}
    return {"index": predictions.index, "file": list(found.names), "sha256": digests, **own}


def _read_numbers(columns: Mapping[str, Any]) -> dict[str, FloatArray]:
    """The further columns of a table that hold numbers, which patterns may use."""
    found = {}
    for name, values in columns.items():
        with suppress(ValueError):
            numbers = np.array([float(one) for one in values])
            if np.isfinite(numbers).all():
                found[name] = numbers
    return found


def _make_config(audit: Audit) -> dict[str, Any]:
    """The config of a run that is an audit: the keys that later steps ask for, and how to find everything again."""
    settings = audit.settings
    maps = {} if audit.layer is None else {"gradcam": {"layer": audit.layer, "limit": settings.limit}}
    config = {
        "variant": audit.name,
        "seed": 0,
        "name": settings.title,
        "threshold": settings.threshold,
        "trainer": {"accelerator": settings.accelerator},
        "callbacks": {"failures": {"shown": settings.shown}, **maps},
        "audit": {
            **audit.described,
            "preprocessing": audit.source.preprocessing.line,
            "batch_size": settings.batch_size,
            "weights_sha256": audit.loaded.sha256 if audit.loaded else None,
            "stamp": _stamp(audit),
        },
    }
    plain: dict[str, Any] = json.loads(json.dumps(config, default=str))  # as YAML gives it back
    return plain


def identify(audits: Sequence[Audit]) -> str:
    """Eight hexadecimal digits that are equal for the same nets on the same images, and only for those."""
    content = json.dumps([_make_config(audit) for audit in audits])
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def _stamp(audit: Audit) -> str:
    """What changes where images, labels, or the user's own code change."""
    found = [(one.names, one.labels.tolist(), one.classes, one.stamp()) for one in audit.source.photographs.values()]
    transform = audit.spec.transform
    named = [audit.spec.net, transform.get("like") if isinstance(transform, Mapping) else transform]
    sources = [digest_source(path) for path in named if isinstance(path, str)]
    return hashlib.sha256(json.dumps([found, sources]).encode()).hexdigest()[:16]


def describe_weights(audit: Audit) -> dict[str, Any]:
    """Where the weights came from, for ``status.json``."""
    net = audit.spec.net if isinstance(audit.spec.net, str) else type(audit.spec.net).__qualname__
    found: dict[str, Any] = {"net": net, "preprocessing": audit.source.preprocessing.line}
    if audit.loaded is None:
        origin = "the library's own" if audit.spec.weights == PRETRAINED else "from the net's own code"
        return {**found, "origin": origin}
    held = {key: value for key, value in asdict(audit.loaded).items() if value not in ((), "", 0)}
    held = {key: list(value) if isinstance(value, tuple) else value for key, value in held.items()}
    misfit = {} if audit.loaded.fits else {"loaded_partly": audit.loaded.describe_misfit()}
    return {**found, **held, "file": str(audit.loaded.file.absolute()), **misfit}
