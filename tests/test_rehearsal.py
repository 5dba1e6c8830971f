"""What only training needs is tried before it, and asked of no finished run."""

import pytest
from torch import nn

from stress_lab import build
from stress_lab.errors import ConfigError


class FixedSize(nn.Module):
    """Takes images of one size alone."""

    def __init__(self):
        super().__init__()
        self.layer3 = nn.Conv2d(1, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 28 * 28, 10)

    def forward(self, images):
        return self.fc(self.layer3(images).flatten(1))


@pytest.fixture
def prepare(compose_config):
    def make(*overrides):
        cfg = compose_config("data=fashion_sample", "model=custom", f"model._target_={__name__}.FixedSize", *overrides)
        source = build.build_datamodule(cfg)
        return cfg, build.build_classifier(cfg, source.spec), source

    return make


def test_a_net_of_one_size_is_refused_small_images(prepare):
    build.rehearse(*prepare())
    with pytest.raises(ConfigError, match=r"augment\.start_size=0\.5 .* images of \(1, 16, 16\)"):
        build.rehearse(*prepare("augment.start_size=0.5", "trainer.max_epochs=10"))


def test_only_training_asks_for_the_optimiser(prepare):
    prepared = prepare("optim.optimizer=nowhere.Muon")  # built, as for a finished run
    with pytest.raises(ConfigError, match=r"nowhere\.Muon cannot be imported"):
        build.rehearse(*prepared)
