"""What is told without importing torch is what torch, Lightning and the nets themselves say."""

import inspect
import sys

import pytest
import torch
from hydra.utils import get_object

from stress_lab.errors import ConfigError
from stress_lab.preflight.classes import HEAD, STAGES, check_device, has_cuda_driver
from stress_lab.preflight.images import KNOWN, describe
from stress_lab.preflight.messages import explain_chain
from stress_lab.preflight.targets import find_signature, list_classes

TARGETS = [
    "lightning.pytorch.Trainer",
    "lightning.pytorch.loggers.CSVLogger",
    "lightning.pytorch.callbacks.EarlyStopping",
    "stress_lab.models.resnet.ResNet18",
    "stress_lab.models.three_block.ThreeBlockNet",
    "stress_lab.callbacks.gradcam.GradCamGallery",
    *(f"torch.optim.{name}" for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "LBFGS")),
]


@pytest.mark.parametrize("target", TARGETS)
def test_arguments_read_from_the_source_are_those_of_the_class(target):
    told = find_signature("key", target)
    real = inspect.signature(get_object(target)).parameters
    assert set(told.names) == {name for name, one in real.items() if one.kind is not one.VAR_KEYWORD}
    assert told.is_open == any(one.kind is one.VAR_KEYWORD for one in real.values())
    assert set(told.required) == {
        name for name, one in real.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD
    }


def test_all_optimisers_of_torch_are_known():
    real = {name for name, one in vars(torch.optim).items() if isinstance(one, type)}
    assert set(list_classes("torch.optim")) == real


def test_what_a_constructor_passes_on_is_known_too():
    told = find_signature("key", "stress_lab.callbacks.checkpoint.RunCheckpoint")
    assert {"filename", "keep", "save_top_k", "every_n_epochs"} <= set(told.names)
    assert not told.is_open
    assert find_signature("key", "torch.nn.Identity").is_open


def test_the_source_is_not_asked_where_it_cannot_tell():
    assert find_signature("key", "math.sqrt") is None
    assert find_signature("key", "torchvision.models.resnet18") is None  # it has decorators


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("stress_lab.models.resnet.ResNet81", r"did you mean stress_lab\.models\.resnet\.ResNet18\?"),
        ("stress_lab.models.resnt.ResNet18", r"did you mean stress_lab\.models\.resnet\?"),
        ("torch.nn.Identy", r"did you mean torch\.nn\.Identity\?"),
        ("no_such_package.Net", "there is no module no_such_package"),
        ("Net", "not a dotted name"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(target, message):
    with pytest.raises(ConfigError, match=message):
        find_signature("key", target)


@pytest.mark.parametrize("target", STAGES)
def test_the_stages_are_the_parts_of_the_net(target):
    net = get_object(target)(width=16)
    assert [name for name, _ in net.named_children()] == [*STAGES[target], HEAD]


def test_the_facts_of_the_sample_are_true():
    from stress_lab.data.sources.fashion_mnist import load_fashion_sample

    assert KNOWN["stress_lab.data.datamodules.FashionSampleDataModule"] == describe(load_fashion_sample())


def test_no_device_is_refused_that_torch_has():
    assert has_cuda_driver() or not torch.cuda.is_available()
    check_device("auto", "key")
    check_device("cpu", "key")
    if sys.platform == "linux" and not has_cuda_driver():
        with pytest.raises(ConfigError, match="key=gpu, but this machine has: cpu"):
            check_device("gpu", "key")


@pytest.mark.parametrize(
    "key",
    [
        *("seed", "threshold", "channels_last", "data.val_size", "augment.crop_padding", "model.width"),
        *(
            "optim.batch_size",
            "optim.args.momentum",
            "trainer.max_epochs",
            "callbacks.gradcam.limit",
            "logger.csv.name",
        ),
    ],
)
def test_a_misspelt_key_of_every_group_suggests_the_right_one(key, compose_config):
    from stress_lab.preflight.messages import _known_keys

    wrong = key[:-2] + key[-1] + key[-2]
    with pytest.raises(Exception, match="Could not override") as error:
        compose_config(f"{wrong}=1")
    assert f"did you mean {key}?" in explain_chain(error.value, lambda: _known_keys("train"))


def test_an_optimiser_that_needs_timm_says_so_before_torch(compose_config, monkeypatch):
    from stress_lab.preflight import classes

    cfg = compose_config("optim=muon_one_cycle")
    there = classes.importlib.util.find_spec
    monkeypatch.setattr(classes.importlib.util, "find_spec", lambda name: None if name == "timm" else there(name))
    with pytest.raises(ConfigError, match=r"optim\.optimizer=timm\.optim\.Muon needs timm: pip install"):
        classes.check_optimizer(cfg)
