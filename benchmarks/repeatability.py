#!/usr/bin/env python3
"""Are two runs of one config the same to the bit, and what does ``trainer.deterministic`` cost?

    python benchmarks/repeatability.py

Trains the same short run twice for each precision and each value of ``trainer.deterministic``, the repeats interleaved,
each in a process of its own, and compares weights and test predictions. Seconds are those of the epochs alone; the cost
is the ratio of medians to ``deterministic=false``. Writes results/repeatability/repeatability.json.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from machine import describe

from stress_lab.runs.folder import RunDir

RESULT = Path(__file__).parent / "results" / "repeatability" / "repeatability.json"
ARGUMENTS = [
    "experiment=demo",
    "augment=cutout",
    "trainer.max_epochs=3",
    "trainer.limit_train_batches=40",
    "logger=csv",
]
ARGUMENTS += ["callbacks.gradcam.limit=0", "callbacks.predictions.train_examples=0", "+comparison.report=false"]
ARGUMENTS += ["callbacks.board.embedded=0"]
PRECISIONS = ("32-true", "bf16-mixed")
CHOICES = ("false", "warn", "true")


def run_once(folder: Path, precision: str, deterministic: str) -> tuple[str, list[float]]:
    """Train; returns a digest of weights and predictions, and the seconds of each epoch."""
    command = [sys.executable, "-m", "stress_lab", *ARGUMENTS, f"hydra.run.dir={folder}"]
    command += [f"trainer.precision={precision}", f"trainer.deterministic={deterministic}"]
    done = subprocess.run(command, env={**os.environ, "GOMP_SPINCOUNT": "0"}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    run = RunDir(folder)
    digest = hashlib.sha256(run.predictions_file("test").read_bytes())
    for value in torch.load(run.checkpoint("last"), weights_only=True)["state_dict"].values():
        digest.update(value.contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()[:16], [row["seconds"] for row in run.load_history()]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    digests: dict[str, list[str]] = {}
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        for repeat in range(given.repeats):
            for precision in PRECISIONS:
                for choice in CHOICES:
                    name = f"{precision}, deterministic={choice}"
                    digest, epochs = run_once(Path(place) / f"{repeat}_{precision}_{choice}", precision, choice)
                    digests.setdefault(name, []).append(digest)
                    seconds.setdefault(name, []).extend(epochs[1:])  # the first one warms up
                    print(name, digest, epochs, flush=True)
    rows: list[dict[str, Any]] = []
    for name, values in seconds.items():
        free = statistics.median(seconds[name.partition(",")[0] + ", deterministic=false"])
        rows.append(
            {
                "run": name,
                "identical": len(set(digests[name])) == 1,
                "digest": digests[name][0],
                "median_epoch_s": round(statistics.median(values), 3),
                "lowest_s": min(values),
                "highest_s": max(values),
                "ratio": round(statistics.median(values) / free, 3),
            }
        )
        print(json.dumps(rows[-1]))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    told = {**describe(), "command": ["stress-lab", *ARGUMENTS], "repeats": given.repeats}
    RESULT.write_text(json.dumps({**told, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
