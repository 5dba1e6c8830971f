"""The verdicts in words, the same for the terminal and for the page."""

from __future__ import annotations

from stress_lab.report.numbers import Speaker

TITLES = {"accuracy": "Accuracy", "confident_failures": "Confident failures"}
SAID = {
    "accuracy": {"helped": "higher", "hurt": "lower"},
    "confident_failures": {"helped": "fewer", "hurt": "more"},
}


def headline(one: Speaker) -> str:
    """``Accuracy: helped (higher)``."""
    question, verdict = one.value("question"), one.value("verdict")
    direction = SAID[question].get(verdict)
    equal = f"equivalent within ±{one.number('size', 'margin')} points" if verdict == "equivalent" else verdict
    return f"{TITLES[question]}: {equal}" + (f" ({direction})" if direction else "")


def describe_question(one: Speaker) -> list[str]:
    """The sentences below a headline: the numbers, what they are made of, what would tell more, the control.

    Args:
        one: speaks from an entry of ``questions``.
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
        "({who}, the same {n} test images; {test} {p}, {adjusted} after Holm)."
    )
    return one.say(
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
        who=who,
        n=one.number("count", "n"),
        test=one.text("test"),
        p=one.number("p", "p"),
        adjusted=one.number("p", "p_adjusted"),
    )


def _fair(one: Speaker) -> list[str]:
    """What the raw counts say, and what part of their change is mere confidence."""
    fair = one.within("fair")
    sentences = [
        one.say(
            "The raw count above the threshold went from {raw_a} to {raw_b} a run ({change}): {ranking} by better or "
            "worse ranking, {confidence} by mere confidence.",
            raw_a=fair.number("count", "raw_a"),
            raw_b=fair.number("count", "raw_b"),
            change=fair.number("change", "change"),
            ranking=fair.number("change", "by_ranking"),
            confidence=fair.number("change", "by_confidence"),
        )
    ]
    if fair.value("calibrated_a") is not None:
        sentences.append(
            one.say(
                "With each model's confidence calibrated on val: {a} to {b}.",
                a=fair.number("count", "calibrated_a"),
                b=fair.number("count", "calibrated_b"),
            )
        )
    return sentences


def _more(one: Speaker) -> list[str]:
    """How many more images or seeds would tell."""
    more = one.within("more")
    undecided = one.value("verdict") == "cannot tell"
    target = more.number("size", "target")
    if one.value("unit") == "models":
        sentences = ["One seed each: this is about two trained networks, and another seed may turn it round."]
        if undecided:
            template = "About {images} test images would tell a difference of {target} points between two networks."
            sentences.insert(0, one.say(template, images=more.number("about", "images"), target=target))
        return sentences
    if not undecided:
        return []
    if more.value("out_of_reach"):
        template = (
            "{k} runs cannot reach p < {alpha} over all questions (the smallest p there is, is {smallest}); "
            "{needed} seeds a variant can."
        )
        return [
            one.say(
                template,
                k=f"{one.value('k_a')} and {one.value('k_b')}",
                alpha=f"{one.value('alpha'):.2g}",
                smallest=one.number("p", "smallest_p"),
                needed=more.number("count", "seeds_to_reach"),
            )
        ]
    if more.value("seeds") is None:
        return [one.say("No affordable number of seeds would tell a difference of {target} points.", target=target)]
    template = "About {seeds} seeds a variant would tell a difference of {target} points."
    return [one.say(template, seeds=more.number("count", "seeds"), target=target)]


def _control(one: Speaker) -> str:
    """The same variant against itself."""
    if one.value("control") is None:
        return "No control: with one seed a variant, nothing says how much two runs of one variant differ."
    control = one.within("control")
    template = (
        "Control: two runs of one variant differ by {mean} points on average and by {largest} at most; McNemar's test "
        "alone would have called {significant} of {pairs} such pairs different."
    )
    return one.say(
        template,
        mean=control.number("size", "mean"),
        largest=control.number("size", "largest"),
        significant=control.number("count", "significant"),
        pairs=control.number("count", "pairs"),
    )
