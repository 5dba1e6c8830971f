"""Which labels may be wrong, as a table, and the page and the table that a person checks them with."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stress_lab.comparison.codec import to_record
from stress_lab.comparison.label_findings import SUSPECT, LabelFindings
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.result import Comparison
from stress_lab.errors import StressLabError
from stress_lab.files import save_csv, write_atomic
from stress_lab.labels.sampling import choose_checks
from stress_lab.publishing.settings import Settings
from stress_lab.records import IntArray
from stress_lab.report.label_check import digest_checks, render_label_check
from stress_lab.storage.filesets import FileSet

log = logging.getLogger(__name__)

PAGE = "label_check.html"
ISSUE_COLUMNS = (
    *("index", "label", "suggestion", "found", "failed"),
    *("normalized_margin", "self_confidence", "people", "comparison"),
)
CHECK_COLUMNS = ("id", "given", "may_be", "label", "comparison")
Items = list[dict[str, Any]]


def write_labels(comparison: Comparison, first: LoadedRun, files: FileSet, settings: Settings) -> None:
    """Write ``label_issues.csv``, ``label_check.csv`` and, where images or names can be shown, the page."""
    issues = to_record(comparison.labels.issues) if comparison.labels else []
    told = [{**row, "found": "; ".join(row["found"]), "comparison": comparison.id} for row in issues]
    save_csv(files.path / "label_issues.csv", told, ISSUE_COLUMNS)
    items, rows = list_checks(comparison.labels, first, settings.label_check)
    save_csv(
        files.path / "label_check.csv",
        [{**one, "label": "", "comparison": comparison.id} for one in items],
        CHECK_COLUMNS,
    )
    write_label_check(items, rows, first, files, settings)


def list_checks(findings: LabelFindings | None, first: LoadedRun, count: int) -> tuple[Items, IntArray]:
    """The images to ask about, in random order, and their rows; ``label`` is left for the person who checks."""
    n = len(first.scores)
    issues = {one.index: one for one in findings.issues} if findings is not None else {}
    names = first.name_images(np.ones(n, dtype=bool))
    suspect = np.array([name in issues and SUSPECT in issues[name].found for name in names])
    rows = choose_checks(suspect, count, first.checked) if findings is not None else np.arange(0)
    items = [
        {
            "id": names[row],
            "given": first.classes[first.scores.label[row]],
            "may_be": issues[names[row]].suggestion if names[row] in issues else None,
        }
        for row in rows.tolist()
    ]
    return items, rows


def write_label_check(items: Items, rows: IntArray, first: LoadedRun, files: FileSet, settings: Settings) -> None:
    """Write the page, unless it would show neither images nor names of files; one that asks the same is kept."""
    can_show = first.run is not None and first.trusted and settings.gallery > 0  # gallery=0 asks for no images
    named = first.ids is not None and first.ids.dtype.kind not in "iu"
    old = files.folder / PAGE
    if not items or not (can_show or named):
        files.remove([old])  # from another comparison
        return
    if _is_same(old, digest_checks(items, can_show)):
        return
    images = _load_images(first, rows, settings) if can_show else None
    if images is None and not named:
        files.remove([old])
        return
    text = render_label_check(items, first.classes, "comparison", images)
    write_atomic(files.path / PAGE, lambda partial: partial.write_text(text, encoding="utf-8", errors="replace"))


def _is_same(path: Path, digest: str) -> bool:
    """Whether an earlier page asks about the same images."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return f'<meta name="checks" content="{digest}">' in file.read(2_000)


def _load_images(run: LoadedRun, rows: IntArray, settings: Settings) -> NDArray[np.uint8] | None:
    """(n, C, H, W) of test images; None, with a warning, where they are missing."""
    from stress_lab.publishing.explained import Explainer  # which imports torch

    try:
        source = Explainer(settings.layer, settings.root).source(run)
        return np.array(source.split("test").images[run.scores.index[rows]])
    except StressLabError as error:
        log.warning("no images for %s: %s", PAGE, error)
        return None
