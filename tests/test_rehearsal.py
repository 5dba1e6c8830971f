"""What only training needs is tried before it, and asked of no finished run."""

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stress_lab.data.datamodules import FashionSampleDataModule
from stress_lab.errors import ConfigError
from stress_lab.sweeps import callback
from stress_lab.training import build, rehearsal


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
    rehearsal.rehearse(*prepare())
    with pytest.raises(ConfigError, match=r"augment\.initial_scale=0\.5 .* images of \(1, 16, 16\)"):
        rehearsal.rehearse(*prepare("augment.initial_scale=0.5", "trainer.max_epochs=10"))


def test_every_size_of_growing_images_is_tried(prepare, monkeypatch):
    takes = lambda net, images: images.new_zeros(len(images), 10 if images.shape[-1] in (16, 28) else "none")  # noqa: E731
    monkeypatch.setattr(FixedSize, "forward", takes)
    with pytest.raises(ConfigError, match=r"images of \(1, 20, 20\)"):
        rehearsal.rehearse(*prepare("augment.initial_scale=0.5", "trainer.max_epochs=10"))


def test_only_training_asks_for_the_optimiser(prepare):
    prepared = prepare("optim.optimizer=nowhere.Muon")  # built, as for a finished run
    with pytest.raises(ConfigError, match=r"nowhere\.Muon cannot be imported"):
        rehearsal.rehearse(*prepared)


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
    callback.rehearse([compose_config(*small, *job) for job in jobs], tmp_path)
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
        rehearsal.rehearse(*prepare(net("Auxiliary")))
    cfg, classifier, source = prepare(net("OneValue"), "optim.batch_size=128")
    state = torch.get_rng_state()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    rehearsal.rehearse(cfg, classifier, source)  # 6,000 images: the last batch has 112
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    with pytest.raises(ConfigError, match="cannot learn from a batch of 1: Expected more"):
        rehearsal.rehearse(*prepare(net("OneValue"), "optim.batch_size=5999"))
    rehearsal.rehearse(*prepare(net("OneValue"), "optim.batch_size=5999", "trainer.limit_train_batches=1"))
    with pytest.raises(ConfigError, match="a batch of 1: "):
        rehearsal.rehearse(*prepare(net("OneValue"), "optim.batch_size=1", "trainer.limit_train_batches=1"))


ENDS = {
    "softmax": lambda z: z.softmax(1),
    "softmax module": lambda z: nn.Softmax(dim=1)(z).unsqueeze(1).squeeze(1),
    "ensemble": lambda z: (z.softmax(1) + (2 * z).softmax(1)) / 2,
    "sigmoid": lambda z: torch.sigmoid(z),
    "dict": lambda z: {"loss": z.sum(), "logits": z},
    "tuple": lambda z: (z.new_zeros(len(z), 3), z),
    "list": lambda z: [z],
    "none": lambda z: None,
    "one": lambda z: z[:, :1],
    "flat": lambda z: z[:, 0],
    "map": lambda z: z[:, :, None, None],
    "argmax": lambda z: z.argmax(1),
    "whole": lambda z: z.round().long(),
    "dropout": lambda z: F.dropout(z),
    "noise": lambda z: z + torch.randn_like(z),
    "batch": lambda z: F.batch_norm(z, None, None, training=True),
    "batch of map": lambda z: z - z.mean(0),
    "log_softmax": lambda z: F.log_softmax(z, 1),
    "softplus": lambda z: F.softplus(z),
    "logits": lambda z: z,
}


class Head(nn.Module):
    """A small net whose forward ends as its argument says."""

    def __init__(self, end, num_classes, zero=False):
        super().__init__()
        self.layer3 = nn.Conv2d(1, 4, 5, stride=2)
        self.fc = nn.Linear(4, num_classes)
        self.end = end
        if zero:
            nn.init.zeros_(self.fc.weight)
            nn.init.zeros_(self.fc.bias)

    def forward(self, images):
        images -= 0.1  # in place, as some nets normalise
        return ENDS[self.end](self.fc(F.relu(self.layer3(images)).mean((2, 3))))


@pytest.fixture
def try_head(prepare):
    def attempt(end, *overrides):
        cfg, classifier, source = prepare(
            f"model._target_={__name__}.Head", f"+model.end={end}", "optim.optimizer=SGD", *overrides
        )
        rehearsal.rehearse(cfg, classifier, source)
        return classifier

    return attempt


