"""Several processes for one run: the same numbers as one, one folder, and no process left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import multiprocessing, nn

from stress_lab.data.datamodules import FashionSampleDataModule
from stress_lab.errors import ConfigError
from stress_lab.models import resnet
from stress_lab.models.recipe import make_optimizer
from stress_lab.models.resnet import ResNet18
from stress_lab.models.shared_norm import make_norms_accurate, share_norms
from stress_lab.runs.checkpoints import find_checkpoint
from stress_lab.runs.find import load_runs
from stress_lab.runtime import process_group
from stress_lab.runtime.process_group import World, count_devices, outer_world, plan_world

AUGMENT = {"crop_padding": 2, "flip": True, "cutout": None, "extra": ()}
QUICK = ["experiment=demo", "trainer.max_epochs=2", "trainer.limit_train_batches=4", "model.width=4", "logger=csv"]
QUICK += ["callbacks.gradcam.limit=1", "callbacks.predictions.train_examples=50", "callbacks.board.embedded=0"]
QUICK += ["optim.lr=0.001", "+comparison.report=false", "trainer.precision=32-true", "threads=1"]
DDP = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]


def start(command, place, **options):
    """One of the commands in a process of its own, which leads a group."""
    env = {**os.environ, "GOMP_SPINCOUNT": "0", "PYTHONWARNINGS": "default", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=place,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )


def processes_in(place):
    """Every process that works in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve() == place.resolve():
                found.append(int(entry.name))
        except OSError:  # it has ended, or is not ours
            continue
    return found


