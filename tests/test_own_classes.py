"""Classes of the user's: what they take over from other classes' files, and messages that work when followed."""

import re

import numpy as np
import pytest
from omegaconf import OmegaConf
from torch import nn

from stress_lab.data.datamodules import ImageDataModule
from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.errors import ConfigError
from stress_lab.preflight.ahead import check_ahead
from stress_lab.preflight.classes import INHERITED, list_inherited
from stress_lab.preflight.rules import check_config
from stress_lab.training import build


class Photos(ImageDataModule):
    """Forty images from somewhere."""

    def __init__(self, root, **common):
        super().__init__("photos", **common)
        self.root = root

    def load(self):
        images = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
        split = ImageSplit(images, np.arange(40) % 2)
        return ImageData({"train": split, "test": split}, ("cat", "dog"), self.root, "order")


class Sizes(nn.Module):
    """Has another idea of widths."""

    def __init__(self, widths, num_classes, width=(4, 8)):
        super().__init__()


class Transform:
    def __init__(self, p):
        pass


HERE = __name__
SUPPLIED_HERE = {"data": {"batch_size": 8, "augment": None, "seed": 1}, "model": {"num_classes": 2}}


@pytest.fixture
def answer(compose_config, tmp_path):
    """The sentence that a command gets before it reads images, or None."""

    def ask(*typed):
        cfg = compose_config(*typed)
        try:
            check_config(cfg)
            check_ahead([cfg], tmp_path / "run")
            for group in ("data", "model"):
                if cfg[group]._target_.startswith(HERE):
                    build._call(group, cfg[group], **SUPPLIED_HERE[group])
        except ConfigError as error:
            return str(error)
        return None

    return ask


@pytest.mark.parametrize(
    ("typed", "group"),
    [
        (["data=image_folder", f"data._target_={HERE}.Photos", "data.root=DIR"], "data"),
        (["data=cifar10", f"data._target_={HERE}.Photos"], "data"),
        ([f"model._target_={HERE}.Sizes", "+model.widths=[2]"], "model"),
        (["model=resnet18_whitened", f"model._target_={HERE}.Sizes"], "model"),
    ],
)
def test_keys_of_another_class_are_refused_with_a_command_that_works(answer, typed, group):
    said = answer(*typed)
    target = f"{group}._target_={HERE}.{'Photos' if group == 'data' else 'Sizes'}"
    assert re.search(
        rf"{group}\.\w+ does not work: .* does not take \w+ \(set {group}=custom {target} instead of", said
    )
    assert f"+{group}.KEY=VALUE for those it takes" in said
    needed = answer(f"{group}=custom", target)
    add = {"data": "+data.root=VALUE", "model": "+model.widths=VALUE"}[group]
    assert needed.endswith(f": set {add}")
    assert answer(f"{group}=custom", target, add.replace("VALUE", "x")) is None


def test_a_transform_of_a_list_is_given_its_argument_as_hydra_takes_it(answer):
    said = answer(f"augment.extra=[{{_target_: {HERE}.Transform}}]")
    (typed,) = re.findall(r"set '(augment\.extra=.*)'$", said)
    assert answer(typed.replace("VALUE", "0.5")) is None


@pytest.mark.parametrize(
    "typed",
    [
        ["callbacks.checkpoint_best.monitor=val/loss"],
        ["callbacks.checkpoint_best.mode=min"],
        ["data.val_size=0"],
        ["optim.optimizer=adam"],
        ["+optim.args.momentun=0.9"],
        ["+optim.args.lr=0.9"],
    ],
)
def test_what_a_message_says_works(answer, typed):
    said = answer(*typed)
    words = re.findall(r"(~callbacks\.\w+|callbacks\.\w+\.mode=\w+|optim\.args\.momentum|Adam|optim\.lr)", said)
    assert words, said
    instead = words[-1]
    corrected = {"optim.args.momentum": ["optim.args.momentum=0.9"], "Adam": ["optim=adam_step"]}
    keep = [] if instead in (*corrected, "optim.lr") else typed
    assert answer(*keep, *corrected.get(instead, ["optim.lr=0.9"] if instead == "optim.lr" else [instead])) is None


def test_rules_of_our_classes_are_not_those_of_others(answer):
    own = ["model=custom", f"model._target_={HERE}.Sizes", "+model.widths=[1]"]
    assert answer(*own, "+model.width=[8,16]") is None
    assert "model.width=[8, 16] does not work" in answer("model.width=[8,16]")
    data = ["data=custom", f"data._target_={HERE}.Photos"]
    assert answer(*data, "+data.root=[a,b]") is None
    assert "data.val_size=-1 does not work" in answer(*data, "+data.root=a", "+data.val_size=-1")


def test_no_validation_as_a_message_says_it(answer):
    from stress_lab.data.splits import NO_VAL

    typed = NO_VAL.partition(" trains")[0].replace("'", "").split()
    assert answer(*typed) is None
    assert answer("data=custom", f"data._target_={HERE}.Photos", "+data.root=a", *typed) is None


def test_inherited_keys_are_those_of_the_files(compose_config):
    for group, choices in (("data", ("cifar10", "fashion_mnist", "fashion_sample", "image_folder")), ("model", ())):
        for choice in choices or ("resnet18", "resnet18_narrow", "resnet18_whitened", "three_block"):
            node = compose_config(f"{group}={choice}")[group]
            assert {str(key) for key in node if key != "_target_"} <= set(INHERITED[group])


@pytest.mark.parametrize(
    ("typed", "choice", "taken"),
    [
        ([f"data._target_={HERE}.Photos"], "fashion_sample", "data.val_size=1000, data.split_seed=0"),
        ([f"data._target_={HERE}.Photos", "data.val_size=4"], "fashion_sample", "data.split_seed=0"),
        (["data=custom", f"data._target_={HERE}.Photos"], "custom", None),
        (["model.width=8"], "fashion_sample", None),
    ],
)
def test_what_a_class_takes_over_unasked_is_said(compose_config, typed, choice, taken):
    hydra = {"overrides": {"task": typed}, "runtime": {"choices": {"data": choice, "model": "resnet18_narrow"}}}
    config = OmegaConf.create({**OmegaConf.to_container(compose_config(*typed)), "hydra": hydra})
    said = list(list_inherited(config))
    assert len(said) == (taken is not None)
    if taken:
        assert said[0].startswith(
            f"{HERE}.Photos gets {taken} from data={choice}: if that is not meant, set data=custom"
        )
