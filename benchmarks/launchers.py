#!/usr/bin/env python3
"""The same short sweep under every launcher, with one and with two processes a run: are the numbers the same?

    python benchmarks/launchers.py

Needs the extras joblib, slurm and ray. SLURM stands for submitit's local executor. Writes
results/launchers/launchers.json.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import describe

from stress_lab.runs.find import load_runs

RESULT = Path(__file__).parent / "results" / "launchers" / "launchers.json"
ARGUMENTS = ["-m", "experiment=demo", "threads=1", "trainer.max_epochs=2", "trainer.accelerator=cpu"]
ARGUMENTS += ["trainer.limit_train_batches=30", "callbacks.gradcam.limit=4", "+comparison.report=false"]
LAUNCHERS = {
    "one after the other": ["launcher=basic"],
    "side by side": [],
    "joblib": ["launcher=joblib", "jobs=2"],
    "slurm_local": ["launcher=slurm_local", "jobs=2"],
    "ray": ["launcher=ray", "jobs=2"],
    "optuna": ["sweeper=optuna", "hydra.sweeper.n_trials=2", "augment=baseline,cutout"],
}


def sweep(name: str, devices: int, place: Path) -> dict[str, Any]:
    """Run the sweep; returns its final table, and a digest of each run's predictions."""
    place.mkdir(parents=True)
    extra = ["trainer=ddp", f"trainer.devices={devices}"] if devices > 1 else []
    command = [sys.executable, "-m", "stress_lab", *ARGUMENTS, *LAUNCHERS[name], *extra]
    begun = time.monotonic()
    environment = {**os.environ, "GOMP_SPINCOUNT": "0"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise SystemExit(f"{name}, {devices}: status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    (folder,) = (place / "multirun" / "demo").iterdir()
    runs = {
        run.config["variant"]: {
            "accuracy": run.load_info().metrics["test/acc"],
            "confident_failures": run.load_info().metrics["failures/count"],
            "processes": run.load_info().hardware["devices"],
            "predictions": hashlib.sha256(run.predictions_file("test").read_bytes()).hexdigest()[:16],
        }
        for run in load_runs(folder)
    }
    return {"launcher": name, "processes": devices, "seconds": round(time.monotonic() - begun, 1), "runs": runs}


def main() -> None:
    """Measure and write."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for devices in (1, 2):
            for name in LAUNCHERS:
                rows.append(sweep(name, devices, Path(place) / f"{name} {devices}".replace(" ", "_")))
                print(json.dumps(rows[-1]), flush=True)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    told = {**describe("joblib", "submitit", "ray", "optuna"), "command": ["stress-lab", *ARGUMENTS]}
    RESULT.write_text(json.dumps({**told, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
