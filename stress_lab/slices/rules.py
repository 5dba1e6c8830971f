"""Sets of images that can be named without knowing any outcome, and their members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stress_lab.errors import DataError
from stress_lab.records import BoolArray, FloatArray, IntArray
from stress_lab.slices.properties import PROPERTIES, Wording

MAX_SHARE = 1 / 3  # of the images: a "fifth" that ties make larger than this is not used


class Slice(NamedTuple):
    """A set of images by rule; ``parts`` are the positions of the enclosing sets, 0 for all images."""

    key: str
    words: str
    rule: dict[str, Any]
    parts: tuple[int, int] = (0, 0)


def is_member(
    rule: Mapping[str, Any], label: IntArray, properties: Mapping[str, FloatArray], classes: Sequence[str]
) -> BoolArray:
    """(N,) True for the images that a pattern's rule describes, for the same or any other images.

    Args:
        rule: ``classes`` (names, or None for any), ``bounds`` (property: [lowest, highest], None for open), ``pair``,
            and of a pair ``one_way`` (the first class mistaken for the second; older records lack it and mean both).
        label: (N,) class numbers. ``properties``: (N,) values by name. ``classes``: K names.

    Raises:
        DataError: the rule names a missing class or property.
    """
    member = np.ones(len(label), bool)
    if rule["classes"] is not None and rule.get("one_way"):
        member &= label == position_of(rule["classes"][0], list(classes), "class")
    elif rule["classes"] is not None:
        member &= np.isin(label, [position_of(name, list(classes), "class") for name in rule["classes"]])
    for name, (low, high) in rule["bounds"].items():
        position_of(name, list(properties), "property")
        member &= properties[name] >= (-np.inf if low is None else low)
        member &= properties[name] <= (np.inf if high is None else high)
    return member


def event_inside(
    rule: Mapping[str, Any], event: BoolArray, label: IntArray, pred: IntArray, classes: Sequence[str]
) -> BoolArray:
    """(N,) the event that a pattern counts: for a pair an image mistaken for the other class, else ``event``."""
    if not rule["pair"]:
        return event
    numbers = [position_of(name, list(classes), "class") for name in rule["classes"]]
    if rule.get("one_way"):
        return np.asarray(event & (label == numbers[0]) & (pred == numbers[1]))
    return np.asarray(event & np.isin(label, numbers) & np.isin(pred, numbers) & (pred != label))


def name_pair(first: str, second: str, one_way: bool) -> Slice:
    """Two classes of which the first is mistaken for the second, or each for the other."""
    rule = {"classes": [first, second], "bounds": {}, "pair": True, "one_way": one_way}
    if one_way:
        return Slice(f"pair:{first}>{second}", f"{first} mistaken for {second}", rule)
    return Slice(f"pair:{first}<>{second}", f"{first} and {second} look-alikes (mistaken for each other)", rule)


def position_of(name: str, names: list[str], what: str) -> int:
    """The position of a name; DataError if it is missing."""
    if name not in names:
        raise DataError(f"a pattern names the {what} {name!r}, but there are only {', '.join(names) or 'none'}")
    return names.index(name)


def is_group(name: str, values: FloatArray) -> bool:
    """Whether a property (N,) only marks membership in a group: it is 1 or 0, both occur, and it is not measured."""
    return name not in PROPERTIES and set(np.unique(values).tolist()) == {0.0, 1.0}


def make_fifths(name: str, values: FloatArray) -> list[Slice]:
    """The lowest and the highest fifth of a property, at observed values; left out if ties make it a third or more.

    For a group it is only the group, however large.

    Args:
        values: (N,) of all images: these bounds do not depend on any outcome.
    """
    if is_group(name, values):
        return [Slice(name, name, {"classes": None, "bounds": {name: [1.0, None]}, "pair": False})]
    wording = PROPERTIES.get(name, Wording(f"low {name}", f"high {name}", name, ""))
    found = []
    for end, sign, word in (("low", 1.0, "at most"), ("high", -1.0, "at least")):
        ordered = np.sort(sign * values)
        bound = ordered[max(0, int(np.ceil(0.2 * len(values))) - 1)]
        if (ordered <= bound).mean() > MAX_SHARE:
            smaller = ordered[ordered < bound]
            if not len(smaller):
                continue
            bound = smaller[-1]
        bounds = [None, float(bound)] if end == "low" else [float(-bound), None]
        words = f"{getattr(wording, end)} ({wording.measure} {word} {sign * bound:.3g})"
        found.append(Slice(f"{name}:{end}", words, {"classes": None, "bounds": {name: bounds}, "pair": False}))
    return found


def name_ends(name: str, values: FloatArray) -> list[tuple[str, str]]:
    """Key and words of a property's lowest and highest fifth, whether they can be built or not; for a group its own."""
    if is_group(name, values):
        return [(name, name)]
    wording = PROPERTIES.get(name, Wording(f"low {name}", f"high {name}", name, ""))
    return [(f"{name}:low", wording.low), (f"{name}:high", wording.high)]


def combine(fifth: Slice, one: Slice, parts: tuple[int, int]) -> Slice:
    """A class within a fifth."""
    rule = {"classes": one.rule["classes"], "bounds": fifth.rule["bounds"], "pair": False}
    return Slice(f"{fifth.key} & {one.key}", f"{one.words}, {fifth.words}", rule, parts)
