"""What follows training, timed with a net that costs nothing."""

import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from random_images import RandomImages

from stress_lab.recording import record_evaluation, record_failures, record_gradcam, record_properties
from stress_lab.records import Predictions
from stress_lab.runs import RunDir


class Specks(torch.nn.Module):
    """A net that costs nothing, so that what remains is everything but the net."""

    def __init__(self) -> None:
        super().__init__()
        self.layer3 = torch.nn.Conv2d(3, 10, 4, stride=4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.layer3(images).mean(dim=(2, 3))


def _analyse(run: RunDir, source: RandomImages, predictions: Predictions) -> dict[str, float]:
    """Seconds of each stage of what follows training, with a net that costs nothing."""
    run.save_config({"seed": 0, "variant": "speed", "threshold": 0.7})
    run.save_spec(source.spec)
    net = Specks()
    stages: dict[str, Callable[[], Any]] = {
        "predictions": lambda: run.save_predictions("test", predictions),
        "evaluation": lambda: record_evaluation(run, "test", source),
        "properties": lambda: record_properties(run, source, "test"),
        "failures": lambda: record_failures(run, source, "test", 25),
        "gradcam": lambda: record_gradcam(run, net, net, source, "layer3", "test", None),
    }
    seconds = {}
    for name, stage in stages.items():
        began = time.perf_counter()
        stage()
        seconds[name] = time.perf_counter() - began
    return seconds


def measure_analysis(images: int = 10_000, failures: int = 400) -> dict[str, Any]:
    """What follows training, passes of the net aside: evaluation, failures, maps and pictures of all of them."""
    source = RandomImages(train=1000, test=images, val_size=0)
    label = source.images.splits["test"].labels
    said = np.where(np.arange(images) < failures, (label + 1) % 10, label)
    logits = 8 * np.eye(10)[said] + np.random.default_rng(0).normal(size=(images, 10))
    rounds = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            run = RunDir(folder)
            rounds.append(_analyse(run, source, Predictions(np.arange(images), label, logits.astype(np.float32))))
            pictures = len(list(run.gradcam.glob("failure_*.png")))
    seconds = {stage: [one[stage] for one in rounds] for stage in rounds[0]}
    return {"images": images, "failures": pictures, "seconds": seconds}
