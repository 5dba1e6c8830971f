"""The page for one model: its words, the next step, and what its template needs; the terminal says the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stress_lab.comparison.codec import to_record
from stress_lab.comparison.result import Comparison
from stress_lab.plain_text import as_override
from stress_lab.report.numbers import Speaker

TEMPLATES = Path(__file__).parent / "templates"
STRIP = 8  # failing images on the first screen
READABLE = 15  # classes up to which a cell of the confusion matrix has its share below the count
ARRAYS = "models["  # begins the name that the Python API gives to predictions in memory
OURS = ("seed=", "augment=", "variant=", "threads=", "jobs=", "launcher=", "sweeper=")  # set anew by the next step


def describe_alone(comparison: Comparison) -> list[str]:
    """Headline and sentences about the only model, for the terminal and ``print``; the last is the next command."""
    record = to_record(comparison)
    one = Speaker({"comparison": record}, ("comparison",))
    words, command = find_next_step(record)
    finding = f"{one.value('one_model', 'name')}: {headline(one)}"
    return [finding, *(f"  {sentence}" for sentence in [*describe_model(one), words]), f"    {command}"]


def headline(one: Speaker) -> str:
    """The finding: ``94.3 % accurate; 398 of 10,000 test images are wrong with more than 70 % confidence``.

    Args:
        one: at a comparison of one model.
    """
    model = one.within("one_model")
    runs, sure = model.value("runs"), model.value("failures") is not None
    below = is_useless(one.value())
    parts = {
        "rate": model.number("percent1", "accuracy", "value"),
        "mean": f" (mean of {runs} runs)" if runs > 1 else "",
        "much": f", no better than always answering {one.value('data', 'majority_class')}" if below else "",
        "bad": model.number("count", "failures" if sure else "errors"),
        "n": model.number("count", "n"),
        "each": " a run" if runs > 1 else "",
        "how": f" with more than {_percent(model.value('threshold'))} confidence" if sure else "",
    }
    return one.fill("{rate} accurate{mean}{much}; {bad} of {n} test images{each} are wrong{how}", **parts)


def is_useless(record: Mapping[str, Any]) -> bool:
    """Whether the model does no better than always giving the most frequent answer."""
    most = record["data"].get("majority_rate")
    return most is not None and record["one_model"]["accuracy"]["value"] <= most


def describe_model(one: Speaker) -> list[str]:
    """The sentences below the headline: accuracy, classes, failures, calibration, abstention.

    Args:
        one: at a comparison of one model.
    """
    model = one.within("one_model")
    sentences = [one.fill("Accuracy {numbers}", numbers=describe_accuracy(one)), describe_worst(model)]
    if model.value("failures") is None:
        unknown = "There are no confidences, so confident failures, calibration and abstention are unknown."
        return [*sentences, unknown]
    several = " Of the first run: " if model.value("runs") > 1 else ""
    calibrated = describe_calibration(model.within("calibration", 0))
    answered = describe_abstention(model.within("abstention", 0))
    return [*sentences, describe_failures(model), one.fill("{a}{b}", a=several.lstrip(), b=calibrated), answered]


def describe_accuracy(one: Speaker) -> str:
    """Accuracy with its interval beside the rate of the most frequent class."""
    model = one.within("one_model")
    spread = model.value("accuracy_sd")
    template = "{interval}{spread}; always answering {most} would be right on {rate}."
    return one.fill(
        template,
        interval=_interval(model, "accuracy", "percent"),
        spread=one.fill(
            ", standard deviation over the {k} runs {sd} points",
            k=model.number("count", "runs"),
            sd=model.number("size", "accuracy_sd"),
        )
        if spread is not None
        else "",
        most=one.text("data", "majority_class"),
        rate=one.number("percent", "data", "majority_rate"),
    )


def describe_worst(model: Speaker) -> str:
    """Balanced accuracy, and the class with the lowest recall."""
    template = (
        "Balanced accuracy (mean of the classes' recalls) {balanced}; worst class {name}: {recall} of its images are "
        "right{taken}."
    )
    worst = model.within("classes", 0)
    taken = ""
    if worst.value("taken_for") is not None:
        taken = model.fill(", most often taken for {other}", other=worst.text("taken_for"))
    return model.fill(
        template,
        balanced=_interval(model, "balanced_accuracy", "percent"),
        name=model.text("worst_class"),
        recall=_interval(model, "worst_recall", "percent1"),
        taken=taken,
    )


def describe_failures(model: Speaker) -> str:
    """Confident failures with their rate."""
    return model.fill(
        "{count} confident failures: {rate} of the images; {errors} images are wrong in all.",
        count=model.number("count", "failures"),
        rate=_interval(model, "failure_rate", "percent"),
        errors=model.number("count", "errors"),
    )


VERDICTS = {
    "calibrated": "Its confidence can be taken as a probability",
    "overconfident": "Overconfident",
    "underconfident": "Underconfident, right more often than it says",
    "miscalibrated": "Miscalibrated, too confident on some images and too unsure on others",
}


def describe_calibration(one: Speaker) -> str:
    """Calibration in words, with the numbers behind them."""
    template = (
        "{verdict}: mean confidence {said}, {gap} points from the accuracy; ECE {ece}, where a calibrated net would "
        "stay below {high}.{scaled}"
    )
    scaled = ""
    if one.value("ece_scaled") is not None:
        scaled = one.fill(
            " Temperature {t}, fitted on val, gives an ECE of {ece}.",
            t=one.number("two", "temperature"),
            ece=one.number("three", "ece_scaled"),
        )
    return one.fill(
        template,
        verdict=VERDICTS[one.value("verdict")],
        said=one.number("percent1", "mean_confidence"),
        gap=one.number("points", "gap"),
        ece=one.number("three", "ece"),
        high=one.number("three", "ece_high"),
        scaled=scaled,
    )


def describe_abstention(one: Speaker) -> str:
    """From which confidence it may answer, where that was chosen, and what it gives where it was checked."""
    limit = _percent(one.value("max_risk"))
    where = "val" if one.value("chosen_on") == "val" else "one half of the test images, as there is no val"
    if one.value("threshold") is None:
        return one.fill(f"No confidence threshold keeps wrong answers at most {limit}: {{why}}.", why=_why_none(one))
    if one.value("answered") == 0:
        return one.fill(
            f"To keep wrong answers at most {limit} it may answer from {{t}} confidence up, chosen on {where}; it then "
            "answers none of the images that check it.",
            t=one.number("percent1", "threshold"),
        )
    return one.fill(
        f"To keep wrong answers at most {limit}, let it answer from {{t}} confidence up (chosen on {where}): checked "
        "on {n} {rest} it answers {coverage}, and {risk} of these answers are wrong{broken}.",
        t=one.number("percent1", "threshold"),
        n=one.number("count", "checked_n"),
        rest="test images" if one.value("chosen_on") == "val" else "other test images",
        coverage=_interval(one, "coverage", "percent1"),
        risk=_interval(one, "risk", "percent1"),
        broken="; that is more than promised, so val and test seem to differ"
        if one.value("risk", "low") > one.value("max_risk")
        else "",
    )


def _why_none(one: Speaker) -> str:
    """Why there is no threshold."""
    where = "val" if one.value("chosen_on") == "val" else "one half of the test images"
    if one.value("chosen_n") < one.value("needed"):
        template = f"{where} has {{n}} images, and such a promise needs at least {{needed}}"
        return one.fill(template, n=one.number("count", "chosen_n"), needed=one.number("count", "needed"))
    template = f"already among the {{start}} most confident answers on {where} too many are wrong to promise it"
    return one.fill(template, start=one.number("count", "start"))


def _percent(rate: float) -> str:
    """A chosen rate, with no more digits than it has."""
    return f"{100 * rate:.9g} %"


def _interval(one: Speaker, key: str, kind: str) -> str:
    """A value with its interval in brackets."""
    bare = kind.replace("percent", "bare")
    return one.fill(
        "{value} ({low} to {high})",
        value=one.number(kind, key, "value"),
        low=one.number(bare, key, "low"),
        high=one.number(bare, key, "high"),
    )


def find_next_step(record: Mapping[str, Any]) -> tuple[str, str]:
    """What to do next, as a sentence and a command; for a run trained here it trains the same with a fix beside it."""
    first = record["runs"][0]
    if first.get("epochs") and first["overrides"]:
        return "Next, does a fix help? This trains the recipe with and without Cutout and compares:", _fix(first)
    if str(first["folder"]).startswith(ARRAYS):
        name = record["one_model"]["name"]
        command = f"stress_lab.compare({{{name!r}: …, 'other': …}}, labels)"
    elif "test_fingerprint" in record["data"]:
        command = f"stress-lab compare {_list_files('runs', first['folder'], 'OTHER_RUN')}"
    else:
        command = f"stress-lab compare {_list_files('predictions', first['folder'], 'OTHER.csv')}"
        return "Next, compare it with another model (with labels=FILE where the files have none):", command
    return "Next, compare it with another model on the same images:", command


def _list_files(key: str, first: str, other: str) -> str:
    r"""``key=[FIRST,OTHER]`` for the shell, the name in quotes where Hydra would split it.

    >>> print(_list_files("predictions", "net.csv", "OTHER.csv"), _list_files("runs", "a b", "OTHER_RUN"))
    'predictions=[net.csv,OTHER.csv]' 'runs=["a b",OTHER_RUN]'
    """
    [typed] = shlex.split(as_override("", first))
    return shlex.quote(f"{key}=[{typed.removeprefix('=')},{other}]")


def _fix(first: Mapping[str, Any]) -> str:
    """The command that trains a run's recipe with and without a fix."""
    typed = list(first["overrides"])
    own = next((one.removeprefix("augment=") for one in typed if one.startswith("augment=")), "baseline")
    kept = [one for one in typed if not one.startswith(OURS)]
    pair = f"augment={own if own != 'cutout' else 'baseline'},cutout"
    return shlex.join(["stress-lab", "-m", *kept, pair, "seed=1,2,3"])


