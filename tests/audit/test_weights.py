"""Five forms of files with weights, what does not fit, and a file that would run code."""

import argparse
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stress_lab.auditing.weights import load_weights
from stress_lab.errors import ConfigError, RunError
from tests.audit.conftest import Net


def bare(state, path):
    torch.save(state, path)


def lightning(state, path):
    held = {f"model.{name}": value for name, value in state.items()}
    torch.save({"state_dict": held, "epoch": 3, "pytorch-lightning_version": "2.6.1", "callbacks": {}}, path)


def parallel(state, path):
    """What a compiled net in DataParallel leaves."""
    torch.save({f"module._orig_mod.{name}": value for name, value in state.items()}, path)


def script(state, path):
    """A training script's dict: optimiser, arguments and a best accuracy of numpy's beside the weights."""
    args = argparse.Namespace(lr=0.1, name="x")
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"model": dict(state), "optimizer": optimizer, "args": args, "best_acc": np.float64(0.7)}, path)


def safetensors(state, path):
    save_file(dict(state), path)


FORMS = {
    bare: ("net.pth", ""),
    lightning: ("last.ckpt", "state_dict.model."),
    parallel: ("net.pt", "module."),
    script: ("checkpoint.pth", "model."),
    safetensors: ("net.safetensors", ""),
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_each_form_gives_the_very_weights(form, net, tmp_path):
    name, prefix = FORMS[form]
    form(net.state_dict(), tmp_path / name)
    other = Net()
    assert not torch.equal(other.fc.weight, net.fc.weight)
    found = load_weights(other, tmp_path / name)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in other.state_dict().items())
    assert (found.prefix, found.count, found.fits) == (prefix, 6, True)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_file_that_would_run_code_is_not_opened(net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": net.state_dict(), "extra": Evil()}, "evil.pth")
    with pytest.raises(RunError, match=r"evil.pth holds Python objects \(posix.mkdir\).* torch.save\(net.state_dict"):
        load_weights(net, "evil.pth")
    assert not os.path.exists("executed")


def test_a_whole_pickled_net_is_refused_with_what_to_do(net, tmp_path):
    torch.save(net, tmp_path / "whole.pth")
    with pytest.raises(RunError, match=r"holds Python objects .*save the weights alone"):
        load_weights(net, tmp_path / "whole.pth")


def test_two_complete_nets_in_a_file_are_told_apart_by_a_key(net, tmp_path):
    ema = {name: value + 1 for name, value in net.state_dict().items()}
    torch.save({"model": net.state_dict(), "ema": ema}, tmp_path / "two.pth")
    other = Net()
    with pytest.raises(ConfigError, match="2 times: say which, with weights_key=ema or weights_key=model"):
        load_weights(other, tmp_path / "two.pth")
    load_weights(other, tmp_path / "two.pth", key="ema")
    assert torch.equal(other.fc.bias, ema["fc.bias"])


def test_every_key_that_does_not_fit_is_counted_and_named(net, tmp_path):
    state = dict(net.state_dict())
    del state["stage.bias"]
    state |= {"extra.weight": torch.ones(1), "conv.weight": torch.ones(8, 3, 5, 5)}
    torch.save(state, tmp_path / "odd.pth")
    before = net.fc.weight.clone()
    other = Net()
    with pytest.raises(ConfigError) as refused:
        load_weights(other, tmp_path / "odd.pth")
    for words in (
        "lacks stage.bias",
        "no extra.weight",
        "conv.weight (8, 3, 5, 5) in the file, (8, 3, 3, 3)",
        "strict=fa",
    ):
        assert words in str(refused.value)
    assert not torch.equal(other.fc.weight, before)  # nothing was loaded
    found = load_weights(other, tmp_path / "odd.pth", strict=False)
    assert torch.equal(other.fc.weight, before)
    assert (found.count, found.fits) == (4, False)


def test_another_number_of_classes_names_the_classes(net, tmp_path):
    torch.save(Net(10).state_dict(), tmp_path / "ten.pth")
    with pytest.raises(ConfigError, match=r"has 10 outputs, but the images have 3 classes \(0 cat, 1 dog, 2 owl\)"):
        load_weights(net, tmp_path / "ten.pth", classes=["cat", "dog", "owl"])


def test_weights_of_another_net_are_recognised(net, tmp_path):
    torch.save(nn.Sequential(nn.Linear(3, 3)).state_dict(), tmp_path / "other.pth")
    with pytest.raises(
        ConfigError, match=r"weights of another net: it has 0.weight, 0.bias, but the net has conv.weig"
    ):
        load_weights(net, tmp_path / "other.pth")