def end_all(place):
    """Kill what still works in a folder."""
    for pid in processes_in(place):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for(condition, seconds):
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep whose first run has two processes and whose second has one."""
    place = tmp_path_factory.mktemp("ranks")
    process = start(["stress_lab", "-m", *QUICK, *DDP[1:], "trainer.devices=2,1", "augment=baseline"], place)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert wait_for(lambda: processes_in(place) == [], 30)
    (folder,) = (place / "multirun" / "demo").iterdir()
    return folder, output


@pytest.mark.processes
def test_two_processes_compute_what_one_does(swept):
    two, one = load_runs(swept[0])
    assert [run.load_info().hardware["devices"] for run in (two, one)] == [2, 1]
    assert two.load_fingerprint() == one.load_fingerprint()
    first, second = two.load_predictions("test"), one.load_predictions("test")
    np.testing.assert_array_equal(first.index, second.index)  # each image once
    assert len(first) == 2000
    scale = np.abs(second.logits).max()
    assert np.abs(first.logits - second.logits).max() < 0.02 * scale
    assert (first.pred == second.pred).mean() > 0.97
    for ours, theirs in zip(two.load_history(), one.load_history(), strict=True):
        for key in ("train/loss", "val/loss", "lr"):
            assert ours[key] == pytest.approx(theirs[key], rel=2e-3)


@pytest.mark.processes
def test_one_folder_and_no_strays(swept):
    folder, output = swept
    assert sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0].isdigit()) == [
        "0_baseline_seed42",
        "1_baseline_seed42",
    ]
    assert sorted(path.name for path in folder.parents[2].iterdir()) == ["multirun"]
    assert not list(folder.rglob(".ranks"))
    assert "Warning" not in output
    log = (folder / "0_baseline_seed42" / "train.log").read_text()
    assert log.count("epoch 1/2  train") == 1  # the first process speaks for all
    assert (folder / "comparison.json").is_file()


@pytest.mark.processes
def test_torchrun_gives_the_same_bits(swept, tmp_path):
    ours = load_runs(swept[0])[0]
    launcher = [
        "torch.distributed.run",
        "--standalone",
        "--local-addr=localhost",
        "--nproc-per-node=2",
        "-m",
        "stress_lab",
    ]
    process = start([*launcher, *QUICK, *DDP], tmp_path)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert wait_for(lambda: processes_in(tmp_path) == [], 30)
    (sweep,) = (tmp_path / "multirun" / "demo").iterdir()
    (theirs,) = load_runs(sweep)
    assert theirs.load_info().hardware["devices"] == 2
    assert theirs.predictions_file("test").read_bytes() == ours.predictions_file("test").read_bytes()


def compare_steps(rank, port, deviations):
    """Train a net on two processes and, in float64, on one; put down how far they are apart.

    Without kinks: where a unit's input is zero but for rounding, ReLU passes its gradient or does not.
    """
    resnet.F = SimpleNamespace(relu=F.silu)  # in this process
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    net, exact = ResNet18(1, 10, width=4), ResNet18(1, 10, width=4).double()
    exact.load_state_dict(net.state_dict())
    share_norms(net, "cpu")
    shared = nn.parallel.DistributedDataParallel(net)
    source = FashionSampleDataModule(val_size=1000, batch_size=50, augment=AUGMENT, seed=3)
    whole, part = source.train_dataloader(), source.train_dataloader()
    whole.index = part.index = whole.index[:125]  # the last batch is 13 and 12 images
    part.share = (rank, 2)
    optimizers = [torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9) for model in (net, exact)]
    for number, (batch, mine) in enumerate(zip(whole, part, strict=True)):
        for optimizer in optimizers:
            optimizer.zero_grad()
        (F.cross_entropy(shared(mine[0]), mine[1]) * part.weigh(number, len(mine[1]))).backward()
        F.cross_entropy(exact(batch[0].double()), batch[1]).backward()
        for optimizer in optimizers:
            optimizer.step()
    pairs = zip(net.state_dict().values(), exact.state_dict().values(), strict=True)
    deviations[rank] = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    torch.distributed.destroy_process_group()


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:.*strides.*:UserWarning", "ignore:.*fork.*:DeprecationWarning")
def test_steps_agree_with_float64_on_one_process():
    with multiprocessing.Manager() as manager:
        deviations = manager.dict()
        multiprocessing.start_processes(compare_steps, (find_port(), deviations), nprocs=2, start_method="fork")
        assert sorted(deviations) == [0, 1]
        assert max(deviations.values()) < 1e-6


def find_port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


RECIPE = {"optimizer": "SGD", "lr": 0.1, "args": {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}}


def take_recipe_step(net, images, labels, weight=1.0):
    """Move a net by one step of the recipe; without kinks, since rounding decides whether ReLU passes a gradient."""
    resnet.F = SimpleNamespace(relu=F.silu)
    try:
        (F.cross_entropy(net(images.contiguous(memory_format=torch.channels_last)), labels) * weight).backward()
    finally:
        resnet.F = F
    make_optimizer(RECIPE, net).step()


def share_step(rank, port, net, images, labels, path):
    """One of two processes that take 7 and 6 of 13 images."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    share_norms(net, "cpu")
    mine = labels[rank::2]
    shared = nn.parallel.DistributedDataParallel(net)
    take_recipe_step(shared, images[rank::2], mine, 2 * len(mine) / len(labels))
    if rank == 0:
        torch.save(net.state_dict(), path)
    torch.distributed.destroy_process_group()


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:.*strides.*:UserWarning", "ignore:.*fork.*:DeprecationWarning")
def test_a_step_of_the_recipe_is_the_same_on_one_process_and_two(tmp_path, compose_config):
    recipe = compose_config("optim=sgd_multistep").optim
    assert {key: recipe[key] for key in RECIPE} == RECIPE
    source = FashionSampleDataModule(val_size=1000, batch_size=13, augment=AUGMENT, seed=3)
    images, labels, _ = next(iter(source.train_dataloader()))
    torch.manual_seed(0)
    net = ResNet18(1, 10, width=64).to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    arguments = (find_port(), net, images, labels, tmp_path / "two.pt")
    multiprocessing.start_processes(share_step, arguments, nprocs=2, start_method="fork")
    make_norms_accurate(net)
    take_recipe_step(net, images, labels)
    for name, two in torch.load(tmp_path / "two.pt").items():
        moved = (net.state_dict()[name].double() - before[name]).abs().max()
        assert (two.double() - net.state_dict()[name]).abs().max() <= 1e-4 * moved, name


