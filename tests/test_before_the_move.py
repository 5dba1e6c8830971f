"""Runs that version 0.1.0 made before its modules got the places they have now: their configs name classes by path.

``before_the_move/`` holds two runs of one epoch on the bundled sample, without pictures and with one checkpoint.
One has its seal, the other none, like runs from before there were seals.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from stress_lab.cli.evaluate import evaluate
from stress_lab.files import load_json
from stress_lab.preflight.comparison_rules import make_options
from stress_lab.publishing.compare import compare
from stress_lab.runs.find import load_runs
from stress_lab.runs.folder import RunDir

pytestmark = pytest.mark.usefixtures("blank_figures")
KEPT = Path(__file__).parent / "before_the_move"


@pytest.fixture
def sweep(tmp_path):
    return shutil.copytree(KEPT, tmp_path / "sweep")


def test_they_compare(sweep, tmp_path):
    options = make_options()
    options.resamples, options.cases_per_outcome = 100, 0
    found = compare(load_runs(sweep), tmp_path / "out", "before", options, strict=True)
    recorded = [load_json(folder / "evaluation.json")["test"] for folder in sorted(sweep.iterdir())]
    assert [run.accuracy for run in found.runs] == [one["accuracy"] for one in recorded]
    assert [run.errors for run in found.runs] == [one["errors"] for one in recorded]
    assert [question.question for question in found.questions] == ["accuracy", "confident_failures"]


def test_they_evaluate_to_the_same_predictions(sweep, tmp_path, compose_config):
    """The kept checkpoint is that of the best epoch, and there was one epoch."""
    run, out = RunDir(sweep / "0_baseline_seed42"), tmp_path / "again"
    asked = [f"run='{run.path}'", "checkpoint=best", f"out='{out}'", "trust=true", "limit=0", "threads=1"]
    evaluate(compose_config(*asked, name="evaluate"))
    again, before = RunDir(out).load_predictions("test"), run.load_predictions("test")
    assert (again.index == before.index).all()
    np.testing.assert_allclose(again.logits, before.logits, atol=1e-4)
    assert (again.pred == before.pred).mean() > 0.999
