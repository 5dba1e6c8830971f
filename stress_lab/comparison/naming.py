"""What variants are called: runs of equal name and seed have equal configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stress_lab.files import flatten
from stress_lab.runs import RunDir

# config that makes no variant
UNNAMED = ("seed", "name", "threads", "callbacks", "logger", "comparison", "resume", "jobs")


def name_variants(runs: Sequence[RunDir]) -> list[str]:
    """One variant name a run, so that equal name and seed mean equal config.

    A sweep over any key works without naming its variants: runs that share variant and seed but differ, say in
    ``optim.lr``, become ``baseline (optim.lr=0.1)`` and ``baseline (optim.lr=0.01)``.
    """
    flats = [_flatten_named(run, UNNAMED) for run in runs]
    told = {repr((run.config["variant"], run.config["seed"], flat)) for run, flat in zip(runs, flats, strict=True)}
    if len(told) < len(runs):  # perhaps callbacks were swept
        flats = [_flatten_named(run, tuple(key for key in UNNAMED if key != "callbacks")) for run in runs]
    names = []
    for run, flat in zip(runs, flats, strict=True):
        kin = [
            other for peer, other in zip(runs, flats, strict=True) if peer.config["variant"] == run.config["variant"]
        ]
        keys = sorted({key for other in kin for key in {*flat, *other} if other.get(key) != flat.get(key)})
        named = [key for key in keys if key.count(".") == 1 and key.endswith(".name")]  # of a group that was swept
        if named and all(flat == other for other in kin if all(flat.get(key) == other.get(key) for key in named)):
            keys = named
        label = ", ".join(f"{key.removesuffix('.name')}={flat.get(key)}" for key in keys)
        names.append(f"{run.config['variant']} ({label})" if label else str(run.config["variant"]))
    return names


def _flatten_named(run: RunDir, unnamed: Sequence[str]) -> dict[str, Any]:
    """Config that can make a variant, by dotted key."""
    return flatten({key: value for key, value in run.config.items() if key not in unnamed})
