#!/usr/bin/env python3
"""How fast training and analysis are, against named alternatives that take turns with them in one process tree.

    python benchmarks/speed.py [PART …]     # loop logging users compile gradcam augmentation analysis growth start
    python benchmarks/speed_rows.py         # the table again

Each figure is a median over rounds; its spread is the lowest and the highest round. Writes results/speed/<device>.json,
where parts that were not asked for keep what they held.
"""

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from analysis import measure_analysis
from commands import NO_RECORDS, STARTS, SWEEPS
from hydra import compose, initialize_config_dir
from machine import describe
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from speed_rows import print_rows
from steps import (
    ACCELERATOR,
    BATCH,
    DEVICE,
    MEAN,
    STD,
    BareBetween,
    EpochStarts,
    make_bare_step,
    plain_lightning,
    scripts_way,
    time_steps,
    time_warm,
)
from torchvision.transforms import v2

from stress_lab.files import load_json, save_json
from stress_lab.inference import full_precision
from stress_lab.models.resnet import ResNet18
from stress_lab.preflight.configs import config_folder
from stress_lab.runs.folder import RunDir
from stress_lab.runtime import hardware
from stress_lab.saliency.gradcam import find_layer, grad_cam
from stress_lab.training.fit import train_here
from stress_lab.transforms.normalize import Normalize
from stress_lab.transforms.pipeline import make_pipeline

STEPS = {"cpu": {64: 8, 16: 40}, "cuda": {64: 150, 16: 150}}  # of a round, by width
LARGE = {"cpu": {}, "cuda": {64: 50, 16: 50}}  # the same with batches of 512
TURN = {"cpu": 1, "cuda": 50}  # of them, before the alternative has as many
Timed = Callable[[], float]


def train(width: int, images: int, *overrides: str) -> dict[str, Any]:
    """One run of the product; its ``throughput.json``, its second epoch is warm."""
    with tempfile.TemporaryDirectory() as folder, initialize_config_dir(str(config_folder()), version_base="1.3"):
        cfg = compose(
            "train",
            [
                "data._target_=random_images.RandomImages",
                f"+data.train={images}",
                "data.val_size=0",
                "model=resnet18",
                f"model.width={width}",
                "augment=cutout",
                "trainer.max_epochs=2",
                "trainer.deterministic=false",
                *NO_RECORDS,
                *overrides,
            ],
        )
        run = RunDir(Path(folder) / "run")
        run.save_config({"seed": cfg.seed, "variant": "speed"})
        train_here(cfg, run, False, {})
        record: dict[str, Any] = load_json(run.throughput_file)
        return record


def ours(width: int, steps: int) -> float:
    """Seconds a step of the product: Trainer, data, augmentation, logging, callbacks."""
    return float(train(width, steps * BATCH, "optim.batch_size=128")["epochs"][1]["seconds"]) / steps


