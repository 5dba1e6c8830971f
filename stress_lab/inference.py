"""Predictions of a net, whose state is restored."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from stress_lab.errors import ConfigError, RunError
from stress_lab.records import FloatArray, Predictions

log = logging.getLogger(__name__)

Batches = Iterable[tuple[Tensor, Tensor, Tensor]]

REPEATS = 1e-4  # of the largest logit: two passes over the same images may differ by this much, as GPU sums do
ALONE = 1e-2  # of the largest logit: kernels differ by batch size, a batch's own statistics differ more
SUM = {torch.float16: 1e-2, torch.bfloat16: 1e-2}  # how far rounding moves a row sum of probabilities from one
PROBABILITIES = {  # the last step of a net that gives probabilities, by its name in autograd
    "SoftmaxBackward0": "a softmax",
    "SigmoidBackward0": "a sigmoid",
    "HardsigmoidBackward0": "a sigmoid",
}
RESHAPES = (
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Squeeze",
    "Unsqueeze",
    "Permute",
    "T",
    "Transpose",
    "Clone",
    "ToCopy",
)
WANTED = "return the logits, as they are before it, and keep the weights"


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Switch every module to evaluation and restore each one's own mode at the end, even after an error."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def device_of(model: nn.Module) -> torch.device:
    """The device of the first parameter; the CPU for a model without parameters."""
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in true float32: no autocast, and no TF32, which GPUs otherwise use for convolutions."""
    with keep_precision():
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        for unit in _units():
            unit.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield


@contextmanager
def keep_precision() -> Iterator[None]:
    """Restore the float32 precision settings: torch has two sets, and raises where they disagree."""
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
    """Logits of every image, in float32 without autocast, whatever training used.

    Args:
        model: ``(B, C, H, W)`` to ``(B, K)``.
        batches: ``(images, labels, index)``, each image once.

    Raises:
        RunError: a logit is not finite, the rows are probabilities, or an image occurs twice.
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
    if are_probabilities(torch.cat(logits)):
        raise RunError(f"the net returns probabilities (every row sums to 1) instead of logits: {WANTED}")
    return Predictions(
        index=torch.cat(index).numpy(), label=torch.cat(labels).numpy(), logits=torch.cat(logits).numpy()
    )


def are_probabilities(logits: Tensor) -> bool:
    """Whether all rows of ``(N, K)`` are non-negative and sum to one, as logits of several images never do.

    A single image or class is not enough to know.
    """
    values, slack = logits.double(), SUM.get(logits.dtype, 1e-4)
    if min(values.shape) < 2 or not bool(values.min() >= -1e-6):
        return False
    return bool(((values.sum(dim=1) - 1).abs() <= slack).all())


def check_answers(model: nn.Module, images: Tensor) -> None:
    """Try a net in evaluation mode on a few images, before long work; warns if answers depend on the batch.

    Args:
        model: ``(B, C, H, W)`` to ``(B, K)``.
        images: two or more, normalised; they are not changed.

    Raises:
        ConfigError: the net gives probabilities, answers differently a second time, or fails for one image alone.
    """
    device = device_of(model)
    images = images.to(device)
    with eval_mode(model), full_precision(device), torch.no_grad():
        first, second = model(images.clone()), model(images.clone()).double()
        last = find_last_step(model, images)
        if last is not None or are_probabilities(first):
            found = f"ends in {last}" if last else "returns probabilities (every row sums to 1)"
            raise ConfigError(f"{type(model).__name__} {found} instead of giving logits: {WANTED}")
        first = first.double()
        scale = first.abs().max().item()
        if (second - first).abs().max().item() > REPEATS * scale:
            raise ConfigError(
                f"{type(model).__name__} is random in evaluation mode: two passes over the same images differ by up to "
                f"{(second - first).abs().max().item():.2g} (logits up to {scale:.2g}); use nn.Dropout, or "
                "F.dropout(x, training=self.training), and draw nothing when self.training is false"
            )
        try:
            alone = model(images[:1].clone()).double()
        except Exception as error:  # a user's net may raise anything
            raise ConfigError(
                f"{type(model).__name__} cannot predict one image alone: {' '.join(str(error).split())}; in "
                "evaluation mode it must take batches of any size, so let norms use their running statistics there"
            ) from None
    if (alone - first[:1]).abs().max().item() > ALONE * scale:
        log.warning(
            "%s's answer for an image depends on the rest of its batch (by up to %.2g, logits up to %.2g): let its "
            "norms use running statistics in evaluation mode, or predictions change with optim.batch_size",
            type(model).__name__,
            (alone - first[:1]).abs().max().item(),
            scale,
        )


def find_last_step(model: nn.Module, images: Tensor) -> str | None:
    """What turns a net's logits into probabilities at its end, or None; changes of shape or type are skipped."""
    with torch.inference_mode(False), torch.enable_grad():
        node = model(images.clone().requires_grad_() * 1).grad_fn  # times one: nets may change their input in place
    while node is not None and node.name().removesuffix("0").removesuffix("Backward") in RESHAPES:
        node = node.next_functions[0][0]
    return None if node is None else PROBABILITIES.get(node.name())


def describe_output(output: Any) -> str:
    """What a net returned, for a message, such as ``a dict with the keys logits, loss``."""
    if isinstance(output, Tensor):
        kind = "" if output.is_floating_point() else f"of {str(output.dtype).removeprefix('torch.')} "
        return f"a tensor {kind}of shape {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a dict with the keys {', '.join(map(str, output)) or '(none)'}"
    if isinstance(output, (tuple, list)):
        parts = [str(tuple(one.shape)) if isinstance(one, Tensor) else type(one).__name__ for one in output]
        return f"a {type(output).__name__} of {len(parts)} ({', '.join(parts[:4])}{', …' if len(parts) > 4 else ''})"
    return "nothing" if output is None else f"an object of class {type(output).__name__}"


def predict_features(model: nn.Module, batches: Batches, outputs: int) -> FloatArray | None:
    """Penultimate features: the input of the linear layer that gives the logits, in float32 as in :func:`predict`.

    That layer is the last to run among the linear layers with K outputs.

    Args:
        model: ``(B, C, H, W)`` to ``(B, K)``.
        batches: ``(images, labels, index)``.
        outputs: K.

    Returns:
        ``(N, D)`` float32 in the order of the batches, or None where the net does not end in such a layer.
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
    """Collect the first input of each call of each module, in call order; the hooks end with the block."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.extend(inputs[:1])

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_pre_hook(keep).remove)
        yield seen
