"""Predictions of many photographs in pieces that outlast a crash: the same command continues after the last piece."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stress_lab.auditing.source import AuditSource, Batch
from stress_lab.errors import RunError
from stress_lab.files import write_atomic
from stress_lab.inference import device_of, eval_mode, full_precision
from stress_lab.records import FloatArray, Predictions
from stress_lab.slices.properties import PROPERTIES, measure_properties

log = logging.getLogger(__name__)

PIECE = 1024  # images in a file, roughly: whole batches
EVERY = 10.0  # seconds between two lines of progress


@dataclass(frozen=True)
class Piece:
    """What a pass over consecutive images gives.

    Attributes:
        logits: (n, K) float32.
        digests: (n, 32) uint8, SHA-256 of each image as it was found.
        properties: each (n,).
    """

    logits: FloatArray
    digests: NDArray[np.uint8]
    properties: dict[str, FloatArray]


def predict_split(model: nn.Module, source: AuditSource, split: str, folder: Path) -> tuple[Predictions, Piece]:
    """Logits, digests and properties of every image of a split, decoded once each.

    Args:
        model: ``(B, C, H, W)`` to logits ``(B, K)``.
        source: of the images.
        split: test or val.
        folder: for the pieces; those that are there already are not computed again.

    Raises:
        RunError: a logit is not finite.
        DataError: an image cannot be used; pieces before it stay.
    """
    found, n = source.photographs[split], len(source.photographs[split])
    step = max(1, PIECE // source.batch_size) * source.batch_size
    done = _count_done(folder, split, n, step)
    if done:
        log.info("%s: %s of %s images were predicted before", split, f"{done:,}", f"{n:,}")
    _predict_rest(model, source, split, folder, done, step)
    whole = _join([_load(_name(folder, split, start)) for start in range(0, n, step)])
    return Predictions(np.arange(n), found.labels, whole.logits), whole


def fingerprint(piece: Piece, labels: NDArray[np.integer]) -> str:
    """SHA-256 of a split: of each image as it was found, and of its label, in order."""
    digest = hashlib.sha256(np.ascontiguousarray(piece.digests).tobytes())
    digest.update(np.ascontiguousarray(labels, dtype=np.int64).tobytes())
    return digest.hexdigest()


def remove_pieces(folder: Path) -> None:
    """Remove the pieces, once the records hold what is in them."""
    for path in folder.glob("*.npz"):
        path.unlink()
    if folder.is_dir():
        folder.rmdir()


def _name(folder: Path, split: str, start: int) -> Path:
    """The file of the piece that begins with an image."""
    return folder / f"{split}_{start:09d}.npz"


def _count_done(folder: Path, split: str, n: int, step: int) -> int:
    """Images in the pieces that are there, up to the first that is missing or broken."""
    for start in range(0, n, step):
        path = _name(folder, split, start)
        if not path.is_file():
            return start
        try:
            whole = len(_load(path).logits) == min(step, n - start)
        except Exception:  # broken bytes make numpy raise anything
            whole = False
        if not whole:
            path.unlink()
            return start
    return n


def _predict_rest(model: nn.Module, source: AuditSource, split: str, folder: Path, done: int, step: int) -> None:
    """Predict what is left, one file a piece, with a line of progress now and then."""
    n, begun = len(source.photographs[split]), time.perf_counter()
    device, told = device_of(model), begun
    held: list[Piece] = []
    start, seen = done, done
    with eval_mode(model), full_precision(device):
        for batch in source.stream(split, np.arange(done, n)) if done < n else ():
            with torch.inference_mode():
                inputs = source.preprocessing.finish(batch.prepared).to(device)
                logits = model(inputs).float().cpu().numpy()
            _refuse_broken(logits, source, split, batch)
            digests = np.frombuffer(b"".join(batch.digests), np.uint8).reshape(-1, 32)
            held.append(Piece(logits, digests, measure_properties(source.preprocessing.show(batch.prepared))))
            seen += len(batch.index)
            if seen - start >= step or seen == n:
                _save(_name(folder, split, start), _join(held))
                held, start = [], seen
            now = time.perf_counter()
            if now - told > EVERY:
                rate = (seen - done) / (now - begun)
                left = (n - seen) / rate
                log.info("%s: %s of %s images, %.0f a second, %.0f s left", split, f"{seen:,}", f"{n:,}", rate, left)
                told = now


def _refuse_broken(logits: FloatArray, source: AuditSource, split: str, batch: Batch) -> None:
    """Raise RunError, with the image, where a logit is not finite."""
    broken = batch.index[~np.isfinite(logits).all(axis=1)]
    if len(broken):
        raise RunError(
            f"the net returns numbers that are not finite for {source.photographs[split].names[broken[0]]}: check its "
            "weights and transform"
        )


def _join(pieces: Sequence[Piece]) -> Piece:
    """Pieces of consecutive images as one."""
    return Piece(
        np.concatenate([piece.logits for piece in pieces]),
        np.concatenate([piece.digests for piece in pieces]),
        {name: np.concatenate([piece.properties[name] for piece in pieces]) for name in PROPERTIES},
    )


def _save(path: Path, piece: Piece) -> None:
    """Write one piece."""

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez(file, logits=piece.logits, digests=piece.digests, **piece.properties)  # type: ignore[arg-type]

    write_atomic(path, write)


def _load(path: Path) -> Piece:
    """Read one piece."""
    with np.load(path, allow_pickle=False) as file:
        return Piece(file["logits"], file["digests"], {name: file[name] for name in PROPERTIES})