def take_turns(rounds: int, **timed: Timed) -> dict[str, list[float]]:
    """Each of several timings once a round, so that slow minutes of the machine hit all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds):
        for name, one in timed.items():
            seconds[name].append(one())
            print(f"round {number + 1} of {rounds}, {name}: {seconds[name][-1]:.4g} s", file=sys.stderr, flush=True)
    return seconds


def measure_loop(rounds: int = 12) -> dict[str, Any]:
    """Our whole training step against the bare one, alternating within one epoch."""
    found, turn = {}, TURN[DEVICE.type]
    cases = [(*case, BATCH, "") for case in STEPS[DEVICE.type].items()]
    cases += [(*case, 512, ", batch 512") for case in LARGE[DEVICE.type].items()]
    for width, steps, batch, name in cases:
        train(
            width,
            (turn + (rounds + 1) * steps) * batch,
            f"optim.batch_size={batch}",
            "trainer.max_epochs=1",
            "+callbacks.bare._target_=steps.BareBetween",
            f"+callbacks.bare.width={width}",
            f"+callbacks.bare.turn={turn}",
            f"+callbacks.bare.batch={batch}",
        )
        found[f"width {width}{name}"] = {
            "ours": _means(BareBetween.whole, steps // turn)[1:],  # the first round warms up
            "bare": _means(BareBetween.bare, steps // turn)[1:],
        }
    return found


def _means(values: list[float], size: int) -> list[float]:
    """Of each ``size`` in a row."""
    return [statistics.fmean(values[start : start + size]) for start in range(0, len(values), size)]


def measure_logging(epochs: int = 8) -> dict[str, Any]:
    """The work between the steps of two epochs: loggers, history, checkpoint; and a step of the same run."""
    width, steps = next(iter(STEPS[DEVICE.type].items()))
    record = train(
        width,
        steps * BATCH,
        "optim.batch_size=128",
        f"trainer.max_epochs={epochs + 1}",
        "+callbacks.starts._target_=steps.EpochStarts",
    )
    whole = [epoch["seconds"] for epoch in record["epochs"][:epochs]]
    between = [later - earlier - took for (earlier, later), took in zip(pairwise(EpochStarts.at), whole, strict=True)]
    return {f"width {width}": {"between": between[1:], "step": [seconds / steps for seconds in whole[1:]]}}


def alone(name: str, width: int, steps: int) -> float:
    """An alternative in its own process, with default memory handling."""
    command = [sys.executable, __file__, "--alone", name, str(width), str(steps)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.split()[-1])


def measure_users(rounds: int = 5) -> dict[str, Any]:
    """Our training step against what users have."""
    width, steps = next(iter(STEPS[DEVICE.type].items()))
    return {
        f"width {width}": take_turns(
            rounds,
            ours=lambda: ours(width, steps),
            scripts_way=lambda: alone("scripts_way", width, steps),
            plain_lightning=lambda: alone("plain_lightning", width, steps),
        )
    }


def measure_compile(rounds: int = 8) -> dict[str, Any]:
    """The bare step as torch runs it and the compiled one, alternating; first steps, which compile, do not count."""
    found, turn = {}, TURN[DEVICE.type]
    for width, steps in STEPS[DEVICE.type].items():
        ways = {"ours": make_bare_step(width), "compiled": make_bare_step(width, compiled=True)}
        took: dict[str, list[float]] = {name: [time_steps(step, turn)] for name, step in ways.items()}
        for _ in range(rounds * steps // turn):
            for name, step in ways.items():
                took[name].append(time_warm(step, turn))
        found[f"width {width}"] = {name: _means(values[1:], steps // turn) for name, values in took.items()}
    return found


def measure_gradcam(images: int = 64) -> dict[str, Any]:
    """Grad-CAM in batches against the package called image by image, as its tutorial does."""
    net = ResNet18().to(DEVICE).eval()
    pixels, targets = torch.randn(images, 3, 32, 32), np.arange(images) % 10
    layer = find_layer(net, "layer3")

    def one_by_one() -> float:
        began = time.perf_counter()
        with full_precision(DEVICE), GradCAM(model=net, target_layers=[layer]) as cam:
            for image, target in zip(pixels, targets.tolist(), strict=True):
                cam(image[None].to(DEVICE), [ClassifierOutputTarget(target)])
        return (time.perf_counter() - began) / images

    def batched() -> float:
        began = time.perf_counter()
        grad_cam(net, layer, pixels, targets)
        return (time.perf_counter() - began) / images

    for way in (batched, one_by_one):
        way()  # the first of each chooses kernels
    return {"a map": take_turns(5, ours=batched, one_by_one=one_by_one)}


def measure_augmentation(images: int = 512) -> dict[str, Any]:
    """Crop, flip and normalise a batch, against torchvision's v2 transforms image by image on the same pixels."""
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    augment = {"crop_padding": 4, "flip": True, "cutout": None, "extra": []}
    pipeline, index = make_pipeline(augment, Normalize(MEAN, STD), images, (32, 32), 0), torch.arange(images)
    theirs = v2.Compose(
        [
            v2.RandomCrop(32, 4),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    on_device, where = pixels.to(DEVICE), index.to(DEVICE)

    def augment_batch() -> None:
        pipeline.set_epoch(0, DEVICE)  # what is drawn counts, too
        pipeline(on_device, where)

    def batched() -> float:
        return time_steps(augment_batch, 20) / images

    def one_by_one() -> float:
        return time_steps(lambda: torch.stack([theirs(image) for image in pixels]).to(DEVICE), 3) / images

    return {"an image": take_turns(5, ours=batched, v2_one_by_one=one_by_one)}


def measure_growth() -> dict[str, Any]:
    """Seconds of an epoch for once, twice, four and eight times the images, and of sweeps of two and four runs."""
    base = 10 * BATCH
    seconds = take_turns(
        3, **{str(k * base): lambda k=k: train(16, k * base)["epochs"][1]["seconds"] for k in (1, 2, 4, 8)}
    )
    return {"images": seconds, "sweep": take_turns(3, **SWEEPS)}


PARTS = {
    "loop": measure_loop,
    "logging": measure_logging,
    "users": measure_users,
    "compile": measure_compile,
    "gradcam": measure_gradcam,
    "augmentation": measure_augmentation,
    "analysis": measure_analysis,
    "growth": measure_growth,
    "start": lambda: {"seconds": take_turns(5, **STARTS)},
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's and our own lines stay out of the table."""
    import logging
    import warnings

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("stress_lab").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main(parts: list[str], path: Path | None = None) -> None:
    """Measure, keep (in a file of its own if ``path`` is given), print."""
    unknown = set(parts) - PARTS.keys()
    if unknown:
        sys.exit(f"{', '.join(sorted(unknown))}: no such part; use {', '.join(PARTS)}")
    hardware.set_threads(None)
    hardware.keep_freed_memory()
    path = path or Path(__file__).parent / "results" / "speed" / f"{DEVICE.type}.json"
    record = load_json(path) if path.is_file() else {}
    on = {
        **describe(),  # before the record itself changes the checkout
        "device": hardware.describe_device(ACCELERATOR),
    }
    with _quiet():
        for part in parts or PARTS:
            record[part] = {"on": {**on, "date": describe()["date"]}, **PARTS[part]()}
            path.parent.mkdir(parents=True, exist_ok=True)
            save_json(path, record)
    print_rows(record)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        hardware.set_threads(None)
        way = {"scripts_way": scripts_way, "plain_lightning": plain_lightning}[sys.argv[2]]
        print(way(int(sys.argv[3]), int(sys.argv[4])))
    else:
        main(sys.argv[1:])
