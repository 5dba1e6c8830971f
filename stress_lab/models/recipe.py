"""Optimiser and learning-rate schedule from the keys of ``conf/optim``."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR

from stress_lab.errors import ConfigError
from stress_lab.models.limits import MILESTONES, OPTIMIZERS, are_milestones, refuse_library

WARM = 1e-3  # first rate of a one-cycle schedule, as a fraction of its highest; and the last
SHORTEST = 5  # steps; torch's OneCycleLR divides by zero in shorter cycles, and if it rises for one step
FUSED_ON = ("cpu", "cuda")  # devices with one kernel for all weights
UNFUSED = {"foreach", "differentiable"}  # arguments that exclude it
FUSED = ("SGD", "Adam", "AdamW")  # optimisers that have it on all of these


def make_optimizer(optim: Mapping[str, Any], net: nn.Module, fused: bool = False) -> Optimizer:
    """An optimiser of ``torch.optim`` by its class name, or any other by its dotted name.

    Args:
        optim: ``optimizer`` (such as SGD), ``lr``, ``args``, its other arguments, and what :func:`group_parameters`
            reads.
        net: whose parameters are moved.
        fused: one kernel for all weights, if the optimiser has it; the same steps up to rounding.

    Raises:
        ConfigError: there is no such class, or it refuses an argument.
    """
    name = optim["optimizer"]
    kind = _find_optimizer(name)
    options = dict(optim["args"])
    if fused and kind.__name__ in FUSED and kind.__module__.startswith("torch.optim") and not options.keys() & UNFUSED:
        options.setdefault("fused", True)
    try:
        optimizer: Optimizer = kind(group_parameters(optim, net), lr=optim["lr"], **options)
        return optimizer
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"optim.args or optim.lr do not suit {name}: {error}") from None


def _find_optimizer(name: str) -> Any:
    """The class; raises ConfigError where there is none."""
    refuse_library(name)
    try:
        kind: Any = pkgutil.resolve_name(name if "." in name else f"torch.optim:{name}")
    except AttributeError:
        kind = None
    except Exception as error:  # the module may raise anything on import
        raise ConfigError(f"optim.optimizer={name} cannot be imported: {' '.join(str(error).split())}") from None
    if not (isinstance(kind, type) and issubclass(kind, Optimizer)):
        raise ConfigError(f"optim.optimizer={name} is not a class of torch.optim: {OPTIMIZERS}")
    return kind


def group_parameters(optim: Mapping[str, Any], net: nn.Module) -> list[dict[str, Any]]:
    """The parameters of a net in groups with the same settings.

    Args:
        optim: with ``decay_norms`` false, biases and the factors of norms (parameters of one dimension) have no weight
            decay. ``other`` holds arguments for an optimiser that knows two rules (such as Muon's ``use_fallback``);
            they go to everything but hidden matrices: the first layer, the last, and parameters of one dimension.
        net: of any kind; frozen parameters are in no group.
    """
    matrices = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in net.parameters() if parameter.ndim <= 1]
    other = dict(optim.get("other") or {})
    plain = {**other, **({} if optim.get("decay_norms", True) else {"weight_decay": 0.0})}
    hidden, ends = (matrices[1:-1], [*matrices[:1], *matrices[1:][-1:]]) if other else (matrices, [])
    groups = [
        {"params": hidden},
        {"params": ends, **other},
        {"params": vectors, **plain},
    ]
    if not plain:
        groups = [{"params": list(net.parameters())}]  # in the order of the net
    trained = [{**group, "params": [one for one in group["params"] if one.requires_grad]} for group in groups]
    return [group for group in trained if group["params"]]


def make_schedule(optim: Mapping[str, Any], optimizer: Optimizer, epochs: int, steps: int | None = None) -> LRScheduler:
    """The learning rate over a run.

    ``step`` multiplies it by ``gamma`` at each milestone, once per epoch; without any it is constant. ``one_cycle``
    moves it in a straight line from near zero to the full rate during the first ``warm_up`` of the run, and then in a
    straight line to near zero, a little at each step (Smith and Topin 2019).

    Args:
        optim: ``schedule``; ``milestones``, fractions of the run, and ``gamma``; ``warm_up``, a fraction of the run.
        epochs: of the run; a milestone m falls on the end of epoch ``max(1, round(m * epochs))``.
        steps: of the run, needed by ``one_cycle``; by default one per epoch.

    Raises:
        ConfigError: a milestone is not a fraction between 0 and 1.
    """
    if optim.get("schedule", "step") == "one_cycle":
        total = max(SHORTEST, steps or epochs)
        return OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            total_steps=total,
            pct_start=max(optim["warm_up"], 2 / total),
            anneal_strategy="linear",
            cycle_momentum=False,
            div_factor=1 / WARM,
            final_div_factor=1.0,
        )
    if not are_milestones(optim["milestones"]):
        raise ConfigError(f"optim.milestones={list(optim['milestones'])} does not work: use {MILESTONES}")
    return MultiStepLR(
        optimizer, [max(1, round(milestone * epochs)) for milestone in optim["milestones"]], gamma=optim["gamma"]
    )
