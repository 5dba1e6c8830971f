"""One sweep under every launcher: the same numbers, and a run that goes wrong costs that run alone."""

import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
from hydra._internal.core_plugins import basic_launcher
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from stress_lab.cli import train
from stress_lab.errors import ConfigError, RunError
from stress_lab.files import load_json
from stress_lab.records import RunInfo
from stress_lab.runs.find import load_runs
from stress_lab.runs.folder import RunDir
from stress_lab.runtime import cores, gpus
from stress_lab.sweeps import callback, placement, resume, search
from stress_lab.sweeps import jobs as launching
from tests.early_death import DIES
from tests.faults import RAISES
from tests.test_ranks import end_all, processes_in, start, wait_for
from tests.test_sweep_end_to_end import run_command

ROOT = Path(__file__).parents[1]
TINY = ["experiment=demo", "augment=baseline", "trainer.max_epochs=2", "trainer.limit_train_batches=2", "model.width=4"]
TINY += ["threads=1", "callbacks.gradcam.limit=1", "callbacks.predictions.train_examples=50", "logger=none"]
TINY += ["callbacks.board.embedded=0", "+comparison.report=false", "+comparison.resamples=100"]
EARLY = "+hydra.callbacks.fault._target_=tests.early_death.EarlyDeath"
LATE = ["+callbacks.fault._target_=tests.faults.Fault", "+callbacks.fault.seed=${seed}"]


def run_sweep(tmp_path_factory, *overrides, place=None):
    """Run a sweep in a folder of its own; returns its exit status and its folder, None where none was made."""
    place = place or tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(place)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        status = run_command(monkeypatch, train.main, "-m", *TINY, *overrides)
    folders = list(place.glob("multirun/demo/*"))
    return status, folders[0] if folders else None


def patch_launch(monkeypatch, launch):
    """Put a function in the place of the basic launcher's ``launch``, and return that."""
    Plugins.instance()  # Hydra loads its own plugins anew when it first looks for any
    original = basic_launcher.BasicLauncher.launch
    monkeypatch.setattr(basic_launcher.BasicLauncher, "launch", launch)
    return original


def predictions(folder, run="0_baseline_seed1"):
    return (folder / run / "predictions" / "test.parquet").read_bytes()


@pytest.fixture(scope="module")
def basic(tmp_path_factory):
    """The sweep in one process, with an error instead of the end of the batch, as a launcher that is not ours gives."""
    with pytest.MonkeyPatch.context() as monkeypatch:

        def launch(self, job_overrides, initial_job_idx):
            original(self, job_overrides, initial_job_idx)
            raise ZeroDivisionError

        original = patch_launch(monkeypatch, launch)
        status, folder = run_sweep(tmp_path_factory, "seed=1,2", *LATE, "launcher=basic")
    return status, folder, list(callback._failed)


@pytest.mark.slow
def test_a_sweep_that_was_cut_short_is_compared(basic):
    status, folder, failed = basic
    assert status == 1
    assert failed == ["1_baseline_seed2", "the sweep"]
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


@pytest.mark.processes
def test_joblib(tmp_path_factory, basic):
    """Seed 3 dies in a worker that ran another job before."""
    swept = run_sweep(tmp_path_factory, f"seed=1,{RAISES},{DIES}", *LATE, "launcher=joblib")
    infos = check_survivors(swept, basic, {RAISES, DIES})
    assert "planted" in infos[RAISES].error
    assert "its process died" in infos[DIES].error


@pytest.mark.processes
def test_submitit_goes_on_after_a_preemption(tmp_path_factory, basic, monkeypatch):
    import submitit

    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 1)  # how long it waits for a dead job's file
    preempted = [*LATE, "+callbacks.fault.preempted=true"]
    swept = run_sweep(tmp_path_factory, f"seed=1,{DIES}", EARLY, *preempted, "launcher=slurm_local")
    infos = check_survivors(swept, basic, set())  # the other died before it wrote a record
    assert infos[1].resumed == 1
    assert "resuming after epoch 1" in (swept[1] / "0_baseline_seed1" / "train.log").read_text()
    assert callback._failed == ["1_baseline_seed3"]


@pytest.mark.processes
def test_ray(tmp_path_factory, basic):
    """Where it is installed: pip install -e '.[ray]'."""
    pytest.importorskip("ray")
    swept = run_sweep(tmp_path_factory, f"seed=1,{DIES}", EARLY, "launcher=ray")
    check_survivors(swept, basic, set())
    assert callback._failed == ["1_baseline_seed3"]


def test_ray_does_not_wait_for_cores_that_are_not_there():
    from hydra_plugins.stress_lab_ray import RayLauncher

    RayLauncher(None, 2, 0, 0)._check({"CPU": 2.0})
    with pytest.raises(ConfigError, match="num_cpus=4, but this machine has 2"):
        RayLauncher(None, 4, 0, 0)._check({"CPU": 2.0})


