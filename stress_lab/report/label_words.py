"""What a comparison says about wrong labels, the same for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stress_lab.report.numbers import Speaker
from stress_lab.report.words import TITLES

IMPLAUSIBLE = 0.11  # share of suspects; of ten test sets in use, 0.15 to 10.1 % are wrong (Northcutt et al. 2021)


def describe_labels(one: Speaker) -> list[str]:
    """The sentences about the labels: how many may be wrong, what that changes, what was checked, near-duplicates.

    Args:
        one: at ``labels`` of a comparison, which is not None.
    """
    return [*summarize_labels(one), *_describe_twins(one)]


def summarize_labels(one: Speaker) -> list[str]:
    """The same for the terminal, where near-duplicates are an alarm already."""
    doubt = _describe_doubt(one)
    return [headline_labels(one), *(doubt or _describe_verdicts(one)), *_describe_checks(one)]


def _describe_doubt(one: Speaker) -> list[str]:
    """A warning where there are more suspects than any data set in use has wrong labels."""
    if one.value("suspects") <= IMPLAUSIBLE * one.value("n"):
        return []
    return ["With that many suspects the models are more likely wrong than the labels."]


def headline_labels(one: Speaker) -> str:
    """How many of the confident failures may be wrong labels, and what else is known about them."""
    if one.value("failures"):
        template = "{found} of the {failures} images that a run gets wrong with confidence may have the wrong label"
    else:
        template = "{suspects} of the {n} test images may have the wrong label"
    parts = {
        "disagreed_failures": "; on {disagreed} people disagree",
        "twin_failures": "; {twins} have a near-duplicate in train with another label",
    }
    template += "".join(words for key, words in parts.items() if one.value(key))
    return one.fill(
        template + ".",
        found=one.number("count", "suspect_failures"),
        **_counts(one, "failures", "suspects", "n"),
        disagreed=one.number("count", "disagreed_failures"),
        twins=one.number("count", "twin_failures"),
    )


def _describe_verdicts(one: Speaker) -> list[str]:
    """Whether the verdicts turn without the suspects."""
    verdicts, suspects = one.value("verdicts"), one.value("suspects")
    asked = [place for place, verdict in enumerate(verdicts) if verdict["without"] is not None]
    if not suspects or not asked:
        return []
    turned = [place for place in asked if verdicts[place]["verdict"] != verdicts[place]["without"]]
    if not turned:
        same = "Without the {suspects} suspects of all {n} test images no verdict changes."
        return [one.fill(same, suspects=one.number("count", "suspects"), n=one.number("count", "n"))]
    return [
        one.fill(
            "Without the {suspects} suspects of all {n} test images the verdict on {what} of {b} is {after}, "
            "not {before}.",
            suspects=one.number("count", "suspects"),
            n=one.number("count", "n"),
            what=TITLES[verdicts[place]["question"]].lower(),
            b=one.text("verdicts", place, "b"),
            after=verdicts[place]["without"],
            before=verdicts[place]["verdict"],
        )
        for place in turned
    ]


def _describe_checks(one: Speaker) -> list[str]:
    """How many labels somebody checked and corrected, and the rate that gives."""
    if one.value("error_rate") is None:
        return []
    template = "Of {checked} checked labels {corrected} were corrected; everything here uses the corrected ones. "
    known = one.value("error_rate", "rate") is not None
    estimate = "Estimated share of wrong labels: {rate} ({low} to {high})."
    bounds = "Between {low} and {high} of all labels are wrong: check some suspects and some others to know it better."
    template += estimate if known else bounds
    return [
        one.fill(
            template,
            checked=one.number("count", "checked"),
            corrected=one.number("count", "corrected"),
            rate=one.number("percent", "error_rate", "rate"),
            low=one.number("percent", "error_rate", "low"),
            high=one.number("percent", "error_rate", "high"),
        )
    ]


def _describe_twins(one: Speaker) -> list[str]:
    """How many test images have a near-duplicate in train, and what accuracy is without them."""
    if one.value("twins") is None:
        return []
    said = [one.fill("{twins} of the {n} test images have a near-duplicate in train.", **_counts(one, "twins", "n"))]
    for place in range(len(one.value("twin_effects")) if one.value("twins") else 0):
        effect = one.within("twin_effects", place)
        said.append(
            effect.fill(
                "Without them {variant} is {after} accurate ({low} to {high}), with them {before}.",
                variant=effect.text("variant"),
                after=effect.number("percent", "accuracy_without", "value"),
                low=effect.number("percent", "accuracy_without", "low"),
                high=effect.number("percent", "accuracy_without", "high"),
                before=effect.number("percent", "accuracy", "value"),
            )
        )
    return said


def _counts(one: Speaker, *names: str) -> dict[str, str]:
    """Counts as text, by name."""
    return {name: one.number("count", name) for name in names}


def find_cards(gallery: Mapping[str, Any]) -> dict[Any, int]:
    """The place of each image's card in a gallery, by the image's name."""
    return {card["index"]: place for place, card in enumerate(gallery["cards"])}
