"""What the page's filters and its confusion matrices ask of each failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TAGS = ("fixed", "broken", "no longer confident", "newly confident", "hard core", "flicker")
MATRIX_CLASSES = 20  # up to which every pair of classes has a cell
MATRICES = 3  # variants whose confusions are shown beside the reference's
LISTED = 20  # confusions shown where there are more classes


def list_failures(gallery: Mapping[str, Any]) -> dict[str, Any]:
    """What the page's script knows of the failures shown, in their order, and of those that are not."""
    elsewhere = gallery.get("elsewhere", [])  # older records lack it
    if elsewhere is not None and len(gallery["order"]) + len(elsewhere) != gallery["failures_found"]:
        elsewhere = None
    return {
        "shown": [{"card": number, **describe_card(gallery["cards"][number])} for number in gallery["order"]],
        "elsewhere": None if elsewhere is None else [_describe_elsewhere(one) for one in elsewhere],
    }


def describe_card(card: Mapping[str, Any]) -> dict[str, Any]:
    """What the filters need of a card; for each variant that fails it, the answers and the highest confidence."""
    return {
        "index": card["index"],
        "true": card["label"],
        "tags": list(card["tags"].values()),
        "patterns": card["patterns"],
        "fails": [
            _describe_failure(variant, model) for variant, model in card["models"].items() if model["failure_rate"]
        ],
    }


def _describe_elsewhere(one: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a failure without a card."""
    fails = [_describe_failure(variant, model) for variant, model in one["fails"].items()]
    return {"true": one["label"], "tags": one["tags"], "patterns": one["patterns"], "fails": fails}


def _describe_failure(variant: str, model: Mapping[str, Any]) -> dict[str, Any]:
    return {"variant": variant, "preds": model["failed_preds"], "confidence": model["failed_confidence"]}


def cut_gallery(gallery: Mapping[str, Any], shown: int) -> dict[str, Any]:
    """The same gallery with fewer failures on the page; the others are still counted."""
    gone = [gallery["cards"][number] for number in gallery["order"][shown:]]
    elsewhere = gallery.get("elsewhere", [])
    if elsewhere is not None:
        elsewhere = [*map(_as_elsewhere, gone), *elsewhere]
    return {**gallery, "order": gallery["order"][:shown], "elsewhere": elsewhere}


def _as_elsewhere(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card as the record holds failures without one."""
    fails = {variant: model for variant, model in card["models"].items() if model["failure_rate"]}
    return {"label": card["label"], "tags": list(card["tags"].values()), "patterns": card["patterns"], "fails": fails}


def group_tags(card: Mapping[str, Any]) -> list[str]:
    """Each tag once, with its variants: ``fixed by cutout``."""
    tags = card["tags"]
    words = []
    for tag in dict.fromkeys(tag for tag in tags.values() if tag != "never"):
        variants = ", ".join(variant for variant, one in tags.items() if one == tag)
        named = f" ({variants})" if len(tags) > 1 else ""
        words.append(f"{tag} by {variants}" if tag in ("fixed", "broken") else f"{tag}{named}")
    return words


def list_matrices(comparison: Mapping[str, Any], gallery: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The confusions of the first other variants, as cells or, with many classes, as those that changed most."""
    openings = _count_openings(gallery)
    places = {one["variant"]: place for place, one in enumerate(comparison["variants"])}
    compared = {one["b"]: (number, one) for number, one in enumerate(comparison["comparisons"])}
    a, *others = comparison.get("shown") or places
    found = []
    for b in others[:MATRICES]:
        number, one = compared.get(b, (None, {}))
        found.append(
            {
                "comparison": number,
                "a": a,
                "b": b,
                "place_a": places[a],
                "place_b": places[b],
                "cells": _list_cells(comparison, (places[a], places[b]), openings),
                "changes": _list_changes(one, "confusions", openings),
                "right": _list_changes(one, "answers_right", {}),
            }
        )
    return [one for one in found if one["cells"] or one["changes"]]


def _count_openings(gallery: Mapping[str, Any] | None) -> dict[tuple[str, str], tuple[int, int]]:
    """By true class and answer: failures on the page, and all that are known."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    if gallery is None:
        return counts
    known = list_failures(gallery)
    for here, failures in ((1, known["shown"]), (0, known["elsewhere"] or [])):
        for one in failures:
            for pred in {pred for fails in one["fails"] for pred in fails["preds"]}:
                shown, total = counts.get((one["true"], pred), (0, 0))
                counts[one["true"], pred] = shown + here, total + 1
    return counts


def _list_cells(
    comparison: Mapping[str, Any], places: tuple[int, int], openings: Mapping[tuple[str, str], tuple[int, int]]
) -> list[list[dict[str, Any]]]:
    """(K, K) cells of two variants: counts, whether the change is better, its strength, and what it opens."""
    classes, variants = comparison["data"]["classes"], comparison["variants"]
    matrices = [variants[number]["confusion"] for number in places]
    if any(matrix is None for matrix in matrices) or len(classes) > MATRIX_CLASSES:
        return []
    every = [
        [_describe_change(matrices[0][i][j], matrices[1][i][j], i == j) for j in range(len(classes))]
        for i in range(len(classes))
    ]
    for diagonal in (True, False):  # a change of right answers would hide all others
        some = [cell for i, row in enumerate(every) for j, cell in enumerate(row) if (i == j) is diagonal]
        peak = max([1.0, *(abs(cell["change"]) for cell in some)])
        for cell in some:
            cell["strength"] = abs(cell["change"]) / peak
    for true, row in zip(classes, every, strict=True):
        for pred, cell in zip(classes, row, strict=True):
            cell["shown"], cell["opens"] = openings.get((true, pred), (0, 0))
    return every


def _list_changes(
    compared: Mapping[str, Any], kind: str, openings: Mapping[tuple[str, str], tuple[int, int]]
) -> list[dict[str, Any]]:
    """The confusions, or right answers, that changed most; older records have none."""
    changed = [one for one in compared.get(kind, []) if one["before"] != one["after"]]
    return [
        {
            **_describe_change(one["before"], one["after"], one["true"] == one["predicted"]),
            "true": one["true"],
            "predicted": one["predicted"],
            "place": compared[kind].index(one),
            **dict(zip(("shown", "opens"), openings.get((one["true"], one["predicted"]), (0, 0)), strict=True)),
        }
        for one in changed[:LISTED]
    ]


def _describe_change(before: float, after: float, right: bool) -> dict[str, Any]:
    """A change of a count: more right answers, and fewer wrong ones, are better."""
    change = after - before
    tone = "same" if not change else "better" if (change > 0) == right else "worse"
    return {"before": before, "after": after, "change": change, "tone": tone, "strength": 0.0}


def tags_of(gallery: Mapping[str, Any]) -> Sequence[str]:
    """The tags that any failure has, in the order of the filter."""
    known = list_failures(gallery)
    found = {tag for one in [*known["shown"], *(known["elsewhere"] or [])] for tag in one["tags"]}
    return [tag for tag in TAGS if tag in found]