def test_ray_does_not_train_on_the_cpu_beside_a_gpu_unasked():
    from hydra_plugins.stress_lab_ray import RayLauncher

    launcher = RayLauncher(None, 1, 0, 0)
    for accelerator in ("auto", "gpu"):
        launcher.config = OmegaConf.create({"trainer": {"accelerator": accelerator}})
        with pytest.raises(ConfigError, match=r"hydra\.launcher\.num_gpus=1"):
            launcher._check({"CPU": 2.0, "GPU": 1.0})
    launcher.config = OmegaConf.create({"trainer": {"accelerator": "cpu"}})
    launcher._check({"CPU": 2.0, "GPU": 1.0})


@pytest.mark.processes
def test_optuna_goes_on_after_a_kill(tmp_path_factory, basic, monkeypatch):
    choices = ["sweeper=optuna", "hydra.sweeper.n_trials=2", "seed=1", "optim.lr=0.1,0.2"]
    place, launched = tmp_path_factory.mktemp("user"), []

    def launch(self, job_overrides, initial_job_idx):
        launched.append(initial_job_idx)
        if len(launched) == 2:
            raise SystemExit(137)
        return original(self, job_overrides, initial_job_idx)

    original = patch_launch(monkeypatch, launch)
    assert run_sweep(tmp_path_factory, *choices, place=place)[0] == 137
    status, folder = run_sweep(tmp_path_factory, *choices, place=place)
    assert status == 0
    assert launched == [0, 1, 1]
    outcome = load_json(folder / "optimization.json")
    runs = load_runs(folder)
    values = [run.load_info().metrics["val/acc"] for run in runs]
    assert [trial["value"] for trial in outcome["trials"]] == values
    assert outcome["best"]["value"] == max(values)
    rates = [run.config["optim"]["lr"] for run in runs]
    assert [float(trial["params"]["optim.lr"]) for trial in outcome["trials"]] == rates
    assert load_json(folder / "comparison.json")["title"] == "demo"
    assert predictions(folder, runs[rates.index(0.1)].path.name) == predictions(basic[1])


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_ends_a_sweep_with_all_its_workers(tmp_path, number):
    """Nothing goes on behind the command, which the same command would meet."""
    command = ["stress_lab", "-m", *TINY, "trainer.max_epochs=500", "seed=1,2", "jobs=2"]
    hear = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  (jobs in the background do not)
    process = start(command, tmp_path, preexec_fn=hear)
    try:
        assert wait_for(lambda: len(list(tmp_path.rglob("last.ckpt"))) == 2, 900)
        if number == signal.SIGINT:  # which a terminal sends to all of them
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        output, _ = process.communicate(timeout=120)
        lines = [line for line in output.splitlines() if " epoch " in line]
        assert {line.split()[1] for line in lines} == {"0_baseline_seed1", "1_baseline_seed2"}
        if number == signal.SIGKILL:
            assert wait_for(lambda: processes_in(tmp_path) == [], 30)
            return
        assert process.returncode == 130, output
        assert "run the same command to resume" in output
        assert wait_for(lambda: processes_in(tmp_path) == [], 30)
    finally:
        end_all(tmp_path)
    (folder,) = (tmp_path / "multirun" / "demo").iterdir()
    assert [run.load_info().error for run in load_runs(folder)] == ["interrupted"] * 2


def test_a_run_that_another_process_still_trains_is_not_called_lost(tmp_path):
    for name in ("0_a", "1_b"):
        run = RunDir(tmp_path / name)
        run.save_config({"variant": "a", "seed": 1})
        run.save_info(RunInfo("a", 1, "started", "now"))
    with resume.hold_run(tmp_path / "0_a"):
        lost = launching.record_lost(tmp_path)
    assert list(lost) == ["0_a"]
    assert "is being trained by another process" in lost["0_a"]
    assert [run.load_info().state for run in load_runs(tmp_path)] == ["started", "failed"]


def make_sweeper(storage, seed=0):
    from hydra_plugins.stress_lab_optuna import OptunaSweeper

    sweeper = OptunaSweeper("val/acc", "maximize", 20, 1, seed, f"sqlite:///{storage}", None)
    sweeper.fixed, sweeper.space = [], {"optim.lr": FloatDistribution(0.01, 0.2)}
    sweeper.study = sweeper._open_study()
    return sweeper


@pytest.mark.slow
def test_a_search_taken_up_again_proposes_what_it_would_have_proposed(tmp_path):
    def search_on(storage, trials, seed=0):
        sweeper = make_sweeper(storage, seed)
        for _ in range(trials):
            (trial,) = sweeper._propose(1)
            sweeper.study.tell(trial, trial.params["optim.lr"])
        return [trial.params["optim.lr"] for trial in sweeper.study.trials]

    whole = search_on(tmp_path / "whole", 14)  # the first ten are drawn without looking at results
    assert len(set(whole)) == 14
    search_on(tmp_path / "halves", 4)
    assert search_on(tmp_path / "halves", 10) == whole
    assert not set(search_on(tmp_path / "other", 14, seed=1)) & set(whole)


