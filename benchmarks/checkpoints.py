#!/usr/bin/env python3
"""What it costs that a checkpoint is verified when it is saved and before it is loaded.

    python benchmarks/checkpoints.py                 # ResNet-18 of width 64, with and without a moving average
    python benchmarks/checkpoints.py --repeats 3 --width 16

Each repeat saves and loads the same checkpoint in every way, one after the other, in an order of its own: torch.save
and torch.load alone, Lightning's way, and the product's. Ratios are taken within a repeat; written are their medians
and extremes. Files come from memory that the kernel keeps of the disk, so that the disk's own speed counts for none of
them. Writes results/checkpoints/checkpoints.json.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from machine import describe

from stress_lab.callbacks.checkpoint import VerifiedCheckpointIO
from stress_lab.models.resnet import ResNet18
from stress_lab.storage.checkpoint_files import check_checkpoint

RESULT = Path(__file__).parent / "results" / "checkpoints" / "checkpoints.json"


def make_checkpoint(width: int, averaged: bool) -> dict[str, Any]:
    """What Lightning saves of a run after its first step: weights, momentum, and a moving average, if any."""
    net = ResNet18(width=width)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    more = {"current_model_state": {name: value.clone() for name, value in state.items()}} if averaged else {}
    rows = [{"epoch": number, "train/loss": 1.0, "val/acc": 0.5, "lr": 0.1, "seconds": 9.0} for number in range(50)]
    return {
        "epoch": 49,
        "state_dict": state,
        "optimizer_states": [optimizer.state_dict()],
        "callbacks": {"HistoryWriter": {"rows": rows}},
        **more,
    }


def load_verified(path: Path) -> None:
    """As the product loads weights."""
    check_checkpoint(path)
    torch.load(path, map_location="cpu", weights_only=True)


def time_once(act: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def measure(checkpoint: dict[str, Any], folder: Path, repeats: int) -> tuple[list[dict[str, float]], int]:
    """Seconds of each way in each repeat, and the bytes of the file."""
    ours, theirs = VerifiedCheckpointIO("0" * 32), TorchCheckpointIO()
    path = {name: folder / f"{name}.ckpt" for name in ("alone", "lightning", "verified")}
    ways: dict[str, Callable[[], object]] = {
        "save_alone": lambda: torch.save(checkpoint, path["alone"]),
        "save_lightning": lambda: theirs.save_checkpoint(checkpoint, path["lightning"]),
        "save_verified": lambda: ours.save_checkpoint(checkpoint, path["verified"]),
        "check": lambda: check_checkpoint(path["verified"]),
        "load_alone": lambda: torch.load(path["verified"], map_location="cpu", weights_only=True),
        "load_verified": lambda: load_verified(path["verified"]),
    }
    for act in ways.values():  # the first of each is slower
        act()
    rows = []
    for number in range(repeats):
        order = list(ways)
        random.Random(number).shuffle(order)
        rows.append({name: time_once(ways[name]) for name in order})
    return rows, path["verified"].stat().st_size


def summarize(rows: list[dict[str, float]], size: int) -> dict[str, Any]:
    """Medians in milliseconds, and ratios within a repeat."""
    ratios = {
        "save_verified_to_alone": [row["save_verified"] / row["save_alone"] for row in rows],
        "save_verified_to_lightning": [row["save_verified"] / row["save_lightning"] for row in rows],
        "load_verified_to_alone": [row["load_verified"] / row["load_alone"] for row in rows],
    }
    return {
        "megabytes": round(size / 1e6, 1),
        "median_ms": {name: round(1e3 * statistics.median(row[name] for row in rows), 1) for name in sorted(rows[0])},
        "ratios": {
            name: {
                "median": round(statistics.median(values), 2),
                "lowest": round(min(values), 2),
                "highest": round(max(values), 2),
            }
            for name, values in ratios.items()
        },
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--width", type=int, default=64)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    found: dict[str, Any] = {"repeats": chosen.repeats, "width": chosen.width, **describe()}
    for name, averaged in (("plain", False), ("averaged", True)):
        with tempfile.TemporaryDirectory() as folder:
            found[name] = summarize(*measure(make_checkpoint(chosen.width, averaged), Path(folder), chosen.repeats))
        print(name, json.dumps(found[name], indent=2))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
