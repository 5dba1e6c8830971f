"""Whole commands, timed from the shell."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHORT = ["experiment=demo", "trainer.max_epochs=1"]
PATHS = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
NO_RECORDS = [f"~callbacks.{name}" for name in ("predictions", "failures", "gradcam", "board", "checkpoint_best")]
ONE_STEP = [*SHORT, "trainer.limit_train_batches=1", *NO_RECORDS, "+callbacks.first._target_=steps.FirstStep"]
SWEEP = ["-m", *SHORT, "trainer.limit_train_batches=10"]


def run(arguments: list[str], until: str | None = None) -> float:
    """Wall time of ``stress-lab`` in an empty folder, to its end or until it makes a file there."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        subprocess.run(
            [sys.executable, "-m", "stress_lab", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *PATHS])},
            check=True,
            capture_output=True,
        )
        return (time.time() if until is None else (Path(folder) / until).stat().st_mtime) - began


def import_lightning() -> float:
    """Wall time of a process that imports Lightning and ends."""
    began = time.time()
    subprocess.run([sys.executable, "-c", "import lightning.pytorch"], check=True)
    return time.time() - began


STARTS = {
    "help": lambda: run(["--help"]),
    "import_lightning": import_lightning,
    "first_step": lambda: run(ONE_STEP, until="first_step"),
}
SWEEPS = {"two": lambda: run([*SWEEP, "seed=1"]), "four": lambda: run([*SWEEP, "seed=1,2"])}
