"""One quantity has one interval, its method beside it, wherever it stands."""

import csv

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from stress_lab.calibration.equal_coverage import matched_failures
from stress_lab.comparison.codec import from_record
from stress_lab.comparison.comparable import match_runs
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.measures import JUDGED_BY
from stress_lab.files import load_json
from stress_lab.preflight.comparison_rules import make_options
from stress_lab.publishing.settings import Settings
from stress_lab.publishing.write import write_comparison
from stress_lab.records import Scores
from stress_lab.report.table import describe_verdicts
from stress_lab.stats.paired import equivalence_p, tabulate, tango_interval
from tests.comparison.planted import CLASSES


def made(variant, seed, rate, n=600):
    rng = np.random.default_rng([seed, ord(variant)])
    label = np.arange(n) % 10
    pred = np.where(rng.random(n) < rate, (label + 1 + rng.integers(0, 3, n)) % 10, label)
    scores = Scores(np.arange(n), label, pred, (0.5 + 0.5 * rng.random(n)).astype(np.float32))
    return LoadedRun(f"{variant}, seed {seed}", variant, seed, 0.7, CLASSES, scores, f"{variant}{seed}")


@pytest.fixture(scope="module", params=[1, 2])
def written(request, tmp_path_factory):
    """A comparison of three variants with so many seeds, as it lies on the disk."""
    folder = tmp_path_factory.mktemp("compared")
    runs = [made(v, s, rate) for v, rate in (("a", 0.3), ("b", 0.2), ("c", 0.28)) for s in range(request.param)]
    options = make_options()
    options.resamples, options.report, options.level = 300, False, 0.9
    write_comparison(match_runs(runs, strict=True), folder, "t", Settings.from_config(options))
    return folder, runs


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def collect(comparison):
    """(a, b, seed or all, measure): every (difference, interval, method) that the record gives of it."""
    found = {}
    for pair in comparison["pairs"]:
        for name in ("accuracy", "confident_failures", "confident_failures_matched"):
            found.setdefault((pair["a"], pair["b"], pair["seed"], name), []).append(pair[name])
    one = {(pair["a"], pair["b"]): pair["seed"] for pair in comparison["pairs"]}
    single = all(variant["k"] == 1 for variant in comparison["variants"])
    whole = [(q["a"], q["b"], q["measure"], q) for q in comparison["questions"]]
    whole += [(c["a"], c["b"], m["metric"], m) for c in comparison["comparisons"] for m in c["metrics"]]
    for a, b, name, quantity in whole:
        found.setdefault((a, b, one[a, b] if single else "all", name), []).append(quantity)
    return {
        key: [(one["difference"], tuple(one["interval"]), one["interval_method"]) for one in several]
        for key, several in found.items()
    }


def test_every_difference_has_one_interval_in_the_record_and_in_the_table(written):
    folder, runs = written
    comparison = load_json(folder / "comparison.json")
    quantities = collect(comparison)
    assert sum(len(several) > 1 for several in quantities.values()) >= 4
    for key, several in quantities.items():
        assert len(set(several)) == 1, key
    rows = read(folder / "comparison.csv")
    seeds = len({run.seed for run in runs})
    judged = 2 * len(JUDGED_BY) if seeds > 1 else 0
    assert len(rows) == 3 * 3 * seeds + judged  # three measures of three pairs, and the questions over seeds
    for row in rows:
        seed = row["seed"] if row["seed"] == "all" else int(row["seed"])
        ((difference, interval, method),) = set(quantities[row["a"], row["b"], seed, row["metric"]])
        assert (float(row["difference"]), float(row["low"]), float(row["high"])) == (difference, *interval)
        assert (row["method"], float(row["level"])) == (method, 0.9)
        assert method == ("bootstrap over images, t over runs" if seed == "all" else "Tango score")


