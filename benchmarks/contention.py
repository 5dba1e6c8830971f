#!/usr/bin/env python3
"""A sweep alone and beside busy processes: one run after the other on all cores, against one thread a run side by side.

    python benchmarks/contention.py                    the demo's sweep and a short one at width 64: an hour or more
    python benchmarks/contention.py --sweeps demo --limit 300 --repeats 1 --busy 0 1

Every cell is a command in an empty folder, launchers in turn, so that what else the machine does meets all of them. One
that takes longer than the limit is ended, and counts as "more than" that. Writes results/contention/contention.json
and prints the table.
"""

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from machine import describe

RESULT = Path(__file__).parent / "results" / "contention" / "contention.json"
LAUNCHERS = {"one after the other": ["launcher=basic"], "side by side": []}
DEMO = ["-m", "experiment=demo", "trainer=cpu"]
SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=20", "callbacks.predictions.train_examples=200"]
WIDE = ["model.width=64", "optim.batch_size=128", "callbacks.gradcam.limit=4"]
SWEEPS = {"demo": DEMO, "width 64": [*DEMO, *WIDE, *SHORT]}


def spin(stop: Event) -> None:
    """Keep a core busy."""
    while not stop.is_set():
        sum(range(20_000))


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    others = [context.Process(target=spin, args=(stop,), daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        stop.set()
        for other in others:
            other.join()


def measure(arguments: Sequence[str], limit: float) -> float | None:
    """Seconds of one sweep, or None where it took more than ``limit``."""
    command = [sys.executable, "-m", "stress_lab", *arguments]
    with tempfile.TemporaryDirectory() as place, (Path(place) / "screen.log").open("w+") as screen:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, cwd=place, stdout=screen, stderr=subprocess.STDOUT, start_new_session=True, env=dict(os.environ)
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(1)  # its workers see within half a second that it is gone
            return None
        seconds = time.monotonic() - begun
        if status:
            screen.seek(0)
            raise SystemExit(f"{' '.join(arguments)}: status {status}\n{screen.read()[-3000:]}")
        return seconds


def show(seconds: Sequence[float | None], limit: float) -> str:
    """The middle of the measurements; one that was ended counts as larger than any."""
    middle = statistics.median_low([float("inf") if one is None else one for one in seconds])
    return f"more than {limit:.0f} s" if middle == float("inf") else f"{middle:.1f} s"


def make_table(rows: Sequence[dict[str, Any]], limit: float) -> str:
    """A line for each sweep and number of busy processes, a column for each launcher, in Markdown."""
    cells = sorted(
        {(row["sweep"], row["busy"]) for row in rows}, key=lambda cell: (list(SWEEPS).index(cell[0]), cell[1])
    )
    lines = [f"| sweep | busy processes beside it | {' | '.join(LAUNCHERS)} |", f"|---|---|{'---|' * len(LAUNCHERS)}"]
    for sweep, busy in cells:
        shown = [
            show([r["seconds"] for r in rows if (r["sweep"], r["busy"], r["launcher"]) == (sweep, busy, name)], limit)
            for name in LAUNCHERS
        ]
        lines.append(f"| {sweep} | {busy} | {' | '.join(shown)} |")
    return "\n".join(lines)


def read_arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--sweeps", nargs="+", choices=list(SWEEPS), default=list(SWEEPS))
    parser.add_argument("--busy", nargs="+", type=int, default=[0, 1, 2], help="processes beside the sweep")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600, help="seconds a sweep may take")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("overrides", nargs="*", help="for every sweep, such as trainer.max_epochs=1")
    return parser.parse_intermixed_args()


def main() -> None:
    """Measure and write."""
    given = read_arguments()
    rows: list[dict[str, Any]] = []
    for repeat in range(given.repeats):
        for sweep in given.sweeps:
            for busy in given.busy:
                for name, launcher in LAUNCHERS.items():
                    with neighbours(busy):
                        seconds = measure([*SWEEPS[sweep], *given.overrides, *launcher], given.limit)
                    rows.append({"sweep": sweep, "busy": busy, "launcher": name, "repeat": repeat, "seconds": seconds})
                    print(json.dumps(rows[-1]), flush=True)
    told = {**describe("joblib"), "sweeps": {name: [*SWEEPS[name], *given.overrides] for name in given.sweeps}}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({**told, "limit_s": given.limit, "rows": rows}, indent=2) + "\n")
    print(make_table(rows, given.limit))


if __name__ == "__main__":
    main()
