#!/usr/bin/env python3
"""What signing and verifying run folders costs, and whether one flipped bit in any of their files is found.

    python benchmarks/integrity.py multirun/demo/2026-11-21_10-00-00     # a finished sweep, or one run's folder

Cost: seconds of the seal that ends a run, beside the run's own seconds; of reading all runs for a comparison, and of a
whole comparison without pictures, with and without seals. Flipped bits: in each kind of file of a copy of a run,
at places and bits drawn with a fixed seed, one at a time. A flip is *found* where a command names the file, *not read*
where no command reads it, *harmless* where a checkpoint loads as before (the bit was of a date or between two tensors),
and else *silent*. Writes results/integrity/integrity.json; ends with status 1 where one was
silent.
"""

import argparse
import contextlib
import hashlib
import io
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe

from stress_lab.comparison.loading import load_finished
from stress_lab.errors import StressLabError
from stress_lab.files import save_json
from stress_lab.preflight.comparison_rules import make_options
from stress_lab.publishing.compare import compare
from stress_lab.runs.find import is_run, load_runs
from stress_lab.runs.folder import RunDir
from stress_lab.storage import keys
from stress_lab.storage.checkpoint_files import check_checkpoint
from stress_lab.storage.seals import digest_file, explain_foreign

RESULT = Path(__file__).parent / "results" / "integrity" / "integrity.json"
REPEATS = 7
RESNET18 = 11_173_962 * 4 * 2  # bytes of its weights in float32, and of their momentum


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Attributes:
        name: in the table.
        pattern: of the files, below the folder.
        judge: what a command says of a folder in which one of them, named by its path, was changed; None where nothing.
        is_read: whether any command reads them.
    """

    name: str
    pattern: str
    judge: Callable[[Path, str], str | None]
    is_read: bool = True


def judge_record(folder: Path, name: str) -> str | None:
    """What training, evaluating and comparing find, which ask the same two questions."""
    run = RunDir(folder)
    damage = run.find_damage()
    return damage if damage is not None and name in damage else (name if name in run.list_lost() else None)


def judge_checkpoint(folder: Path, name: str) -> str | None:
    """What loading a checkpoint finds."""
    try:
        check_checkpoint(folder / name)
    except StressLabError as error:
        return str(error)
    return None


def judge_seal(folder: Path, name: str) -> str | None:
    """Whether the run still counts as one's own."""
    return explain_foreign(folder)


def judge_nothing(folder: Path, name: str) -> str | None:
    """No command looks at these."""
    return None


KINDS = (  # add rows here, with a judge of their own, for other kinds of files
    Kind("config", "config.yaml", judge_record),
    Kind("status", "status.json", judge_record),
    Kind("data", "data.json", judge_record),
    Kind("split", "split.json", judge_record),
    Kind("fingerprint", "fingerprint.json", judge_record),
    Kind("history", "history.json", judge_record),
    Kind("history as a table", "history.csv", judge_record),
    Kind("throughput", "throughput.json", judge_record),
    Kind("evaluation", "evaluation.json", judge_record),
    Kind("failures", "failures/failures.json", judge_record),
    Kind("failures as a table", "failures/failures.csv", judge_record),
    Kind("predictions", "predictions/*.parquet", judge_record),
    Kind("properties", "properties/*.parquet", judge_record),
    Kind("figures", "figures/*.png", judge_record),
    Kind("picture of failures", "failures/*.png", judge_record),
    Kind("pictures of maps", "gradcam/*.png", judge_record),
    Kind("maps", "gradcam/maps.*", judge_record),
    Kind("Hydra's record", ".hydra/*.yaml", judge_record),
    Kind("checkpoints", "checkpoints/*.ckpt", judge_checkpoint),
    Kind("seal", "seal.json", judge_seal),
    Kind("log", "train.log", judge_nothing, is_read=False),
    Kind("TensorBoard", "tensorboard/**/events*", judge_nothing, is_read=False),
    Kind("Lightning's table", "csv/*.csv", judge_nothing, is_read=False),
)


def flip_bits(folder: Path, kind: Kind, places: int, rng: np.random.Generator) -> dict[str, Any] | None:
    """Flip one bit at a time and put it back; None where the folder has no such file."""
    files = sorted(path for path in folder.glob(kind.pattern) if path.is_file() and path.stat().st_size)
    if not files:
        return None
    found, harmless, silent = 0, 0, []
    meant = {path: digest_content(path) for path in files if path.suffix == ".ckpt"}
    for file in rng.choice(len(files), places):
        path = files[file]
        place, bit = int(rng.integers(path.stat().st_size)), int(rng.integers(8))
        with flipped(path, place, bit):
            name = path.relative_to(folder).as_posix()
            if kind.judge(folder, name) is not None:
                found += 1
            elif path in meant and digest_content(path) == meant[path]:
                harmless += 1
            elif kind.is_read:
                silent.append({"file": name, "byte": place, "bit": bit})
    return {
        "kind": kind.name,
        "files": len(files),
        "places": places,
        "found": found,
        "harmless": harmless,
        "not_read": 0 if kind.is_read else places,
        "silent": len(silent),
        "examples": silent[:5],
    }