def make_context(comparison: Mapping[str, Any], gallery: Mapping[str, Any] | None, speaker: Speaker) -> dict[str, Any]:
    """What the template needs beside the records; ``model`` is None where several are compared, or in older records."""
    model = comparison.get("one_model")
    if model is None:
        return {"model": None}
    one = speaker.within("comparison")
    words, command = find_next_step(comparison)
    return {
        "model": model,
        "model_headline": headline(one),
        "model_words": _write_sentences(one),
        "next_words": words,
        "next_command": command,
        "confusion": describe_matrix(comparison),
        "strip": list(gallery["order"][:STRIP]) if gallery else [],
    }


def _write_sentences(one: Speaker) -> dict[str, str]:
    """The sentences of the page by what they are about."""
    model = one.within("one_model")
    found = {"accuracy": describe_accuracy(one), "worst": describe_worst(model)}
    if model.value("failures") is not None:
        found["failures"] = describe_failures(model)
        found["calibration"] = describe_calibration(model.within("calibration", 0))
        found["abstention"] = describe_abstention(model.within("abstention", 0))
    return found


def describe_matrix(comparison: Mapping[str, Any]) -> dict[str, Any] | None:
    """The confusion matrix as rows of cells, each with its share of the row and its colour; None for very many classes.

    The colour is the share of the true class, the largest confusion in full; the diagonal keeps its own.
    """
    counts = comparison["variants"][0]["confusion"]
    if counts is None:
        return None
    shares = [[cell / sum(row) if sum(row) else 0.0 for cell in row] for row in counts]
    peak = max((share for i, row in enumerate(shares) for j, share in enumerate(row) if i != j), default=0.0) or 1.0
    rows = [
        [
            {"place": [i, j], "count": cell, "share": shares[i][j], "strength": min(1.0, shares[i][j] / peak)}
            for j, cell in enumerate(row)
        ]
        for i, row in enumerate(counts)
    ]
    return {"rows": rows, "readable": len(counts) <= READABLE}
