#!/usr/bin/env python3
"""Where the time of a training step goes: the original scripts' way, ours before freed memory was kept, and after.

    python benchmarks/profile_step.py           # measure, each way in a process of its own; write JSON and picture

Operations of the forward and backward pass are grouped from torch's profiler over a few steps of ResNet-18 at width 64;
the optimiser's step and making the batch are timed apart.
Writes results/speed/profile_<device>.json and .png.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from machine import describe
from steps import ACCELERATOR, DEVICE, PilImages, time_warm
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from stress_lab.files import load_json, save_json
from stress_lab.models.recipe import make_optimizer
from stress_lab.models.resnet import ResNet18
from stress_lab.runtime import hardware
from stress_lab.transforms.normalize import Normalize
from stress_lab.transforms.pipeline import make_pipeline

STEPS = 5
WAYS = (
    ("scripts", 128),
    ("before", 128),
    ("kept", 128),
    ("after", 128),
    ("before", 512),
    ("kept", 512),
    ("after", 512),
)
TITLES = {
    "scripts": "original scripts: float32, PIL",
    "before": "bf16, channels-last, batch augmentation",
    "kept": "the same, freed memory kept",
    "after": "the same, and fused optimiser",
}
GROUPS = {  # part of an operation's name to what it is, the first that fits
    "conv": "convolutions",
    "batch_norm": "batch norm",
    "clamp_min": "ReLU and sums",
    "threshold": "ReLU and sums",
    "relu": "ReLU and sums",
    "aten::add_": "ReLU and sums",
    "copy_": "copies and casts",
}
PARTS = ("batch", "convolutions", "batch norm", "ReLU and sums", "copies and casts", "optimiser", "other")


def measure(way: str, batch: int) -> dict[str, float]:
    """Milliseconds an image by what they went into."""
    hardware.set_threads(None)
    if way in ("kept", "after"):
        hardware.keep_freed_memory()
    (learn, move), make_batch = _make_step(way), _make_batch(way, batch)
    images, labels = make_batch()
    for _ in range(2):
        learn(images, labels)
        move()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if DEVICE.type == "cuda" else [])]
    with profile(activities=activities) as profiler:
        learning = time_warm(lambda: learn(images, labels), STEPS)
    spent = dict.fromkeys(PARTS, 0.0)
    for event in profiler.key_averages():
        if event.device_type != DeviceType.CPU:
            continue  # a kernel; its operation includes its time
        microseconds = event.self_device_time_total if DEVICE.type == "cuda" else event.self_cpu_time_total
        name = next((group for part, group in GROUPS.items() if part in event.key), "other")
        if event.key == "aten::add":
            name = "ReLU and sums"
        spent[name] += microseconds / 1e6 / STEPS
    spent["other"] = learning - sum(seconds for part, seconds in spent.items() if part != "other")
    spent |= {"optimiser": time_warm(move, STEPS), "batch": time_warm(make_batch, STEPS)}
    return {part: 1e3 * seconds / batch for part, seconds in spent.items()}


def _make_step(way: str) -> tuple[Callable[[torch.Tensor, torch.Tensor], None], Callable[[], Any]]:
    """What finds the gradients of a batch, and what moves the weights by them."""
    net = ResNet18().to(DEVICE)
    if way != "scripts":
        net = net.to(memory_format=torch.channels_last)
    optim = {"optimizer": "SGD", "lr": 0.1, "args": {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}}
    optimizer = make_optimizer(optim, net, fused=way == "after")

    def learn(images: torch.Tensor, labels: torch.Tensor) -> None:
        optimizer.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=way != "scripts"):
            loss = F.cross_entropy(net(images), labels)
        loss.backward()

    return learn, optimizer.step


def _make_batch(way: str, batch: int) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
    labels = torch.arange(batch, device=DEVICE) % 10
    if way == "scripts":
        images = PilImages(batch)
        return lambda: (torch.stack([images[i][0] for i in range(batch)]).to(DEVICE), labels)
    pixels = torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8, device=DEVICE)
    augment = {"crop_padding": 4, "flip": True, "cutout": {"holes": 1, "length": 16}, "extra": []}
    pipeline = make_pipeline(augment, Normalize((0.5,) * 3, (0.25,) * 3), batch, (32, 32), 0)
    pipeline.set_epoch(0, DEVICE)
    index = torch.arange(batch, device=DEVICE)
    return lambda: (pipeline(pixels, index).contiguous(memory_format=torch.channels_last), labels)


def draw(record: dict[str, Any], path: Path) -> None:
    """One bar a way, its parts from left to right."""
    from stress_lab.figures.style import COLOURS, new_figure, save_figure

    figure = new_figure(9, 4.7)
    axes = figure.subplots()
    labels = []
    for place, row in enumerate(record["ways"]):
        left = 0.0
        for part, colour in zip(PARTS, (*COLOURS[:6], "#999999"), strict=True):
            axes.barh(place, row["ms"][part], left=left, color=colour, label=part if place == 0 else None)
            left += row["ms"][part]
        axes.text(left, place, f"  {left:.2f} ms", va="center", fontsize=9)
        labels.append(f"{TITLES[row['way']]}\nbatch {row['batch']}")
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(right=1.12 * max(sum(row["ms"].values()) for row in record["ways"]))
    axes.set_xlabel("milliseconds an image, one process; making the batch without workers")
    axes.set_title(f"A training step of ResNet-18 on 32×32 images, {record['on']['device']}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=len(PARTS), fontsize=8, frameon=False)
    save_figure(figure, path)


def main() -> None:
    """Measure each way in its own process, with memory untouched by the others."""
    path = Path(__file__).parent / "results" / "speed" / f"profile_{DEVICE.type}.json"
    ways = []
    for way, batch in WAYS:
        command = [sys.executable, __file__, way, str(batch)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        ways.append({"way": way, "batch": batch, "ms": json.loads(output.splitlines()[-1])})
        print(ways[-1], flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_json(path, {"on": {**describe(), "device": hardware.describe_device(ACCELERATOR)}, "ways": ways})
    draw(load_json(path), path.with_suffix(".png"))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
