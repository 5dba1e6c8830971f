"""What the first screen shows of each comparison: finding, picture, where the images went, the first images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stress_lab.comparison.measures import JUDGED_BY
from stress_lab.report.advice import Advice, advise
from stress_lab.report.flow_picture import draw_flow
from stress_lab.report.verdict_picture import draw_axis, draw_row, find_reach

SHOWN = 8  # images in a row of the first screen
NEW, GONE = ("broken", "newly confident"), ("fixed", "no longer confident")
MOVES = (  # of the states right; wrong, unsure; wrong, sure
    ("broken, sure", 0, 2),
    ("broken, unsure", 0, 1),
    ("newly confident", 1, 2),
    ("no longer confident", 2, 1),
    ("fixed, was unsure", 1, 0),
    ("fixed, was sure", 2, 0),
)
PLAIN_MOVES = (("broken", 0, 1), ("fixed", 1, 0))  # without confidences


@dataclass(frozen=True)
class Strip:
    """Images in a row that ``variant`` fails with confidence more often than ``other``.

    Attributes:
        tags: of images that all its runs fail and none of the other's. ``cards``: shown; with several runs also
            images that some runs fail.
    """

    title: str
    tags: tuple[str, ...]
    variant: str
    other: str
    cards: tuple[int, ...]


@dataclass(frozen=True)
class Panel:
    """A variant against the reference.

    Attributes:
        number: in ``comparisons``. ``questions``: positions in ``questions``. ``tone``: of the headline.
        pictures: of each question. ``axis``: below them. ``seeds``: whether they show single runs.
        flow: the picture, with ``moves`` as (name, from, to); None in older records.
    """

    number: int
    questions: tuple[int, ...]
    tone: str
    pictures: tuple[Markup, ...]
    axis: Markup
    seeds: bool
    flow: Markup | None
    moves: tuple[tuple[str, int, int], ...]
    strips: tuple[Strip, ...]
    advice: Advice


def describe_panels(comparison: Mapping[str, Any], gallery: Mapping[str, Any] | None) -> list[Panel]:
    """One panel for each variant but the reference."""
    return [_describe_panel(comparison, gallery, number) for number in range(len(comparison["comparisons"]))]


def _describe_panel(comparison: Mapping[str, Any], gallery: Mapping[str, Any] | None, number: int) -> Panel:
    compared = comparison["comparisons"][number]
    places = [at for at, one in enumerate(comparison["questions"]) if one["b"] == compared["b"]]
    asked = [comparison["questions"][at] for at in places]
    values = [_values(comparison, one) for one in asked]
    reach = find_reach(zip(asked, values, strict=True))
    flow = compared.get("flow")
    return Panel(
        number=number,
        questions=tuple(places),
        tone=_tone([one["verdict"] for one in asked]),
        pictures=tuple(draw_row(one, both, reach) for one, both in zip(asked, values, strict=True)),
        axis=draw_axis(reach),
        seeds=any(max(len(a), len(b)) > 1 for a, b in values),
        flow=draw_flow(flow, compared["a"], compared["b"]) if flow else None,
        moves=(MOVES if len(flow["states"]) > 2 else PLAIN_MOVES) if flow else (),
        strips=_list_strips(compared, gallery),
        advice=advise(comparison, asked),
    )


def _values(comparison: Mapping[str, Any], question: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """The question's measure of each run of A and of B."""
    found = {one["variant"]: one["metrics"] for one in comparison["variants"]}
    measure = question.get("measure", JUDGED_BY[question["question"]])
    return found[question["a"]][measure]["values"], found[question["b"]][measure]["values"]


def _tone(verdicts: Sequence[str]) -> str:
    """Helped or hurt where nothing contradicts it."""
    decided = {"helped", "hurt"}.intersection(verdicts)
    return decided.pop() if len(decided) == 1 else "mixed" if decided else "open"


def _list_strips(compared: Mapping[str, Any], gallery: Mapping[str, Any] | None) -> tuple[Strip, ...]:
    """The images that are newly wrong with confidence, and those that no longer are."""
    if compared["stability"] is None:
        return ()
    a, b, several = compared["a"], compared["b"], compared["stability"]["k_a"] * compared["stability"]["k_b"] > 1
    new, gone = ("More often", "Less often") if several else ("Newly", "No longer")
    return (
        Strip(f"{new} wrong and sure", NEW, b, a, _choose(gallery, b, a)),
        Strip(f"{gone} wrong and sure", GONE, a, b, _choose(gallery, a, b)),
    )


def _choose(gallery: Mapping[str, Any] | None, variant: str, other: str) -> tuple[int, ...]:
    """The cards that a variant fails in more of its runs than the other; the largest change, then the surest first."""
    if gallery is None:
        return ()

    def weigh(number: int) -> tuple[float, float]:
        models = gallery["cards"][number]["models"]
        more = models[variant]["failure_rate"] - models[other]["failure_rate"]
        return -more, -(models[variant]["failed_confidence"] or 0)

    known = [number for number in gallery["order"] if gallery["cards"][number]["models"][variant]["failure_rate"]]
    return tuple([number for number in sorted(known, key=weigh) if weigh(number)[0] < 0][:SHOWN])


def name_tag(card: Mapping[str, Any], variant: str) -> str | None:
    """A card's tag under a variant; older records call every image fixed or broken that crossed the threshold."""
    models = card["models"]
    tag: str | None = card["tags"].get(variant)
    if tag == "fixed" and models[variant]["any_wrong"]:
        return "no longer confident"
    if tag == "broken" and next(iter(models.values()))["any_wrong"]:
        return "newly confident"
    return tag
