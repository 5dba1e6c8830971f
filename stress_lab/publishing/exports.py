"""What a paper takes from a comparison: figures as PNG, SVG and PDF, and tables in LaTeX."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from stress_lab.comparison.option_rules import FIGURES
from stress_lab.comparison.result import Comparison
from stress_lab.figures.confidence import draw_calibration, draw_risk_coverage
from stress_lab.figures.style import clean_labels, save_figure
from stress_lab.figures.summary import draw_summary
from stress_lab.figures.training import History
from stress_lab.files import write_atomic
from stress_lab.report.latex import make_latex
from stress_lab.storage.filesets import FileSet

SUMMARY = "comparison_summary"
DRAWN = {"calibration": draw_calibration, "risk_coverage": draw_risk_coverage}
PRINT_DPI = 300
TEXT = {"svg.fonttype": "none", "svg.hashsalt": "stress_lab", "pdf.fonttype": 42}  # text stays text; the same each time
UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}}


def write_exports(
    comparison: Comparison, histories: Mapping[str, History], files: FileSet, formats: Sequence[str]
) -> list[str]:
    """Write ``comparison.tex`` and the figures; returns the names of the summary's files.

    Args:
        comparison: what was found. ``histories``: of its runs, by name.
        files: of the comparison. What an earlier one wrote in other formats is removed.
        formats: of ``FIGURES``; none writes no figure.
    """
    figures = {SUMMARY: draw_summary(comparison, histories)} if formats else {}
    for name, draw in DRAWN.items():
        figure = draw(comparison.runs) if formats else None
        if figure is not None:
            figures[name] = figure
    for name, figure in figures.items():
        save_print(figure, files.path / name, formats)
    files.remove(files.folder / f"{name}.{kind}" for name in (SUMMARY, *DRAWN) for kind in FIGURES)
    text = make_latex(comparison)
    write_atomic(files.path / "comparison.tex", lambda partial: partial.write_text(text, encoding="utf-8"))
    return [f"{SUMMARY}.{kind}" for kind in formats]


def save_print(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure as ``stem.png`` (300 dpi), ``.svg`` and ``.pdf``, whose text can be searched and edited."""
    figure.set_dpi(PRINT_DPI)
    clean_labels(figure)
    saved = []
    for kind in formats:
        path = stem.with_name(f"{stem.name}.{kind}")
        if kind == "png":
            saved.append(save_figure(figure, path))
            continue
        with rc_context(TEXT):  # type: ignore[arg-type]
            save = functools.partial(figure.savefig, format=kind, metadata=UNDATED[kind])
            saved.append(write_atomic(path, save))
    return saved
