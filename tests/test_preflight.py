"""What is reported without importing torch is what torch, Lightning and the nets themselves say."""

import importlib
import inspect
import sys

import pytest
import torch
from hydra.utils import get_object

from stress_lab.errors import ConfigError
from stress_lab.preflight.classes import HEAD, STAGES, check_device, has_cuda_driver, list_targets
from stress_lab.preflight.images import KNOWN, LOADERS, describe
from stress_lab.preflight.messages import explain_chain
from stress_lab.preflight.sources import NAMEABLE, list_classes, read_signature
from stress_lab.preflight.targets import examine

EXPORTED = ["torch.optim", "torch.nn", "lightning.pytorch", "lightning.pytorch.callbacks", "lightning.pytorch.loggers"]
OURS = [
    "stress_lab.models.resnet.ResNet18",
    "stress_lab.models.three_block.ThreeBlockNet",
    *(f"stress_lab.callbacks.{name}" for name in ("gradcam.GradCamGallery", "checkpoint.RunCheckpoint")),
    *(target for target in LOADERS),
]


def summarize(signature):
    """Arguments that can be given by name, those of them that must be, and whether any others may."""
    named = {name: one for name, one in signature.parameters.items() if one.kind in NAMEABLE}
    required = {name for name, one in named.items() if one.default is one.empty}
    return set(named), required, any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())


@pytest.mark.parametrize("module", [*EXPORTED, None])
def test_arguments_read_from_the_source_are_those_of_the_class(module):
    found = vars(importlib.import_module(module)) if module else {}
    public = [name for name, one in found.items() if isinstance(one, type) and not name.startswith("_")]
    targets = [f"{module}.{name}" for name in public] if module else OURS
    read = {target: signature for target in targets if (signature := read_signature(target)) is not None}
    assert len(read) >= len(targets) / 2
    for target, signature in read.items():
        told, real = summarize(signature), summarize(inspect.signature(get_object(target)))
        if target in OURS:  # what a constructor passes on is read too, of which inspect knows nothing
            assert real[0] <= told[0], target
            assert real[1] == told[1], target
        else:
            assert told == real or (real[2] and told[0] > real[0] and told[1] == real[1]), target


def test_every_class_that_a_config_of_ours_names_is_read(compose_config):
    for choices in (["logger=both"], ["model=three_block"], ["data=image_folder"]):
        for key, node in list_targets(compose_config(*choices)):
            assert read_signature(node["_target_"]) is not None, key


def test_all_optimisers_of_torch_are_known():
    real = {name for name, one in vars(torch.optim).items() if isinstance(one, type)}
    assert set(list_classes("torch.optim")) == real


def test_what_a_constructor_passes_on_is_known_too():
    names, required, is_open = summarize(read_signature("stress_lab.callbacks.checkpoint.RunCheckpoint"))
    assert {"filename", "keep", "save_top_k", "every_n_epochs"} <= names
    assert (required, is_open) == ({"filename"}, False)


def test_the_source_is_not_asked_where_it_cannot_tell():
    assert read_signature("math.sqrt") is None
    assert read_signature("torchvision.models.resnet18") is None  # it has decorators


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("stress_lab.models.resnet.ResNet81", r"did you mean stress_lab\.models\.resnet\.ResNet18\?"),
        ("stress_lab.models.resnt.ResNet18", r"did you mean stress_lab\.models\.resnet\?"),
        ("torch.nn.Identy", r"did you mean torch\.nn\.Identity\?"),
        ("no_such_package.Net", "there is no module no_such_package"),
        ("Net", "is not a dotted name"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(target, message):
    with pytest.raises(ConfigError, match=message):
        examine("key", target, lambda signature: None)


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
