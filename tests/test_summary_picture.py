from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from stress_lab.comparison.codec import from_record
from stress_lab.figures.confusion import draw_confusion_matrix
from stress_lab.figures.style import save_figure
from stress_lab.figures.summary import draw_summary
from stress_lab.files import load_json

KEPT = Path(__file__).parents[1] / "benchmarks" / "results" / "cifar10_fast" / "comparison.json"


@pytest.fixture
def comparison():
    return deepcopy(load_json(KEPT))


def labels(axes):
    return [tick.get_text() for tick in axes.get_yticklabels()]


def test_the_differences_are_those_of_the_verdicts(comparison):
    """Fewer failures by the raw count, more at equal coverage: the picture must not contradict the verdict."""
    for run, rate in zip(comparison["runs"], (0.0230, 0.0225), strict=True):
        run |= {"failure_rate": rate, "failure_rate_interval": [0.02, 0.03]}
    accuracy, failures = comparison["questions"]
    accuracy |= {"difference": 0.0001, "interval": [-0.01, 0.01], "verdict": "cannot tell"}
    failures |= {"difference": 0.0066, "interval": [0.0035, 0.0098], "verdict": "hurt"}
    _, raw, differences, _ = draw_summary(from_record(comparison), {}).axes
    assert labels(raw) == [run["name"] for run in comparison["runs"]]
    assert {text.get_text() for text in raw.texts} == {"2.30", "2.25"}
    assert labels(differences) == [
        "accuracy: cannot tell\ncutout − baseline, higher is better",
        "confident failures at equal coverage: hurt\ncutout − baseline, lower is better",
    ]
    assert {text.get_text() for text in differences.texts} == {"+0.01", "+0.66"}


def test_one_variant_has_no_differences(comparison):
    comparison["questions"], comparison["runs"] = [], comparison["runs"][:1]
    assert [text.get_text() for text in draw_summary(from_record(comparison), {}).axes[2].texts] == [
        "no two variants to compare"
    ]


def test_names_with_dollars_are_no_formulas_and_many_classes_are_quick(tmp_path):
    names = ["cost_$5_and_$6", r"$\frac$"]
    figure = draw_confusion_matrix([[3, 1], [0, 2]], names, r"of $\foo$")
    save_figure(figure, tmp_path / "two.png")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == names
    assert not any(label.get_parse_math() for label in figure.axes[0].get_xticklabels())
    bar = figure.axes[1]
    assert all(label.get_parse_math() for label in bar.get_yticklabels(minor=True))  # powers of ten
    many = draw_confusion_matrix(np.eye(300, dtype=int).tolist(), [str(n) for n in range(300)], "many")
    save_figure(many, tmp_path / "many.png")
    assert many.axes[0].get_xticklabels() == []
    assert many.axes[0].get_xlabel() == "predicted class, 300 in the order of data.json"
