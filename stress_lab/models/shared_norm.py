"""Batch normalisation over the images of all devices, so that several devices compute what one would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def share_norms(module: nn.Module, accelerator: str) -> None:
    """Replace every batch norm inside a net by one that uses the statistics of all processes; weights stay.

    torch's SyncBatchNorm serves GPUs and refuses the CPU, for which :class:`SharedBatchNorm` is.
    """
    convert: Callable[[nn.Module], nn.Module]
    convert = nn.SyncBatchNorm.convert_sync_batchnorm if accelerator == "cuda" else SharedBatchNorm.of
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, convert(child))
        else:
            share_norms(child, accelerator)


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        torch.distributed.all_reduce(total)
        return total


class SharedBatchNorm(_BatchNorm):
    """Normalises ``(B, C, ...)`` by mean and variance over the batches of all processes (Ioffe and Szegedy 2015).

    Sums, squares and counts are added up over the processes in float64, so batches of unequal size count rightly.
    In evaluation, and with one process, it is a plain batch norm.
    """

    @classmethod
    def of(cls, norm: nn.Module) -> SharedBatchNorm:
        """One with the weights, statistics and settings of a plain batch norm."""
        assert isinstance(norm, _BatchNorm)
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        made.load_state_dict(norm.state_dict())
        made.weight, made.bias = norm.weight, norm.bias  # the same ones: what is frozen stays so
        return made.train(norm.training)

    def _check_input_dim(self, images: Tensor) -> None:
        """Any number of dimensions from two."""

    def forward(self, images: Tensor) -> Tensor:
        """Normalise; in training the running statistics move too."""
        if not (self.training and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1):
            return super().forward(images)
        with torch.autocast(images.device.type, enabled=False):
            return self._normalize(images)

    def _normalize(self, images: Tensor) -> Tensor:
        channels, others = images.shape[1], [axis for axis in range(images.ndim) if axis != 1]
        values = images.double()
        count = values.new_full((1,), images.numel() / channels)
        sums: Tensor = _SumOverProcesses.apply(torch.cat([values.sum(others), values.square().sum(others), count]))
        n = sums[-1].detach()
        mean = sums[:channels] / n
        variance = sums[channels:-1] / n - mean.square()
        self._move_statistics(mean.detach(), variance.detach() * n / (n - 1))
        shape = (1, channels, *(1 for _ in others[1:]))
        scale = (variance + self.eps).rsqrt().to(torch.float32)
        normal = (images.float() - mean.to(torch.float32).view(shape)) * scale.view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(images.dtype)

    def _move_statistics(self, mean: Tensor, variance: Tensor) -> None:
        """Running mean and (unbiased) variance, as torch's batch norm keeps them."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)
