#!/usr/bin/env python3
"""Do tests and intervals keep their promises where images come in clusters, such as several of one patient?

    python benchmarks/simulate_clusters.py --repeats 1000 --seed 0

Each repeat draws clusters of 2 to 10 or 2 to 50 images. Two equal models find each cluster easy or hard on their own
(a shared normal shift with 50 % of the variance) and err on some 20 % of the images. A row compares what ignores the
clusters with what draws or swaps whole ones: A/A rejections at 5 %, and coverage of the 95 % interval of one
model's accuracy. Writes results/simulation/clusters.json.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm
from threadpoolctl import threadpool_limits

from stress_lab.stats.clusters import (
    clustered_mcnemar,
    clustered_wilson_interval,
    describe_clusters,
    paired_permutation_p,
)
from stress_lab.stats.paired import mcnemar_mid_p, tabulate
from stress_lab.stats.rates import wilson_interval
from stress_lab.stats.resampling import bootstrap_means, percentile_interval

OUT = Path(__file__).parent / "results" / "simulation" / "clusters.json"
CLUSTERS, LARGEST = (8, 20, 50, 200), (10, 50)
ACCURACY, SHARED, RESAMPLES = 0.8, 0.5, 500


def draw(rng: np.random.Generator, count: int, largest: int) -> tuple[Any, Any, Any]:
    """Right answers (N,) of two equal models, and which cluster each image is of."""
    clusters = np.repeat(np.arange(count), rng.integers(2, largest + 1, count))
    right = []
    for _ in range(2):
        shift = np.sqrt(SHARED) * rng.normal(size=count)[clusters]
        own = np.sqrt(1 - SHARED) * rng.normal(size=len(clusters))
        right.append(shift + own < norm.ppf(ACCURACY))
    return right[0], right[1], clusters


def try_once(rng: np.random.Generator, count: int, largest: int) -> dict[str, float]:
    """1 or 0: what was rejected and what was covered."""
    a, b, clusters = draw(rng, count, largest)
    means = bootstrap_means(a[None].astype(np.float64), RESAMPLES, int(rng.integers(1 << 30)), clusters)
    intervals = {
        "Wilson, images": wilson_interval(int(a.sum()), len(a)),
        "Wilson, clusters": clustered_wilson_interval(a, clusters),
        "bootstrap of clusters": percentile_interval(means[0]),
    }
    return {
        "rejected by McNemar mid-p, images": mcnemar_mid_p(tabulate(a, b)) < 0.05,
        "rejected by swapping clusters": paired_permutation_p(b.astype(int) - a, clusters) < 0.05,
        "rejected by Durkalski": clustered_mcnemar(a, b, clusters)["p"] < 0.05,
        **{f"covered by {name}": low <= ACCURACY <= high for name, (low, high) in intervals.items()},
        "design effect": describe_clusters(a, clusters).design_effect,
    }


def summarize(count: int, largest: int, repeats: int, seed: int) -> dict[str, Any]:
    """A row: the share of repeats, with its interval, for each method."""
    rng = np.random.default_rng([seed, count, largest])
    tried = [try_once(rng, count, largest) for _ in range(repeats)]
    row: dict[str, Any] = {"clusters": count, "images_a_cluster": [2, largest], "repeats": repeats}
    row["mean_design_effect"] = round(float(np.mean([one.pop("design effect") for one in tried])), 2)
    for name in tried[0]:
        hits = int(sum(one[name] for one in tried))
        interval = binomtest(hits, repeats).proportion_ci(method="wilson")
        row[name] = {
            "rate": hits / repeats,
            "interval": [round(float(interval.low), 4), round(float(interval.high), 4)],
        }
    return row


def main() -> None:
    """Simulate every setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    with threadpool_limits(1):
        rows = [summarize(g, most, arguments.repeats, arguments.seed) for most in LARGEST for g in CLUSTERS]
    record = {"date": date.today().isoformat(), "numpy": np.__version__, "seed": arguments.seed, "rows": rows}
    arguments.out.write_text(json.dumps(record, indent=1) + "\n")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
