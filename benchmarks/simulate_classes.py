#!/usr/bin/env python3
"""How often does an interval of balanced accuracy cover the truth where classes are small? Three methods side by side.

    python benchmarks/simulate_classes.py --repeats 1000 --seed 0 --out benchmarks/results/simulation/classes.json

Each setting has the images of its classes and the true recall of each. A repeat draws the right answers (binomial) and
makes three 95 % intervals: Wilson's at the effective number of images, which the project uses, the percentile bootstrap
over images with the numbers of images of each class free to vary, and MOVER, which recovers variances from each
class's Wilson interval (Zou and Donner 2008). ``missed_low`` is how often the truth lies
below the interval, ``missed_high`` how often above.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from stress_lab.stats.class_rates import mean_rate_interval, wilson_bounds

LEVEL, RESAMPLES = 0.95, 500
SETTINGS = {
    "10 classes of 5, recall 0.9": ([5] * 10, [0.9] * 10),
    "10 classes of 10, recall 0.9": ([10] * 10, [0.9] * 10),
    "10 classes of 20, recall 0.9": ([20] * 10, [0.9] * 10),
    "10 classes of 20, recall 0.98": ([20] * 10, [0.98] * 10),
    "3 classes of 5, recall 0.5 to 0.9": ([5] * 3, [0.5, 0.7, 0.9]),
    "2 classes, 1000 and 10, recall 0.98 and 0.6": ([1000, 10], [0.98, 0.6]),
    "5 classes, 500 to 5, recall 0.95 to 0.4": ([500, 150, 50, 15, 5], [0.95, 0.9, 0.8, 0.6, 0.4]),
    "100 classes of 5 to 60, recall 0.3 to 0.95": (
        np.linspace(60, 5, 100).astype(int).tolist(),
        np.linspace(0.95, 0.3, 100).tolist(),
    ),
    "20 classes of 1, recall 0.8": ([1] * 20, [0.8] * 20),
    "10 classes of 200, recall 0.8": ([200] * 10, [0.8] * 10),
}


def bootstrap_interval(rng: np.random.Generator, right: Any, n: Any) -> tuple[float, float]:
    """Percentile interval over images drawn with replacement; a class without an image is left out of that draw."""
    counts = np.stack([right, n - right], axis=1).ravel().astype(float)
    drawn = rng.multinomial(int(n.sum()), counts / n.sum(), size=RESAMPLES).reshape(RESAMPLES, len(n), 2)
    images = drawn.sum(axis=2)
    recall = np.where(images > 0, drawn[:, :, 0] / np.maximum(images, 1), np.nan)
    low, high = np.quantile(np.nanmean(recall, axis=1), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def recovered_interval(right: Any, n: Any) -> tuple[float, float]:
    """The mean less, and plus, the root of the summed squared halves of the classes' Wilson intervals."""
    rate, (low, high) = right / n, wilson_bounds(right.astype(float), n, LEVEL)
    below, above = (float(np.sqrt(((rate - bound) ** 2).sum())) / len(n) for bound in (low, high))
    return float(rate.mean()) - below, float(rate.mean()) + above


def simulate(rng: np.random.Generator, n: Any, recall: Any, repeats: int) -> dict[str, Any]:
    """Coverage, misses on either side and mean width of each interval."""
    truth, found = float(recall.mean()), {}
    intervals: dict[str, list[tuple[float, float]]] = {"effective images": [], "bootstrap": [], "recovered": []}
    for _ in range(repeats):
        right = rng.binomial(n, recall)
        intervals["effective images"].append(mean_rate_interval(right.astype(float), n, LEVEL))
        intervals["bootstrap"].append(bootstrap_interval(rng, right, n))
        intervals["recovered"].append(recovered_interval(right, n))
    for method, bounds in intervals.items():
        low, high = np.array(bounds).T
        covered = int(((low <= truth) & (truth <= high)).sum())
        band = [float(edge) / repeats for edge in binom.interval(LEVEL, repeats, LEVEL)]
        found[method] = {
            "coverage": covered / repeats,
            "missed_low": float((truth < low).mean()),
            "missed_high": float((truth > high).mean()),
            "width": float((high - low).mean()),
            "verdict": "low" if covered / repeats < band[0] else "high" if covered / repeats > band[1] else "within",
        }
    return found


def main() -> None:
    """Simulate every setting and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    rng, found = np.random.default_rng(args.seed), {}
    for name, (n, recall) in SETTINGS.items():
        found[name] = simulate(rng, np.array(n), np.array(recall), args.repeats)
        line = ", ".join(
            f"{method} {one['coverage']:.3f} ({one['width']:.3f} wide)" for method, one in found[name].items()
        )
        print(f"{name}: {line}", file=sys.stderr)
    band = [float(edge) / args.repeats for edge in binom.interval(LEVEL, args.repeats, LEVEL)]
    record = {"date": str(date.today()), **vars(args), "out": None, "promised": LEVEL, "band": band, "settings": found}
    text = json.dumps(record, indent=1) + "\n"
    if args.out is None:
        print(text, end="")
    else:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
