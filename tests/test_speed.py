"""What makes training fast, and what says how fast it is; how fast that is stands in benchmarks/."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from stress_lab.callbacks.throughput import (
    ThroughputWriter,
    count_flops,
    measure_matmul,
    peak_memory,
    tf32_as_in_convolutions,
)
from stress_lab.figures.tiles import as_rgb, draw_contact_sheet, draw_gradcam_tile, fit, overlay
from stress_lab.files import load_json
from stress_lab.models.resnet import ResNet18
from stress_lab.records import Failure
from stress_lab.runs.folder import RunDir
from stress_lab.saliency.maps import Cam

FAULTS = """
import ctypes, resource, sys, torch
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages, of which a fault clears many
from stress_lab.runtime.hardware import keep_freed_memory
told = sys.argv[1] == "keep" and keep_freed_memory()
for _ in range(20):  # until small blocks no longer tear the kept ones
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(told, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone can be told")
def test_freed_memory_is_taken_again_without_page_faults():
    said = {}
    for way in ("keep", "leave"):
        out = subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, text=True, check=True).stdout
        said[way] = out.split()
    if said["keep"][0] != "True":
        assert platform.libc_ver()[0] != "glibc"
        pytest.skip("no glibc here")
    assert int(said["leave"][1]) > 10 * 16_000  # 64 MiB are 16,384 pages, each cleared anew
    assert int(said["keep"][1]) < 200


def test_flops_are_those_of_the_products():
    conv = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(8 * 16, 5, bias=False))
    assert count_flops(conv, torch.zeros(2, 3, 4, 4)) == 2 * 2 * (8 * 16 * 3 * 9 + 8 * 16 * 5)


def test_flops_of_resnet18_are_those_of_the_literature():
    """0.56 thousand million multiply-adds for a 32×32 image; counting leaves the net as it was."""
    net = ResNet18().train()
    before = [buffer.clone() for buffer in net.buffers()]
    assert count_flops(net, torch.zeros(1, 3, 32, 32)) / 2 == pytest.approx(0.556e9, rel=0.002)
    assert net.training
    assert all(torch.equal(a, b) for a, b in zip(before, net.buffers(), strict=True))


class FakeTrainer:
    """As much of a Trainer as the callback asks."""

    precision, world_size, num_training_batches, is_global_zero = "32-true", 1, 3, True
    current_epoch, global_step, loggers = 0, 3, ()

    class strategy:  # noqa: N801
        root_device = torch.device("cpu")


