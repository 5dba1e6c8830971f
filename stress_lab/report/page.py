"""The report: one self-contained HTML file, made only from a comparison's records.

It needs ``comparison.json``; ``gallery.json`` and ``gallery.npz`` (images and maps) and the runs' ``history.json`` are
shown if present. The page fetches nothing: style, scripts, charts and images are embedded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import vl_convert
from markupsafe import Markup

from stress_lab.comparison.cards import load_pictures
from stress_lab.comparison.identity import find, load_set
from stress_lab.comparison.measures import JUDGED_BY
from stress_lab.files import write_atomic
from stress_lab.plain_text import printable_record
from stress_lab.report import charts, one_model
from stress_lab.report.numbers import HtmlSpeaker
from stress_lab.report.sprites import Sprite, make_sprites
from stress_lab.report.words import TITLES, describe_question, headline, repeat_command
from stress_lab.runs.folder import RunDir

TEMPLATES = Path(__file__).parent / "templates"
ASKED_CLASSES = 50  # classes up to which each one that is not a pattern is listed
RELIABILITY_LIMIT = 6  # diagrams shown, one per variant


def write_report(folder: Path, runs: Mapping[str, Path] | None = None, staging: Path | None = None) -> Path:
    """Write ``report.html`` into a folder that holds a comparison.

    Args:
        folder: with ``comparison.json``.
        runs: folder of each run, by name; None looks for the runs' folders in ``folder``.
        staging: of a comparison that is being written: its files take precedence, and the page is written there.

    Raises:
        RunError: there is no comparison, it cannot be read, or the folder holds files of several.
    """
    comparison, gallery = load_set(folder, staging)
    path = find(folder, staging, "gallery.npz")
    pictures = load_pictures(path, gallery) if gallery is not None and path.is_file() else None
    text = render(comparison, gallery, pictures, _load_histories(comparison, folder, runs or {}))
    return write_atomic((staging or folder) / "report.html", lambda partial: partial.write_text(text, encoding="utf-8"))


def _load_histories(
    comparison: Mapping[str, Any], folder: Path, runs: Mapping[str, Path]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of history by run, for runs that have one."""
    places = {run["name"]: RunDir(runs.get(run["name"], folder / run["folder"])) for run in comparison["runs"]}
    return {name: run.load_history() for name, run in places.items() if run.history_file.is_file()}


def render(
    comparison: Mapping[str, Any],
    gallery: Mapping[str, Any] | None,
    pictures: Mapping[str, Any] | None,
    histories: Mapping[str, list[dict[str, Any]]],
) -> str:
    """The page as text.

    Args:
        comparison: what ``comparison.json`` holds. ``gallery``: what ``gallery.json`` holds, or None.
        pictures: arrays of ``gallery.npz``, or None.
        histories: rows of history by run name.
    """
    comparison, gallery, histories = map(printable_record, (comparison, gallery, histories))
    speaker = HtmlSpeaker({"comparison": comparison, "gallery": gallery})
    variants = [variant["variant"] for variant in comparison["variants"]]
    sprites, empty = make_sprites(pictures, len(variants)) if pictures is not None else ([], [])
    specs = draw_charts(comparison, histories)
    return (
        _environment()
        .get_template("report.html")
        .render(
            comparison=comparison,
            gallery=gallery,
            variants=variants,
            say=speaker,
            headline=headline,
            sentences=describe_question,
            repeat=repeat_command,
            titles=TITLES,
            alarms=list_alarms(comparison),
            missed=list_missed(comparison),
            sprites=sprites,
            sheets={sprite.name: sprite for sprite in sprites},
            empty=empty,
            charts=specs,
            charts_json=_inside_script(json.dumps(specs)),
            drawing=_drawing_script() if specs else "",
            style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
            script=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
            place=_place,
            about=describe_card,
            tags=group_tags,
            difference=difference_of_confusions(comparison),
            off_diagonal=_largest_confusion(difference_of_confusions(comparison)),
            **one_model.make_context(comparison, gallery, speaker),
        )
    )


