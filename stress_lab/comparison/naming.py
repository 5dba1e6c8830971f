"""What variants are called: runs of equal name and seed have equal configs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stress_lab.runs.folder import RunDir

# config keys that do not make a variant
UNNAMED = ("seed", "name", "threads", "callbacks", "logger", "comparison", "resume", "jobs")

MISSING = object()  # stands for the value of a key that a run lacks


def name_variants(runs: Sequence[RunDir]) -> list[str]:
    """One variant name per run, as :func:`name_configs` gives them to the runs' configs."""
    return name_configs([run.config for run in runs])


def name_configs(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One variant name per run, so that equal name and seed mean equal config.

    A sweep over any key works without naming its variants: runs that share variant and seed but differ, say in
    ``optim.lr``, become ``baseline (optim.lr=0.1)`` and ``baseline (optim.lr=0.01)``. Values are written as
    typed; a key that a run lacks is left out of its name.
    """
    flats = [_flatten_named(config, UNNAMED) for config in configs]
    named_by = [(config["variant"], config["seed"], flat) for config, flat in zip(configs, flats, strict=True)]
    if len(set(map(repr, named_by))) < len(configs):  # perhaps callbacks were swept
        flats = [_flatten_named(config, tuple(key for key in UNNAMED if key != "callbacks")) for config in configs]
    names = []
    for config, flat in zip(configs, flats, strict=True):
        kin = [other for peer, other in zip(configs, flats, strict=True) if peer["variant"] == config["variant"]]
        differ = {key for other in kin for key in {*flat, *other} if other.get(key, MISSING) != flat.get(key, MISSING)}
        keys = sorted(differ & flat.keys())
        named = [key for key in keys if key.count(".") == 1 and key.endswith(".name")]  # of a group that was swept
        if named and all(flat == other for other in kin if all(flat[key] == other.get(key) for key in named)):
            keys = named
        label = ", ".join(f"{key.removesuffix('.name')}={_write(flat[key])}" for key in keys)
        names.append(f"{config['variant']} ({label})" if label else str(config["variant"]))
    return names


def _flatten_named(config: Mapping[str, Any], unnamed: Sequence[str]) -> dict[str, Any]:
    """Config keys that can make a variant, dotted; a list is one value."""
    return _flatten({key: value for key, value in config.items() if key not in unnamed})


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested groups as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        inner = isinstance(value, dict) and value
        flat |= _flatten(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def _write(value: Any) -> str:
    """A value as typed on the command line: ``0.1``, ``null``, ``[0.5, 0.8]``."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_write(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_write, value))}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
