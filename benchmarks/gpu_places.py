"""Where the calls of gpu.sh work on the machine with the GPU, and the files that bring CIFAR-10 there."""

import os
from pathlib import Path

WORK = Path(os.environ.get("GPU_WORK", "/tmp/stress_lab_gpu"))
OUT = Path(os.environ.get("OUT", "/tmp/stress_lab_gpu_out"))
MOSAICS = ("unpack.py", "index.json", "test.webp", "train-a.webp", "train-b.webp")
