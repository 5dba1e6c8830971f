#!/usr/bin/env python3
"""Memory over 20 small runs in one process: does a sweep grow?

    python benchmarks/memory.py

Runs ``stress-lab -m`` with 20 seeds in this process and notes, at the end of each run, the resident memory after
garbage collection. Writes results/memory/memory.json.
"""

import gc
import json
import os
import sys
import tempfile
from pathlib import Path

import psutil
from machine import describe

from stress_lab import train

RESULT = Path(__file__).parent / "results" / "memory" / "memory.json"
RUNS = 20
ARGUMENTS = ["-m", "experiment=demo", "augment=cutout", f"seed={','.join(map(str, range(RUNS)))}", "threads=1"]
ARGUMENTS += ["trainer.max_epochs=2", "trainer.limit_train_batches=10", "callbacks.gradcam.limit=4"]
ARGUMENTS += ["callbacks.predictions.train_examples=200", "+comparison.report=false"]


def main() -> None:
    """Measure and write."""
    resident: list[float] = []
    original = train.train

    def measured(*arguments: object) -> object:
        info = original(*arguments)  # type: ignore[arg-type]
        gc.collect()
        resident.append(round(psutil.Process().memory_info().rss / 2**20, 1))
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
    first, last = max(resident[:3]), max(resident[-3:])
    print(f"MiB after each run: {resident}")
    print(f"largest of the first three {first}, of the last three {last}: {last - first:+.1f} MiB")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    told = {**describe("psutil"), "command": ["stress-lab", *ARGUMENTS], "mib_after_each_run": resident}
    RESULT.write_text(json.dumps({**told, "growth_mib": round(last - first, 1)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