def test_the_judged_measure_has_its_row(written):
    folder, runs = written
    rows = [row for row in read(folder / "comparison.csv") if row["metric"] == "confident_failures_matched"]
    comparison = load_json(folder / "comparison.json")
    kept = next(q["fair"]["kept"] for q in comparison["questions"] if q["fair"])
    a, b = (next(run for run in runs if run.variant == variant and run.seed == 0) for variant in "ab")
    wrong = [matched_failures(run.scores.confidence, run.scores.correct, kept) for run in (a, b)]
    (row,) = (row for row in rows if (row["a"], row["b"], row["seed"]) == ("a", "b", "0"))
    assert float(row["rate_a"]) == wrong[0].mean()
    assert (float(row["low"]), float(row["high"])) == tango_interval(tabulate(*wrong), 0.9)


def test_rates_of_a_run_are_wilsons_everywhere(written):
    folder, runs = written
    comparison, table = load_json(folder / "comparison.json"), read(folder / "runs.csv")
    for run, record, row in zip(runs, comparison["runs"], table, strict=True):
        expected = proportion_confint(int(run.scores.correct.sum()), 600, 0.1, method="wilson")
        metric = record["metrics"]["accuracy"]
        assert record["accuracy_interval"] == pytest.approx(expected, abs=1e-12)
        assert [metric["low"], metric["high"]] == record["accuracy_interval"]
        assert [float(row[f"accuracy_interval.{end}"]) for end in (0, 1)] == record["accuracy_interval"]
        assert float(row["metrics.accuracy.low"]) == metric["low"]
        assert row["accuracy_interval_method"] == metric["method"] == "Wilson score"
        failures = record["metrics"]["confident_failures"]
        assert [failures["low"], failures["high"]] == record["failure_rate_interval"]
        assert float(row["majority_rate"]) == 0.1


def walk(value, path=(), above=()):
    """Every interval below a value, with the keys that stand beside it and above."""
    if isinstance(value, list):
        for place, one in enumerate(value):
            yield from walk(one, (*path, place), above)
    elif isinstance(value, dict):
        keys = (*above, set(value))
        for key, one in value.items():
            if (key.endswith("interval") and one is not None) or key == "low":
                yield (*path, key), keys
            else:
                yield from walk(one, (*path, key), keys)


def test_every_interval_names_its_method(written):
    folder, _ = written
    intervals = list(walk(load_json(folder / "comparison.json")))
    assert len(intervals) > 50
    for path, keys in intervals:
        wanted = {"method", "interval_method"} if path[-1] in ("low", "interval") else {f"{path[-1]}_method"}
        if path[-1].startswith("improvement"):
            wanted = {"interval_method"}  # the same one with its sign turned
        near = keys[-2:] if path[-3:-2] in (("failure_curve",), ("reliability",)) else keys[-1:]
        assert any(wanted & beside for beside in near), path


def test_the_terminal_gives_the_same_interval_and_its_method(written):
    comparison = load_json(written[0] / "comparison.json")
    text = " ".join(describe_verdicts(from_record(comparison)))
    for question in comparison["questions"]:
        low, high = (f"{100 * bound:+.2f}".replace("-", "−") for bound in question["interval"])
        assert f"90 % interval {low} to {high})" in text
        assert f"interval: {question['interval_method']};" in text


def test_what_is_corrected_says_for_how_many_questions(written):
    folder, runs = written
    for question in load_json(folder / "comparison.json")["questions"]:
        assert question["corrected_for"] == question["more"]["corrected_for"] == 4
        assert question["more"]["alpha"] == pytest.approx(0.1 / 4)
        assert "equivalence_p" not in question
        if question["unit"] == "recipes":
            assert question["equivalence_interval_level"] == pytest.approx(1 - 2 * 0.1 / 4)
        elif question["question"] == "accuracy":
            a, b = (next(run for run in runs if run.variant == question[side]) for side in "ab")
            p = equivalence_p(tabulate(a.scores.correct, b.scores.correct), question["margin"])
            assert question["equivalence_p_uncorrected"] == p
            assert question["equivalence_p_bonferroni"] == min(1, 4 * p)