@pytest.mark.parametrize("end", ["softmax", "softmax module", "ensemble"])
@pytest.mark.parametrize("zero", [False, True])
def test_probabilities_are_not_taken_for_logits(try_head, end, zero):
    with pytest.raises(
        ConfigError, match=r"Head (ends in a softmax|returns probabilities .*) instead of giving logits"
    ):
        try_head(end, f"+model.zero={zero}")


def test_a_sigmoid_at_the_end_is_seen_whatever_the_values(try_head):
    with pytest.raises(ConfigError, match=r"Head ends in a sigmoid instead of giving logits: return the logits"):
        try_head("sigmoid")


@pytest.mark.parametrize("end", ["logits", "log_softmax", "softplus"])
@pytest.mark.parametrize("zero", [False, True])
def test_logits_of_any_kind_are_taken(try_head, end, zero):
    classifier = try_head(end, f"+model.zero={zero}")
    assert classifier.net.fc.weight.any() != zero  # the copy that is tried is another one


@pytest.mark.parametrize("end", ["dropout", "noise"])
@pytest.mark.parametrize("zero", [False, True])
def test_a_net_that_answers_at_random_is_refused(try_head, end, zero):
    with pytest.raises(ConfigError, match=r"Head is random in evaluation mode: .* differ by up to [\d.e-]+ .*; use"):
        try_head(end, f"+model.zero={zero}")


def test_a_net_that_looks_at_its_batch_is_told(try_head, caplog):
    with pytest.raises(ConfigError, match=r"Head cannot predict one image alone: Expected more than 1 value"):
        try_head("batch")
    with caplog.at_level(logging.WARNING):
        try_head("logits")
        assert not caplog.messages
        try_head("batch of map")
    (said,) = caplog.messages
    assert said.startswith("Head's answer for an image depends on the rest of its batch (by up to ")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("dict", r"a dict with the keys loss, logits for 2 images.*whose forward returns output\['logits'\] alone"),
        ("tuple", r"a tuple of 2 \(\(2, 3\), \(2, 10\)\) .*returns output\[1\] alone, a tensor \(images, 10\)"),
        ("list", r"a list of 1 \(\(2, 10\)\) .*returns output\[0\] alone"),
        ("none", r"returns nothing for 2 images, .*returns the logits alone"),
        ("map", r"a tensor of shape \(2, 10, 1, 1\) .*by pooling over height and width"),
        ("one", r"a tensor of shape \(2, 1\) .*let it end in 10 outputs, as nn.Linear\(features, 10\) has$"),
        ("flat", r"a tensor of shape \(2,\) .*let it end in 10 outputs"),
        ("argmax", r"a tensor of int64 of shape \(2,\) .*let it end in 10 outputs"),
        ("whole", r"a tensor of int64 of shape \(2, 10\) .*return the logits themselves, as floats"),
    ],
)
def test_what_a_net_returned_is_said(try_head, end, message):
    with pytest.raises(ConfigError, match=message):
        try_head(end)


class Outputs(nn.Module):
    """Has another name for the number of its outputs."""

    def __init__(self, n_classes=3):
        super().__init__()
        self.layer3 = nn.Conv2d(1, n_classes, 3)

    def forward(self, images):
        return self.layer3(images).mean((2, 3))


def any_net(**options):
    """A factory with open arguments, as torchvision's are."""
    return Outputs(options.get("num_classes", 7))


@pytest.mark.parametrize("target", ["Outputs", "any_net"])
def test_the_argument_that_a_message_names_works(prepare, target):
    net = [f"model._target_={__name__}.{target}"]
    with pytest.raises(ConfigError, match=r"but the data has 10 classes: set \+model") as error:
        prepare(*net)
    (_, typed) = str(error.value).split(": set ")
    prepare(*net, typed)
    with pytest.raises(ConfigError, match=r"set model\.") as error:
        prepare(*net, typed.replace("=10", "=4"))
    prepare(*net, typed.replace("=10", "=4"), str(error.value).split(": set ")[1])


def test_two_classes_need_two_logits(compose_config):
    from stress_lab.records import DatasetSpec

    cfg = compose_config("model=custom", f"model._target_={__name__}.Head", "+model.end=one")
    spec = DatasetSpec("x", ("cat", "dog"), 1, 28, 28, (0.5,), (0.2,), {}, "here", "order", {})
    for end in ("one", "flat"):
        cfg.model.end = end
        with pytest.raises(
            ConfigError, match=r"end in 2 outputs, .* \(two classes need two logits; a single sigmoid output"
        ):
            build.build_net(cfg, spec)
