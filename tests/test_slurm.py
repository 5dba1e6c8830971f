"""What SLURM says of processes and of jobs, without SLURM: its variables, and an sacct that fails."""

import logging
import os

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import OmegaConf

from hydra_plugins.stress_lab_submitit import SacctReports, SubmititLauncher, has_accounting, listening
from stress_lab.errors import ConfigError
from stress_lab.runtime.process_group import World, make_cluster, make_strategy, outer_world, plan_world, refuse_uneven

STEP = {  # of srun -n 2 on one machine, within a job that has more
    "SLURM_JOB_ID": "1234",
    "SLURM_NTASKS": "2",
    "SLURM_NNODES": "3",
    "SLURM_NODELIST": "far[1-3]",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NUM_NODES": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2",
    "SLURM_STEP_NODELIST": "near1",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "0",
}
TRAINER = {"devices": 2, "num_nodes": 1, "strategy": "ddp", "accelerator": "cpu"}


@pytest.fixture
def step(monkeypatch):
    """Variables as srun sets them; ``--ntasks-per-node`` would set one more."""

    monkeypatch.setattr(rank_zero_only, "rank", rank_zero_only.rank)  # a Trainer sets it for all that follow

    def set_variables(**more):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "MASTER"))}
        monkeypatch.setattr(os, "environ", {**environment, **STEP, **more})

    return set_variables


@pytest.mark.parametrize(
    "more", [{}, {"SLURM_NTASKS_PER_NODE": "2"}, {"SLURM_NTASKS_PER_NODE": "8", "SLURM_NTASKS": "8"}]
)
def test_processes_may_be_asked_for_by_their_number_alone(step, more):
    step(**more)
    world = plan_world(OmegaConf.create(TRAINER))
    assert world == outer_world() == World(2, 2, 1, "slurm")
    cluster = make_cluster(world)
    assert (cluster.world_size(), cluster.global_rank(), cluster.local_rank(), cluster.node_rank()) == (2, 1, 1, 0)
    assert (cluster.main_address, cluster.main_port) == ("near1", 16234)
    cfg = OmegaConf.create(TRAINER)
    chosen = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, **make_strategy(cfg, world)}
    trainer = Trainer(**chosen)
    assert (trainer.world_size, trainer.global_rank, trainer.num_nodes) == (2, 1, 1)


def test_lightning_alone_would_refuse_them(step):
    """Should this fail one day, make_cluster has less to do."""
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    step()
    with pytest.raises(RuntimeError, match=r"You set `--ntasks=2`"):
        SLURMEnvironment(auto_requeue=False)


def test_several_machines_share_evenly(step):
    step(SLURM_NTASKS="4", SLURM_STEP_NUM_TASKS="4", SLURM_STEP_NUM_NODES="2", SLURM_STEP_TASKS_PER_NODE="2(x2)")
    world = plan_world(OmegaConf.create({**TRAINER, "num_nodes": 2}))
    assert world == World(4, 2, 1, "slurm")
    make_cluster(world)
    assert (os.environ["SLURM_NNODES"], os.environ["SLURM_NTASKS_PER_NODE"]) == ("2", "2")


@pytest.mark.parametrize(
    ("tasks", "said"), [("2,1", "2 and 1 .*--ntasks-per-node=2$"), ("3(x2),1(x4)", "3 and 1 .*--ntasks-per-node=3$")]
)
def test_machines_with_different_numbers_are_refused(step, tasks, said):
    step(SLURM_STEP_NUM_TASKS="3", SLURM_STEP_NUM_NODES="2", SLURM_STEP_TASKS_PER_NODE=tasks)
    with pytest.raises(ConfigError, match=f"srun started {said}"):
        plan_world(OmegaConf.create({**TRAINER, "num_nodes": 2}))


@pytest.mark.parametrize("tasks", ["", "2", "2(x3)", "4(x2),4"])
def test_machines_with_equal_numbers_are_taken(tasks):
    assert refuse_uneven(tasks) is None  # and raises nothing


def test_another_number_of_devices_is_told_before_training(step):
    step()
    with pytest.raises(ConfigError, match=r"slurm started 2 processes .*set trainer=ddp trainer\.devices=2"):
        plan_world(OmegaConf.create({**TRAINER, "devices": 1}))


SACCT = {"none": None, "without accounts": "echo Slurm accounting storage is disabled >&2; exit 1", "good": "exit 0"}


@pytest.mark.parametrize("kind", SACCT)
def test_sacct_is_asked_once_and_quietly(tmp_path, monkeypatch, capfd, kind):
    monkeypatch.setenv("PATH", str(tmp_path))
    if SACCT[kind]:
        (tmp_path / "sacct").write_text(f"#!/bin/sh\n{SACCT[kind]}\n")
        (tmp_path / "sacct").chmod(0o755)
    assert has_accounting() == (kind == "good")
    assert capfd.readouterr() == ("", "")


def test_a_failing_sacct_is_one_line(caplog):
    watched = logging.getLogger("submitit")
    with listening(SacctReports()):
        for number in range(20):
            watched.warning("Call #%d - Bypassing sacct error [Errno 2] …, status may be inaccurate.", number)
        watched.warning("another")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("SLURM cannot report how jobs ended here (sacct fails)")
    assert lines[1] == "another"


def test_without_accounts_submitit_asks_no_more(tmp_path, monkeypatch, capfd, caplog):
    """Jobs are submitted to programs that only write down that they were called."""
    submitit = pytest.importorskip("submitit")
    watcher = submitit.slurm.slurm.SlurmJob.watcher
    monkeypatch.setattr(watcher, "_make_command", watcher._make_command)
    for name, text in {
        "srun": "exit 0",
        "sbatch": "echo Submitted batch job 77",
        "sacct": f"echo called >> {tmp_path}/calls; echo disabled >&2; exit 1",
        "scancel": "exit 0",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def wait(job):
        for _ in range(5):
            job.done(force_check=True)
        return KeyError("nothing")

    module = SubmititLauncher._run_batch.__globals__  # Hydra may have loaded the plugin once more
    monkeypatch.setitem(module, "_wait", wait)
    launcher = SubmititLauncher("slurm", False, str(tmp_path / "%j"), 1, 0, OmegaConf.create({}))
    monkeypatch.setitem(module, "report", lambda job, returned: returned)
    launcher.run_jobs([print])
    assert (tmp_path / "calls").read_text() == "called\n"
    assert capfd.readouterr().err.count("disabled") == 0
    assert caplog.text.count("(sacct fails)") == 1


@pytest.mark.parametrize(
    ("sbatch", "parameters", "expected"),
    [("echo no partition >&2; exit 1", {}, "SLURM refused the jobs"), ("exit 0", {"nonsense": 1}, "nonsense")],
)
def test_refused_jobs_leave_no_filter(tmp_path, monkeypatch, sbatch, parameters, expected):
    """A filter left on the library's logger would swallow what a later sweep of this process has to say."""
    pytest.importorskip("submitit")
    for name, text in {"srun": "exit 0", "sacct": "exit 0", "sbatch": sbatch}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    before = list(logging.getLogger("submitit").filters)
    launcher = SubmititLauncher("slurm", False, str(tmp_path / "%j"), 1, 0, OmegaConf.create(parameters))
    with pytest.raises(Exception, match=expected):
        launcher.run_jobs([print])
    assert logging.getLogger("submitit").filters == before
