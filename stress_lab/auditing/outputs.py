"""From whatever a net returns to logits of shape (B, K)."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stress_lab.auditing.weights import name_some
from stress_lab.errors import ConfigError
from stress_lab.inference import (
    are_probabilities,
    check_answers,
    describe_output,
    device_of,
    eval_mode,
    find_last_step,
    full_precision,
)

OUTS = ("logits", "probs", "sigmoid")
LEAST = 1e-12  # probability that stands for 0, whose logarithm is not finite
MANY = "one number for each class is a multi-label net, where an image has several classes: this tool compares one each"


class LogitNet(nn.Module):
    """A net that returns logits, whatever the net inside returns.

    Args:
        net: images ``(B, C, H, W)`` to an output.
        out: what its output is: ``logits``, ``probs`` (one number where K is 2) or ``sigmoid`` (one logit).
        output: key, place or attribute of the logits in the output; None where it is the output itself.
    """

    def __init__(self, net: nn.Module, out: str = "logits", output: str | int | None = None) -> None:
        super().__init__()
        self.net, self.out, self.output = net, out, output

    def forward(self, images: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, K)``."""
        return to_logits(pick(self.net(images), self.output), self.out)


def pick(output: Any, key: str | int | None) -> Any:
    """The part of an output that a key, a place or an attribute names."""
    if key is None:
        return output
    if isinstance(output, (Mapping, tuple, list)):
        return output[key]  # type: ignore[call-overload, index]
    return getattr(output, str(key))


def to_logits(values: Tensor, out: str) -> Tensor:
    """Logits whose softmax are the probabilities that ``values`` stand for."""
    if out == "logits":
        return values
    if out == "probs" and values.ndim == 2 and values.shape[1] > 1:
        return values.clamp_min(LEAST).log()
    one = values.reshape(len(values), 1)
    if out == "probs":
        return torch.cat([1 - one, one], dim=1).clamp_min(LEAST).log()
    return torch.cat([torch.zeros_like(one), one], dim=1)


def list_parts(output: Any) -> dict[str | int, Any]:
    """The parts of an output by key, place or attribute; empty for a tensor."""
    if isinstance(output, Tensor):
        return {}
    if isinstance(output, Mapping):
        return dict(output)
    if isinstance(output, (tuple, list)):
        return dict(enumerate(output))
    if dataclasses.is_dataclass(output):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return dict(vars(output)) if hasattr(output, "__dict__") else {}


def find_output(output: Any, n: int, k: int, asked: str | int | None) -> str | int | None:
    """Key of the logits in an output of ``n`` images and ``k`` classes; None where the output itself is a tensor.

    Raises:
        ConfigError: none of its parts, or several, can be the logits.
    """
    parts = list_parts(output)
    if asked is not None:
        if asked not in parts:
            raise ConfigError(f"output={asked} is not in what the net returns, {describe_output(output)}")
        return asked
    if isinstance(output, Tensor):
        return None
    fitting = [key for key, part in parts.items() if isinstance(part, Tensor) and part.shape[:1] == (n,)]
    fitting = [key for key in fitting if parts[key].ndim == 2 and parts[key].shape[1] == k]
    if "logits" in parts:
        return "logits"
    if len(fitting) == 1:
        return fitting[0]
    found = f"{len(fitting)} parts have" if fitting else "no part has"
    advice = f"say which are the logits, with output={fitting[0]}" if fitting else "let the net return its logits"
    raise ConfigError(f"the net returns {describe_output(output)}, of which {found} the shape (images, {k}): {advice}")


