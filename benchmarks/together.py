#!/usr/bin/env python3
"""Run two commands on one sweep's folder at once, and look whether anything in it is of both.

    python benchmarks/together.py                # 20 times, every pair of train, evaluate and compare in turn
    python benchmarks/together.py --times 6      # every pair once

The second command begins at a random moment of the first. In the folder one run was interrupted while it recorded, so
that training has work to do. Afterwards every number of the folder is recomputed from the predictions, ids are
compared, and so are the images of cards and pictures; a command that was refused must have said why. Writes
results/together/together.json.
"""

import argparse
import itertools
import json
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import describe
from short_sweep import FOLDER, command, copy, find_mixture, finish, start, train_sweep, write_result

from stress_lab.runs.folder import RunDir
from stress_lab.storage.seals import write_seal

RESULT = Path(__file__).parent / "results" / "together" / "together.json"
NAMES = ("train", "evaluate", "compare")
PAIRS = list(itertools.combinations_with_replacement(NAMES, 2))
REFUSED = "by another process"  # in the sentence of a command that was refused
LEFT_OUT = "is left out"  # of a comparison, while a run is trained
PATIENCE = 600  # seconds


def interrupt(sweep: Path) -> None:
    """Make the first run look as if its process was killed after training."""
    run = RunDir(min(path for path in sweep.iterdir() if path.name.startswith("0_")))
    run.save_info(replace(run.load_info(), state="started", trained=True))
    write_seal(run.path, [run.config_file.name], run.load_info().id)  # which lists no records until a run has ended


def run_both(base: Path, place: Path, first: str, second: str, delay: float) -> dict[str, Any]:
    """Start both, wait for both, and check what they left."""
    sweep = copy(base, place)
    if "train" in (first, second):
        interrupt(sweep)
    processes = []
    for number, name in enumerate((first, second)):
        time.sleep(delay if number else 0)
        processes.append(
            start(command(name, FOLDER) if name == "train" else command(name, sweep), place, _screen(place, number))
        )
    statuses = [process.wait(PATIENCE) for process in processes]
    said = [_screen(place, number).read_text(errors="replace") for number in range(2)]
    wrong = find_mixture(sweep)
    wrong += [
        f"status {status} of {name}"
        for status, name, text in zip(statuses, (first, second), said, strict=True)
        if not _is_right(status, text)
    ]
    finish(command("train", FOLDER), place, place / "after.log")
    wrong += [f"afterwards: {one}" for one in find_mixture(sweep)]
    refused = [
        name for name, text, status in zip((first, second), said, statuses, strict=True) if status and REFUSED in text
    ]
    return {
        "first": first,
        "second": second,
        "delay_s": round(delay, 2),
        "statuses": statuses,
        "refused": refused,
        "wrong": wrong,
    }


def _screen(place: Path, number: int) -> Path:
    """What a command printed."""
    return place / f"screen_{number}.log"


def _is_right(status: int, text: str) -> bool:
    """Whether a command ended well, or was refused with a sentence."""
    return "Traceback" not in text and (status == 0 or REFUSED in text or (status == 1 and LEFT_OUT in text))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    draw, rows = random.Random(given.seed), []
    with tempfile.TemporaryDirectory() as name:
        base = train_sweep(Path(name) / "base")
        again = copy(base, Path(name) / "timed")
        place = Path(name) / "timed"
        interrupt(again)
        seconds = {
            one: finish(command(one, FOLDER if one == "train" else again), place, place / "screen.log") for one in NAMES
        }
        for number in range(given.times):
            first, second = PAIRS[number % len(PAIRS)]
            first, second = (second, first) if draw.random() < 0.5 else (first, second)
            rows.append(run_both(base, Path(name) / str(number), first, second, draw.uniform(0, seconds[first])))
            print(json.dumps(rows[-1]), flush=True)
    clean = sum(not row["wrong"] for row in rows)
    print(f"{clean} of {len(rows)} left nothing mixed")
    told = {**describe(), "seconds_alone": {key: round(value, 1) for key, value in seconds.items()}}
    write_result(RESULT, {**told, "clean": clean, "pairs": rows})


if __name__ == "__main__":
    main()
