#!/usr/bin/env python3
"""What the cache's check costs: seconds to map and hash CIFAR-10's images, and to ask 60,000 files for their marks.

    python benchmarks/cache_check.py

The arrays have CIFAR-10's shapes and random pixels, which cost the same. The files are empty ones. Medians of repeats,
with the files in the system's memory. Writes results/cache/cache_check.json.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from machine import describe

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources.cache import _digest_sources, _load, cached

RESULT = Path(__file__).parent / "results" / "cache" / "cache_check.json"
SIZES = {"train": 50_000, "test": 10_000}
REPEATS = 7


def measure(step: Callable[[], object]) -> float:
    """Median seconds."""
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return round(median(seconds), 4)


def main() -> None:
    """Measure and write."""
    draw = np.random.default_rng(0)
    splits = {
        name: ImageSplit(draw.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), np.arange(n) % 10)
        for name, n in SIZES.items()
    }
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["STRESS_LAB_CACHE"] = str(place / "cache")
        (place / "source").write_text("x")
        cached("cifar", [place / "source"], "", lambda _: ImageData(splits, tuple("abcdefghij"), "here", "order"))
        (entry,) = (place / "cache").iterdir()
        key = json.loads((entry / "digests.json").read_text())["made_from"]
        whole = measure(lambda: _load(entry, key))
        hashing = measure(lambda: [ImageSplit(one.images, one.labels).fingerprint for one in splits.values()])
        (place / "files").mkdir()
        for number in range(sum(SIZES.values())):
            (place / "files" / f"{number:05d}.png").touch()
        marks = measure(lambda: _digest_sources(list(os.scandir(place / "files")), ""))
        plain = measure(lambda: [file.stat() for file in os.scandir(place / "files")])
    told = {
        **describe(),
        "seconds_to_map_and_check": whole,
        "of_which_hashing_that_every_run_does": hashing,
        "seconds_for_the_marks_of_60000_files": marks,
        "of_which_asking_the_system": plain,
    }
    print(json.dumps(told, indent=2))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
