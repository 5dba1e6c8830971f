"""The experimental net of three residual blocks: a stem and one block per stage, short enough to read at once."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from stress_lab.models.resnet import BasicBlock, init_convolutions


class ThreeBlockNet(nn.Module):
    """Stages ``layer1`` to ``layer3`` of one block each, at full, half and quarter resolution.

    Args:
        in_channels: 1 or 3.
        num_classes: K.
        width: channels of ``layer1``; the others have 2 and 4 times as many.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = BasicBlock(width, width)
        self.layer2 = BasicBlock(width, 2 * width, stride=2)
        self.layer3 = BasicBlock(2 * width, 4 * width, stride=2)
        self.fc = nn.Linear(4 * width, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` normalised images to logits ``(B, K)``."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]