def _environment() -> jinja2.Environment:
    """Templates that escape what is not markup, and fail on an undefined name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["reported"] = _is_reported
    return environment


def draw_charts(comparison: Mapping[str, Any], histories: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Vega-Lite by place on the page; charts without data are left out."""
    variants = [variant["variant"] for variant in comparison["variants"]]
    shown = [run for run in comparison["runs"] if run["metrics"]]  # runs left out have none
    told = [(run, histories[run["name"]]) for run in shown if run["name"] in histories]
    found: dict[str, Any] = {}
    margins = {JUDGED_BY[question]: comparison["margins"][question] for question in comparison["primary"]}
    for number, compared in enumerate(comparison["comparisons"]):
        found[f"improvements-{number}"] = charts.chart_improvements(compared, margins, comparison["level"])
    found["seeds-accuracy"] = charts.chart_seeds(shown, variants, "accuracy", "test accuracy [%]")
    found["seeds-failures"] = charts.chart_seeds(
        shown, variants, "confident_failures", "confident failures [% of test images]"
    )
    if any(run["curves"] for run in shown):
        found["failure-curve"] = charts.chart_failure_curve(shown, variants)
        found["risk-coverage"] = charts.chart_risk_coverage(shown, variants)
    firsts = [next(run for run in shown if run["variant"] == variant) for variant in variants]
    for number, run in enumerate(firsts[:RELIABILITY_LIMIT]):
        if run["curves"]:
            found[f"reliability-{number}"] = charts.chart_reliability(run, variants)
    for place, key, title in (
        ("training-val-acc", "val/acc", "validation accuracy [%]"),
        ("training-train-loss", "train/loss", "training loss"),
        ("training-val-loss", "val/loss", "validation loss"),
    ):
        found[place] = charts.chart_training(told, variants, key, title)
    if len(shown) > 1:
        found["agreement"] = charts.chart_agreement(comparison["agreement"], [run["name"] for run in shown])
    return {place: spec for place, spec in found.items() if spec is not None}


def describe_card(card: Mapping[str, Any]) -> dict[str, Any]:
    """What the filters need of a card; for each variant that fails it, the answers and the highest confidence."""
    return {
        "true": card["label"],
        "tags": list(card["tags"].values()),
        "patterns": card["patterns"],
        "fails": [
            {"variant": variant, "preds": model["failed_preds"], "confidence": model["failed_confidence"]}
            for variant, model in card["models"].items()
            if model["failure_rate"]
        ],
    }


def group_tags(card: Mapping[str, Any]) -> list[str]:
    """Each tag once, with its variants, and whether one was only less confident: ``fixed by cutout``."""
    tags, models = card["tags"], card["models"]
    reference = next(iter(models.values()))
    words = []
    for tag in dict.fromkeys(tag for tag in tags.values() if tag != "never"):
        variants = ", ".join(variant for variant, one in tags.items() if one == tag)
        named = f" ({variants})" if len(tags) > 1 else ""
        words.append(f"{tag} by {variants}" if tag in ("fixed", "broken") else f"{tag}{named}")
    if any(tag == "fixed" and models[variant]["any_wrong"] for variant, tag in tags.items()):
        words.append("still wrong, less confident")
    if "broken" in tags.values() and reference["any_wrong"]:
        words.append("wrong before, less confident")
    return words


def difference_of_confusions(comparison: Mapping[str, Any]) -> list[list[float]] | None:
    """Images of each true class (rows) that the first other variant predicts more often (above 0) as each class."""
    variants = comparison["variants"]
    if len(variants) < 2 or any(variant["confusion"] is None for variant in variants[:2]):
        return None
    change = np.array(variants[1]["confusion"]) - np.array(variants[0]["confusion"])
    return change.tolist()  # type: ignore[no-any-return]


def list_alarms(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The findings above the verdict; older records have only those about the splits."""
    found = [finding for finding in comparison["guard"] if finding["alarm"]]
    return list(comparison.get("alarms", found))


def list_missed(comparison: Mapping[str, Any]) -> list[int]:
    """Positions in ``asked`` of what is not a pattern; with very many classes only the properties."""
    patterns, few = comparison["patterns"], len(comparison["data"]["classes"]) <= ASKED_CLASSES
    tested = {one["key"] for one in patterns["found"]}
    asked = enumerate(patterns.get("asked", []))  # missing in older records
    return [at for at, one in asked if one["key"] not in tested and (few or not one["key"].startswith("true:"))]


def _is_reported(path: list[str], runs: list[Mapping[str, Any]]) -> bool:
    """Whether any run has a value at a path."""
    return any(_find(run, path) is not None for run in runs)


def _find(record: Any, path: list[str]) -> Any:
    """The value at a path, None where the path ends early."""
    for step in path:
        record = record.get(step) if isinstance(record, Mapping) else None
    return record


def _largest_confusion(difference: list[list[float]] | None) -> float:
    """Largest change off the diagonal, at least 1; it gets the full colour."""
    if difference is None:
        return 1.0
    change = np.abs(np.array(difference))
    np.fill_diagonal(change, 0)
    return float(max(1.0, change.max()))


def _place(sprite: Sprite, number: int) -> Markup:
    """CSS that shows one tile of a sheet."""
    across = 100 * (number % sprite.columns) / max(1, sprite.columns - 1)
    down = 100 * (number // sprite.columns) / max(1, sprite.rows - 1)
    return Markup("background-position:{:.4f}% {:.4f}%").format(across, down)


def _inside_script(text: str) -> Markup:
    """JSON that cannot end its enclosing script element."""
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


@cache
def _drawing_script() -> Markup:
    """Vega, Vega-Lite and Vega-Embed, as one script that comes with vl-convert (BSD licence)."""
    return Markup(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script"))
