"""optim.ema_decay: the moving average of the weights is what is saved, validated, recorded and explained."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from stress_lab.cli import train
from stress_lab.inference import predict
from stress_lab.models.classifier import Classifier
from stress_lab.training import build
from tests.test_resume import SHORT, only_run, weights
from tests.test_sweep_end_to_end import run_command

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("blank_figures")]
DECAY = 0.8  # in SHORT
STEPS = []  # weights after each step of the run below
FUSED = set()  # whether its optimiser moved them in one kernel


class Trace(Callback):
    """Copies the weights that training moves."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        FUSED.add(trainer.optimizers[0].param_groups[0]["fused"])
        STEPS.append({name: value.detach().clone() for name, value in pl_module.state_dict().items()})


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    place = tmp_path_factory.mktemp("averaged")
    STEPS.clear()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(place)
        options = [f"+callbacks.trace._target_={__name__}.Trace", "compile=true"]  # which is copied with the net
        monkeypatch.setattr(Classifier.compile_steps, "__defaults__", ("eager",))
        assert run_command(monkeypatch, train.main, *SHORT, *options) == 0
    return only_run(place)


def average(steps):
    """By hand, from the first step on."""
    mean = {name: value.double() for name, value in steps[0].items()}
    for weights_of_step in steps[1:]:
        mean = {name: DECAY * mean[name] + (1 - DECAY) * weights_of_step[name].double() for name in mean}
    return mean


def assert_equal_weights(saved, expected):
    for name, value in saved.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=1e-5)


def test_the_checkpoint_holds_the_average(averaged):
    assert_equal_weights(weights(averaged), average(STEPS))


def test_the_records_are_those_of_the_checkpoint(averaged):
    source = build.load_datamodule(averaged)
    classifier = build.load_classifier(averaged, "last", source.spec)
    predictions = averaged.load_predictions("test")
    again = predict(classifier, source.eval_loader("test"))
    np.testing.assert_allclose(again.logits, predictions.logits, rtol=1e-4, atol=1e-5)


def test_the_best_checkpoint_is_an_average_as_well(averaged):
    """Of the epoch whose validation accuracy was highest; the average it was validated with."""
    accuracies = [row["val/acc"] for row in averaged.load_history()]
    best = accuracies.index(max(accuracies)) + 1
    steps = len(STEPS) // len(accuracies)
    saved = torch.load(averaged.checkpoint("best"), weights_only=True)["state_dict"]
    assert_equal_weights(saved, average(STEPS[: best * steps]))


def test_the_record_names_what_was_used(averaged):
    hardware = averaged.load_info().hardware
    assert hardware["compiled"] is True
    assert {True} == FUSED
    assert hardware["memory_format"] == "contiguous_format"  # the net is narrow
