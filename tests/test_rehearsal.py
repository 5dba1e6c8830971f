"""What only training needs is tried before it, and asked of no finished run."""

import pytest
import torch
from torch import nn

from stress_lab import build, sweep
from stress_lab.data.datamodules import FashionSampleDataModule
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
    with pytest.raises(ConfigError, match=r"augment\.initial_scale=0\.5 .* images of \(1, 16, 16\)"):
        build.rehearse(*prepare("augment.initial_scale=0.5", "trainer.max_epochs=10"))


def test_every_size_of_growing_images_is_tried(prepare, monkeypatch):
    takes = lambda net, images: images.new_zeros(len(images), 10 if images.shape[-1] in (16, 28) else "none")  # noqa: E731
    monkeypatch.setattr(FixedSize, "forward", takes)
    with pytest.raises(ConfigError, match=r"images of \(1, 20, 20\)"):
        build.rehearse(*prepare("augment.initial_scale=0.5", "trainer.max_epochs=10"))


def test_only_training_asks_for_the_optimiser(prepare):
    prepared = prepare("optim.optimizer=nowhere.Muon")  # built, as for a finished run
    with pytest.raises(ConfigError, match=r"nowhere\.Muon cannot be imported"):
        build.rehearse(*prepared)


def test_a_net_that_wants_to_see_images_first_sees_normalised_ones_of_train(prepare):
    _, classifier, source = prepare("data.val_size=500")
    seen = []
    classifier.net.init_from_data = seen.append
    build.init_from_data(classifier.net, source)
    (images,) = seen
    assert images.shape == (1000, 1, 28, 28)
    for place in (0, -1):  # the whole of train, which may lie sorted by class
        known = source.split("train").images[source.indices["train"][place]]
        torch.testing.assert_close(source.normalize.invert(images[[place]])[0], torch.from_numpy(known.copy()))
    assert abs(images.mean()) < 0.05
    assert abs(images.std() - 1) < 0.05
    classifier.net.init_from_data = int  # takes no images
    with pytest.raises(ConfigError, match=r"FixedSize\.init_from_data fails with images of \(1000, 1, 28, 28\): "):
        build.init_from_data(classifier.net, source)
    del classifier.net.init_from_data
    build.init_from_data(classifier.net, source)  # most nets do not want to


def test_jobs_of_one_data_set_read_it_once(compose_config, monkeypatch, tmp_path):
    reads, load = [], FashionSampleDataModule.load
    monkeypatch.setattr(FashionSampleDataModule, "load", lambda self: reads.append(self.val_size) or load(self))
    small = ["data=fashion_sample", "model.width=4"]
    jobs = [("augment=baseline", "data.val_size=500"), ("augment=cutout", "data.val_size=500"), ("data.val_size=700",)]
    sweep.rehearse([compose_config(*small, *job) for job in jobs], tmp_path)
    assert reads == [500, 700]


class Auxiliary(nn.Module):
    """Gives another answer while it learns, as GoogLeNet does."""

    def __init__(self, num_classes):
        super().__init__()
        self.layer3 = nn.Conv2d(1, num_classes, 3)

    def forward(self, images):
        logits = self.layer3(images).mean((2, 3))
        return (logits, logits) if self.training else logits


class OneValue(nn.Module):
    """Normalises one value an image, which a batch of one does not have."""

    def __init__(self, num_classes):
        super().__init__()
        self.layer3 = nn.Conv2d(1, 4, 3)
        self.norm, self.fc = nn.BatchNorm1d(4), nn.Linear(4, num_classes)

    def forward(self, images):
        return self.fc(self.norm(self.layer3(images).mean((2, 3))))


def test_what_a_net_does_only_while_it_learns_is_tried(prepare):
    net = lambda name: f"model._target_={__name__}.{name}"  # noqa: E731
    with pytest.raises(ConfigError, match=r"Auxiliary returns a tuple of 2 .* in training.*: wrap it"):
        build.rehearse(*prepare(net("Auxiliary")))
    cfg, classifier, source = prepare(net("OneValue"), "optim.batch_size=128")
    state = torch.get_rng_state()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    build.rehearse(cfg, classifier, source)  # 6,000 images: the last batch has 112
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    with pytest.raises(ConfigError, match="cannot learn from a batch of 1: Expected more"):
        build.rehearse(*prepare(net("OneValue"), "optim.batch_size=5999"))
    build.rehearse(*prepare(net("OneValue"), "optim.batch_size=5999", "trainer.limit_train_batches=1"))
    with pytest.raises(ConfigError, match="a batch of 1: "):
        build.rehearse(*prepare(net("OneValue"), "optim.batch_size=1", "trainer.limit_train_batches=1"))
