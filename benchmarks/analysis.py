"""All that follows the last epoch of a run, timed with a net that costs nothing."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch import LightningModule, Trainer
from random_images import RandomImages

from stress_lab.callbacks.base import Recorder
from stress_lab.cli.train import train
from stress_lab.data.images import ImageData
from stress_lab.preflight.configs import config_folder
from stress_lab.runs.folder import RunDir
from stress_lab.sweeps.callback import compare_alone

CODE = 25  # grey values from one class to the next


class ToldImages(RandomImages):
    """Random images; the first pixel sets the answer of :class:`Reader`: the class, or a wrong one in ``failures``."""

    def __init__(self, failures: int = 400, **common: Any) -> None:
        super().__init__(**common)
        self.failures = failures

    def load(self) -> ImageData:
        """The first images of test are the failures."""
        data = super().load()
        for name, split in data.splits.items():
            said = split.labels.copy()
            if name == "test":
                said[: self.failures] = (said[: self.failures] + 1) % len(data.classes)
            split.images[:, 0, 0, 0] = CODE * said
        return data


class Reader(torch.nn.Module):
    """Predicts with confidence what the first pixel encodes, so that only the rest of the pipeline costs time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer3 = torch.nn.Conv2d(3, 10, 4, stride=4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, 10)`` of normalised random images, whose pixels have a mean of 0.5 and a deviation of 0.289."""
        told = (255 * (0.289 * images[:, 0, 0, 0] + 0.5) / CODE).round().long().clamp(0, 9)
        return 8 * torch.nn.functional.one_hot(told, 10) + self.layer3(images).mean(dim=(2, 3))


@contextmanager
def _timed_recorders(seconds: dict[str, float]) -> Iterator[None]:
    """Add the seconds of each recorder at the end of a run, what it gives to the loggers included."""
    original = Recorder.on_train_end

    def timed(self: Recorder, trainer: Trainer, pl_module: LightningModule) -> None:
        began = time.perf_counter()
        original(self, trainer, pl_module)
        seconds[type(self).__name__] = time.perf_counter() - began

    with patch.object(Recorder, "on_train_end", timed):
        yield


def analyse(images: int = 10_000, failures: int = 400) -> dict[str, Any]:
    """Every record, figure and page of a run with one step: seconds by what wrote it, and how many maps there are."""
    overrides = ["data._target_=analysis.ToldImages", f"+data.test={images}", f"+data.failures={failures}"]
    overrides += ["model=custom", "model._target_=analysis.Reader", "data.val_size=5000", "+data.train=10000"]
    overrides += ["trainer.max_epochs=1", "trainer.limit_train_batches=1", "optim.lr=1e-6"]
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, initialize_config_dir(str(config_folder()), version_base="1.3"):
        cfg = compose("train", overrides)
        run = Path(folder) / "run"
        with _timed_recorders(seconds):
            train(cfg, run)
        began = time.perf_counter()
        compare_alone(cfg, run)
        seconds["page"] = time.perf_counter() - began
        pictures = len(list(RunDir(run).gradcam.glob("failure_*.png")))
    return {"images": images, "failures": pictures, "seconds": seconds}


def measure_analysis(rounds: int = 3) -> dict[str, Any]:
    """The same, each time in a process of its own, which has yet to import what draws and compares."""
    found = []
    for _ in range(rounds):
        output = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True).stdout
        found.append(json.loads(output.splitlines()[-1]))
    seconds = {stage: [one["seconds"][stage] for one in found] for stage in found[0]["seconds"]}
    return {**found[0], "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(analyse()))
