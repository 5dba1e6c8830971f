"""How cores and memory are counted, and what a sweep makes of them: threads and runs at a time, the same later."""

import os

import pytest
from hydra import initialize_config_dir
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from stress_lab.cli import train
from stress_lab.cli.earlier import choose_threads
from stress_lab.files import load_json
from stress_lab.preflight.configs import config_folder
from stress_lab.records import RunInfo
from stress_lab.runs.folder import RunDir
from stress_lab.runtime import cores
from stress_lab.runtime.cores import Share, count_cores, count_free_memory, share_machine
from stress_lab.runtime.process_group import ALONE, World
from stress_lab.sweeps import callback, placement, resume
from stress_lab.sweeps import jobs as launching
from stress_lab.training import build, rehearsal
from tests.test_launchers import compose_sweep

GIB = 2**30


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = {"proc/self/cgroup": "0::/user.slice/job\n"}
V1 = {"proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/x\n1:cpu,cpuacct:/docker/x\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16),
        ({**V2, "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000\n"}, 16),
        ({**V2, "sys/fs/cgroup/user.slice/job/cpu.max": "250000 100000\n"}, 2),
        ({**V2, "sys/fs/cgroup/user.slice/cpu.max": "400000 100000\n"}, 4),  # of a group around it
        ({**V2, "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),  # a container sees its own group as the outermost
        ({**V2, "sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 16),
        ({**V1, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ({**V1, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": ""}, 16),
    ],
)
def test_cores_are_those_of_the_control_group(files, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert count_cores(write(tmp_path, files)) == expected


MACHINE = {"proc/meminfo": f"MemTotal: {2**40} kB\nMemAvailable: {8 * 2**20} kB\n"}
STAT = f"anon 1\ninactive_file {GIB}\ntotal_inactive_file {GIB // 2}\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MACHINE, 8 * GIB),
        ({**MACHINE, **V2, "sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/memory.current": "1"}, 8 * GIB),
        (
            {
                **MACHINE,
                **V2,
                "sys/fs/cgroup/user.slice/memory.max": f"{4 * GIB}\n",
                "sys/fs/cgroup/user.slice/memory.current": f"{3 * GIB}\n",
                "sys/fs/cgroup/user.slice/memory.stat": STAT,
            },
            2 * GIB,
        ),
        (
            {
                **MACHINE,
                **V1,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{3 * GIB}",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{2 * GIB}",
                "sys/fs/cgroup/memory/memory.stat": STAT,
            },
            3 * GIB // 2,
        ),
    ],
)
def test_free_memory_is_that_of_machine_and_control_group(files, expected, tmp_path):
    assert count_free_memory(write(tmp_path, files)) == expected


def test_this_machine_has_cores_and_memory():
    assert 1 <= count_cores() <= os.cpu_count()
    assert count_free_memory() is None or count_free_memory() > 0


@pytest.mark.parametrize(
    ("n_cores", "free", "runs", "threads", "todo", "expected"),
    [
        (2, None, 2, [], 2, Share(2, 1)),
        (2, None, 10, [], 10, Share(2, 1)),
        (16, None, 2, [], 2, Share(2, 8)),  # each its share
        (16, None, 5, [], 5, Share(5, 3)),
        (16, None, 40, [], 40, Share(16, 1)),
        (16, 7, 40, [], 40, Share(3, 5)),  # memory for three of 2 bytes
        (16, 1, 40, [], 40, Share(1, None)),  # for less than one: as ever
        (2, None, 1, [], 1, Share(1, None)),
        (1, None, 3, [], 3, Share(1, None)),
        (8, None, 6, [2], 6, Share(4, 2)),  # typed
        (8, None, 6, [1, 2], 6, Share(4, 2)),
        (2, None, 2, [2], 2, Share(1, 2)),
        (2, None, 2, [5], 2, Share(1, 5)),
        (2, None, 4, [1], 1, Share(1, 1)),  # one left of a sweep that began with one thread each
        (2, None, 4, [1], 0, Share(1, 1)),  # all finished
        (2, None, 4, [1], 3, Share(2, 1)),
    ],
)
def test_runs_fill_the_cores(n_cores, free, runs, threads, todo, expected, monkeypatch):
    monkeypatch.setattr(cores, "count_cores", lambda: n_cores)
    monkeypatch.setattr(cores, "count_free_memory", lambda: free)
    assert share_machine(runs, threads, todo, 2) == expected


def spread(monkeypatch, tmp_path, *typed, accelerator="cpu", n_cores=8):
    """What a sweep is given: overrides added to its jobs, launcher, runs at a time."""
    from stress_lab.runtime import hardware

    monkeypatch.chdir(tmp_path)
    for module in (cores, placement):
        monkeypatch.setattr(module, "count_cores", lambda: n_cores)
    monkeypatch.setattr(cores, "count_free_memory", lambda: None)
    monkeypatch.setattr(hardware, "choose_accelerator", lambda wanted: wanted if wanted == "cpu" else accelerator)
    config = compose_sweep("hydra.sweep.dir=swept", "experiment=demo", *typed)
    before = list(config.hydra.overrides.task)
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        jobs = list(callback.plan_jobs(config).values())
    placement.spread_runs(config, jobs, 1)
    launcher = Plugins.instance()._instantiate(config.hydra.launcher)
    added = list(config.hydra.overrides.task)[len(before) :]
    return added, type(launcher).__name__, config.hydra.launcher.get("n_jobs")


HERE = "BasicLauncher"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], (["threads=4"], "JoblibLauncher", 2)),
        (["seed=1,2,3,4,5"], (["threads=1"], "JoblibLauncher", 8)),
        (["seed=1,2", "threads=4"], ([], "JoblibLauncher", 2)),
        (["seed=1,2", "threads=8"], ([], HERE, None)),
        (["jobs=3"], (["threads=2"], "JoblibLauncher", 3)),
        (["jobs=-1"], (["threads=1"], "JoblibLauncher", 8)),
        (["jobs=3", "threads=1"], ([], "JoblibLauncher", 3)),
        (["jobs=1"], ([], HERE, None)),
        (["launcher=basic"], ([], HERE, None)),
        (["launcher=joblib"], ([], "JoblibLauncher", 2)),
        (["hydra/launcher=basic"], ([], HERE, None)),
        (["launcher=basic", "jobs=null"], ([], HERE, None)),
        (["augment=cutout"], ([], HERE, None)),  # one job
        (["trainer.devices=2"], ([], HERE, None)),
        (["trainer.devices=1,2"], ([], HERE, None)),
        (["trainer.num_nodes=2"], ([], HERE, None)),
        (["sweeper=optuna", "hydra.sweeper.n_jobs=2"], ([], HERE, None)),
        (["sweeper=optuna", "jobs=2"], (["threads=4"], "JoblibLauncher", 2)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_sweep_without_a_launcher_fills_the_cores(typed, expected, monkeypatch, tmp_path):
    assert spread(monkeypatch, tmp_path, *typed) == expected


def test_folders_named_by_what_was_typed_do_not_name_the_threads(monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "count_cores", lambda: 8)
    monkeypatch.setattr(cores, "count_free_memory", lambda: None)
    monkeypatch.chdir(tmp_path)
    subdir = "hydra.sweep.subdir='${hydra.job.override_dirname}'"
    config = compose_sweep("hydra.sweep.dir=swept", "trainer=cpu", "augment=baseline,cutout", subdir)
    (tmp_path / "swept").mkdir(exist_ok=True)
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        planned = callback.plan_jobs(config)
        placement.spread_runs(config, list(planned.values()), 1)
        assert config.hydra.overrides.task[-1].startswith("threads=")
        assert list(callback.plan_jobs(config)) == list(planned)
    assert len(planned) == 2


@pytest.mark.parametrize("logging", [{}, {"handlers": {"console": {}}}, {"root": None, "formatters": {"simple": {}}}])
def test_logging_of_the_users_own_is_left_alone(logging):
    config = OmegaConf.create(logging)
    launching.name_lines(config, "0_a")
    assert config == logging


def test_runs_on_a_gpu_or_started_by_others_go_one_after_the_other(monkeypatch, tmp_path):
    assert spread(monkeypatch, tmp_path, accelerator="cuda") == ([], HERE, None)
    assert spread(monkeypatch, tmp_path, "trainer=cpu", accelerator="cuda")[1:] == ("JoblibLauncher", 2)
    assert spread(monkeypatch, tmp_path, "trainer.accelerator=cpu,gpu", accelerator="cuda") == ([], HERE, None)
    assert spread(monkeypatch, tmp_path, "jobs=2", accelerator="cuda")[1:] == ("JoblibLauncher", 2)
    monkeypatch.setattr(placement, "outer_world", lambda: World(2, 2, 0, "torchrun"))
    assert spread(monkeypatch, tmp_path) == ([], HERE, None)


def leave_run(folder, state, threads, hardware=None):
    """What an earlier process left of a run."""
    run = RunDir(folder)
    run.save_config({"variant": "a", "seed": 1, "threads": threads})
    run.save_info(RunInfo("a", 1, state, "now", hardware=hardware or {}))
    return run


def test_a_sweep_taken_up_again_keeps_its_threads(monkeypatch, tmp_path):
    leave_run(tmp_path / "swept" / "0_a", "finished", 2)
    assert spread(monkeypatch, tmp_path, "seed=1,2,3") == (["threads=2"], "JoblibLauncher", 4)
    leave_run(tmp_path / "swept" / "1_a", "started", 8)  # took every core when it was killed
    assert spread(monkeypatch, tmp_path, "seed=1,2,3") == (["threads=8"], HERE, None)
    assert spread(monkeypatch, tmp_path, "seed=1,2,3", "threads=2")[1:] == ("JoblibLauncher", 4)


@pytest.mark.parametrize(
    ("typed", "configured", "recorded", "hardware", "expected"),
    [
        ([], None, None, None, 8),  # new
        ([], 3, None, None, 3),
        ([], None, 2, {}, 2),  # killed: its config tells
        ([], None, None, {"threads": 2}, 2),  # of a version whose config did not
        ([], 4, 2, {"threads": 2}, 2),  # by a launcher or a sweep
        (["threads=4"], 4, 2, {"threads": 2}, 4),  # typed
        (["++threads=4"], 4, 2, {}, 4),
        ([], None, 8, {}, 8),
    ],
)
def test_a_run_goes_on_with_its_threads(
    typed, configured, recorded, hardware, expected, compose_config, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("stress_lab.cli.earlier.count_cores", lambda: 8)
    monkeypatch.setattr(train.sys, "argv", ["stress-lab", *typed])
    caplog.set_level("INFO")
    run = RunDir(tmp_path / "run")
    earlier = None if hardware is None else leave_run(run.path, "started", recorded, hardware).load_info()
    cfg = compose_config(f"threads={configured or 'null'}")
    assert choose_threads(cfg, run, earlier, ALONE) == expected
    now = configured or 8
    said = f"run resumes with threads={expected}, as it began, since results depend on it; a new run would use {now}"
    assert [record.getMessage() for record in caplog.records] == ([] if expected == now else [said])


def test_a_run_that_was_killed_is_taken_up_with_its_threads(compose_config, tmp_path, monkeypatch):
    """Its config holds the number before the first step, whatever becomes of the process."""
    seen = []

    def die(cfg, run, resumed, learnt, world):
        seen.append((resumed, cfg.threads, RunDir(run.path).config["threads"]))
        raise SystemExit(137)

    monkeypatch.setattr("stress_lab.training.fit.train_here", die)
    for n_cores, typed in ((8, []), (2, []), (2, ["threads=2"]), (4, [])):
        monkeypatch.setattr("stress_lab.cli.earlier.count_cores", lambda n_cores=n_cores: n_cores)
        monkeypatch.setattr(train.sys, "argv", ["stress-lab", *typed])
        with pytest.raises(SystemExit):
            train.train(compose_config(*typed), tmp_path / "run")
    assert seen == [(False, 8, 8), (True, 8, 8), (True, 2, 2), (True, 2, 2)]


def test_several_processes_of_a_run_share_the_cores(compose_config, tmp_path, monkeypatch):
    monkeypatch.setattr("stress_lab.cli.earlier.count_cores", lambda: 8)
    assert choose_threads(compose_config(), RunDir(tmp_path), None, World(2, 2, 0, "torchrun")) == 4


def test_memory_grows_with_batch_and_width(compose_config):
    """What a convolution keeps for its gradient is its input; the rest is counted by hand."""

    def kept(*overrides):
        cfg = compose_config("experiment=demo", *overrides)
        source = build.build_datamodule(cfg)
        source.setup("fit")
        classifier = build.build_classifier(cfg, source.spec)
        return rehearsal._count_kept(classifier.net, source), rehearsal.estimate_memory(classifier, source)

    narrow, wide = kept("model.width=8"), kept("model.width=16")
    assert 1.9 < wide[0] / narrow[0] < 2.1
    assert 3 * 2**29 < narrow[1] < wide[1] < kept("model.width=16", "optim.batch_size=512")[1]

    import torch

    source = build.build_datamodule(compose_config("experiment=demo"))
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.Conv2d(3, 5, 3), torch.nn.Flatten())
    assert rehearsal._count_kept(net, source) == 4 * (28 * 28 + 3 * 28 * 28)


def test_what_a_launch_decided_is_no_part_of_what_was_typed(tmp_path, monkeypatch):
    monkeypatch.setattr(resume.sys, "argv", ["stress-lab", "-m", "experiment=demo"])
    resume.claim_folder(tmp_path, compose_sweep("experiment=demo"))
    resume.release_folders()
    assert load_json(tmp_path / "launch.json")["overrides"] == ["experiment=demo"]
