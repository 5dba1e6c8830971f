"""A run that was interrupted goes on to the same bits; what finished is not done again."""

import json
import os

import pytest
import torch

from stress_lab import resume, train
from stress_lab.callbacks.checkpoint import find_checkpoint
from stress_lab.callbacks.gradcam import GradCamGallery
from stress_lab.callbacks.history import HistoryWriter
from stress_lab.errors import RunError
from stress_lab.runs import RunDir, load_runs
from tests.test_sweep_end_to_end import run_command

SHORT = ["experiment=demo", "trainer.max_epochs=3", "trainer.limit_train_batches=4", "model.width=4", "threads=1"]
SHORT += ["callbacks.gradcam.limit=1", "callbacks.predictions.train_examples=50", "callbacks.board.embedded=0"]
SHORT += ["+comparison.report=false", "resume=true", "logger=csv"]


def only_run(place):
    (folder,) = (place / "multirun" / "demo").iterdir()
    (run,) = load_runs(folder)
    return run


def weights(run):
    return torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]


def die_in(monkeypatch, method, at):
    """The process is killed in a hook: nothing after it happens."""
    calls = []
    original = getattr(*method)

    def hook(self, *arguments):
        calls.append(1)
        if len(calls) == at:
            raise SystemExit(137)
        return original(self, *arguments)

    monkeypatch.setattr(*method, hook)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run without interruption."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(place)
        assert run_command(monkeypatch, train.main, *SHORT) == 0
    return only_run(place)


@pytest.mark.parametrize(
    ("method", "at", "said"),
    [
        ((HistoryWriter, "on_train_epoch_start"), 2, "after epoch 1"),
        ((GradCamGallery, "record"), 1, "after epoch 3"),
    ],
    ids=["in the second epoch", "while recording"],
)
def test_an_interrupted_run_ends_in_the_same_bits(whole, tmp_path, monkeypatch, method, at, said):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as once:
        die_in(once, method, at)
        assert run_command(once, train.main, *SHORT) == 137
    run = only_run(tmp_path)
    assert run.load_info().state == "failed"
    assert run_command(monkeypatch, train.main, *SHORT) == 0
    again = only_run(tmp_path)
    assert said in (again.path / "train.log").read_text()
    assert again.load_info().state == "finished"
    assert again.load_info().resumed == 1
    first, second = weights(whole), weights(again)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert again.predictions_file("test").read_bytes() == whole.predictions_file("test").read_bytes()
    plain = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.load_history()] for run in (whole, again)]
    assert plain[0] == plain[1]
    assert json.loads(again.failures_file.read_text()) == json.loads(whole.failures_file.read_text())


def test_what_finished_is_skipped_and_another_command_gets_a_folder_of_its_own(whole, monkeypatch):
    place = whole.path.parents[3]
    monkeypatch.chdir(place)
    before = whole.checkpoint("last").stat().st_mtime_ns
    assert run_command(monkeypatch, train.main, *reversed(SHORT)) == 0  # in any order
    assert whole.checkpoint("last").stat().st_mtime_ns == before
    assert "finished before: skipped" in (whole.path / "train.log").read_text()
    assert len(list((place / "multirun" / "demo").iterdir())) == 1
    assert resume.find_launch(place / "multirun" / "demo", resume.describe_launch(SHORT)) == whole.path.parent
    assert resume.find_launch(place / "multirun" / "demo", resume.describe_launch([*SHORT, "seed=1"])) is None
    other_code = {**resume.describe_launch(SHORT), "code": "0"}
    assert resume.find_launch(place / "multirun" / "demo", other_code) is None


def test_a_damaged_checkpoint_gives_way_to_the_one_before(whole, tmp_path, caplog):
    copy = RunDir(tmp_path / "run")
    copy.checkpoints.mkdir(parents=True)
    for name in ("last", "previous"):
        (copy.checkpoints / f"{name}.ckpt").write_bytes((whole.checkpoints / f"{name}.ckpt").read_bytes())
    assert find_checkpoint(copy).epoch == 3
    content = (copy.checkpoints / "last.ckpt").read_bytes()
    (copy.checkpoints / "last.ckpt").write_bytes(content[: len(content) // 2])
    found = find_checkpoint(copy)
    assert (found.path.name, found.epoch) == ("previous.ckpt", 2)
    assert "cannot be read" in caplog.text
    (copy.checkpoints / "previous.ckpt").unlink()
    assert find_checkpoint(copy) is None


def test_one_folder_has_one_writer(tmp_path):
    resume.claim_folder(tmp_path / "sweep")
    try:
        with pytest.raises(RunError, match="another process"):
            resume.claim_folder(tmp_path / "sweep")
    finally:
        resume.release_folders()
    resume.claim_folder(tmp_path / "sweep")
    resume.release_folders()
    assert set(os.listdir(tmp_path / "sweep")) == {"launch.json", ".lock"}


def test_the_code_is_described():
    found = resume.describe_code()
    assert len(found["hash"]) == 16
    assert found["commit"] is None or len(found["commit"]) == 40
