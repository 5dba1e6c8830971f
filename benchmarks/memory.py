#!/usr/bin/env python3
"""Memory over 20 small runs in one process: does a sweep grow?

    python benchmarks/memory.py

Runs ``stress-lab -m`` with 20 seeds in this process and notes the resident memory at the end of each run, after garbage
collection: as it is, and after the allocator released what it had kept (glibc's malloc_trim), which
is what a leak would add to. Writes results/memory/memory.json.
"""

import ctypes
import gc
import json
import os
import sys
import tempfile
from pathlib import Path

import psutil
from machine import describe

from stress_lab.cli import train

RESULT = Path(__file__).parent / "results" / "memory" / "memory.json"
RUNS = 20
ARGUMENTS = ["-m", "experiment=demo", "augment=cutout", f"seed={','.join(map(str, range(RUNS)))}", "threads=1"]
ARGUMENTS += ["launcher=basic"]
ARGUMENTS += ["trainer.max_epochs=2", "trainer.limit_train_batches=10", "callbacks.gradcam.limit=4"]
ARGUMENTS += ["callbacks.predictions.train_examples=200", "+comparison.report=false"]


def measure() -> float:
    """Resident memory of this process in MiB."""
    return float(round(psutil.Process().memory_info().rss / 2**20, 1))


def main() -> None:
    """Measure and write."""
    resident: list[float] = []
    held: list[float] = []
    trim = ctypes.CDLL("libc.so.6").malloc_trim
    original = train.train

    def measured(*arguments: object) -> object:
        info = original(*arguments)  # type: ignore[arg-type]
        gc.collect()
        resident.append(measure())
        trim(0)
        held.append(measure())
        return info

    train.train = measured  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        sys.argv = ["stress-lab", *ARGUMENTS]
        try:
            train.main()
        except SystemExit as stop:
            if stop.code:
                raise
    assert len(resident) == RUNS
    growth = {}
    for name, values in (("resident", resident), ("held", held)):
        growth[name] = round(max(values[-3:]) - max(values[:3]), 1)
        print(f"{name} MiB after each run: {values}")
        print(f"largest of the last three minus largest of the first three: {growth[name]:+.1f} MiB")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    told = {**describe("psutil"), "command": ["stress-lab", *ARGUMENTS]}
    told |= {"resident_mib": resident, "held_mib": held, "growth_mib": growth}
    RESULT.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
