import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn


class Net(nn.Module):
    """A small net on images of any size: two convolutions and a linear layer."""

    def __init__(self, num_classes=3):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.stage = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, images):
        return self.fc(self.stage(self.conv(images).relu()).relu().mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A class folder of photographs of different sizes, PNG and JPEG, some of them grey."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for number, label in enumerate(("cat", "dog", "owl")):
        (root / "test" / label).mkdir(parents=True)
        for k in range(4):
            low = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            size = tuple(int(one) for one in rng.integers(40, 120, 2))
            image = Image.fromarray(low).resize(size, Image.Resampling.BICUBIC)
            image = image.convert("L") if k == 3 else image
            image.save(root / "test" / label / f"{number}_{k}.{'jpg' if k % 2 else 'png'}")
    return root
