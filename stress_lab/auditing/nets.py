"""The net of an audit: built by its name, and filled with the weights of a file."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from stress_lab.auditing.lookup import call_library, import_dotted
from stress_lab.auditing.weights import Loaded, load_weights
from stress_lab.errors import ConfigError

PRETRAINED = "pretrained"  # in place of a file: the library's own weights


@dataclass(frozen=True)
class NetSpec:
    """What a config says about one net.

    Attributes:
        net: ``resnet18``, ``timm/NAME`` or a dotted path; or the net itself.
        weights: a file, ``pretrained``, or None where a callable returns a net that has its weights.
        net_args: further arguments of the net. ``weights_key``: part of the file to take.
        strict: whether the file must fit exactly.
        out: ``logits``, ``probs`` or ``sigmoid``. ``output``: where the logits are in what the net returns.
        transform: as for :func:`stress_lab.auditing.preprocessing.make_preprocessing`.
        layer: that Grad-CAM explains; ``auto`` finds one.
    """

    net: Any
    weights: str | None = None
    net_args: Mapping[str, Any] = field(default_factory=dict)
    weights_key: str | None = None
    strict: bool = True
    out: str = "logits"
    output: str | int | None = None
    transform: Any = "auto"
    layer: str | None = "auto"

    @property
    def name(self) -> str:
        """As it appears in messages."""
        return f"net={self.net if isinstance(self.net, str) else type(self.net).__name__}"


def find_net(spec: NetSpec, classes: Sequence[str]) -> tuple[nn.Module, Loaded | None]:
    """The net with its weights, on the CPU, and what the file of weights held.

    Raises:
        ConfigError: there is no such net, it cannot be built, or its weights are missing or another net's.
        RunError: the file of weights cannot be read.
    """
    if isinstance(spec.net, nn.Module):
        return spec.net, None
    path = str(spec.net)
    own = "." in path and not path.startswith("timm/")  # names of timm may end in a tag, as in NAME.openai
    net = _build_own(spec, len(classes)) if own else _build_of_library(spec, len(classes))
    if spec.weights in (None, PRETRAINED):
        return net, None
    return net, load_weights(net, Path(str(spec.weights)), spec.weights_key, spec.strict, classes)


def _build_of_library(spec: NetSpec, k: int) -> nn.Module:
    """A net of timm or torchvision; random weights are refused."""
    library, _, name = str(spec.net).rpartition("/")
    if library not in ("", "timm"):
        raise ConfigError(f"{spec.name} does not exist: write net=NAME for torchvision's, or net=timm/NAME")
    if spec.weights is None:
        raise ConfigError(
            f"{spec.name} has random weights: say weights=FILE, or weights=pretrained for the library's own"
        )
    arguments: dict[str, Any] = {"num_classes": k}
    if spec.weights == PRETRAINED:
        arguments = {"pretrained": True} if library == "timm" else {"weights": "DEFAULT"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of googlenet and inception_v3, about random weights
            net: nn.Module = call_library(library, name, "net", **{**arguments, **spec.net_args})
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        raise ConfigError(f"{spec.name} cannot be built: {' '.join(str(error).split())[:300]}") from None
    return net


def _build_own(spec: NetSpec, k: int) -> nn.Module:
    """What the user's callable returns, given the number of classes where it asks for that."""
    found = import_dotted(str(spec.net), "net")
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise ConfigError(f"{spec.name} is neither a net nor callable: name a class, or a function that returns a net")
    arguments = dict(spec.net_args)
    try:
        if "num_classes" in inspect.signature(found).parameters:
            arguments.setdefault("num_classes", k)
        net = found(**arguments)
    except Exception as error:  # a user's function may raise anything
        raise ConfigError(
            f"{spec.name} cannot be built: {' '.join(str(error).split())[:300]}; give it arguments with "
            "'net_args={key: value}'"
        ) from None
    if not isinstance(net, nn.Module):
        raise ConfigError(f"{spec.name} returns {type(net).__name__}, not a torch.nn.Module")
    return net