def test_a_trial_that_failed_is_tried_again_by_the_same_command(tmp_path):
    returned = iter([None, {"val/acc": 0.5}, {"val/acc": 0.7}])

    def launch(jobs, first):
        return [types.SimpleNamespace(return_value=next(returned)) for _ in jobs]

    for numbers in ([0, 1], [0]):
        sweeper = make_sweeper(tmp_path / "study")
        sweeper._launcher = types.SimpleNamespace(launch=launch)
        trials = search.list_open(sweeper.study) or sweeper._propose(2)
        assert [trial.number for trial in trials] == numbers
        sweeper._run(numbers, [trial.params for trial in trials])
        search.write_outcome(sweeper.study, tmp_path, "val/acc")
        states = [trial["state"] for trial in load_json(tmp_path / "optimization.json")["trials"]]
        assert states == (["failed", "finished"] if len(numbers) == 2 else ["finished", "finished"])
    assert load_json(tmp_path / "optimization.json")["best"]["value"] == 0.7


def test_a_sweeper_of_others_starts_without_a_rehearsal(tmp_path):
    config = compose_sweep("experiment=demo")
    config.hydra.sweeper._target_ = "hydra_plugins.hydra_ax_sweeper.ax_sweeper.AxSweeper"
    assert callback.plan_jobs(config) == {}
    callback.rehearse([], tmp_path)


