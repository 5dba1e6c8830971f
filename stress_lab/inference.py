"""Predictions of a net, which is left as it was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from stress_lab.errors import RunError
from stress_lab.records import FloatArray, Predictions

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
    with keep_precision():
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        for unit in _units():
            unit.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield


@contextmanager
def keep_precision() -> Iterator[None]:
    """Restore what float32 may be rounded to: torch has two sets of switches, and raises where they disagree."""
    precisions, products = [unit.fp32_precision for unit in _units()], torch.get_float32_matmul_precision()
    try:
        convolutions = torch.backends.cudnn.allow_tf32
    except RuntimeError:  # they disagreed before
        convolutions = None
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            torch.backends.cudnn.allow_tf32 = convolutions
        for unit, precision in zip(_units(), precisions, strict=True):
            unit.fp32_precision = precision


def _units() -> tuple[Any, Any, Any]:
    """The newer switches, which torch's stubs lack."""
    backends: Any = torch.backends
    return backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn


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
            labels.append(label.cpu())
            index.append(where.cpu())
    if not logits:
        raise RunError("there is nothing to predict: the split is empty")
    return Predictions(
        index=torch.cat(index).numpy(), label=torch.cat(labels).numpy(), logits=torch.cat(logits).numpy()
    )


def predict_features(model: nn.Module, batches: Batches, outputs: int) -> FloatArray | None:
    """Penultimate features: what the linear layer that gives the logits is fed, in float32 as in :func:`predict`.

    That layer is the last to run among the linear layers with K outputs.

    Args:
        model: ``(B, C, H, W)`` to ``(B, K)``.
        batches: ``(images, labels, index)``.
        outputs: K.

    Returns:
        ``(N, D)`` float32 in the order of the batches, or None where the net ends in no such layer.
    """
    device, features = device_of(model), []
    heads = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == outputs]
    with eval_mode(model), torch.inference_mode(), full_precision(device), watch_inputs(heads) as seen:
        for images, _, _ in batches:
            seen.clear()
            model(images.to(device))
            if not seen or seen[-1].ndim != 2 or len(seen[-1]) != len(images):  # none ran, or on parts of images
                return None
            features.append(seen[-1].float().cpu())
    return torch.cat(features).numpy() if features else None


@contextmanager
def watch_inputs(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect the first input of each call of each module, in the order of the calls; the hooks end with the block."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.extend(inputs[:1])

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_pre_hook(keep).remove)
        yield seen
