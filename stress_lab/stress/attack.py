"""Small changes of pixels chosen to mislead a net: projected gradient descent (Madry et al. 2018).

Pixels are in [0, 1] and normalised inside. A net trained without defence falls to about 0 % at 8/255, which says little
about it; what differs is how small a change suffices. An attack that fails proves nothing: every accuracy here is at
most an upper bound of the accuracy under the worst change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stress_lab.errors import InputError
from stress_lab.inference import device_of, eval_mode, full_precision
from stress_lab.records import IntArray
from stress_lab.stress.streams import draw, normal, uniform

NORMS = ("linf", "l2")
CIFAR, FASHION = 8 / 255, 0.1  # usual largest changes under linf
STRIDE = 2.5  # a step is this many times eps divided by the steps, so that the border can be reached
HALVINGS = 6

Normalization = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Budget:
    """How hard an attack tries.

    Attributes:
        norm: ``linf`` or ``l2``, over all pixels and channels of an image scaled to [0, 1].
        steps: of gradient descent. ``restarts``: random starts, the first attack that succeeds counts.
        seed: of the starts.
    """

    norm: str = "linf"
    steps: int = 20
    restarts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise InputError(f"norm={self.norm} is not known: use linf or l2")
        if self.steps < 1 or self.restarts < 1:
            raise InputError(f"steps={self.steps} and restarts={self.restarts} must be whole numbers from 1")


@dataclass(frozen=True)
class Attacked:
    """Images after an attack.

    Attributes:
        pixels: ``(N, C, H, W)`` float32 in [0, 1], at most eps from the originals; the originals where it failed.
        correct: (N,) whether the net is right before, and no attempt misled it.
    """

    pixels: Tensor
    correct: Tensor


def attack(
    model: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    normalize: Normalization,
    eps: float | Tensor,
    budget: Budget | None = None,
    index: IntArray | None = None,
) -> Attacked:
    """Look for changes of at most ``eps`` that make the net wrong.

    The net's mode, gradients and weights are left as they are.

    Args:
        model: normalised images to logits ``(N, K)``.
        pixels: ``(N, C, H, W)`` uint8, or floats in [0, 1].
        labels: (N,).
        normalize: pixels in [0, 1] to the net's input, such as :func:`make_normalize` gives.
        eps: largest change, one for all or (N,); 0 changes nothing.
        budget: norm, steps, restarts, seed.
        index: (N,) number of each image, for its random starts; None counts from 0.
    """
    budget, device = budget or Budget(), device_of(model)
    clean = (pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels).to(device)
    labels = labels.to(device)
    radius = torch.as_tensor(eps, dtype=torch.float32, device=device).expand(len(clean)).view(-1, 1, 1, 1)
    where = np.arange(len(clean)) if index is None else index
    with eval_mode(model), full_precision(device):
        found, correct = clean.clone(), _is_right(model, normalize(clean), labels)
        for restart in range(budget.restarts):
            todo = (correct & (radius.flatten() > 0)).nonzero().flatten()
            if len(todo):
                start = _draw_start(clean[todo], radius[todo], budget, restart, where[todo.cpu().numpy()])
                ended, fooled = _descend(model, clean[todo], start, labels[todo], normalize, radius[todo], budget)
                found[todo[fooled]], correct[todo[fooled]] = ended[fooled], False
    return Attacked(found, correct)


def _is_right(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """(N,) whether the first highest logit is the label's."""
    with torch.no_grad():
        return torch.as_tensor(model(inputs).argmax(dim=1) == labels)


def _draw_start(clean: Tensor, radius: Tensor, budget: Budget, restart: int, index: IntArray) -> Tensor:
    """Random pixels within the radius: spread evenly (linf), or in an even direction (l2)."""
    drawn = draw(budget.seed, f"attack {budget.norm}", restart, index, clean[0].numel())
    noise = uniform(drawn, -1, 1) if budget.norm == "linf" else normal(drawn)
    moves = torch.from_numpy(noise.astype(np.float32)).to(clean.device).view(clean.shape)
    return _project(clean, moves * radius if budget.norm == "linf" else _to_unit(moves) * radius, radius, budget.norm)


