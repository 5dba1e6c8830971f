#!/usr/bin/env python3
"""How long does comparing many models take, and how large is the page?

    python benchmarks/compare_many.py --models 30 --images 10000 --out benchmarks/results/prediction_files/many.json

Writes one file of logits for each of seeded synthetic models of four families, 88 to 95.5 % accurate, whose members
find the same images hard; then runs ``stress-lab compare`` on them in a process of its own. ``--keep FOLDER`` keeps the
files and the comparison.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab.stats.pairwise import consistency_matrix, count_only, mid_p_of_counts

CLASSES, FAMILIES = 10, ("resnet", "vgg", "vit", "dense")
BEST, WORST = 0.955, 0.88


def write_models(folder: Path, models: int, images: int, seed: int) -> list[Path]:
    """A file for each model: the margin of the true class is what all share, what a family shares, and its own."""
    rng = np.random.default_rng(seed)
    label, common = rng.integers(0, CLASSES, images), rng.normal(size=images)
    taken_for = (label + rng.integers(1, CLASSES, images)) % CLASSES
    shared = {family: rng.normal(size=images) for family in FAMILIES}
    paths = []
    for number, place in enumerate(rng.permutation(models)):
        family = FAMILIES[number % len(FAMILIES)]
        hard = 0.75 * common + 0.45 * shared[family] + 0.48 * rng.normal(size=images)
        accuracy = BEST - (BEST - WORST) * (place / max(1, models - 1)) ** 1.5
        margin = 3.3 * (np.quantile(hard, accuracy) - hard)
        logits = 0.6 * rng.normal(size=(images, CLASSES))
        other = np.where(rng.random(images) < 0.8, taken_for, (label + rng.integers(1, CLASSES, images)) % CLASSES)
        logits[np.arange(images), label], logits[np.arange(images), other] = 5, 5 - margin
        paths.append(folder / f"{family}_{number // len(FAMILIES)}.npz")
        np.savez(paths[-1], logits=logits.astype(np.float32), label=label, id=np.arange(images))
    return paths


def time_pairs(models: int, images: int) -> float:
    """Seconds for the counts, the p-values and κ of every pair."""
    right = np.random.default_rng(0).random((models, images)) < 0.94
    started = time.perf_counter()
    only, pairs = count_only(right), np.triu_indices(models, 1)
    mid_p_of_counts(only[pairs], only.T[pairs])
    consistency_matrix(right)
    return time.perf_counter() - started


def measure(folder: Path, models: int, images: int, seed: int) -> dict[str, Any]:
    """Seconds of the command, sizes of what it writes, and what it found."""
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    paths = write_models(files, models, images, seed)
    named, out = ",".join(map(str, paths)), folder / "comparison"
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "stress_lab", "compare", f"predictions=[{named}]", f"out={out}"],
        check=True,
        capture_output=True,
    )
    seconds = time.perf_counter() - started
    board = json.loads((out / "comparison.json").read_text(encoding="utf-8"))["leaderboard"]
    return {
        "models": models,
        "images": images,
        "pairs": len(board["pairs"]),
        "told_apart": board["apart"],
        "first_tie": board["ties"][0][1] + 1,
        "pair_seconds": round(time_pairs(models, images), 3),
        "command_seconds": round(seconds, 1),
        "page_mb": round((out / "report.html").stat().st_size / 1e6, 2),
        "record_mb": round((out / "comparison.json").stat().st_size / 1e6, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=30)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = measure(options.keep or Path(place), options.models, options.images, options.seed)
    found |= {
        "seed": options.seed,
        "date": str(datetime.datetime.now(datetime.UTC).date()),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
    }
    text = json.dumps(found, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    print(text)
