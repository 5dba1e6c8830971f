#!/usr/bin/env python3
"""Cut the bundled sample from Fashion-MNIST: 7,000 training and 2,000 test images, stratified.

    python scripts/make_fashion_sample.py [FOLDER WITH THE FOUR FILES]

Writes stress_lab/data/sample/fashion_sample.npz. The 1,000 validation images are cut from the 7,000 at run time, as
everywhere. ``train_index`` and ``test_index`` keep each image's position in the official split.
"""

import sys
from pathlib import Path

import numpy as np

from stress_lab.data.sources.fashion_mnist import load_fashion_mnist
from stress_lab.data.splits import stratified_subset

SIZES = {"train": 7000, "test": 2000}
TARGET = Path(__file__).resolve().parents[1] / "stress_lab" / "data" / "sample" / "fashion_sample.npz"

data = load_fashion_mnist(sys.argv[1] if len(sys.argv) > 1 else None)
arrays = {}
for name, size in SIZES.items():
    split = data.splits[name]
    index = stratified_subset(split.labels, size, seed=0)
    arrays[f"{name}_images"] = split.images[index, 0]
    arrays[f"{name}_labels"] = split.labels[index].astype(np.uint8)
    arrays[f"{name}_index"] = index.astype(np.int32)
np.savez_compressed(TARGET, **arrays)
print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB")
