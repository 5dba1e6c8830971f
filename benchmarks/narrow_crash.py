#!/usr/bin/env python3
"""Does this torch crash in the backward pass of narrow nets in the memory format channels-last?

python benchmarks/narrow_crash.py

Each case is a process of its own: width of the net, threads, memory format and images in the batch, then its exit
status (0 is well; -6 and -11 are aborts and segmentation faults). It is why ``build.is_narrow`` exists.

The bug is oneDNN's: weight gradients of strided 1×1 convolutions with fewer input channels than a block
(https://github.com/uxlfoundation/oneDNN/issues/6035). Watch for the release that fixes it, and keep the guard until
all cases end in 0 with the oldest torch that pyproject.toml admits.
"""

import subprocess
import sys

PROGRAM = """
import sys, torch
from stress_lab.models.resnet import ResNet18
width, threads, channels_last, n = map(int, sys.argv[1:])
torch.set_num_threads(threads)
net = ResNet18(1, 10, width=width).eval()
if channels_last:
    net = net.to(memory_format=torch.channels_last)
for _ in range(6):
    images = torch.randn(n, 1, 28, 28).requires_grad_(True)
    net(images)[:, 0].sum().backward()
"""
CASES = [(8, 2, 1, 29), (8, 2, 1, 5), (8, 2, 1, 32), (8, 2, 0, 29), (8, 1, 1, 29), (16, 2, 1, 29), (64, 2, 1, 29)]

if __name__ == "__main__":
    print("width threads channels_last images: status")
    for case in CASES:
        done = subprocess.run([sys.executable, "-c", PROGRAM, *map(str, case)], capture_output=True)
        print(*case, ":", done.returncode)
