"""What a measurement was made on, for the files in benchmarks/results."""

import datetime
import os
from importlib.metadata import version
from typing import Any


def describe(*packages: str) -> dict[str, Any]:
    """Date, machine, commit and versions; ``packages`` are added to those that every run lists."""
    from stress_lab.runtime.hardware import describe_device, list_versions
    from stress_lab.training.code import describe_checkout

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"processor": describe_device("cpu"), "cores": os.cpu_count(), "memory_gb": round(memory, 1)},
        "code": describe_checkout(),
        "versions": {**list_versions(), **{package: version(package) for package in packages}},
    }
