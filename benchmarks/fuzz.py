#!/usr/bin/env python3
"""Knock at the config door and at the reader of predictions with many random inputs: no traceback, no hang.

    python benchmarks/fuzz.py --cases 5000 --out benchmarks/results/fuzz/result.json
    python benchmarks/fuzz.py --door config --cases 1000 --seed 7

Run it from the top of the checkout: it draws what ``tests/fuzzing.py`` describes. The first case that fails ends it,
made as small as Hypothesis can.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzzing import arguments, check_config_door, check_prediction_reader, prediction_files

LIMIT = datetime.timedelta(seconds=20)  # a case that takes longer is a hang
PACKAGES = ("hypothesis", "hydra-core", "omegaconf", "pyarrow", "numpy")


def knock(
    check: Callable[..., None], drawn: tuple[st.SearchStrategy[Any], ...], cases: int, start: int
) -> dict[str, Any]:
    """Run so many cases of one door; raises at the first that fails."""
    longest, count = 0.0, 0

    def timed(values: tuple[Any, ...]) -> None:
        nonlocal longest, count
        begun = time.perf_counter()
        check(*values)
        longest, count = max(longest, time.perf_counter() - begun), count + 1

    begun = time.perf_counter()
    chosen = settings(max_examples=cases, deadline=LIMIT, database=None, suppress_health_check=list(HealthCheck))
    seed(start)(chosen(given(st.tuples(*drawn))(timed)))()
    return {"cases": count, "seconds": time.perf_counter() - begun, "longest": longest, "seed": start, "failures": 0}


def main() -> None:
    """Parse, knock, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--door", choices=("config", "predictions", "both"), default="both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    doors = {
        "predictions": (check_prediction_reader, (st.lists(prediction_files(), min_size=1, max_size=2), st.booleans())),
        "config": (check_config_door, (arguments(),)),
    }
    path = chosen.out
    result = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.is_file() else {"doors": {}}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["STRESS_LAB_CACHE"] = cache
        for name, (check, drawn) in doors.items():
            if chosen.door in (name, "both"):
                result["doors"][name] = knock(check, drawn, chosen.cases, chosen.seed)
                print(name, result["doors"][name], flush=True)
    result |= {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
    }
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
