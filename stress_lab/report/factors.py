"""Crossed choices in words: what each one does, and whether that depends on the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stress_lab.report.numbers import KINDS, p_value

NAMES = {"accuracy": "accuracy", "confident_failures_matched": "confident failures at equal coverage"}


def headline(factors: Mapping[str, Any]) -> str:
    """Whether any choice's effect depends on another's: ``The effect of augment depends on optim``.

    Args:
        factors: ``factors`` of ``comparison.json``.
    """
    found = [one for one in factors["effects"] if one["kind"] == "interaction"]
    apart = dict.fromkeys((one["factor"], one["other"]) for one in found if one["apart"])
    if apart:
        return f"The effect of {_join([f'{factor} depends on {other}' for factor, other in apart])}"
    pairs = dict.fromkeys((one["factor"], one["other"]) for one in found)
    return f"Nothing shows that the effect of {_join([f'{factor} depends on {other}' for factor, other in pairs])}"


def _join(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + f" and that of {parts[-1]}" if len(parts) > 1 else parts[0]


def describe_effect(one: Mapping[str, Any], factors: Mapping[str, Any]) -> str:
    """What is compared: ``augment: cutout instead of baseline, averaged over optim``."""
    change = f"{one['factor']}: {one['level']} instead of {one['base']}"
    if one["kind"] == "main":
        others = [name for name in factors["levels"] if name != one["factor"]]
        return f"{change}, averaged over {' and '.join(others)}"
    if one["kind"] == "simple":
        return f"{change}, with {one['other']}={one['other_level']}"
    change, other = f"{one['factor']} × {one['other']}: {one['level']} instead of {one['base']}", one["other"]
    return f"{change}, {other}={one['other_level']} minus {other}={one['other_base']}"


def read_effect(one: Mapping[str, Any], factors: Mapping[str, Any]) -> str:
    """``helps``, ``hurts`` or ``cannot tell``; of an interaction whether it depends; nothing of a simple effect."""
    if one["apart"] is None:
        return ""
    if not one["apart"]:
        return "cannot tell"
    if one["kind"] == "interaction":
        return "depends"
    better = (one["difference"] > 0) == (factors["better"][one["measure"]] == "higher")
    return "helps" if better else "hurts"


def describe_factors(factors: Mapping[str, Any]) -> Iterator[str]:
    """The headline, then a line for each main effect and interaction, for the terminal."""
    yield headline(factors)
    level = f"{100 * factors['level']:g} %"
    for one in factors["effects"]:
        if one["kind"] != "simple":
            low, high = (KINDS["points"](bound) for bound in one["interval"])
            yield (
                f"  {NAMES[one['measure']]}; {describe_effect(one, factors)}: {KINDS['points'](one['difference'])} "
                f"points, {level} interval {low} to {high}, p {p_value(one['p_adjusted'])} after Holm: "
                f"{read_effect(one, factors)}"
            )