def digest_content(path: Path) -> str:
    """SHA-256 of what torch loads from a checkpoint, or of why it cannot."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
            digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(value, (dict, list, tuple)):
            for part in value.items() if isinstance(value, dict) else value:
                add(part)
        else:
            digest.update(repr(value).encode())

    try:
        add(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # broken bytes make torch raise anything
        digest.update(repr(error).encode())
    return digest.hexdigest()


@contextlib.contextmanager
def flipped(path: Path, place: int, bit: int) -> Iterator[None]:
    """A file with one bit changed, in place."""
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ (1 << bit)]))
    try:
        yield
    finally:
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([byte]))


def time_it(act: Callable[[], Any], repeats: int = REPEATS) -> dict[str, float]:
    """Median and range of the seconds that something takes, after once that does not count."""
    act()
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - begun)
    return {"median": statistics.median(seconds), "low": min(seconds), "high": max(seconds)}


def measure_costs(runs: list[RunDir], place: Path) -> dict[str, Any]:
    """Seconds with and without seals, on copies of the runs."""
    infos = [run.load_info() for run in runs]
    sealed = sum((runs[0].path / name).stat().st_size for name in runs[0].list_records() if not name.endswith(".ckpt"))
    found: dict[str, Any] = {
        "runs": len(runs),
        "sealed_files": len(runs[0].list_records()),
        "sealed_bytes": sealed,
        "seconds_of_a_run": statistics.median(info.seconds for info in infos),
        "seal": time_it(lambda: runs[0].write_seal(infos[0].id)),
        "find_damage": time_it(runs[0].find_damage),
        "list_lost": time_it(runs[0].list_lost),
    }
    options = make_options()
    options.merge_with({"gallery": 0, "cases_per_outcome": 0, "report": False})
    for name in ("with", "without"):
        found[f"read_{name}_seals"] = time_it(lambda: load_finished(runs))
        found[f"compare_{name}_seals"] = time_it(lambda: _compare(runs, place, options), 3)
        for run in runs:
            run.seal_file.unlink(missing_ok=True)
    large = place / "as large as a checkpoint of ResNet-18"
    large.write_bytes(os.urandom(1 << 20) * (RESNET18 >> 20))
    found["hash_a_checkpoint_of_resnet18"] = time_it(lambda: digest_file(large))
    large.unlink()
    return found


def _compare(runs: list[RunDir], place: Path, options: Any) -> None:
    """A comparison whose output is discarded."""
    with contextlib.redirect_stdout(io.StringIO()):
        compare([RunDir(run.path) for run in runs], place / "out", "integrity", options, strict=True)


def copy_runs(source: Path, place: Path, key: Path) -> list[RunDir]:
    """Copies of the finished runs of a folder, signed with a key that is this measurement's own."""
    os.environ[keys.VARIABLE] = str(key)
    originals = [RunDir(source)] if is_run(source) else load_runs(source)
    runs = []
    for original in originals:
        info = original.load_info()
        if info.state == "finished":
            run = RunDir(place / original.path.name)
            shutil.copytree(original.path, run.path)
            run.write_seal(info.id)
            runs.append(run)
    return runs


def main() -> None:
    """Measure, write and say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a finished sweep or run")
    parser.add_argument("--places", type=int, default=100, help="flips in each kind of file")
    parser.add_argument("--out", type=Path, default=RESULT)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        runs = copy_runs(chosen.folder, place / "runs", place / "key")
        rows = [flip_bits(runs[0].path, kind, chosen.places, rng) for kind in KINDS]
        flips = [row for row in rows if row is not None]
        costs = measure_costs(runs, place)
    save_json(chosen.out, {**describe(), "costs": costs, "flips": flips})
    for row in flips:
        print(
            f"{row['kind']:22} {row['found']:4} found {row['harmless']:4} harmless {row['not_read']:4} not read "
            f"{row['silent']:4} silent"
        )
    for name, value in costs.items():
        print(f"{name:32} {value['median'] if isinstance(value, dict) else value:.6g}")
    sys.exit(any(row["silent"] for row in flips))


if __name__ == "__main__":
    main()
