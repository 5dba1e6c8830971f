"""The verdicts in words, the same for the terminal and for the page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from stress_lab.report.numbers import Speaker

TITLES = {"accuracy": "Accuracy", "confident_failures": "Confident failures"}
MOOT = "More images or seeds would not help before the nets do better than always answering one class."
DIRECTIONS = {
    "accuracy": {"helped": "higher", "hurt": "lower"},
    "confident_failures": {"helped": "fewer at equal coverage", "hurt": "more at equal coverage"},
}


def repeat_command(overrides: Sequence[str], threads: int | None = None) -> str:
    """The shell command that repeats one run; it leaves out where the run ran, but not its threads.

    >>> repeat_command(["experiment=demo", "launcher=joblib", "jobs=2", "augment.extra=[{_target_: a.B}]"], 1)
    "stress-lab experiment=demo 'augment.extra=[{_target_: a.B}]' threads=1"
    """
    if threads is not None and not any(one.startswith("threads=") for one in overrides):
        overrides = [*overrides, f"threads={threads}"]
    return shlex.join(
        ["stress-lab", *(one for one in overrides if not one.startswith(("launcher=", "sweeper=", "jobs=")))]
    )


def headline(one: Speaker) -> str:
    """``Accuracy: helped (higher)``."""
    question, verdict = one.value("question"), one.value("verdict")
    direction = DIRECTIONS[question].get(verdict)
    template = "{title}: {verdict}"
    if verdict == "equivalent":
        template += " within ±{margin} points"
    elif direction and one.value("equivalent"):
        template += " ({direction}), but by less than ±{margin} points"
    elif direction:
        template += " ({direction})"
    margin = one.number("size", "margin")
    return one.fill(template, title=TITLES[question], verdict=verdict, direction=direction or "", margin=margin)


def describe_question(one: Speaker) -> list[str]:
    """The sentences below a headline: the numbers, their parts, what would decide it, the control.

    Args:
        one: at an entry of ``questions``.
    """
    return [
        _difference(one),
        *(_fair(one) if one.value("fair") else []),
        *_more(one),
        _control(one),
    ]


def _difference(one: Speaker) -> str:
    """Both rates, the difference, its interval and its test."""
    k_a, k_b = one.value("k_a"), one.value("k_b")
    models = one.value("unit") == "models"
    who = "two trained networks" if models else f"{k_a} and {k_b} runs"
    what = "" if one.value("question") == "accuracy" else " of images at equal coverage"
    template = (
        "{b} {rate_b} against {a} {rate_a}{what}: {difference} points, {level} interval {low} to {high} "
        "({method}; {who}, the same {n} test images; {test} {p}, {adjusted} after Holm)."
    )
    return one.fill(
        template,
        a=one.text("a"),
        b=one.text("b"),
        rate_a=one.number("percent", "mean_a"),
        rate_b=one.number("percent", "mean_b"),
        what=what,
        difference=one.number("points", "difference"),
        level=f"{100 * (1 - one.value('alpha')):g} %",
        low=one.number("points", "interval", 0),
        high=one.number("points", "interval", 1),
        method=one.text("interval_method"),
        who=who,
        n=one.number("count", "n"),
        test=one.text("test"),
        p=one.number("p", "p"),
        adjusted=one.number("p", "p_adjusted"),
    )


def _fair(one: Speaker) -> list[str]:
    """The raw counts, and how much of their change is confidence alone."""
    fair = one.within("fair")
    sentences = [
        one.fill(
            "The raw count above the threshold went from {raw_a} to {raw_b} per run ({change}): {ranking} by accuracy "
            "and ranking, {confidence} by confidence alone.",
            raw_a=fair.number("count", "raw_a"),
            raw_b=fair.number("count", "raw_b"),
            change=fair.number("change", "change"),
            ranking=fair.number("change", "by_ranking"),
            confidence=fair.number("change", "by_confidence"),
        )
    ]
    if fair.value("calibrated_a") is not None:
        sentences.append(
            one.fill(
                "With each model's confidence calibrated on val: {a} to {b}.",
                a=fair.number("count", "calibrated_a"),
                b=fair.number("count", "calibrated_b"),
            )
        )
    return sentences


def _more(one: Speaker) -> list[str]:
    """How many more images or seeds would decide it."""
    undecided = one.value("verdict") == "cannot tell"
    if one.value("unit") == "models":
        caveat = "One seed each: this is about two trained networks, and another seed could reverse it."
        return [_more_images(one), caveat] if undecided else [caveat]
    return [_more_seeds(one)] if undecided else []


def _more_images(one: Speaker) -> str:
    """For two networks."""
    more = one.within("more")
    if more.value().get("moot"):
        return MOOT
    target = more.number("size", "target")
    if more.value("images_more") == 0:
        template = (
            "This many images detect a difference of {target} points with {power} power: the true one may be smaller."
        )
        return more.fill(template, target=target, power=more.number("percent0", "power"))
    template = (
        "About {images} more test images would detect a difference of {target} points{what} between two "
        "networks{level}."
    )
    what = ", which is the margin," if more.value("target") > abs(one.value("difference")) else ""
    images = more.number("about", "images_more")
    return more.fill(template, images=images, target=target, what=what, level=_describe_level(more))


def _more_seeds(one: Speaker) -> str:
    """For recipes."""
    more = one.within("more")
    if more.value().get("moot"):
        return MOOT
    target = more.number("size", "target")
    if more.value("out_of_reach"):
        template = (
            "{k} runs cannot reach p < {alpha} here: the smallest possible p is {smallest} after Holm; "
            "{needed} seeds per variant could."
        )
        return one.fill(
            template,
            k=f"{one.value('k_a')} and {one.value('k_b')}",
            alpha=f"{one.value('alpha'):.2g}",
            smallest=more.number("p", "smallest_adjusted_p"),
            needed=more.number("count", "seeds_to_reach"),
        )
    if more.value("images") is not None:
        template = "More seeds would not detect a difference of {target} points: that takes about {images} test images."
        return one.fill(template, target=target, images=more.number("about", "images"))
    if not more.value("spread"):
        return "The runs of each variant agree to the last digit, so the number of seeds needed cannot be estimated."
    if more.value("seeds") is None:
        return one.fill("Even 1,000 seeds would not detect a difference of {target} points.", target=target)
    if more.value("seeds_more") == 0:
        return one.fill(
            "This many seeds detect a difference of {target} points more often than not: the true one may be smaller.",
            target=target,
        )
    template = "About {seeds} seeds per variant ({more} more) would detect a difference of {target} points{level}."
    seeds, extra = more.number("count", "seeds"), more.number("count", "seeds_more")
    return one.fill(template, seeds=seeds, more=extra, target=target, level=_describe_level(more))


def _describe_level(more: Speaker) -> str:
    """A note that several questions share the risk, if they do."""
    questions = more.value().get("corrected_for", 1)  # missing in older records
    return (
        "" if questions == 1 else more.fill(" (corrected for {m} questions)", m=more.number("count", "corrected_for"))
    )


def _control(one: Speaker) -> str:
    """The same variant against itself."""
    if one.value("control") is None:
        return "No control: with one seed per variant, nothing shows how much two runs of one variant differ."
    control = one.within("control")
    template = (
        "Control: two runs of one variant differ by {mean} points on average and by {largest} at most; McNemar's test "
        "alone would have called {significant} of {pairs} such pairs different."
    )
    return one.fill(
        template,
        mean=control.number("size", "mean"),
        largest=control.number("size", "largest"),
        significant=control.number("count", "significant"),
        pairs=control.number("count", "pairs"),
    )
