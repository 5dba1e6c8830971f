#!/usr/bin/env python3
"""Kill a command at random moments, run it again, and compare the result with an undisturbed one.

    python benchmarks/kills.py                            # 20 kills of a short demo sweep of 4 runs
    python benchmarks/kills.py --of compare evaluate      # 20 kills of each, on a small sweep that is trained once
    python benchmarks/kills.py --kills 2

Each kill is SIGKILL to the whole process group, at a moment drawn evenly between start and end of the sweep left in
peace. Compared bit by bit: every weight of each run's last checkpoint, predictions of every split, failures, history,
and comparison.json but for wall times. Writes results/kills/kills.json.

After a kill of stress-lab compare or stress-lab evaluate the folder must hold the old files or the new ones, all of
them, and the same command must end with the bits of an undisturbed one. Half the moments are drawn from the time in
which the files are written. Writes results/kills/compare.json and evaluate.json.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from machine import describe
from short_sweep import bits, command, copy, find_mixture, train_sweep, write_result
from short_sweep import finish as finish_command
from short_sweep import start as start_command

from stress_lab.files import load_json
from stress_lab.runs.find import load_runs
from stress_lab.runs.folder import RunDir

RESULT = Path(__file__).parent / "results" / "kills" / "kills.json"
ARGUMENTS = ["-m", "experiment=demo", "trainer=smoke", "seed=1,2", "trainer.max_epochs=3", "threads=1"]
ARGUMENTS += ["trainer.limit_train_batches=10", "model.width=4", "threshold=0.15", "logger=csv", "callbacks.board=null"]
ARGUMENTS += ["callbacks.gradcam.limit=4", "callbacks.predictions.train_examples=200", "+comparison.resamples=200"]
ARGUMENTS += ["+comparison.gallery=4", "+comparison.cases_per_outcome=1"]
RUNS = 4
PATIENCE = 900  # seconds
TIMES = ("seconds", "started", "resumed", "id")  # what may differ; the id is a digest of all, times included


def start(place: Path) -> subprocess.Popen[bytes]:
    """Begin the sweep in a folder, as a process group of its own."""
    place.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "GOMP_SPINCOUNT": "0"}
    with (place / "screen.log").open("ab") as screen:
        return subprocess.Popen(
            [sys.executable, "-m", "stress_lab", *ARGUMENTS],
            cwd=place,
            env=env,
            stdout=screen,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(place: Path) -> float:
    """Run the sweep to its end; returns the seconds."""
    begun = time.monotonic()
    process = start(place)
    if process.wait(PATIENCE) != 0:
        raise SystemExit(f"the sweep failed: see {place / 'screen.log'}")
    return time.monotonic() - begun


def kill_once(place: Path, moment: float, peace: dict[str, Any]) -> dict[str, Any]:
    """Start, kill after ``moment`` seconds, run to the end, and compare."""
    process = start(place)
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    phase = describe_phase(place)
    seconds = finish(place)
    differing = sorted(key for key in peace if fingerprint(place).get(key) != peace[key])
    resumed = sum(run.load_info().resumed for run in load_runs(sweep_of(place)))
    return {
        "killed_after_s": round(moment, 1),
        "phase": phase,
        "runs_taken_up": resumed,
        "seconds_to_the_end": round(seconds, 1),
        "identical": not differing,
        "differing": differing,
    }


def sweep_of(place: Path) -> Path:
    """The one sweep in a folder."""
    (folder,) = (place / "multirun" / "demo").iterdir()
    return folder


def describe_phase(place: Path) -> str:
    """Where the kill hit the sweep, by the files on disk."""
    if not (place / "multirun").is_dir():
        return "before the first run"
    runs = [RunDir(path) for path in sorted(sweep_of(place).glob("[0-9]_*")) if (path / "status.json").is_file()]
    states = [run.load_info().state for run in runs]
    if not runs:
        return "before the first run"
    if states == ["finished"] * RUNS:
        return "after the last run, comparing"
    if states[-1] == "finished":
        return f"between runs, {len(runs)} finished"
    last = runs[-1]
    epochs = len(last.load_history()) if last.history_file.is_file() else 0
    what = "recording" if last.predictions_file("test").is_file() else f"{epochs} whole epochs"
    return f"in run {len(runs)}, {what}"


def fingerprint(place: Path) -> dict[str, Any]:
    """Everything that must be the same, by name."""
    found: dict[str, Any] = {}
    sweep = sweep_of(place)
    for run in load_runs(sweep):
        state = torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]
        found[f"{run.path.name} weights"] = {
            key: (str(value.dtype), value.contiguous().view(-1).numpy().tobytes()) for key, value in state.items()
        }
        for file in [*sorted((run.path / "predictions").iterdir()), run.failures_file, run.fingerprint_file]:
            found[f"{run.path.name} {file.name}"] = file.read_bytes()
        rows = run.load_history()
        found[f"{run.path.name} history"] = [[row[key] for key in sorted(row) if key != "seconds"] for row in rows]
    found["comparison"] = without_times(load_json(sweep / "comparison.json"))
    return found


def without_times(value: Any) -> Any:
    """The same, but for wall times."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list) else value


