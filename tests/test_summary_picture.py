from copy import deepcopy
from pathlib import Path

import pytest

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
    _, raw, differences, _ = draw_summary(comparison, {}).axes
    assert labels(raw) == [run["name"] for run in comparison["runs"]]
    assert {text.get_text() for text in raw.texts} == {"2.30", "2.25"}
    assert labels(differences) == [
        "accuracy: cannot tell\ncutout − baseline, higher is better",
        "confident failures at equal coverage: hurt\ncutout − baseline, lower is better",
    ]
    assert {text.get_text() for text in differences.texts} == {"+0.01", "+0.66"}


def test_one_variant_has_no_differences(comparison):
    comparison["questions"], comparison["runs"] = [], comparison["runs"][:1]
    assert [text.get_text() for text in draw_summary(comparison, {}).axes[2].texts] == ["no two variants to compare"]
