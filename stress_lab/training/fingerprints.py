"""Check that seeds take effect: digests of what a run starts from, compared with the runs beside it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from stress_lab.data.datamodules import ImageDataModule
from stress_lab.errors import RunError
from stress_lab.runs.find import is_run
from stress_lab.runs.folder import RunDir

log = logging.getLogger(__name__)

Fingerprint = dict[str, Any]
WHAT = {"order": "order of images", "augmentation": "augmentation", "batch": "first batch"}


def digest(tensors: Iterable[Tensor]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of tensors, their types and shapes."""
    total = hashlib.sha256()
    for tensor in tensors:
        plain = tensor.detach().cpu().contiguous()
        total.update(f"{plain.dtype}{tuple(plain.shape)}".encode())
        total.update(plain.view(-1).numpy().tobytes())
    return total.hexdigest()[:16]


def fingerprint_start(model: nn.Module, source: ImageDataModule) -> Fingerprint:
    """Digests of what the seed decides before the first step.

    Returns:
        Digests: ``weights`` of all initial weights; ``order`` of the images of the first and of the second epoch;
        ``augmentation`` of what is drawn at random for every image in these epochs, None where nothing is; ``batch`` of
        the first batch as the net sees it.

    Raises:
        RunError: two epochs have the same order or the same augmentation.
    """
    loader = source.train_dataloader()
    orders, drawn = [], []
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        loader.pipeline.set_epoch(epoch)
        orders.append(digest([loader.order()]))
        parameters = loader.pipeline.parameters
        random = sorted(parameters.keys() - loader.pipeline.constant)
        drawn.append(digest(parameters[name] for name in random) if random else None)
    loader.set_epoch(0)
    images, labels, index = next(iter(loader))
    for what, pair in (("order", orders), ("augmentation", drawn)):
        if pair[0] == pair[1] is not None and len(loader.index) > 10:
            raise RunError(f"the {WHAT[what]} is the same in two epochs: it must depend on set_epoch")
    return {
        "weights": digest(model.state_dict().values()),
        "order": orders,
        "augmentation": drawn,
        "batch": digest([images, labels, index]),
    }


def refuse_equal_starts(run: RunDir) -> None:
    """Compare a run with the runs of other seeds in the same sweep.

    Raises:
        RunError: two seeds gave the same order, augmentation or first batch.
    """
    mine, seed = run.load_fingerprint(), run.config["seed"]
    for path in sorted(run.path.parent.iterdir()):
        other = RunDir(path)
        try:
            if path == run.path or not is_run(path) or other.config["seed"] == seed:
                continue
            theirs = other.load_fingerprint()
        except (OSError, RunError):  # not one of our folders, or a run that has not got that far
            continue
        for key, what in WHAT.items():
            if mine[key] == theirs[key] and any(part is not None for part in mine[key]):
                raise RunError(
                    f"seeds {other.config['seed']} and {seed} have the same {what} ({path.name} and {run.path.name}): "
                    f"the seed does not reach the data; your own class in data._target_ must pass seed on"
                )
        if mine["weights"] == theirs["weights"]:
            log.warning(
                "seeds %s and %s start from the same weights: the net does not depend on the seed",
                other.config["seed"],
                seed,
            )