def compose_sweep(*overrides):
    """The config of a sweep, with the node hydra."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from stress_lab.preflight.configs import config_folder

    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        return GlobalHydra.instance().hydra.compose_config(
            "train", list(overrides), run_mode=RunMode.MULTIRUN, from_shell=False, with_log_configuration=False
        )


def test_the_dry_run_prints_what_sbatch_would_get(tmp_path, monkeypatch, capsys):
    """Compared with what submitit itself hands to a program called sbatch."""
    from hydra_plugins.stress_lab_submitit import SubmititLauncher

    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"srun": "exit 0", "sbatch": f"cp $1 {tmp_path}/got; echo invalid partition >&2; exit 1"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    chosen = ["experiment=demo", "hydra.launcher.parameters.slurm_partition=long", "hydra.sweep.dir=multirun/dry"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(callback, "rehearse", lambda jobs, folder, here: ({}, 0))
    assert run_command(monkeypatch, train.main, "-m", *chosen, "launcher=slurm_dry") == 0
    printed = capsys.readouterr().out
    assert not (tmp_path / "multirun").exists()
    assert "#   1: cutout, seed 42" in printed

    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    config = compose_sweep(*chosen, "launcher=slurm").hydra.launcher
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    with pytest.raises(RunError, match=r"SLURM refused the jobs .invalid partition"):
        SubmititLauncher(**arguments).run_jobs([print, print])  # anything that can be pickled
    script = (tmp_path / "got").read_text()
    assert "#SBATCH --partition=long" in script
    assert "#SBATCH --requeue" in script.splitlines()
    assert script.strip() in printed


REFUSED = [
    (["-m", "launcher=slurm"], "no sbatch"),
    (["launcher=joblib"], "add -m"),
    (["-m", "sweeper=optuna", "optim.lr=interval(0.1,0.2)", "hydra.sweeper.metric=test/acc"], "selects on the test"),
    (["-m", "sweeper=optuna", "optim.lr=interval(0.1,0.2)", "hydra.sweeper.metric=val/accuracy"], "is not known"),
    (["-m", "sweeper=optuna"], "nothing to search"),
    (["-m", "sweeper=optuna", "optim.lr=interval(0.1,0.2)", "~callbacks.predictions"], "keep that callback"),
    (["-m", "sweeper=optuna", "seed=1,2"], "by luck"),
    (["-m", "sweeper=optuna", "optim.lr=interval(0.1,0.2)", "launcher=slurm_dry"], "a dry run gives no results"),
    (["-m", "sweeper=optuna", "optim.lr=interval(0.0,0.2)"], "optim.lr=0.0"),
    (["-m", "launcher=joblib", "jobs=0", "seed=1,2"], "jobs=0"),
    (["-m", "launcher=basic", "jobs=2", "seed=1,2"], "launcher=basic, which runs one at a time"),
    (
        ["-m", "launcher=joblib", "jobs=null", "threads=1", "seed=1,2"],
        "use a number, such as jobs=2, or leave jobs out",
    ),
    (["-m", "launcher=slurm_local", "trainer=ddp"], "devices=auto does not work with launcher=slurm_local"),
    (["-m", "launcher=slurm_dry", "trainer=ddp"], "devices=auto does not work with launcher=slurm_dry"),
]


@pytest.mark.parametrize(("typed", "said"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_makes_no_sense_is_refused_in_a_sentence(typed, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(monkeypatch, train.main, *typed) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "multirun").exists()


@pytest.mark.parametrize(
    ("choice", "extra"),
    [
        ("launcher=slurm_local", "slurm"),
        ("launcher=ray", "ray"),
        ("sweeper=optuna", "optuna"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(choice, extra, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(placement.importlib.util, "find_spec", lambda name: None)
    assert run_command(monkeypatch, train.main, "-m", "seed=1,2", choice) == 2
    assert f"pip install 'stress_lab[{extra}]'" in capsys.readouterr().err


def test_the_space_of_a_search_has_hydras_syntax():
    config = compose_sweep(
        "sweeper=optuna",
        "experiment=demo",
        "optim.lr=tag(log,interval(0.01,0.1))",
        "model.width=int(interval(4,16))",
        "optim.batch_size=range(32,129,32)",
        "augment.crop_padding=choice(0,2)",
    )
    fixed, space = search.read_space(config)
    assert fixed == ["sweeper=optuna", "experiment=demo"]
    assert space == {
        "augment": CategoricalDistribution(["baseline", "cutout"]),
        "optim.lr": FloatDistribution(0.01, 0.1, log=True),
        "model.width": IntDistribution(4, 16),
        "optim.batch_size": IntDistribution(32, 128, step=32),
        "augment.crop_padding": CategoricalDistribution(["0", "2"]),
    }
    corners = search.list_corners(config)
    assert len(corners) == 1 + 1 + 1 + 1 + 3 + 1
    tried = {override for job in corners for override in job}
    assert {f"optim.batch_size={size}" for size in (32, 64, 96, 128)} <= tried


def test_each_run_takes_the_gpu_that_is_least_busy(tmp_path):
    def claim():
        return gpus.claim_gpu(["a", "b"], tmp_path)

    with gpus.releasing():
        assert [claim() for _ in range(3)] == [0, 1, 0]
        other = "import sys; from pathlib import Path; from stress_lab.runtime.gpus import claim_gpu\n"
        other += "print(claim_gpu(['a', 'b'], Path(sys.argv[1])))"
        said = subprocess.run(
            [sys.executable, "-c", other, tmp_path], capture_output=True, text=True, cwd=ROOT, check=True
        )
        assert said.stdout.strip() == "1"  # which another process held until it ended
        assert claim() == 1
    assert [claim(), claim()] == [0, 1]
    with gpus.releasing():
        pass


def test_a_user_without_a_name_can_claim_a_gpu(tmp_path, monkeypatch):
    def no_name():
        raise KeyError("getpwuid(): uid not found: 1001")

    monkeypatch.setattr(gpus.getpass, "getuser", no_name)
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    with gpus.releasing():
        assert gpus.claim_gpu(["a"]) == 0


def test_gpus_are_called_what_the_whole_machine_calls_them(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.name_gpus(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert gpus.name_gpus(2) == ["3", "5"]


def test_a_run_claims_a_gpu_only_side_by_side(compose_config, monkeypatch):
    from stress_lab.runtime import hardware

    monkeypatch.setattr(hardware.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(hardware.gpus, "claim_gpu", lambda names: names.index("1"))
    assert hardware.choose_device(compose_config("launcher=joblib"), "cuda") == 1
    assert hardware.choose_device(compose_config("launcher=joblib"), "cpu") is None
    assert hardware.choose_device(compose_config(), "cuda") is None


def test_a_command_goes_on_under_any_launcher():
    typed = ["-m", "experiment=demo"]
    assert resume.describe_launch([*typed, "launcher=joblib", "jobs=4"]) == resume.describe_launch(typed)
    assert resume.describe_launch([*typed, "sweeper=optuna"]) != resume.describe_launch(typed)


def test_several_devices_are_one_task():
    parameters = compose_sweep("launcher=slurm", "trainer.devices=2", "threads=3").hydra.launcher.parameters
    chosen = [parameters[key] for key in ("nodes", "tasks_per_node", "gpus_per_node", "cpus_per_task")]
    assert chosen == [1, 1, 2, 6]


def test_threads_are_shared_fairly(compose_config, monkeypatch):
    monkeypatch.setattr(cores, "count_cores", lambda: 8)
    for jobs, threads in {1: 8, 3: 2, 8: 1, 20: 1, -1: 1}.items():
        assert compose_config("launcher=joblib", f"jobs={jobs}").threads == threads
    assert compose_config("launcher=joblib", "threads=3").threads == 3
    assert OmegaConf.select(compose_config("launcher=slurm"), "threads") == 4
