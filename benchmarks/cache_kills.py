#!/usr/bin/env python3
"""Kill processes that fill the cache, let several fill it at once, and flip bits of its files.

    python benchmarks/cache_kills.py
    python benchmarks/cache_kills.py --kills 2 --races 2 --flips 5

Kills: SIGKILL at moments drawn evenly while 3,000 small PNG files are decoded into the cache. Afterwards there must be
no entry or a whole one, and the next process must end with the same bits. Races: four processes begin to fill one entry
at the same time and must end with one, and the same images. Flips: one bit at a random place of each kind of file in an
entry; the images must be right afterwards, the entry made again (found) or used as it is (harmless). Writes
results/cache/cache_kills.json.
"""

import argparse
import hashlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from PIL import Image

from stress_lab.data.images import ImageData, fingerprint
from stress_lab.data.sources.folder import read_tree

RESULT = Path(__file__).parent / "results" / "cache" / "cache_kills.json"
IMAGES, SMALL = 3_000, 60  # in the trees for kills and for bit flips
AT_ONCE = 4
PATIENCE = 300  # seconds
FILL = """
import sys, time
from pathlib import Path
from stress_lab.data.sources.folder import read_tree
moment = float(sys.argv[2])
while time.time() < moment:
    time.sleep(0.001)
print("begun", flush=True)
began = time.monotonic()
data = read_tree(Path(sys.argv[1]))
print(time.monotonic() - began, *(data.splits[name].fingerprint for name in sorted(data.splits)))
"""


def make_tree(root: Path, images: int) -> Path:
    """A tree of random colour images of 32×32 pixels, a sixth of them test images."""
    draw = np.random.default_rng(0)
    for split, count in (("train", images * 5 // 6), ("test", images // 6)):
        for number in range(count):
            path = root / split / ("cat", "dog")[number % 2] / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return root


def start(root: Path, cache: Path, moment: float = 0.0) -> subprocess.Popen[str]:
    """A process that fills the cache from ``moment`` on, in seconds since 1970."""
    env = {**os.environ, "STRESS_LAB_CACHE": str(cache)}
    command = [sys.executable, "-c", FILL, str(root), str(moment)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[float, list[str], str]:
    """Seconds that the images took, the fingerprints, and what was logged."""
    out, err = process.communicate(timeout=PATIENCE)
    if process.returncode != 0:
        raise SystemExit(f"a process failed: {err}")
    seconds, *found = out.splitlines()[-1].split()
    return float(seconds), found, err


def list_entries(cache: Path) -> list[Path]:
    """Whole entries."""
    return [path for path in cache.glob("*") if not path.name.startswith(".partial-")]


def digest(cache: Path) -> str:
    """Of every byte of the one entry."""
    (entry,) = list_entries(cache)
    total = hashlib.sha256()
    for path in sorted(entry.iterdir()):
        total.update(path.name.encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def kill_once(root: Path, cache: Path, after: float, peace: str) -> dict[str, Any]:
    """Kill a filling process and look at what it left, now and after the next one."""
    process = start(root, cache)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = process.returncode == -signal.SIGKILL
    whole = [digest(cache) == peace] if list_entries(cache) else []
    left = len(list(cache.glob(".partial-*")))
    _, _, logged = finish(start(root, cache))
    return {
        "killed_after_s": round(after, 3),
        "killed": killed,
        "left": "a whole entry" if whole == [True] else "a torn entry" if whole else "no entry",
        "partial_folders": left,
        "identical": digest(cache) == peace and not logged,
    }


def race_once(root: Path, cache: Path, peace: str, expected: list[str]) -> dict[str, Any]:
    """Let processes fill one entry at the same time."""
    moment = time.time() + 2 * AT_ONCE  # they import numpy first
    found = [finish(process) for process in [start(root, cache, moment) for _ in range(AT_ONCE)]]
    same = all(one == expected and not logged for _, one, logged in found)
    return {
        "seconds": [round(seconds, 3) for seconds, _, _ in found],
        "left_beside_the_entry": len(list(cache.iterdir())) - 1,
        "identical": same and digest(cache) == peace,
    }


class Counter(logging.Handler):
    """Counts warnings."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count it if it is one."""
        self.count += record.levelno >= logging.WARNING


def is_same(data: ImageData, good: ImageData) -> bool:
    """Whether images, labels, files and names of classes are equal; hashes again."""
    return (data.classes, data.source, data.index_order) == (good.classes, good.source, good.index_order) and all(
        fingerprint(data.splits[name]) == split.fingerprint and data.splits[name].files == split.files
        for name, split in good.splits.items()
    )


def flip_bits(root: Path, cache: Path, flips: int, draw: random.Random) -> dict[str, Any]:
    """One bit at so many places of each kind of file."""
    os.environ["STRESS_LAB_CACHE"] = str(cache)
    good, counter = read_tree(root), Counter()
    logging.getLogger("stress_lab").addHandler(counter)
    (entry,) = list_entries(cache)
    result = {}
    for name in sorted(path.name for path in entry.iterdir()):
        whole, row = (
            (entry / name).read_bytes(),
            {"bits": 8 * (entry / name).stat().st_size, "found": 0, "harmless": 0, "wrong": 0},
        )
        for _ in range(flips):
            bit = draw.randrange(8 * len(whole))
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            (entry / name).write_bytes(damaged)
            before = counter.count
            right = is_same(read_tree(root), good)
            row["wrong" if not right else "found" if counter.count > before else "harmless"] += 1
            (entry / name).write_bytes(whole)
        result[name] = row
        print(name, json.dumps(row), flush=True)
    return result


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--races", type=int, default=20)
    parser.add_argument("--flips", type=int, default=100, help="of each kind of file")
    parser.add_argument("--seed", type=int, default=0, help="of moments and places")
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        root = make_tree(place / "tree", IMAGES)
        seconds, expected, _ = finish(start(root, place / "peace"))
        mapped, again, _ = finish(start(root, place / "peace"))
        peace = digest(place / "peace")
        assert expected == again
        kills = []
        for number in range(given.kills):
            kills.append(kill_once(root, place / f"kill_{number}", draw.uniform(0, seconds), peace))
            print(json.dumps(kills[-1]), flush=True)
        races = []
        for number in range(given.races):
            races.append(race_once(root, place / f"race_{number}", peace, expected))
            print(json.dumps(races[-1]), flush=True)
        flips = flip_bits(make_tree(place / "small", SMALL), place / "flips", given.flips, draw)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    told = {
        **describe("pillow"),
        "images": IMAGES,
        "seconds_to_fill": round(seconds, 3),
        "seconds_to_map_and_check": round(mapped, 3),
        "kills_identical": sum(row["identical"] for row in kills),
        "races_identical": sum(row["identical"] for row in races),
    }
    RESULT.write_text(json.dumps({**told, "kills": kills, "races": races, "flips": flips}, indent=2) + "\n")


if __name__ == "__main__":
    main()