def _descend(
    model: nn.Module,
    clean: Tensor,
    start: Tensor,
    labels: Tensor,
    normalize: Normalization,
    radius: Tensor,
    budget: Budget,
) -> tuple[Tensor, Tensor]:
    """Follow the loss upwards; returns the first misleading pixels of each image, or its last, and which mislead."""
    now, found = start, start.clone()
    fooled = torch.zeros(len(clean), dtype=torch.bool, device=clean.device)
    for step in range(budget.steps + 1):
        with torch.enable_grad():
            watched = now.detach().requires_grad_()
            logits = model(normalize(watched))
            loss = F.cross_entropy(logits, labels, reduction="sum")
        new = (logits.detach().argmax(dim=1) != labels) & ~fooled
        found[new], fooled = now[new], fooled | new
        if step == budget.steps or bool(fooled.all()):
            break
        (slope,) = torch.autograd.grad(loss, watched)
        move = slope.sign() if budget.norm == "linf" else _to_unit(slope)
        now = _project(clean, now + move * (STRIDE / budget.steps) * radius - clean, radius, budget.norm)
    return found, fooled


def _project(clean: Tensor, moves: Tensor, radius: Tensor, norm: str) -> Tensor:
    """The nearest pixels within the radius, then within [0, 1], which brings them no further away."""
    if norm == "linf":
        moves = torch.maximum(torch.minimum(moves, radius), -radius)
    else:
        length = moves.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        moves = moves * (radius / length.clamp(min=1e-12)).clamp(max=1)
    return (clean + moves).clamp(0, 1)


def _to_unit(moves: Tensor) -> Tensor:
    """Each image's moves scaled to length 1."""
    return torch.as_tensor(moves / moves.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1))


def make_normalize(mean: Sequence[float], std: Sequence[float]) -> Normalization:
    """The step from pixels in [0, 1] to a net's input; ``mean`` and ``std`` have a value a channel."""
    middle, spread = (torch.tensor(list(part), dtype=torch.float32).view(1, -1, 1, 1) for part in (mean, std))
    return lambda pixels: (pixels - middle.to(pixels.device)) / spread.to(pixels.device)


def trace_accuracy(
    model: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    normalize: Normalization,
    eps: Sequence[float],
    budget: Budget | None = None,
    index: IntArray | None = None,
) -> Tensor:
    """``(E, N)`` whether each image is still right at each of the increasing ``eps``; arguments as for :func:`attack`.

    What misleads at one size misleads at every larger one, so that no curve rises.
    """
    rows = [attack(model, pixels, labels, normalize, size, budget, index).correct for size in eps]
    return torch.stack(rows).cummin(dim=0).values if rows else torch.zeros(0, len(pixels), dtype=torch.bool)


def find_smallest(
    model: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    normalize: Normalization,
    largest: float,
    budget: Budget | None = None,
    index: IntArray | None = None,
) -> Tensor:
    """(N,) smallest ``eps`` found that makes each image wrong; 0 where it is wrong already.

    By halving, to 1/64 of ``largest``; infinity where nothing up to it misleads. A stronger attack may
    find a smaller one.

    Args:
        labels: of what to leave; pass predictions to find what changes each answer.
        largest: ``eps`` to try first.
        model, pixels, normalize, budget, index: as for :func:`attack`.
    """
    zero = attack(model, pixels, labels, normalize, 0.0, budget, index).correct
    survives = attack(model, pixels, labels, normalize, largest, budget, index).correct
    low, high = torch.zeros(len(pixels), device=zero.device), torch.full((len(pixels),), largest, device=zero.device)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        correct = attack(model, pixels, labels, normalize, middle, budget, index).correct
        low, high = torch.where(correct, middle, low), torch.where(correct, high, middle)
    return high.masked_fill(survives, torch.inf).masked_fill(~zero, 0)
