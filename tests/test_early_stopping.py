"""A training that ends early: the epochs that were done are recorded, and no more are trained after a death."""

import json

import pytest
import torch

from stress_lab.callbacks.ending import TrainingEnd
from stress_lab.callbacks.gradcam import GradCamGallery
from stress_lab.callbacks.predictions import PredictionWriter
from stress_lab.cli import train
from stress_lab.files import load_json
from stress_lab.runs.folder import RunDir
from tests.test_resume import die_in
from tests.test_sweep_end_to_end import run_command

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("blank_figures")]
TINY = ["data=fashion_sample", "trainer=smoke", "trainer.max_epochs=5", "trainer.limit_train_batches=2", "threads=1"]
TINY += ["model.width=4", "callbacks.predictions.train_examples=0", "callbacks.gradcam.limit=1", "logger=none"]
TINY += ["callbacks.board.embedded=0", "~callbacks.throughput", "+comparison.report=false", "optim.batch_size=64"]
TINY += ["+comparison.cases_per_outcome=0", "+comparison.gallery=0", "+comparison.resamples=100", "threshold=0.0"]
TARGET = "+callbacks.stop._target_="
LIGHTNINGS = [  # never better by 100, so that it stops in the second epoch
    f"{TARGET}lightning.pytorch.callbacks.EarlyStopping",
    "+callbacks.stop.monitor=val/loss",
    "+callbacks.stop.patience=1",
    "+callbacks.stop.min_delta=100.0",
]
OWN = [f"{TARGET}tests.early_stop.StopAfter", "+callbacks.stop.epoch=2"]
WITHIN = [*OWN, "+callbacks.stop.batch=1"]
KEPT = [*OWN, "+trainer.min_epochs=3"]  # which the signal in the second epoch does not overrule


def run_into(monkeypatch, folder, *overrides):
    """One run in a folder of its own; returns the exit status."""
    return run_command(monkeypatch, train.main, *TINY, *overrides, f"hydra.run.dir={folder}")


def weights(run):
    return torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    ("stop", "death", "done"),
    [
        (LIGHTNINGS, (GradCamGallery, "record"), 2),
        (OWN, (PredictionWriter, "record"), 2),
        # before anything says that training ended, but for the checkpoint
        (WITHIN, (TrainingEnd, "on_train_end"), 2),
        (KEPT, (PredictionWriter, "record"), 3),
    ],
    ids=["EarlyStopping", "a callback", "within an epoch", "min_epochs"],
)
def test_epochs_are_those_that_were_done(tmp_path, monkeypatch, stop, death, done):
    monkeypatch.chdir(tmp_path)
    whole, torn = RunDir(tmp_path / "whole"), RunDir(tmp_path / "torn")
    assert run_into(monkeypatch, whole.path, *stop) == 0
    with monkeypatch.context() as once:
        die_in(once, death, 1)
        assert run_into(once, torn.path, *stop) == 137
    assert torn.load_info().epochs == done
    assert run_into(monkeypatch, torn.path, *stop) == 0
    for run in (whole, torn):
        info = run.load_info()
        assert (info.state, info.epochs, info.max_epochs) == ("finished", done, 5)
        assert [row["epoch"] for row in run.load_history()] == list(range(1, done + 1))
        (summary,) = load_json(run.path / "comparison.json")["runs"]
        assert (summary["epochs"], summary["max_epochs"]) == (done, 5)
    assert f"training ended after {done} of at most 5 epochs" in (whole.path / "train.log").read_text()
    assert f"resuming after epoch {done}" in (torn.path / "train.log").read_text()
    first, second = weights(whole), weights(torn)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torn.predictions_file("test").read_bytes() == whole.predictions_file("test").read_bytes()


def test_a_finished_run_that_ended_early_is_recorded_again_and_not_trained(tmp_path, monkeypatch):
    """One of its records was truncated; its status is of a version that took the epochs planned for those done."""
    monkeypatch.chdir(tmp_path)
    run = RunDir(tmp_path / "run")
    assert run_into(monkeypatch, run.path, *OWN) == 0
    before = weights(run), run.predictions_file("test").read_bytes()
    status = load_json(run.status_file)
    del status["trained"], status["max_epochs"]
    run.status_file.write_text(json.dumps({**status, "epochs": 5}))
    run.predictions_file("test").write_bytes(b"PAR1")
    assert run_into(monkeypatch, run.path, *OWN) == 0
    assert (run.load_info().epochs, len(run.load_history())) == (2, 2)
    assert all(torch.equal(before[0][key], value) for key, value in weights(run).items())
    assert run.predictions_file("test").read_bytes() == before[1]
