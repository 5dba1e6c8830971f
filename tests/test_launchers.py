"""One sweep under every launcher: the same numbers, and a run that goes wrong costs that run alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from stress_lab import gpus, launching, search, sweep, train
from stress_lab.errors import ConfigError
from stress_lab.runs import load_json, load_runs
from tests.early_death import DIES
from tests.faults import RAISES
from tests.test_sweep_end_to_end import run_command

ROOT = Path(__file__).parents[1]
TINY = ["experiment=demo", "augment=baseline", "trainer.max_epochs=1", "trainer.limit_train_batches=4", "model.width=4"]
TINY += ["threads=1", "callbacks.gradcam.limit=1", "callbacks.predictions.train_examples=50", "logger=none"]
TINY += ["callbacks.board.embedded=0", "+comparison.report=false", "+comparison.resamples=100"]
EARLY = "+hydra.callbacks.fault._target_=tests.early_death.EarlyDeath"
LATE = ["+callbacks.fault._target_=tests.faults.Fault", "+callbacks.fault.seed=${seed}"]


def run_sweep(tmp_path_factory, *overrides):
    """Run a sweep in a folder of its own; returns its exit status and its folder, None where none was made."""
    place = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(place)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        status = run_command(monkeypatch, train.main, "-m", *TINY, *overrides)
    folders = list(place.glob("multirun/demo/*"))
    return status, folders[0] if folders else None


def predictions(folder, run="0_baseline_seed1"):
    return (folder / run / "predictions" / "test.parquet").read_bytes()


@pytest.fixture(scope="module")
def basic(tmp_path_factory):
    """The sweep in one process, with an error instead of the end of the batch, as a launcher that is not ours gives."""
    original = BasicLauncher.launch

    def launch(self, job_overrides, initial_job_idx):
        original(self, job_overrides, initial_job_idx)
        raise RuntimeError("the pool is broken")

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(BasicLauncher, "launch", launch)
        return run_sweep(tmp_path_factory, "seed=1,2", *LATE)


def test_a_sweep_that_was_cut_short_is_compared(basic):
    status, folder = basic
    assert status == 1
    comparison = load_json(folder / "comparison.json")
    assert [run["seed"] for run in comparison["runs"]] == [1]
    assert any("planted" in note for note in comparison["notes"])


def check_survivors(swept, basic, lost):
    """The exit status is 1, the finished run has the same bits, and the comparison names those that are lost."""
    status, folder = swept
    assert status == 1
    assert predictions(folder) == predictions(basic[1])
    comparison = load_json(folder / "comparison.json")
    assert [run["seed"] for run in comparison["runs"]] == [1]
    infos = {run.config["seed"]: run.load_info() for run in load_runs(folder)}
    assert {seed: info.state for seed, info in infos.items()} == {1: "finished", **dict.fromkeys(lost, "failed")}
    assert infos[1].hardware["threads"] == 1
    assert infos[1].command[1:4] == ["-m", *TINY[:2]]
    return infos


def test_joblib(tmp_path_factory, basic):
    swept = run_sweep(tmp_path_factory, f"seed=1,{RAISES},{DIES}", *LATE, "launcher=joblib")
    infos = check_survivors(swept, basic, {RAISES, DIES})
    assert "planted" in infos[RAISES].error
    assert "its process died" in infos[DIES].error
    assert not any("did not finish" in line for line in sweep._failed)


@pytest.mark.parametrize("launcher", ["slurm_local", "ray"])
def test_processes_of_submitit_and_ray(launcher, tmp_path_factory, basic, caplog):
    if launcher == "ray":
        pytest.importorskip("ray")
    swept = run_sweep(tmp_path_factory, f"seed=1,{DIES}", EARLY, f"launcher={launcher}")
    check_survivors(swept, basic, set())  # it died before it wrote a record
    assert any(line.startswith("1_baseline_seed3: interrupted") for line in sweep._failed)


def test_optuna(tmp_path_factory, basic):
    choices = ["sweeper=optuna", "hydra.sweeper.n_trials=2", "seed=1", "optim.lr=interval(0.1,0.2)"]
    status, folder = run_sweep(tmp_path_factory, *choices)
    assert status == 0
    outcome = load_json(folder / "optimization.json")
    runs = load_runs(folder)
    values = [run.load_info().metrics["val/acc"] for run in runs]
    assert [trial["value"] for trial in outcome["trials"]] == values
    assert outcome["best"]["value"] == max(values)
    assert [trial["params"]["optim.lr"] for trial in outcome["trials"]] == [run.config["optim"]["lr"] for run in runs]
    assert len(load_json(folder / "comparison.json")["variants"]) == 2
