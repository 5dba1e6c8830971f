#!/usr/bin/env python3
"""Near-duplicates in a data set of class folders: how many, how long it takes, and their pictures.

    python benchmarks/near_duplicates.py DIR --out benchmarks/results/labels/near_duplicates.json --pictures FOLDER

DIR has train/CLASS/*.png and test/CLASS/*.png. Reading the files is not part of the time. CPU seconds are of all
threads, so they say more than wall seconds on a machine that does other things too.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from numpy.typing import NDArray
from PIL import Image

from stress_lab.labels.near_duplicates import NearDuplicates, find_near_duplicates
from stress_lab.publishing.near_duplicates import draw_pairs

LEVELS = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
Array = NDArray[Any]


def load(folder: Path) -> tuple[Array, Array]:
    """Images (N, H, W, C) and labels (N,) of one split, in the order of classes and file names."""
    files = [(place, file) for place, one in enumerate(sorted(folder.iterdir())) for file in sorted(one.iterdir())]
    images = []
    for _, file in files:
        with Image.open(file) as image:
            images.append(np.asarray(image.convert("RGB")))
    return np.stack(images), np.array([place for place, _ in files])


def measure(
    images: Array, label: Array, others: Array | None, other_label: Array
) -> tuple[dict[str, Any], NearDuplicates]:
    """Counts by similarity, and seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = find_near_duplicates(images, others)
    record: dict[str, Any] = {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "n": len(images),
        "near_duplicates": int(found.is_duplicate.sum()),
        "mirrored": int((found.is_duplicate & found.mirrored).sum()),
        "other_label": int((found.is_duplicate & (other_label[found.nearest] != label)).sum()),
        "at_least": {str(level): int((found.similarity >= level).sum()) for level in LEVELS},
    }
    return record, found


def main() -> None:
    """Measure, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--pictures", type=Path, default=None)
    asked = parser.parse_args()
    train, train_label = load(asked.folder / "train")
    test, label = load(asked.folder / "test")
    record = describe()
    for name, others, other_label in (("test_in_train", train, train_label), ("test_in_test", None, label)):
        record[name], found = measure(test, label, others, other_label)
        if asked.pictures:
            asked.pictures.mkdir(parents=True, exist_ok=True)
            source = test if others is None else others
            pairs = [(test[row], source[found.nearest[row]]) for row in found.ranked]
            draw_pairs(pairs).save(asked.pictures / f"{name}.png")
    print(json.dumps({name: one for name, one in record.items() if name.startswith("test")}, indent=2))
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
