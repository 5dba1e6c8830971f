"""Mistakes end in one sentence on stderr, status 2, no traceback, and leave no run behind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stress_lab.cli import compare, evaluate, train
from stress_lab.runs.folder import RunDir
from tests.bad_inputs import ROWS
from tests.test_sweep_end_to_end import run_command

TREE = {"train": {"cat": 20, "dog": 20}, "test": {"cat": 4, "dog": 4}}
IDLE = 2.0  # processor seconds of the imports, and of what reads tables, on two idle cores of 2026
QUICK = ["trainer=smoke", "model.width=4", "logger=csv", "threads=1"]


@pytest.fixture
def refuse(monkeypatch, capsys, tmp_path):
    """Run a command that must be refused; returns its sentence."""

    def run(main, *arguments):
        monkeypatch.chdir(tmp_path)
        status = run_command(monkeypatch, main, *arguments)
        captured = capsys.readouterr()
        assert status == 2, captured
        assert "Traceback" not in captured.err + captured.out
        sentence = captured.err.strip()
        assert sentence.startswith("error: ")
        return sentence

    return run


@pytest.fixture(scope="module")
def answers(request):
    """What the rows that are asked for were answered, in one process that never imports torch."""
    wanted = [item.callspec.params["row"].name for item in request.session.items if "answers" in item.fixturenames]
    command, root = [sys.executable, "-m", "tests.bad_inputs"], Path(__file__).parents[1]
    done = subprocess.run(command, input=json.dumps(wanted), capture_output=True, text=True, timeout=1800, cwd=root)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_table_is_long_and_has_no_row_twice():
    assert len(ROWS) >= 60
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_bad_inputs_end_in_one_sentence(answers, row):
    """Processor seconds, start-up included; three, times how much slower it was than on an idle machine."""
    got = answers["rows"][row.name]
    assert got["status"] == 2, got["err"]
    (line,) = got["err"].strip().splitlines()
    assert line.startswith("error: ")
    assert row.words in line
    assert "Traceback" not in got["out"] + got["err"]
    assert got["heavy"] == []
    slowness = max(1, (answers["startup"] + answers["converting"]) / IDLE)
    assert answers["startup"] + got["cpu"] + (row.command != "train") * answers["converting"] < 3 * slowness
    assert not got["executed"]
    assert got["runs"] == got["before"]


@pytest.mark.parametrize("multirun", [[], pytest.param(["-m"], marks=pytest.mark.slow)], ids=["run", "sweep"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=custom", "model._target_=torch.nn.Identity"], "10 classes"),
        (["data._target_=torch.nn.Identity"], "data._target_"),
        (["optim.args.nesterov=maybe", "optim.args.momentum=0"], "Nesterov"),
    ],
)
def test_what_only_torch_can_tell(refuse, tmp_path, multirun, arguments, message):
    assert message in refuse(train.main, *multirun, *arguments)
    assert not list(tmp_path.rglob("status.json")) or multirun == []


def test_a_wrong_config_leaves_no_folder(refuse, tmp_path):
    refuse(train.main, "seed=-1")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory, blank_figures):
    """A quick run, and a copy that claims other data."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("STRESS_LAB_CACHE", str(place / "cache"))
        monkeypatch.chdir(place)
        arguments = [*QUICK, "callbacks.gradcam.limit=0", f"hydra.run.dir={place / 'a'}", "+comparison.report=false"]
        assert run_command(monkeypatch, train.main, *arguments) == 0
    shutil.copytree(place / "a", place / "b")
    assert torch.get_num_threads() == 1
    data = json.loads((place / "b" / "data.json").read_text())
    data["fingerprint"]["test"] = "0" * 64  # as if it had been made with other images
    (place / "b" / "data.json").write_text(json.dumps(data))
    RunDir(place / "b").write_seal(RunDir(place / "b").load_info().id)
    return place


@pytest.mark.slow
def test_evaluating_on_other_images_than_recorded(refuse, trained):
    assert "are not those of" in refuse(evaluate.main, f"run={trained / 'b'}", "threads=1")


@pytest.mark.slow
def test_a_checkpoint_of_another_net(refuse, trained, tmp_path):
    from stress_lab.models.resnet import ResNet18

    state = {f"net.{key}": value for key, value in ResNet18(1, 10, width=8).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "other.ckpt")
    arguments = [f"run={trained / 'a'}", f"checkpoint={tmp_path / 'other.ckpt'}", "threads=1"]
    assert "is a checkpoint of a different net" in refuse(evaluate.main, *arguments)


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (train.main, ["seed=-1"], "seed=-1 does not work"),
        (train.main, ["augment=cutot"], "augment/cutot"),
        (compare.main, ["sweep=/nowhere"], "/nowhere is not a folder"),
        (evaluate.main, ["run=/nowhere"], "/nowhere is not a run folder"),
    ],
)
def test_full_errors_on_request(monkeypatch, capsys, tmp_path, main, arguments, message):
    """Python prints what is raised here; what a callback of Hydra's meets is printed by ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["stress-lab", *arguments])
    with pytest.raises(BaseException) as error:  # noqa: PT011
        main()
    if isinstance(error.value, SystemExit):
        assert error.value.code == 2
        printed = capsys.readouterr().err
        assert printed.startswith("Traceback (most recent call last)")
        assert message in printed.strip().splitlines()[-1]
    else:
        assert message in str(error.value)


@pytest.mark.slow
def test_the_traceback_reaches_the_terminal_on_request(tmp_path):
    environment = {**os.environ, "HYDRA_FULL_ERROR": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "stress_lab", "optm.lr=0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment)
    assert done.returncode != 0
    assert "Traceback (most recent call last)" in done.stderr


@pytest.mark.slow
def test_a_class_of_the_users_is_found_where_the_command_is_given(tmp_path):
    (tmp_path / "nets_of_mine.py").write_text("class Net:\n    def __init__(self, num_classes):\n        pass\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [Path(sys.executable).with_name("stress-lab"), "model=custom", "model._target_=nets_of_mine.Nett"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert "did you mean nets_of_mine.Net?" in done.stderr
