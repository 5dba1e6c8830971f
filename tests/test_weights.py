"""Weights are found in whatever file a net's state was saved in, and nothing else is taken for them."""

import argparse

import pytest
import torch
from omegaconf import OmegaConf

from stress_lab.cli import evaluate
from stress_lab.errors import ConfigError, RunError
from stress_lab.models.resnet import ResNet18
from stress_lab.records import DatasetSpec
from stress_lab.runs.folder import RunDir
from stress_lab.storage.checkpoint_files import check_checkpoint
from stress_lab.training import build, rehearsal

SPEC = DatasetSpec("x", tuple("abc"), 1, 28, 28, (0.5,), (0.2,), {}, "here", "order", {})


def prefixed(state, prefix):
    return {f"{prefix}{key}": value for key, value in state.items()}


WRAPPED = {
    "ours": lambda state: {"state_dict": prefixed(state, "net."), "epoch": 3},
    "ours, averaged": lambda state: {
        "state_dict": prefixed(state, "net."),
        "current_model_state": prefixed({key: value * 0 for key, value in state.items()}, "net."),
    },
    "plain": lambda state: state,
    "module": lambda state: prefixed(state, "module."),
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "lightning of another": lambda state: {"state_dict": {**prefixed(state, "model."), "loss.weight": torch.ones(3)}},
    "training loop": lambda state: {
        "model_state_dict": state,
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 2,
    },
    "timm": lambda state: {"state_dict": prefixed(state, "module."), "arch": "resnet18", "metric": 0.9},
    "before counts": lambda state: {key: value for key, value in state.items() if "num_batches" not in key},
}


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(1)
    net = ResNet18(1, 3, width=4)
    net.bn1.running_mean.normal_()
    return dict(net.state_dict())


@pytest.fixture
def load(tmp_path, compose_config):
    run = RunDir(tmp_path / "run")
    cfg = compose_config("model.width=4", "callbacks.gradcam.layer=layer3")
    run.save_config(OmegaConf.to_container(cfg, resolve=True))
    run.write_seal("")

    def loaded(content, **options):
        torch.save(content, tmp_path / "weights.pt", **options)
        check_checkpoint(tmp_path / "weights.pt")
        return build.load_classifier(run, str(tmp_path / "weights.pt"), SPEC).net.state_dict()

    return loaded


@pytest.mark.parametrize("wrap", WRAPPED, ids=str)
def test_a_state_is_found_in_what_holds_it(load, state, wrap):
    found = load(WRAPPED[wrap](state))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_files_of_old_versions_of_torch_are_read(load, state):
    found = load(state, _use_new_zipfile_serialization=False)
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("new", [True, False])
def test_whole_nets_and_other_objects_are_never_unpickled(load, state, new):
    for content in (ResNet18(1, 3, width=4), {"args": argparse.Namespace(lr=1), "model": state}):
        if isinstance(content, ResNet18):
            content.extra = argparse.Namespace()  # a class of ours alone would pass here, and is refused by torch
        with pytest.raises(RunError, match=r"it would call argparse\.Namespace, .*with torch\.save\(net\.state_dict"):
            load(content, _use_new_zipfile_serialization=new)


def test_two_nets_in_one_file_are_not_guessed_between(load, state):
    with pytest.raises(RunError, match=r"more than once, under 'model\.' and 'model_ema\.': save only one of them"):
        load({"model": state, "model_ema": state})


def test_weights_of_another_net_are_refused(load, state, tmp_path):
    wider = ResNet18(1, 3, width=8).state_dict()
    deeper = {**state, "layer5.0.conv1.weight": torch.ones(3)}
    for content, reason in ((wider, "size mismatch"), (deeper, "layer5"), ({"a": torch.ones(2)}, "conv1.weight")):
        for prefix in ("", "module."):
            with pytest.raises(RunError, match=rf"is a checkpoint of a different net than .*{reason}"):
                load(prefixed(content, prefix))
    (tmp_path / "weights.pt").write_bytes((tmp_path / "weights.pt").read_bytes()[:300])
    with pytest.raises(RunError, match="cannot be read as a checkpoint: truncated, or something else"):
        check_checkpoint(tmp_path / "weights.pt")


def test_a_run_without_maps_is_evaluated_without(tmp_path):
    flat, ours = torch.nn.Sequential(torch.nn.Flatten()), ResNet18(width=4)
    mapped = {"gradcam": {"layer": "1"}}
    cases = [({}, None, flat, None), ({}, "0", flat, "0"), (mapped, None, flat, "1"), ({}, None, ours, "layer3")]
    for number, (callbacks, asked, net, layer) in enumerate(cases):
        run = RunDir(tmp_path / str(number))
        run.save_config({"variant": "a", "seed": 1, "callbacks": callbacks})
        assert evaluate._choose_layer(run, asked, net) == layer


def test_a_trained_net_is_tried_before_it_is_evaluated(compose_config):
    source = build.build_datamodule(compose_config("data.val_size=500"))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10), torch.nn.Softmax(dim=1))
    with pytest.raises(ConfigError, match="ends in a softmax"):
        rehearsal.check_trained(net, source, "test", None, "layer")
    with pytest.raises(
        ConfigError, match=r"^layer=1 gives no feature map, .*: no part of this net gives one, so .* limit=0$"
    ):
        rehearsal.check_trained(net[:2], source, "val", "1", "layer")
    with pytest.raises(ConfigError, match="layer=layer3 is not a part of the net: its parts are 0, 1"):
        rehearsal.check_trained(net[:2], source, "val", "layer3", "layer")
    rehearsal.check_trained(net[:2], source, "val", None, "layer")
