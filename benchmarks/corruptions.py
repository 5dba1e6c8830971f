#!/usr/bin/env python3
"""Speed of the corruptions on one core, and their mean effect on pixels, beside the package imagecorruptions-imaug.

    uv pip install --no-deps imagecorruptions-imaug && uv pip install numba scikit-image
    GOMP_SPINCOUNT=0 OMP_NUM_THREADS=1 python benchmarks/corruptions.py [--rounds 3]

Both get the same crops of scikit-image's photographs, at 32 and 224 pixels, one thread, and ImageNet-C's constants, the
only ones that the package has, unscaled. It takes one image a call; ours takes a batch. Rounds alternate between the
two; a cell's figure is the median of its rounds' ratios. Pixels: mean and standard deviation over all corrupted images,
each a draw of its own. Writes results/corruptions/corruptions.json.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imagecorruptions
import numpy as np
import skimage.data
import torch
from machine import describe
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from stress_lab.files import save_json
from stress_lab.stress.constants import TABLES
from stress_lab.stress.corruptions import apply

OUT = Path(__file__).parent / "results" / "corruptions" / "corruptions.json"
COUNTS = {32: (16, 256), 224: (2, 6)}  # images a round: of the package, of ours
PIXELS = {32: 96, 224: 6}  # images whose pixels are compared
SEVERITIES = (1, 3, 5)
Image = NDArray[np.uint8]


def cut(size: int, count: int) -> Image:
    """(count, size, size, 3) crops of photographs, which are halved first for small ones."""
    rng = np.random.default_rng(0)
    photos = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee()]
    photos = [
        photo if size > 100 else cv2.resize(photo, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        for photo in photos
    ]
    crops = []
    for number in range(count):
        photo = photos[number % len(photos)]
        top, left = (int(rng.integers(0, side - size + 1)) for side in photo.shape[:2])
        crops.append(photo[top : top + size, left : left + size])
    return np.stack(crops)


def constants_of(corruption: str, severity: int, size: int) -> tuple[float, ...]:
    """ImageNet-C's constants in pixels of the image, as the package has them at any size."""
    constants = TABLES[corruption].photo[severity - 1]
    if corruption == "elastic_transform":  # shares of 224 pixels here, shares of the image there
        return tuple(value * 224 / 244 for value in constants)
    return constants


def make_ours(corruption: str, severity: int, crops: Image) -> Callable[[], Image]:
    """A call that corrupts all crops at once."""
    pixels = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
    constants, index = constants_of(corruption, severity, crops.shape[1]), np.arange(len(crops))
    return lambda: apply(pixels, corruption, constants, severity, 0, index).permute(0, 2, 3, 1).numpy()


def make_theirs(corruption: str, severity: int, crops: Image) -> Callable[[], Image]:
    """A call that corrupts the crops one by one."""
    return lambda: np.stack([imagecorruptions.corrupt(crop, severity, corruption) for crop in crops])


def seconds(call: Callable[[], Any]) -> float:
    """Seconds of one call, of this thread's processor time."""
    start = time.thread_time()
    call()
    return time.thread_time() - start


def measure(corruption: str, severity: int, size: int, rounds: int) -> dict[str, Any]:
    """Both speeds of a cell, and both effects on pixels."""
    few, many = COUNTS[size]
    ours, theirs = (make(corruption, severity, cut(size, n)) for make, n in ((make_ours, many), (make_theirs, few)))
    ours(), theirs()
    timed = [(seconds(ours) / many, seconds(theirs) / few) for _ in range(rounds)]
    pixels = {
        name: make(corruption, severity, cut(size, PIXELS[size]))().astype(float)
        for name, make in (("ours", make_ours), ("theirs", make_theirs))
    }
    return {
        "corruption": corruption,
        "severity": severity,
        "size": size,
        "ours_us": 1e6 * statistics.median(one for one, _ in timed),
        "theirs_us": 1e6 * statistics.median(two for _, two in timed),
        "times_faster": statistics.median(two / one for one, two in timed),
        **{f"mean_{name}": float(values.mean()) for name, values in pixels.items()},
        **{f"spread_{name}": float(values.std()) for name, values in pixels.items()},
    }


def summarize(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each size: how many times faster each corruption is (median over severities), and the median over the 19."""
    summary: dict[str, Any] = {}
    for size in COUNTS:
        ratios = {
            name: statistics.median(
                cell["times_faster"] for cell in cells if (cell["corruption"], cell["size"]) == (name, size)
            )
            for name in TABLES
        }
        slowest = min(ratios, key=ratios.__getitem__)
        summary[str(size)] = {
            "median": statistics.median(ratios.values()),
            "least": ratios[slowest],
            "least_of": slowest,
            "times_faster": ratios,
        }
    return summary


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(TABLES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    np.random.seed(0)  # noqa: NPY002 (the package draws from the global generator)
    cells = []
    with threadpool_limits(1):
        for size in COUNTS:
            for corruption in options.only:
                cells += [measure(corruption, severity, size, options.rounds) for severity in SEVERITIES]
                for cell in cells[-len(SEVERITIES) :]:
                    print(
                        f"{size:3} {corruption:18} {cell['severity']}  {cell['ours_us']:9.1f} µs  "
                        f"{cell['theirs_us']:10.1f} µs  {cell['times_faster']:7.1f}×  mean {cell['mean_ours']:6.1f} "
                        f"{cell['mean_theirs']:6.1f}  spread {cell['spread_ours']:5.1f} {cell['spread_theirs']:5.1f}",
                        flush=True,
                    )
    if len(options.only) < len(TABLES):
        return
    summary = summarize(cells)
    machine = describe("imagecorruptions-imaug", "scikit-image", "numba", "opencv-python-headless")
    save_json(OUT, {**machine, "rounds": options.rounds, "threads": 1, "summary": summary, "cells": cells})
    for size, one in summary.items():
        least = f"least {one['least']:.1f} ({one['least_of']})"
        print(f"{size} pixels: {one['median']:.1f} times faster in the median, {least}")


if __name__ == "__main__":
    main()
