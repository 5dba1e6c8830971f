"""What a command asks the disk of a class-folder tree: ``python benchmarks/listing.py DIR [--sweep] [--out FILE]``.

Lists a tree in the layout of ``data=image_folder`` and prints seconds, files and folders listed; with ``--sweep`` it
then runs two short runs and their comparison in this process, once to fill the cache and once with it. The cache and
the sweeps lie in a temporary folder.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from machine import describe

SWEEP = ["-m", "data=image_folder", "augment=baseline,cutout", "trainer=smoke", "model.width=4", "logger=csv"]
SWEEP += ["callbacks.gradcam.limit=0", "+comparison.resamples=1000", "+comparison.gallery=10", "resume=false"]


def count_folders(root: Path) -> Counter[str]:
    """A counter that from now on counts how often each folder below ``root`` is listed in this process."""
    listed: Counter[str] = Counter()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("os.scandir", "os.listdir") and Path(str(arguments[0])).is_relative_to(root):
            listed[str(arguments[0])] += 1

    sys.addaudithook(hook)
    return listed


def time_listing(root: Path, listed: Counter[str]) -> dict[str, object]:
    """Seconds to list a tree and to learn size and time of every file."""
    from stress_lab.data.sources.listing import list_tree

    listed.clear()
    began = time.perf_counter()
    pictures = [one for split in list_tree(root).splits.values() for group in split.values() for one in group]
    for picture in pictures:
        picture.stat()
    return {"seconds": time.perf_counter() - began, "images": len(pictures), "listings": listed.total()}


def time_sweep(root: Path, listed: Counter[str]) -> dict[str, object]:
    """Seconds of a sweep of two runs with its comparison, and how often folders were listed."""
    from stress_lab.cli import train

    listed.clear()
    sys.argv[1:] = [*SWEEP, f"data.root={root}"]
    began = time.perf_counter()
    try:
        train.main()
    except SystemExit as stop:
        if stop.code:
            raise
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "listings": listed.total(), "most_of_one_folder": max(listed.values(), default=0)}


def main() -> None:
    """Measure, print, and perhaps keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=lambda text: Path(text).absolute())
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    out = asked.out and asked.out.absolute()
    listed = count_folders(asked.root)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["STRESS_LAB_CACHE"] = f"{folder}/cache"
        result = {"listing": time_listing(asked.root, listed)}
        if asked.sweep:
            result |= {name: time_sweep(asked.root, listed) for name in ("first", "again")}
    print(json.dumps(result, indent=2))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({**describe(), **result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
