"""What a paper takes: text stays text in SVG and PDF, tables are LaTeX that compiles."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import stress_lab as sl
from stress_lab.comparison.codec import from_record
from stress_lab.files import load_json
from stress_lab.publishing.exports import write_exports
from stress_lab.report.latex import SPECIAL, escape, make_latex
from stress_lab.storage.filesets import COMPARISON, stage
from tests.test_summary_picture import KEPT

HOSTILE = "50% of $x_1$ & {more} \\ #7 ~ ^ [b] <c> \"q\" 'r'"


@pytest.fixture(scope="module")
def alone():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    logits = rng.normal(size=(300, 3)) + 2 * np.eye(3)[labels]
    return sl.compare({HOSTILE: logits}, labels, classes=["ant", "bee", HOSTILE], resamples=100, title=HOSTILE)


@pytest.fixture(scope="module")
def pair():
    return from_record(load_json(KEPT))


def export(found, folder, formats):
    with stage(folder, COMPARISON) as files:
        return write_exports(found, {}, files, formats)


def test_figures_keep_their_text_and_are_the_same_each_time(alone, tmp_path):
    assert export(alone._found, tmp_path / "a", ("png", "svg", "pdf")) == [
        f"comparison_summary.{kind}" for kind in ("png", "svg", "pdf")
    ]
    export(alone._found, tmp_path / "b", ("png", "svg", "pdf"))
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    drawn = ("calibration", "comparison_summary", "risk_coverage")
    assert names == sorted([*(f"{name}.{kind}" for name in drawn for kind in ("png", "svg", "pdf")), "comparison.tex"])
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    svg = (tmp_path / "a" / "comparison_summary.svg").read_text()
    assert ">balanced accuracy</text>" in svg
    assert ">mean confidence in bin</text>" in svg
    pdf = (tmp_path / "a" / "comparison_summary.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    with Image.open(tmp_path / "a" / "risk_coverage.png") as image:
        assert image.size == (1500, 1080)  # 5 by 3.6 inches at 300 dpi


def test_formats_that_are_not_asked_for_leave(alone, tmp_path):
    export(alone._found, tmp_path, ("png", "svg"))
    assert export(alone._found, tmp_path, ("pdf",)) == ["comparison_summary.pdf"]
    kinds = {path.suffix for path in tmp_path.iterdir()}
    assert kinds == {".pdf", ".tex"}
    assert export(alone._found, tmp_path, ()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["comparison.tex"]


def check_latex(text):
    """Braces match, and every row of a table has as many cells as its columns."""
    depth = 0
    for sign in re.sub(r"\\[{}\\]", "", text):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    tables = re.findall(r"(?s)\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text)
    for columns, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
    return len(tables)


def test_tables_hold_the_numbers_and_escape_names(alone, pair):
    assert check_latex(alone.to_latex()) == 2
    assert check_latex(make_latex(pair)) == 2
    model = alone._found.one_model.balanced_accuracy
    row = next(line for line in alone.to_latex().splitlines() if line.startswith("Balanced accuracy"))
    assert row == (
        f"Balanced accuracy & {100 * model.value:.2f} & {{[}}{100 * model.low:.2f}, {100 * model.high:.2f}{{]}} \\\\"
    )
    question = pair.questions[0]
    verdict = next(line for line in make_latex(pair).splitlines() if line.endswith(rf"{question.verdict} \\"))
    assert f"{100 * question.mean_a:.2f} & {100 * question.mean_b:.2f}" in verdict
    plain = escape(HOSTILE)
    for sign, written in sorted(SPECIAL.items(), key=lambda two: -len(two[1])):
        if not sign.isspace():
            plain = plain.replace(written, sign)
    assert plain == HOSTILE


@pytest.mark.processes
def test_tables_compile(alone, pair, tmp_path):
    if shutil.which("pdflatex") is None or subprocess.run(["kpsewhich", "booktabs.sty"], check=False).returncode:
        pytest.skip("there is no LaTeX with booktabs: apt-get install texlive-latex-recommended")
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    names = replace(pair, title=HOSTILE)
    text = f"{head}{alone.to_latex()}\n{make_latex(names)}\\end{{document}}\n"
    (tmp_path / "paper.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