def make_logit_net(
    net: nn.Module, images: Tensor, classes: Sequence[str], out: str, asked: str | int | None, name: str
) -> LogitNet:
    """A net that returns logits, tried on a few images.

    Args:
        net: as found.
        images: two or more, preprocessed, of the data.
        classes: K names.
        out: what the user says it returns.
        asked: where the user says the logits are.
        name: of the net in messages.

    Raises:
        ConfigError: it fails on them, or does not return one number for each class.
    """
    k, device = len(classes), device_of(net)
    try:
        with eval_mode(net), torch.no_grad(), full_precision(device):
            output = net(images.clone().to(device))
    except Exception as error:  # a user's net may raise anything
        raise ConfigError(
            f"{name} fails on the first images {tuple(images.shape[1:])}: {' '.join(str(error).split())[:300]}; "
            "check transform, which makes these from the files"
        ) from None
    made = LogitNet(net, out, find_output(output, len(images), k, asked))
    values = pick(output, made.output)
    _check_shape(values, len(images), classes, out, name)
    _check_kind(made, values, images, out, name)
    if out == "logits":
        check_answers(made, images)
    return made


def _check_shape(values: Any, n: int, classes: Sequence[str], out: str, name: str) -> None:
    """Raise ConfigError unless there is a number for each class of each image, or one for two classes."""
    k = len(classes)
    if not isinstance(values, Tensor) or not values.is_floating_point():
        raise ConfigError(f"{name} returns {describe_output(values)}, but logits are needed: say where with output=KEY")
    one = values.shape in ((n, 1), (n,))
    if out == "sigmoid":
        if k != 2 or not one:
            raise ConfigError(
                f"out=sigmoid is for one output and two classes, but {name} returns {tuple(values.shape[1:]) or 1} "
                f"for {k} classes: {MANY}"
            )
    elif values.shape == (n, k) or (out == "probs" and one and k == 2):
        return
    elif one and k == 2:
        raise ConfigError(f"{name} returns one number an image: say out=sigmoid if it is the logit of {classes[1]}")
    elif one:
        raise ConfigError(
            f"{name} returns one number an image, as for regression: a classifier of {k} classes is needed"
        )
    elif values.ndim == 2:
        raise ConfigError(
            f"{name} has {values.shape[1]} outputs, but the images have {k} classes ({name_some(classes)}): give the "
            f"names of all {values.shape[1]} in the order of the outputs, with 'classes=[a,b,…]' or classes=FILE"
        )
    else:
        raise ConfigError(f"{name} returns {describe_output(values)}, but one number for each class is needed")


def _check_kind(net: LogitNet, values: Tensor, images: Tensor, out: str, name: str) -> None:
    """Raise ConfigError where the numbers are not what ``out`` says."""
    if not bool(torch.isfinite(values).all()):
        raise ConfigError(
            f"{name} returns numbers that are not finite for the first images: check weights and transform"
        )
    if out == "probs":
        low, high = float(values.min()), float(values.max())
        sums = values.ndim < 2 or values.shape[1] == 1 or are_probabilities(values)
        if low < -1e-6 or high > 1 + 1e-4 or not sums:
            raise ConfigError(
                f"out=probs does not fit: the outputs of {name} are not probabilities that sum to one: say out=logits"
            )
        return
    if (
        out == "sigmoid"
        and float(values.min()) >= 0
        and float(values.max()) <= 1
        and _last_step(net, images) == SIGMOID
    ):
        raise ConfigError(f"{name} ends in a sigmoid already: say out=probs")
    if out == "logits":
        last = _last_step(net, images)
        if last == SIGMOID:
            raise ConfigError(f"{name} ends in a sigmoid: {MANY}")
        if last is not None or are_probabilities(values):
            raise ConfigError(f"{name} ends in a softmax (its outputs sum to one): say out=probs")


SIGMOID = "a sigmoid"


def _last_step(net: LogitNet, images: Tensor) -> str | None:
    """What turns the chosen output into probabilities at its end, or None."""
    bare = LogitNet(net.net, "logits", net.output)
    try:
        with eval_mode(bare), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return find_last_step(bare, images.to(device_of(bare)))
    except RuntimeError:  # without gradients, as in an exported net
        return None
