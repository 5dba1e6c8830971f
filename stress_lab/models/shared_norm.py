"""Batch normalisation with accurate sums, over the images of all devices, so that many compute what one would.

On the CPU, torch's kernel for channels-last images adds the pixels of a batch one by one in float32: 131,072 terms per
channel for 128 images of 32×32, in the forward and in the backward pass. Its contiguous kernel adds up in float64. The
norm here gives the same kernel few terms at a time, disguised as more channels, and adds up the results in float64;
several processes exchange these sums. ``benchmarks/batch_norm.py`` measures accuracy and cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

TERMS, SUMS = 128, 32_768  # of a float32 sum; and how many sums side by side
ROWS, COLUMNS = 64, 4_096  # combined at once when numbers are widened, within the processor's cache
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}

find_moments = torch.batch_norm_update_stats
find_gradients = torch.ops.aten.native_batch_norm_backward


def share_norms(module: nn.Module, accelerator: str) -> None:
    """Make every batch norm inside a net use the statistics of all processes; weights and their names stay.

    torch's SyncBatchNorm works on GPUs and refuses the CPU, which :func:`make_norms_accurate` handles.
    """
    if accelerator != "cuda":
        make_norms_accurate(module)
        return
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]
        else:
            share_norms(child, accelerator)


def make_norms_accurate(module: nn.Module) -> None:
    """Make every batch norm inside a net call :func:`batch_norm` in training.

    Each stays the same object and gets a subclass of its class: weights, buffers, hooks and own forward pass remain.
    """
    for norm in module.modules():
        if isinstance(norm, _BatchNorm) and not isinstance(norm, AccurateNorm):
            kind: Any = type(norm)
            norm.__class__ = _derive(kind)


class AccurateNorm:
    """The common base of accurate norm classes."""


@functools.cache
def _derive(kind: Any) -> Any:
    """A class of norms whose calls of ``F.batch_norm`` are ours in training.

    In one process compiled norms are left to the compiler, whose sums are accurate.
    """

    def forward(self: _BatchNorm, *args: Any, **kwargs: Any) -> Any:
        if not self.training or (torch.compiler.is_compiling() and _count_processes() == 1):
            return kind.forward(self, *args, **kwargs)
        return _forward(kind.forward, self, *args, **kwargs)

    return type(kind.__name__, (AccurateNorm, kind), {"forward": forward, "__module__": kind.__module__})


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _forward(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with _OurCalls():
        return forward(*args, **kwargs)


class _OurCalls(TorchFunctionMode):
    """Within it ``F.batch_norm`` is :func:`batch_norm`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def batch_norm(
    input: Tensor,  # names and order are those of torch's
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``F.batch_norm`` over the batches ``(B, C, ...)`` of all processes (Ioffe and Szegedy 2015), with accurate sums.

    Batches of unequal size are weighted by size. Where torch's own does the same, it is called: without ``training``,
    on GPUs, and in one process on few pixels or contiguous images.

    Raises:
        ValueError: one value per channel, as in torch.
    """
    ours = training and input.device.type == "cpu" and input.numel() > 0
    if not ours or (_count_processes() == 1 and not _adds_up_badly(input)):
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    normal, mean, variance, count = _Normalize.apply(input, weight, bias, eps)
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
    return normal  # type: ignore[no-any-return]


def _count_processes() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _adds_up_badly(images: Tensor) -> bool:
    """Whether torch would add up many terms in float32, as it does for channels-last and for images of one pixel."""
    pixels = images.numel() // images.shape[1]
    if pixels <= TERMS:
        return False
    layout = LAYOUTS.get(images.ndim)
    apart = layout is not None and not images.is_contiguous() and images.is_contiguous(memory_format=layout)
    return apart or pixels == len(images)


class _Normalize(torch.autograd.Function):
    """The normalised batch; mean and variance ``(C,)`` and the count ``(1,)``, in float64 and not differentiable."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count, mean, variance = _share(*_merge(*_find_parts(_list_pixels(images))))
        kind = _widen(images.dtype)
        weight, bias = (None if values is None else values.to(kind) for values in (weight, bias))
        ctx.save_for_backward(images, weight, mean, (variance + eps).rsqrt(), count)
        ctx.mark_non_differentiable(mean, variance, count)
        ctx.eps = eps
        normal = F.batch_norm(images, mean.to(kind), variance.to(kind), weight, bias, False, 0.0, eps)
        return normal, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        images, weight, mean, scale, count = ctx.saved_tensors
        if torch.is_grad_enabled():  # second derivatives, by torch's own formula
            statistics = (None, None, mean.to(_widen(images.dtype)), scale.to(_widen(images.dtype)))
            wanted = list(ctx.needs_input_grad[:3])
            return *find_gradients(gradients[0], images, weight, *statistics, True, ctx.eps, wanted), None
        pixels, slopes = _list_pixels(images), _list_pixels(gradients[0])
        sums = _find_products(pixels, slopes, mean)
        of_weight, of_bias = (
            part if wanted else None
            for part, wanted in zip((sums[1] * scale, sums[0].clone()), ctx.needs_input_grad[1:], strict=False)
        )
        if not ctx.needs_input_grad[0] and _count_processes() == 1:
            return None, of_weight, of_bias, None
        if _count_processes() > 1:
            distributed.all_reduce(sums)
        level, tilt = sums / count
        factor = scale if weight is None else scale * weight
        tilt = -factor * scale.square() * tilt
        found = _combine(slopes, factor, pixels, tilt, -factor * level - tilt * mean)
        return found.view(images.movedim(1, -1).shape).movedim(-1, 1), of_weight, of_bias, None


def _widen(kind: torch.dtype) -> torch.dtype:
    """The type for computing, and for the parameters of torch's kernels, with a batch of this type."""
    return torch.promote_types(kind, torch.float32)


def _list_pixels(images: Tensor) -> Tensor:
    """``(B, C, ...)`` to ``(M, C)``, which shares the memory of a channels-last batch."""
    return images.movedim(1, -1).reshape(-1, images.shape[1])


def _fold(pixels: Tensor, aside: int, terms: int) -> Iterator[Tensor]:
    """Parts ``(n, k, C)`` of all the pixels ``(M, C)``, in their order; n is at most ``terms`` and k ``aside``."""
    for part in torch.split(pixels, terms * aside):
        whole = len(part) // aside * aside
        if whole:
            yield part[:whole].view(-1, aside, part.shape[1])
        if whole < len(part):
            yield part[whole:].unsqueeze(0)


def _fold_for_sums(pixels: Tensor) -> Iterator[Tensor]:
    """Parts with at most :data:`TERMS` in the first axis, and no more sums than needed."""
    aside = min(SUMS // pixels.shape[1], -(-len(pixels) // TERMS))
    return _fold(pixels, max(1, aside), TERMS)


def _find_parts(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count ``(G, 1)``, mean and variance ``(G, C)`` of groups of pixels, in float64."""
    groups = []
    for part in _fold_for_sums(pixels):
        n, aside, channels = part.shape
        running = part.new_zeros(2, aside * channels, dtype=_widen(part.dtype))  # only give the kernel the type
        mean, variance = find_moments(part.flatten(1), running[0], running[1], 0.0)
        groups.append((mean.new_full((aside, 1), n), mean.view(aside, channels), variance.view(aside, channels)))
    count, mean, variance = (torch.cat(column).double() for column in zip(*groups, strict=True))
    return count, mean, variance


def _merge(count: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The combined values of all groups (Chan, Golub and LeVeque 1983): ``(1,)`` and twice ``(C,)``."""
    total = count.sum(0)
    middle = (count * mean).sum(0) / total
    return total, middle, (count * (variance + (mean - middle).square())).sum(0) / total


def _share(count: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The combined values of all processes."""
    processes = _count_processes()
    if processes == 1:
        return count, mean, variance
    mine = torch.cat([count, mean, variance])
    every = [torch.empty_like(mine) for _ in range(processes)]
    distributed.all_gather(every, mine)
    return _merge(*torch.split(torch.stack(every), [1, len(mean), len(mean)], dim=1))


def _find_products(pixels: Tensor, slopes: Tensor, mean: Tensor) -> Tensor:
    """Sums ``(2, C)`` over pixels, in float64: of the gradient, and of its product with the distance from the mean."""
    kind = _widen(pixels.dtype)
    near = mean.to(kind)
    sums = torch.zeros(2, len(mean), dtype=torch.float64)
    for x, slope in zip(_fold_for_sums(pixels), _fold_for_sums(slopes), strict=True):
        aside = x.shape[1]
        ones = near.new_ones(aside * len(near))
        statistics = (None, None, near.repeat(aside), ones)
        _, products, total = find_gradients(
            slope.flatten(1), x.flatten(1), ones, *statistics, True, 0.0, [False, True, True]
        )
        sums += torch.stack([total, products]).view(2, aside, -1).sum(1, dtype=torch.float64)
    sums[1] += (near - mean) * sums[0]
    return sums


def _combine(slopes: Tensor, factor: Tensor, pixels: Tensor, tilt: Tensor, level: Tensor) -> Tensor:
    """``factor * slopes + tilt * pixels + level``, ``(M, C)``."""
    kind, result = _widen(pixels.dtype), torch.empty_like(pixels)
    aside, rows = max(1, COLUMNS // pixels.shape[1]), ROWS if pixels.dtype != kind else len(pixels)
    factor, tilt, level = (each.to(kind).repeat(aside, 1) for each in (factor, tilt, level))
    for slope, x, out in zip(*(_fold(each, aside, rows) for each in (slopes, pixels, result)), strict=True):
        n = x.shape[1]
        wide = out if out.dtype == kind else torch.empty_like(out, dtype=kind)
        torch.addcmul(level[:n], x.to(kind), tilt[:n], out=wide).addcmul_(slope.to(kind), factor[:n])
        if wide is not out:
            out.copy_(wide)
    return result
