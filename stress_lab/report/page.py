"""The report: one self-contained HTML file, made only from a comparison's records.

It needs ``comparison.json``; ``gallery.json`` and ``gallery.npz`` (images and maps) and the runs' ``history.json`` are
shown if present. The page fetches nothing: style, scripts, charts and images are embedded.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from stress_lab.comparison.cards import load_pictures
from stress_lab.comparison.identity import find, load_set
from stress_lab.files import write_atomic
from stress_lab.plain_text import printable_record
from stress_lab.report import charts, one_model
from stress_lab.report.advice import is_from_files
from stress_lab.report.drawing import draw_svg
from stress_lab.report.failures import group_tags, list_failures, list_matrices, tags_of
from stress_lab.report.first_screen import Panel, describe_panels, name_tag
from stress_lab.report.fitting import Shown, fit_page
from stress_lab.report.label_words import describe_labels, find_cards
from stress_lab.report.leaderboard import NOT_DRAWN, narrow_record
from stress_lab.report.many import describe_many
from stress_lab.report.numbers import HtmlSpeaker, count
from stress_lab.report.verdict_picture import draw_measure
from stress_lab.report.words import TITLES, describe_question, headline, list_caveats, repeat_command, summarize
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
    variants = [variant["variant"] for variant in comparison["variants"]]
    examples = frozenset(index for pattern in comparison["patterns"]["found"] for index in pattern["examples"])
    narrowed = narrow_record(comparison)
    shown = comparison.get("shown") or variants
    fitted = fit_page(gallery, pictures, len(shown), examples)
    gallery = fitted.gallery
    speaker = HtmlSpeaker({"comparison": comparison, "gallery": gallery})
    return (
        _environment()
        .get_template("report.html")
        .render(
            comparison=comparison,
            gallery=gallery,
            variants=variants,
            shown=shown,
            say=speaker,
            panels=[] if comparison.get("leaderboard") else describe_panels(comparison, gallery),
            from_files=is_from_files(comparison),
            speakers=lambda panel: [speaker.within("comparison", "questions", at) for at in panel.questions],
            alarms=list_alarms(comparison),
            missed=list_missed(comparison),
            charts={place: draw_svg(spec, place) for place, spec in draw_charts(narrowed, histories).items()},
            matrices=list_matrices(comparison, gallery),
            style=Markup(_read_all("*.css")),
            **describe_many(comparison, speaker),
            **one_model.make_context(comparison, gallery, speaker),
            **_list_images(fitted),
            **_read_script(),
        )
    )


def _list_images(fitted: Shown) -> dict[str, Any]:
    """What the templates need of the failures and their pictures."""
    gallery = fitted.gallery
    failures = None if gallery is None else list_failures(gallery)
    return {
        "sprites": fitted.sprites,
        "sheets": {sprite.name: sprite for sprite in fitted.sprites},
        "empty": fitted.empty or {},
        "cut": fitted.cut,
        "place": fitted.place,
        "failures": failures,
        "failures_json": _inside_script(json.dumps(failures, separators=(",", ":"))),
        "known_tags": [] if gallery is None else tags_of(gallery),
    }


def _read_script() -> dict[str, Any]:
    """The page's one script, and the hash by which the page's policy allows it."""
    script = _read_all("*.js")
    return {
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _environment() -> jinja2.Environment:
    """Templates that escape what is not markup, and fail on an undefined name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "summarize": summarize,
        "caveats": _list_caveats,
        "draw_measure": draw_measure,
        "name_image": _name_image,
        "tag_of": name_tag,
        "headline": headline,
        "sentences": describe_question,
        "describe_labels": describe_labels,
        "card_places": find_cards,
        "repeat": repeat_command,
        "titles": TITLES,
        "as_count": count,
        "tags": group_tags,
    }
    environment.tests["reported"] = _is_reported
    environment.tests["rate"] = lambda measure: measure == "accuracy" or measure.startswith("confident_failures")
    return environment


def draw_charts(comparison: Mapping[str, Any], histories: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Vega-Lite by place on the page; charts without data are left out."""
    variants = [variant["variant"] for variant in comparison["variants"]]
    shown = [run for run in comparison["runs"] if run["metrics"]]  # runs left out have none
    told = [(run, histories[run["name"]]) for run in shown if run["name"] in histories]
    found: dict[str, Any] = {}
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
    dropped = NOT_DRAWN if comparison.get("shown") else ()
    return {place: spec for place, spec in found.items() if spec is not None and place not in dropped}


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


def _list_caveats(comparison: Mapping[str, Any], panel: Panel) -> list[str]:
    """What holds for all questions of a panel."""
    return list_caveats([comparison["questions"][at] for at in panel.questions])


def _name_image(index: Any) -> str:
    """``#12`` of a position; a name stays as it is."""
    return f"#{index}" if isinstance(index, int) else str(index)


def _is_reported(path: list[str], runs: list[Mapping[str, Any]]) -> bool:
    """Whether any run has a value at a path."""
    return any(_find(run, path) is not None for run in runs)


def _find(record: Any, path: list[str]) -> Any:
    """The value at a path, None where the path ends early."""
    for step in path:
        record = record.get(step) if isinstance(record, Mapping) else None
    return record


def _inside_script(text: str) -> Markup:
    """JSON that cannot end its enclosing script element."""
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _read_all(pattern: str) -> str:
    """The page's styles or scripts as one, a file a subject."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.glob(pattern)))