def train_by_the_clock(folder, monkeypatch, writer, rate):
    """An epoch of three batches of 4 images that come after 1 s of waiting and take 3 s; its records."""
    now = [0.0]
    monkeypatch.setattr("stress_lab.callbacks.throughput.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("stress_lab.callbacks.throughput.measure_matmul", lambda device, dtype: rate)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False))
    net.device = torch.device("cpu")
    trainer = FakeTrainer()
    trainer.default_root_dir = str(folder)
    writer.on_train_start(trainer, net)
    writer.on_train_epoch_start(trainer, net)
    for number in range(3):
        now[0] += 1
        batch = (torch.zeros(4, 3, 2, 2), torch.zeros(4), torch.zeros(4))
        writer.on_train_batch_start(trainer, net, batch, number)
        now[0] += 3
        writer.on_train_batch_end(trainer, net, {}, batch, number)
    return load_json(RunDir(folder).throughput_file)["epochs"]


def test_the_record_follows_a_clock_that_is_known(tmp_path, monkeypatch):
    """One image a second, a quarter of the time waiting, and three times a forward pass of products."""
    (row,) = train_by_the_clock(tmp_path, monkeypatch, ThroughputWriter(), rate=1000.0)
    assert row["seconds"] == 12
    assert row["images_per_s"] == 1
    assert row["waiting_share"] == 0.25
    assert row["peak_share"] == pytest.approx(3 * 2 * 12 * 5 * 12 / 12 / 1000)


@pytest.mark.parametrize(
    ("name", "later", "best"),
    [("A", 500.0, (1000.0, 1000.0)), ("A", 2000.0, (2000.0, 2000.0)), ("B", 2000.0, (1000.0, 2000.0))],
)
def test_epochs_on_one_device_have_one_peak(tmp_path, monkeypatch, name, later, best):
    """That of a run which goes on, on the same device or on another."""
    first, second = ThroughputWriter(), ThroughputWriter()
    monkeypatch.setattr("stress_lab.callbacks.throughput.name_device", lambda device: "A")
    train_by_the_clock(tmp_path, monkeypatch, first, rate=1000.0)
    monkeypatch.setattr("stress_lab.callbacks.throughput.name_device", lambda device: name)
    second.load_state_dict(first.state_dict())
    rows = train_by_the_clock(tmp_path, monkeypatch, second, rate=later)
    assert [row["peak_share"] for row in rows] == pytest.approx([3 * 2 * 12 * 5 * 12 / 12 / one for one in best])


def test_a_matrix_product_takes_time_and_memory_is_bytes():
    assert 1e8 < measure_matmul(torch.device("cpu"), torch.float32, repeats=1) < 1e15
    assert 5e7 < peak_memory(torch.device("cpu")) < 1e12


@pytest.mark.parametrize("allowed", [True, False])
def test_the_product_that_tells_a_gpus_rate_is_as_exact_as_its_convolutions(allowed, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    before = torch.backends.cuda.matmul.allow_tf32
    with tf32_as_in_convolutions(torch.device("cuda")):
        assert torch.backends.cuda.matmul.allow_tf32 == allowed
    assert torch.backends.cuda.matmul.allow_tf32 == before


def failure(name="automobile"):
    return Failure(1, 7, 1, 2, name, "airplane", 0.95, 0.01)


def test_no_heat_darkens_evenly_and_full_heat_is_the_top_of_the_scale():
    grey = as_rgb(np.full((1, 4, 4), 200, dtype=np.uint8))
    cold = np.asarray(overlay(grey, np.zeros((4, 4), dtype=np.float32)))
    hot = np.asarray(overlay(grey, np.ones((4, 4), dtype=np.float32)))
    assert (np.abs(cold - 0.7 * 200) <= 2).all()  # the scale begins at black
    assert hot[0, 0, 0] > hot[0, 0, 2]  # and ends at bright yellow
    assert hot.mean() > cold.mean()


@pytest.mark.parametrize(("shape", "side"), [((28, 28), 196), ((32, 32), 192), ((300, 200), 208)])
def test_pictures_keep_their_pixels_or_their_proportions(shape, side):
    picture = fit(as_rgb(np.zeros((3, *shape), dtype=np.uint8)), 208)
    assert max(picture.size) == side
    assert picture.height / picture.width == pytest.approx(shape[0] / shape[1], rel=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_and_sheets_hold_every_panel(channels):
    """The heat of a map with one warm cell is in the panel of its class, and nowhere in the others."""
    image = np.full((channels, 32, 32), 128, dtype=np.uint8)
    warm, empty = Cam(np.eye(8, dtype=np.float32)[None] * 5), Cam(np.full((1, 8, 8), -1, dtype=np.float32))
    tile = np.asarray(draw_gradcam_tile(failure("x" * 200), image, warm, empty, "layer3"))
    top = 12 + 22 + 2 * 19
    panels = [tile[top : top + 192, 12 + n * 204 : 12 + n * 204 + 192] for n in range(3)]
    colourful = [(panel.max(axis=2).astype(int) - panel.min(axis=2) > 40).sum() for panel in panels]
    assert colourful[0] == 0
    assert colourful[1] > 500
    assert colourful[2] == 0
    sheet = draw_contact_sheet(
        [failure()] * 3,
        np.stack([image] * 3),
        Cam(np.repeat(warm.raw, 3, 0)),
        Cam(np.repeat(empty.raw, 3, 0)),
        "l",
        "t",
    )
    assert sheet.height > 2 * 128
    assert sheet.width > 6 * 128
