"""Tests and intervals keep their promises in a small simulation; benchmarks/results/simulation has the large one."""

import importlib.util
from pathlib import Path

import pytest
from scipy.stats import binom

REPEATS = 200
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "simulate_statistics.py"


def load_script():
    spec = importlib.util.spec_from_file_location("simulate_statistics", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found():
    script = load_script()
    script.RESAMPLES, script.HIERARCHICAL_IMAGES = 200, 300
    return script.simulate(REPEATS, seed=1)


def band(promised, tail=2e-4):
    """Rates that a method which keeps its promise leaves once in 2,500 times on either side."""
    return binom.ppf(tail, REPEATS, promised) / REPEATS, binom.ppf(1 - tail, REPEATS, promised) / REPEATS


@pytest.mark.slow
def test_no_test_rejects_too_often_where_nothing_is_to_be_found(found):
    assert len(found["tests"]) == 10
    for name, result in found["tests"].items():
        most = 0.075 if name == "any_false_verdict_one_of_each" else 0.05
        assert result["rate"] <= band(most)[1], name
    assert 0 < found["tests"]["mcnemar_mid_p"]["rate"] >= found["tests"]["mcnemar_exact"]["rate"]


@pytest.mark.slow
def test_every_interval_covers_often_enough(found):
    hierarchical = {f"{regime} {k}": one for regime, ks in found["hierarchical"].items() for k, one in ks.items()}
    assert len(hierarchical) == 15
    for name, result in {**found["coverage"], **hierarchical}.items():
        assert band(0.94)[0] <= result["rate"] < 1, name  # 0.94: ends from 200 resamples are noisy


@pytest.mark.slow
def test_power_is_as_planned(found):
    for row in found["power"]:
        low, high = band(row["promised"])
        assert low - 0.02 <= row["rate"] <= high + 0.02, row


def test_a_broken_promise_is_named():
    describe = load_script().describe
    assert describe(20, 200, 0.05)["verdict"] == "high"
    assert describe(10, 200, 0.05)["verdict"] == "within"
    assert describe(175, 200, 0.95)["verdict"] == "low"
