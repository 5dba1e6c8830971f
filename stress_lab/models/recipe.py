"""Optimiser and learning-rate schedule from the keys of ``conf/optim``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR

from stress_lab.errors import ConfigError


def make_optimizer(optim: Mapping[str, Any], parameters: Iterable[nn.Parameter]) -> Optimizer:
    """An optimiser of ``torch.optim`` by its class name.

    Args:
        optim: ``optimizer`` (such as SGD), ``lr``, and ``args``, its other arguments.

    Raises:
        ConfigError: no such class, or it refuses an argument.
    """
    kind: Any = getattr(torch.optim, optim["optimizer"], None)
    is_optimizer = isinstance(kind, type) and issubclass(kind, Optimizer)
    if not is_optimizer:
        raise ConfigError(f"optim.optimizer={optim['optimizer']} is no class of torch.optim: use SGD, Adam, AdamW …")
    try:
        optimizer: Optimizer = kind(parameters, lr=optim["lr"], **optim["args"])
        return optimizer
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optim.args or optim.lr do not suit {optim['optimizer']}: {error}") from None


def make_schedule(optim: Mapping[str, Any], optimizer: Optimizer, epochs: int) -> MultiStepLR:
    """Multiply the learning rate by ``gamma`` at each milestone; no milestones keep it constant.

    Args:
        optim: ``milestones``, fractions of the run, and ``gamma``.
        epochs: of the run; a milestone m falls on the end of epoch ``max(1, round(m * epochs))``.

    Raises:
        ConfigError: a milestone is no fraction between 0 and 1.
    """
    for milestone in optim["milestones"]:
        if not 0 < milestone < 1:
            raise ConfigError(
                f"optim.milestones has {milestone}, which is no fraction of the run: "
                f"write 0.5 for epoch 25 of 50, so that shorter runs keep the shape"
            )
    return MultiStepLR(
        optimizer, [max(1, round(milestone * epochs)) for milestone in optim["milestones"]], gamma=optim["gamma"]
    )
