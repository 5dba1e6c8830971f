"""ResNet-18 for small images (He et al. 2016, with the stem that CIFAR nets use).

Unlike the ImageNet net, the stem is 3×3 with stride 1 and there is no max-pool, so that 32×32 images keep their size
until ``layer2``. Stages at width 64 on 32×32: layer1 32×32×64, layer2 16×16×128, layer3 8×8×256, layer4 4×4×512.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_VARIANCE = 1e-6  # of the largest: ten times the bf16 rounding noise of a direction without variance


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut: ``relu(F(x) + shortcut(x))``.

    The shortcut is the identity, or a 1×1 convolution with batch norm where stride or width change.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, H, W)`` to ``(B, out, H / stride, W / stride)``, rounded up."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet18(nn.Module):
    """Four stages of two blocks, global average pooling, one linear layer.

    Args:
        in_channels: 1 or 3.
        num_classes: K.
        width: channels of the stem and ``layer1``; the other stages have 2, 4 and 8 times as many.
        zero_init_residual: start with factors 0 in the last norm of each block, so that every block starts as its
            shortcut (Goyal et al. 2017).
        whiten: the stem's filters are set by :meth:`init_from_data` and not trained.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 10,
        width: int = 64,
        zero_init_residual: bool = False,
        whiten: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(BasicBlock(width, width), BasicBlock(width, width))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 2 * width))
        self.layer3 = nn.Sequential(BasicBlock(2 * width, 4 * width, 2), BasicBlock(4 * width, 4 * width))
        self.layer4 = nn.Sequential(BasicBlock(4 * width, 8 * width, 2), BasicBlock(8 * width, 8 * width))
        self.fc = nn.Linear(8 * width, num_classes)
        init_convolutions(self)
        if zero_init_residual:
            for block in (block for block in self.modules() if isinstance(block, BasicBlock)):
                nn.init.zeros_(block.bn2.weight)
        self.conv1.weight.requires_grad_(not whiten)

    @torch.no_grad()
    def init_from_data(self, images: Tensor) -> None:
        """With ``whiten``, set the stem's filters to the principal directions of 3×3 patches, and their negatives.

        The norm after the stem divides each by its spread, so that the net sees white patches (Page 2019). Filters
        beyond twice the patch's pixels stay random; narrow nets drop the directions of least variance first.
        Directions in which patches hardly vary, such as with equal channels, are left out: there a net in bf16 would
        see nothing but rounding.

        Args:
            images: ``(B, C, H, W)`` normalised images of train.
        """
        weight = self.conv1.weight
        if weight.requires_grad:
            return
        patches = F.unfold(images, 3, stride=3).transpose(1, 2).flatten(0, 1)
        variances, directions = torch.linalg.eigh(torch.cov(patches.T))  # columns, by rising variance
        seen = int((variances > LEAST_VARIANCE * variances[-1]).sum())
        count = min(seen, len(weight) // 2)
        filters = directions.T.flip(0)[:count].reshape(count, *weight.shape[1:])
        weight[: 2 * count] = torch.cat([filters, -filters])

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` normalised images to logits ``(B, K)``."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def init_convolutions(net: nn.Module) -> None:
    """Kaiming-He normal initialisation of every convolution, fan-out, for ReLU (He et al. 2015, equation 14)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
