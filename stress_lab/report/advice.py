"""What to do after a comparison, with the command to type."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOOT = "More images or seeds would not help before the nets do better than always answering one class."
FIRST_SEEDS = 5  # enough for the permutation test of two questions
MOST_SEEDS = 20  # more are not typed out


@dataclass(frozen=True)
class Advice:
    """A sentence, and what to type where a command helps."""

    sentence: str
    command: str | None = None


def advise(comparison: Mapping[str, Any], asked: Sequence[Mapping[str, Any]]) -> Advice:
    """The next step after the questions about one variant.

    Args:
        comparison: the record.
        asked: its questions about that variant.
    """
    if not asked:
        return Advice("No question could be asked; the notes say why.")
    if any(one["more"].get("moot") for one in asked):
        return Advice(f"Next: get the training to work. {MOOT}")
    if all(one["unit"] == "models" for one in asked):
        return _advise_seeds(comparison, asked, FIRST_SEEDS, "Next: compare several training runs of each")
    needed = [one["more"] for one in asked if one["verdict"] == "cannot tell"]
    if needed and len(needed) == len(asked):
        return _advise_undecided(comparison, asked, needed)
    return Advice(_advise_decided(asked[0]["a"], asked[0]["b"], {one["verdict"] for one in asked}))


def _advise_undecided(
    comparison: Mapping[str, Any], asked: Sequence[Mapping[str, Any]], needed: Sequence[Mapping[str, Any]]
) -> Advice:
    """Several runs that decide nothing."""
    reach = [one["seeds_to_reach"] for one in needed if one.get("out_of_reach") and one.get("seeds_to_reach")]
    seeds = [one["seeds"] for one in needed if one["seeds"]]
    if reach:
        return _advise_seeds(comparison, asked, max(reach), "Next: more seeds. With so few runs no test can decide")
    if not seeds or min(seeds) > MOST_SEEDS:
        return Advice("Seeds alone will not decide this soon; the small print says what would. Take the cheaper one.")
    return _advise_seeds(
        comparison, asked, min(seeds), f"Next: about {min(seeds)} seeds of each would probably decide this"
    )


def _advise_decided(a: str, b: str, verdicts: set[str]) -> str:
    """What the verdicts recommend."""
    if {"helped", "hurt"} <= verdicts:
        return "Next: decide which of the two matters more to you."
    if "helped" in verdicts:
        return f"Next: take {b}, after a look at what it newly gets wrong."
    if "hurt" in verdicts:
        return f"Next: stay with {a}; the images show what {b} gets wrong."
    return "Next: take the cheaper one, as far as the two are equivalent."


def _advise_seeds(
    comparison: Mapping[str, Any], asked: Sequence[Mapping[str, Any]], seeds: int, sentence: str
) -> Advice:
    """More runs of both variants, and how to get them."""
    a, b = asked[0]["a"], asked[0]["b"]
    if not is_from_files(comparison):
        command = sweep_command(comparison["runs"], seeds)
        return Advice(f"{sentence}{':' if command else '.'}", command)
    if str(comparison["data"]["source"]).startswith("models["):
        command = f"sl.compare({{{a!r}: [run1, run2, …], {b!r}: [run1, run2, …]}}, labels)"
    else:
        command = f"stress-lab compare {shlex.quote(f'predictions={{{a}: [a1.npz,a2.npz], {b}: [b1.npz,b2.npz]}}')} …"
    return Advice(f"{sentence}, one set of predictions a run:", command)


def is_from_files(comparison: Mapping[str, Any]) -> bool:
    """Whether other programs made the predictions, so that nothing is known about training."""
    return not any(run.get("overrides") or run.get("epochs") is not None for run in comparison["runs"])


def sweep_command(runs: Sequence[Mapping[str, Any]], seeds: int) -> str | None:
    """The sweep over the same variants with more seeds; None where one command line cannot name them.

    >>> runs = [{"variant": v, "seed": 1, "overrides": [f"augment={v}", "seed=1", "jobs=2"]} for v in "ab"]
    >>> sweep_command(runs, 3)
    'stress-lab -m augment=a,b seed=1,2,3'
    """
    values: dict[str, list[str]] = {}
    for run in runs:
        for override in run.get("overrides", ()):
            key, _, value = override.partition("=")
            if value not in values.setdefault(key, []):
                values[key].append(value)
    kept = {key: found for key, found in values.items() if key not in ("launcher", "sweeper", "jobs", "seed")}
    variants = {run["variant"] for run in runs}
    if not kept or math.prod(map(len, kept.values())) != len(variants):
        return None
    known = sorted({run["seed"] for run in runs})
    more = (seed for seed in range(1, seeds + len(known) + 1) if seed not in known)
    every = sorted([*known, *(next(more) for _ in range(seeds - len(known)))])
    typed = [f"{key}={','.join(found)}" for key, found in kept.items()]
    return shlex.join(["stress-lab", "-m", *typed, f"seed={','.join(map(str, every))}"])
