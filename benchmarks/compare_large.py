#!/usr/bin/env python3
"""Time and peak memory of comparing two large files of predictions, on synthetic files in a temporary folder.

    python benchmarks/compare_large.py                   # 10,000 x 10 in each format, 1,000,000 x 100 as Parquet
    python benchmarks/compare_large.py --small           # 10,000 x 10 only
    python benchmarks/compare_large.py --full            # and 1,000,000 x 1,000 as Parquet: 8 GB of disk
    python benchmarks/compare_large.py --command         # and the command stress-lab compare, where it reads files
    python benchmarks/compare_large.py --out benchmarks/results/prediction_files/large.json

Every step is a process of its own. Seconds are those of the step, with those of starting Python and of imports for the
command but not for reading; CPU seconds show how far other work on the machine delayed it. Peak memory is that
of the process (resident, MB of 10^6 bytes).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from machine import describe

SMALL = [(10_000, 10, "csv"), (10_000, 10, "parquet"), (10_000, 10, "npz")]
LARGE = [(1_000_000, 100, "parquet")]
FULL = [(1_000_000, 1_000, "parquet")]
MODELS = {"a": 1.5, "b": 2.0}  # how far the true class stands out


def label_of(ids: np.ndarray[Any, Any], n_classes: int) -> np.ndarray[Any, Any]:
    """Labels that look random and are known from the id alone."""
    return (ids * 2_654_435_761 >> 7) % n_classes


def make_parts(name: str, n: int, n_classes: int) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Ids (B,), each once and not in order, and logits (B, K) of one model, part by part."""
    rng = np.random.default_rng(ord(name))
    step = next(s for s in range(n // 3 + ord(name), 2 * n) if math.gcd(s, n) == 1)
    rows = max(1, 4_000_000 // n_classes)
    for start in range(0, n, rows):
        ids = np.arange(start, min(start + rows, n)) * step % n
        logits = rng.standard_normal((len(ids), n_classes), dtype=np.float32)
        logits[np.arange(len(ids)), label_of(ids, n_classes)] += MODELS[name]
        yield ids, logits


def make_files(folder: Path, n: int, n_classes: int, suffix: str) -> None:
    """Write a, b and labels."""
    write = {"csv": write_csv, "parquet": write_parquet, "npz": write_npz}[suffix]
    for name in MODELS:
        write(folder / f"{name}.{suffix}", name, n, n_classes)
    ids = np.arange(n)
    labels = pa.table({"id": ids, "label": label_of(ids, n_classes)})
    if suffix == "csv":
        from pyarrow.csv import write_csv as write_labels
    else:
        from pyarrow.parquet import write_table as write_labels
    write_labels(labels, folder / f"labels.{'csv' if suffix == 'csv' else 'parquet'}")


def write_csv(path: Path, name: str, n: int, n_classes: int) -> None:
    """Columns id and logit_CLASS."""
    from pyarrow.csv import CSVWriter

    schema = pa.schema([("id", pa.int64()), *((f"logit_{k}", pa.float32()) for k in range(n_classes))])
    with CSVWriter(path, schema) as writer:
        for ids, logits in make_parts(name, n, n_classes):
            writer.write_table(pa.table([ids, *np.asfortranarray(logits).T], schema=schema))


def write_parquet(path: Path, name: str, n: int, n_classes: int) -> None:
    """Columns id and logits, a list."""
    from pyarrow.parquet import ParquetWriter

    schema = pa.schema([("id", pa.int64()), ("logits", pa.list_(pa.float32(), n_classes))])
    with ParquetWriter(path, schema) as writer:
        for ids, logits in make_parts(name, n, n_classes):
            lists = pa.FixedSizeListArray.from_arrays(logits.ravel(), n_classes)
            writer.write_table(pa.table([ids, lists], schema=schema))


def write_npz(path: Path, name: str, n: int, n_classes: int) -> None:
    """Arrays id (N,) and logits (N, K), as numpy.savez would write them."""
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for key, shape, part, kind in (("id", (n,), 0, "<i8"), ("logits", (n, n_classes), 1, "<f4")):
            with archive.open(f"{key}.npy", "w", force_zip64=True) as file:
                header = {"descr": kind, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for both in make_parts(name, n, n_classes):
                    file.write(np.ascontiguousarray(both[part]).tobytes())


def file_names(folder: Path) -> tuple[list[Path], Path]:
    """The two files of predictions and the file of labels."""
    paths = [path for path in sorted(folder.iterdir()) if path.stem in MODELS]
    return paths, next(folder.glob("labels.*"))


def read_files(folder: Path) -> None:
    """Read the two files and print seconds and accuracies."""
    from stress_lab.prediction_files import read_prediction_files

    pa.array([0])  # the first array imports pandas, where it is installed
    begin, busy = time.perf_counter(), time.process_time()
    files = read_prediction_files(*file_names(folder))
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    accuracy = [float(file.scores.correct.mean()) for file in files]
    print(json.dumps({"read_seconds": round(seconds, 3), "read_cpu_seconds": round(busy, 3), "accuracy": accuracy}))


def measure(command: list[str], folder: Path) -> tuple[int, float, float, str]:
    """Run a command; returns its status, seconds, peak MB and what it printed."""
    begin = time.perf_counter()
    with open(folder / "output.txt", "w+") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return child.returncode, time.perf_counter() - begin, peak, text


def measure_case(n: int, n_classes: int, suffix: str, command: bool) -> dict[str, Any]:
    """Make the files of one case, read them, and compare them."""
    with tempfile.TemporaryDirectory() as place:
        folder, this = Path(place), [sys.executable, str(Path(__file__).resolve())]
        _run([*this, "--make", place, str(n), str(n_classes), suffix], folder)
        paths, labels = file_names(folder)
        size = sum(path.stat().st_size for path in paths) / 1e6
        peak, text = _run([*this, "--read", place], folder)
        case = {"n": n, "classes": n_classes, "format": suffix, "files_mb": round(size, 1)}
        case |= {**json.loads(text.splitlines()[-1]), "read_peak_mb": round(peak)}
        if command:
            case |= measure_command(paths, labels, folder)
        return case


def _run(command: list[str], folder: Path) -> tuple[float, str]:
    """Peak MB and output of a command that must succeed."""
    status, _, peak, text = measure(command, folder)
    if status:
        raise SystemExit(f"{command[2]} failed:\n{text}")
    return peak, text


def measure_command(paths: list[Path], labels: Path, folder: Path) -> dict[str, Any]:
    """The whole command; nothing where it does not read files of predictions."""
    given = [f"predictions=[{','.join(map(str, paths))}]", f"labels={labels}", f"out={folder / 'comparison'}"]
    status, seconds, peak, text = measure([sys.executable, "-m", "stress_lab", "compare", *given], folder)
    if status and "predictions" in text and "no config key" in text:
        print("skipped: stress-lab compare does not read files of predictions")
        return {}
    if status:
        raise SystemExit(f"stress-lab compare failed:\n{text}")
    return {"command_seconds": round(seconds, 2), "command_peak_mb": round(peak)}


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--small", "--full", "--command"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--make", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        folder, n, n_classes, suffix = given.make
        return make_files(Path(folder), int(n), int(n_classes), suffix)
    if given.read:
        return read_files(given.read)
    cases = []
    for case in SMALL + (LARGE if not given.small else []) + (FULL if given.full else []):
        cases.append(measure_case(*case, given.command))
        print(json.dumps(cases[-1]), flush=True)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({**describe("pyarrow", "scipy"), "cases": cases}, indent=2) + "\n")
    return None


if __name__ == "__main__":
    main()
