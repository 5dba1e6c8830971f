#!/usr/bin/env python3
"""Coverage of the bootstrap intervals of calibration and selective prediction, against the truth of a large sample.

    python benchmarks/simulate_metrics.py --repeats 1000 --seed 0 --out benchmarks/results/simulation/metrics.json

A model of ten classes answers with known logits; labels are drawn from a flatter softmax, so that it is too sure of
itself. The truth is each metric on two million images; each repeat draws 2,000 images and asks whether the 95 %
percentile interval of the package holds it. ECE and its kin are biased upwards for few images; a bootstrap repeats that
instead of correcting it, and how far it spoils their coverage is what this measures.
"""

import argparse
import datetime
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from scipy.stats import binom

from stress_lab.calibration.scores import metric_contributions, score_predictions
from stress_lab.records import Predictions
from stress_lab.stats.resampling import bootstrap_means, percentile_interval

IMAGES, CLASSES, SHARPNESS, FLATTER = 2_000, 10, 3.0, 0.8
TRUTH = 2_000_000


def draw(rng: np.random.Generator, n: int) -> Predictions:
    """Logits, and labels that are less sure than the logits say."""
    logits = (SHARPNESS * rng.normal(size=(n, CLASSES))).astype(np.float32)
    gumbel = rng.gumbel(size=(n, CLASSES))
    return Predictions(np.arange(n), (FLATTER * logits + gumbel).argmax(axis=1), logits)


def simulate(repeats: int, seed: int, truth: int = TRUTH) -> dict[str, Any]:
    """Share of intervals that hold the truth, by metric."""
    rng = np.random.default_rng(seed)
    true = {
        name: float(values.mean()) for name, values in metric_contributions(score_predictions(draw(rng, truth))).items()
    }
    held = dict.fromkeys(true, 0)
    bias = dict.fromkeys(true, 0.0)
    for repeat in range(repeats):
        found = metric_contributions(score_predictions(draw(rng, IMAGES)))
        means = bootstrap_means(np.stack(list(found.values())), 500, seed=repeat)
        for (name, values), one in zip(found.items(), means, strict=True):
            low, high = percentile_interval(one, 0.95)
            held[name] += low <= true[name] <= high
            bias[name] += (float(values.mean()) - true[name]) / repeats
    band = [float(bound) / repeats for bound in binom.ppf([0.025, 0.975], repeats, 0.95)]
    return {
        name: {"truth": true[name], "bias": bias[name], "rate": held[name] / repeats, "promised": 0.95, "band": band}
        for name in true
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    started = time.perf_counter()
    record = {
        "repeats": options.repeats,
        "seed": options.seed,
        "images": IMAGES,
        "metrics": simulate(options.repeats, options.seed),
        "seconds": round(time.perf_counter() - started, 1),
        "date": str(datetime.datetime.now(datetime.UTC).date()),
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
    }
    text = json.dumps(record, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    print(text)
