"""Predictions of a net, which is left as it was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from stress_lab.errors import RunError
from stress_lab.records import Predictions

Batches = Iterable[tuple[Tensor, Tensor, Tensor]]


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Switch every module to evaluation and restore each one's own mode at the end, also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def device_of(model: nn.Module) -> torch.device:
    """Where the first parameter lies; a model without parameters is taken to be on the CPU."""
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in float32 proper: no autocast, and no TF32, which GPUs otherwise use for convolutions."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        cudnn.allow_tf32 = before


def predict(model: nn.Module, batches: Batches) -> Predictions:
    """Logits of every image, in float32 without autocast whatever the training used.

    Args:
        model: ``(B, C, H, W)`` to ``(B, K)``.
        batches: ``(images, labels, index)``, each image once.

    Raises:
        RunError: a logit is not finite, or an image comes twice.
    """
    device = device_of(model)
    logits, labels, index = [], [], []
    with eval_mode(model), torch.inference_mode(), full_precision(device):
        for images, label, where in batches:
            logits.append(model(images.to(device)).float().cpu())
            labels.append(label)
            index.append(where)
    if not logits:
        raise RunError("there is nothing to predict: the split is empty")
    return Predictions(
        index=torch.cat(index).numpy(), label=torch.cat(labels).numpy(), logits=torch.cat(logits).numpy()
    )