DIFFERENT = {"compare": {"level": "0.9"}, "evaluate": {"shown": "1"}}  # what makes the old files other than the new


def kill_commands(name: str, given: argparse.Namespace) -> None:
    """Kill one of the other commands, and write the result."""
    draw, rows = random.Random(given.seed), []
    with tempfile.TemporaryDirectory() as folder:
        base, place = train_sweep(Path(folder) / "base"), Path(folder) / "peace"
        finish_command(command(name, base, **DIFFERENT[name]), Path(folder), Path(folder) / "screen.log")
        old, peace = bits(base), copy(base, place)
        begins, ends = time_writing(command(name, peace), peace, place)
        new = bits(peace)
        if old == new:
            raise SystemExit("the old files equal those of the new command: the test shows nothing")
        for number in range(given.kills):
            moment = draw.uniform(begins if number % 2 else 0, ends)
            rows.append(kill_command(name, base, Path(folder) / str(number), moment, old, new))
            print(json.dumps(rows[-1]), flush=True)
    whole = sum(row["left"] in ("old", "new") and row["identical"] and not row["wrong"] for row in rows)
    print(f"{name}: {whole} of {len(rows)} whole after the kill, and the same command ended in the same bits")
    told = {**describe(), "seconds_in_peace": round(ends, 1), "seconds_to_the_first_file": round(begins, 1)}
    write_result(RESULT.with_name(f"{name}.json"), {**told, "whole": whole, "kills": rows})


def time_writing(typed: list[str], sweep: Path, place: Path) -> tuple[float, float]:
    """Run a command undisturbed; returns the seconds until it began to write, and until its end."""
    begun, begins = time.monotonic(), None
    process = start_command(typed, place, place / "screen.log")
    while process.poll() is None:
        if begins is None and any(sweep.rglob(".next-*")):
            begins = time.monotonic() - begun
        time.sleep(0.02)
    if process.returncode != 0 or begins is None:
        raise SystemExit(f"the command failed: see {place / 'screen.log'}")
    return begins, time.monotonic() - begun


def kill_command(
    name: str, base: Path, place: Path, moment: float, old: dict[str, str], new: dict[str, str]
) -> dict[str, Any]:
    """Start on a copy, kill after ``moment`` seconds, look, run to the end, and compare."""
    sweep = copy(base, place)
    process = start_command(command(name, sweep), place, place / "screen.log")
    time.sleep(moment)
    with contextlib.suppress(ProcessLookupError):  # it had ended
        os.killpg(process.pid, signal.SIGKILL)
    killed = process.wait() != 0
    staged = len(list(sweep.rglob(".next-*")))
    wrong = find_mixture(sweep)  # a reader, who completes what the command left
    found = bits(sweep)
    finish_command(command(name, sweep), place, place / "screen.log")
    return {
        "killed_after_s": round(moment, 2),
        "killed": killed,
        "staged": staged,
        "left": "old" if found == old else "new" if found == new else "neither",
        "wrong": wrong,
        "identical": bits(sweep) == new,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--at-once", type=int, default=2, help="sweeps side by side, one thread each")
    parser.add_argument("--of", nargs="+", default=["sweep"], choices=["sweep", *DIFFERENT], help="commands to kill")
    given = parser.parse_args()
    for name in given.of:
        kill_sweeps(given) if name == "sweep" else kill_commands(name, given)


def kill_sweeps(given: argparse.Namespace) -> None:
    """Kill whole sweeps, and write the result."""
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        seconds = finish(base / "peace")
        peace = fingerprint(base / "peace")
        moments = [draw.uniform(0, seconds) for _ in range(given.kills)]
        with ThreadPoolExecutor(given.at_once) as pool:
            jobs = [pool.submit(kill_once, base / f"{n}", moment, peace) for n, moment in enumerate(moments)]
            rows = []
            for job in jobs:
                rows.append(job.result())
                print(json.dumps(rows[-1]), flush=True)
    identical = sum(row["identical"] for row in rows)
    print(f"{identical} of {len(rows)} identical to the undisturbed sweep ({seconds:.0f} s)")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    told = {**describe(), "command": ["stress-lab", *ARGUMENTS], "seconds_in_peace": round(seconds, 1)}
    RESULT.write_text(json.dumps({**told, "identical": identical, "kills": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