@pytest.mark.processes
@pytest.mark.parametrize(
    ("rank", "number", "said"), [(1, signal.SIGKILL, "was killed by SIGKILL"), (0, signal.SIGTERM, "was interrupted")]
)
def test_no_process_outlives_a_lost_one(tmp_path, rank, number, said):
    process = start(["stress_lab", *QUICK, *DDP, "trainer.max_epochs=500"], tmp_path)
    try:
        checkpoints = lambda: list(tmp_path.glob("multirun/*/*/*/checkpoints/last.ckpt"))  # noqa: E731
        assert wait_for(checkpoints, 300), process.communicate(timeout=1)
        ranks = sorted(pid for pid in processes_in(tmp_path) if "stress_lab.training.distributed" in command_of(pid))
        assert len(ranks) == 2
        os.kill(ranks[rank], number)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 2
        assert f"\nerror: process {rank} of 2 {said}: run the same command to resume" in output
        assert "Traceback" not in output
        assert wait_for(lambda: processes_in(tmp_path) == [], 30)
        (history,) = tmp_path.glob("multirun/*/*/*/history.json")
        (run,) = load_runs(history.parents[1])
        assert run.load_info().state == "failed"
        assert find_checkpoint(run).epoch >= 1
    finally:
        end_all(tmp_path)


@pytest.mark.processes
def test_where_one_process_cannot_save_none_waits_for_it(tmp_path):
    (tmp_path / "run" / "checkpoints").parent.mkdir()
    (tmp_path / "run" / "checkpoints").write_text("no folder")
    process = start(["stress_lab", *QUICK, *DDP, "hydra.run.dir=run"], tmp_path)
    try:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 2, output
        assert re.search(r"\nerror: \S+/run/checkpoints: File exists; choose another folder", output)
        assert "Traceback" not in output
        assert wait_for(lambda: processes_in(tmp_path) == [], 30)
    finally:
        end_all(tmp_path)


def command_of(pid):
    """How a process was started."""
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read()
    except OSError:
        return ""


TRAINER = {"devices": 2, "num_nodes": 1, "strategy": "ddp", "accelerator": "cpu"}


def test_who_starts_the_processes(monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert plan_world(OmegaConf.create({**TRAINER, "devices": 1})) == process_group.ALONE
    assert plan_world(OmegaConf.create(TRAINER)) == World(2, 2, 0, "stress-lab")
    with pytest.raises(ConfigError, match="num_nodes=2 needs srun or torchrun"):
        plan_world(OmegaConf.create({**TRAINER, "num_nodes": 2}))
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "3"}
    with monkeypatch.context() as within:
        for name, value in torchrun.items():
            within.setenv(name, value)
        assert plan_world(OmegaConf.create({**TRAINER, "num_nodes": 2})) == World(4, 2, 3, "torchrun")
        with pytest.raises(ConfigError, match=r"set trainer=ddp trainer\.devices=2 trainer\.num_nodes=2"):
            plan_world(OmegaConf.create(TRAINER))
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "2")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert outer_world() == World(4, 2, 1, "slurm")
    assert process_group.is_follower()


def test_batches_that_cannot_be_shared():
    World(2, 2).check_batches(125, 50)
    with pytest.raises(ConfigError, match="a batch of 1 of the 101 training images, too few for 2 devices"):
        World(2, 2).check_batches(101, 50)
    with pytest.raises(ConfigError, match="batch_size=1 leaves"):
        World(2, 2).check_batches(100, 1)
    World(2, 2).check_batches(100, 50, 2)
    with pytest.raises(ConfigError, match=r"data\.val_size=2 is too few for 4 devices"):
        World(4, 4).check_batches(100, 50, 2)


def test_missing_devices(monkeypatch):
    from stress_lab.runtime import hardware

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"trainer\.devices=2, but this machine has 1 of kind cuda"):
        hardware.count_devices("gpu", 2)
    with pytest.raises(ConfigError, match=r"trainer\.devices=\[7\], but this machine has 1 of kind cuda"):
        count_devices(OmegaConf.create({"accelerator": "gpu", "devices": [7]}))
    assert hardware.count_devices("gpu", [0]) == 1
    assert hardware.count_devices("gpu", "auto") == 1
    assert hardware.count_devices("cpu", 3) == 3
