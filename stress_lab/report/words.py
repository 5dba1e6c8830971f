"""The verdicts in words, the same for the terminal and for the page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from stress_lab.report.numbers import Speaker

TITLES = {"accuracy": "Accuracy", "confident_failures": "Confident failures"}
FOUND = {  # the finding about two variants, the same on the page, in the terminal and from Python
    ("accuracy", "helped"): "{b} is more accurate than {a}",
    ("accuracy", "hurt"): "{b} is less accurate than {a}",
    ("accuracy", "equivalent"): "{b} is as accurate as {a}, within ±{margin} points",
    ("accuracy", "cannot tell"): "Cannot tell whether {b} is more or less accurate than {a}",
    ("confident_failures", "helped"): "{b} has fewer confident failures than {a}",
    ("confident_failures", "hurt"): "{b} has more confident failures than {a}",
    ("confident_failures", "equivalent"): "{b} has as many confident failures as {a}, within ±{margin} points",
    ("confident_failures", "cannot tell"): "Cannot tell whether {b} has more or fewer confident failures than {a}",
}
THEN = {  # the same as the second part of a sentence
    "helped": "has fewer confident failures",
    "hurt": "has more confident failures",
    "equivalent": "has as many confident failures, within ±{margin} points",
    "cannot tell": "cannot tell whether it has more or fewer confident failures",
}
SMALL = "{found}, but by less than {margin} points"
CORRECTED = "The interval leaves zero out, but the test, corrected for the number of questions, does not confirm it."
ONE_EACH = "One model each: another training run could answer differently, and nothing here shows how likely that is."


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
    """The answer to one question: ``cutout is less accurate than baseline``."""
    margin = one.number("size", "margin")
    found = one.fill(
        FOUND[one.value("question"), one.value("verdict")], a=one.text("a"), b=one.text("b"), margin=margin
    )
    return _add_small(one, found)


def summarize(asked: Sequence[Speaker]) -> str:
    """The answers to both questions about a variant in one sentence; of one question its headline.

    Args:
        asked: at entries of ``questions``, accuracy first.
    """
    if len(asked) == 1:
        return headline(asked[0])
    first, second = asked
    verdicts = first.value("verdict"), second.value("verdict")
    if verdicts == ("cannot tell", "cannot tell"):
        return first.fill("Cannot tell whether {b} differs from {a}", a=first.text("a"), b=first.text("b"))
    if verdicts[0] == "cannot tell":
        rest = "{found}; cannot tell whether it is more or less accurate"
        return first.fill(rest, found=headline(second))
    then = _add_small(second, second.fill(THEN[verdicts[1]], margin=second.number("size", "margin")))
    opposite = {"helped", "hurt"} == set(verdicts)
    joint = "; " if verdicts[1] == "cannot tell" else ", but " if opposite else " and "
    return first.fill("{found}{joint}{then}", found=headline(first), joint=joint, then=then)


def _add_small(one: Speaker, found: str) -> str:
    """A note that a difference is real but within the margin."""
    if one.value("verdict") not in ("helped", "hurt") or not one.value("equivalent"):
        return found
    return one.fill(SMALL, found=found, margin=one.number("size", "margin"))


def describe_question(one: Speaker) -> list[str]:
    """The sentences below a headline: the numbers, their parts, what would decide it, the control, the test.

    Args:
        one: at an entry of ``questions``.
    """
    return [
        _difference(one),
        *(_fair(one) if one.value("fair") else []),
        *(_more(one) if one.value("verdict") == "cannot tell" else []),
        *([CORRECTED] if one.value("verdict") == "cannot tell" and _leaves_zero_out(one) else []),
        *(_control(one) if one.value("control") else []),
        _test(one),
    ]


def _leaves_zero_out(one: Speaker) -> bool:
    """Whether the interval excludes zero."""
    low, high = one.value("interval")
    return bool(low > 0 or high < 0)


def list_caveats(questions: Sequence[Mapping[str, Any]]) -> list[str]:
    """What holds for all questions, once: that one model of each says nothing about other training runs."""
    return [ONE_EACH] if any(one["unit"] == "models" for one in questions) else []


def _difference(one: Speaker) -> str:
    """Both rates, the difference and its interval."""
    parts = {
        "b": one.number("percent", "mean_b"),
        "a": one.number("percent", "mean_a"),
        "difference": one.number("points", "difference"),
        "level": f"{100 * (1 - one.value('alpha')):.9g} %",
        "low": one.number("points", "interval", 0),
        "high": one.number("points", "interval", 1),
    }
    numbers = "{b} against {a}{of}, {difference} points ({level} interval {low} to {high}).{counts}"
    if one.value("question") == "accuracy":
        return one.fill(numbers, of="", counts="", **parts)
    return one.fill(numbers, of=" of images", counts=_count_surest(one), **parts)


def _count_surest(one: Speaker) -> str:
    """How many of the surest predictions are wrong; older records lack the number kept."""
    if not one.value("fair") or one.value("fair").get("kept") is None:
        return " Counted at equal coverage."
    fair = one.within("fair")
    return one.fill(
        " That is {b} against {a} wrong among the {kept} surest predictions of each model.",
        b=fair.number("count", "equal_coverage_b"),
        a=fair.number("count", "equal_coverage_a"),
        kept=fair.number("count", "kept"),
    )


def _test(one: Speaker) -> str:
    """What was tested, on what."""
    models = one.value("unit") == "models"
    return one.fill(
        "{test} {p}{adjusted}; interval: {method}; {who}, the same {n} test images.",
        test=one.text("test"),
        p=one.number("p", "p"),
        adjusted=_adjusted(one),
        method=one.text("interval_method"),
        who="two trained networks" if models else f"{one.value('k_a')} and {one.value('k_b')} runs",
        n=one.number("count", "n"),
    )


def _adjusted(one: Speaker) -> str:
    """The p-value corrected for several questions, where there are several."""
    if len(one.record["comparison"]["questions"]) == 1 and one.value("p") == one.value("p_adjusted"):
        return ""
    return one.fill(", {p} after Holm's correction", p=one.number("p", "p_adjusted"))


def _fair(one: Speaker) -> list[str]:
    """The raw counts, why they are not what decides, and how much of their change is confidence alone."""
    fair = one.within("fair")
    sentences = [
        one.fill(
            "Above the threshold the count went from {raw_a} to {raw_b} per run ({change}): {ranking} by accuracy and "
            "ranking, {confidence} by confidence alone. The second part makes no model better or worse, so equally "
            "many predictions of each are compared.",
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
    """How many more images or seeds would decide it; nothing where a net must learn first."""
    if one.value("more").get("moot"):
        return []
    return [_more_images(one) if one.value("unit") == "models" else _more_seeds(one)]


def _more_images(one: Speaker) -> str:
    """For two networks."""
    more = one.within("more")
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


def _control(one: Speaker) -> list[str]:
    """The same variant against itself."""
    control = one.within("control")
    if not control.value("largest"):
        return ["Control: the runs of each variant have the same rate, so seeds show no spread here."]
    template = (
        "Control: two runs of one variant differ by {mean} points on average and by {largest} at most, which is "
        "{scaled} for means of as many runs; McNemar's test alone would have called {significant} of {pairs} such "
        "pairs different."
    )
    return [
        one.fill(
            template,
            mean=control.number("size", "mean"),
            largest=control.number("size", "largest"),
            scaled=control.number("size", "of_means"),
            significant=control.number("count", "significant"),
            pairs=control.number("count", "pairs"),
        )
    ]
