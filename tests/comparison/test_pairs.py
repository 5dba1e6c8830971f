import json

import numpy as np
import pytest

from stress_lab.comparison.codec import from_record, to_record
from stress_lab.comparison.comparable import find_pairs
from stress_lab.comparison.loading import list_unfinished, load_finished
from stress_lab.comparison.options import Options
from stress_lab.comparison.pairs import compare_gaps, pair_name
from stress_lab.errors import PairingError, RunError
from stress_lab.evaluation import evaluate_predictions
from stress_lab.records import RunInfo
from stress_lab.report.table import describe_verdicts, make_table
from tests.comparison.planted import CLASSES, compare_runs, planted

QUICK = Options(resamples=500)


def test_fixed_and_broken_images_are_those_that_were_planted(write_run):
    a = write_run("0_a", "baseline", planted(wrong=[3, 50, 120], right=[7]))
    b = write_run("1_b", "cutout", planted(right=[3, 50, 120], wrong=[7]))
    (pair,) = to_record(compare_runs(load_finished([a, b]), "t", QUICK, strict=True))["pairs"]
    assert (pair["a"], pair["b"]) == ("baseline", "cutout")
    assert pair["fixed"] == [3, 50, 120]
    assert pair["broken"] == [7]
    assert pair["accuracy"]["difference"] == 2 / 200
    assert pair["accuracy"]["table"]["only_b"] == pair["outcomes"]["fixed"] == 3
    assert pair["confident_failures"]["difference"] == -2 / 200  # every planted error is confident
    assert sum(pair["outcomes"].values()) == 200


def test_the_comparison_is_json_and_prints(write_run):
    from rich.console import Console

    runs = [
        write_run("0_a", "baseline", planted(), train=planted()),
        write_run("1_b", "cutout", planted(), train=planted()),
    ]
    comparison = compare_runs(load_finished(runs), "t", QUICK, strict=True)
    assert from_record(json.loads(json.dumps(to_record(comparison), allow_nan=False))) == comparison
    console = Console(width=120, record=True)
    console.print(make_table(comparison))
    text = console.export_text()
    assert f"{100 * comparison.runs[0].accuracy:.2f} %" in text
    lines = describe_verdicts(comparison)
    assert lines[1] == "Cannot tell whether cutout is more or less accurate than baseline"
    assert "0.00 points" in lines[2]


def test_names_that_look_like_markup_are_printed_as_they_are(write_run):
    from rich.console import Console

    runs = [write_run("0_a", "[/b]", planted()), write_run("1_b", "a [lr=0.1]", planted())]
    console = Console(width=120, record=True)
    console.print(make_table(compare_runs(load_finished(runs), "[red]", QUICK, strict=True)))
    text = console.export_text()
    assert "[/b], seed 1" in text
    assert "a [lr=0.1], seed 1" in text


def test_a_copy_is_not_another_seed(write_run):
    runs = [write_run("0", "a", planted(), seed=1), write_run("1", "a", planted(), seed=2)]
    runs.append(write_run("2", "b", planted(seed=5), seed=1))
    with pytest.raises(PairingError, match="1 predicts exactly what 0 does"):
        compare_runs(load_finished(runs), "t", QUICK, strict=True)
    comparison = to_record(compare_runs(load_finished(runs), "t", QUICK, strict=False))
    assert [variant["k"] for variant in comparison["variants"]] == [1, 1]
    assert "a copy is not another seed" in comparison["left_out"][0]


def test_a_repeat_is_not_another_seed(write_run):
    runs = [write_run("0", "a", planted(), seed=1), write_run("1", "a", planted(seed=4), seed=1)]
    with pytest.raises(PairingError, match="1 and 0 are both seed 1 of a: a repeat is not another seed"):
        compare_runs(load_finished(runs), "t", QUICK, strict=True)
    runs.append(write_run("2", "b", planted(seed=5), seed=1))
    comparison = to_record(compare_runs(load_finished(runs), "t", QUICK, strict=False))
    assert "a repeat is not another seed" in comparison["left_out"][0]
    first, repeat, _ = comparison["runs"]
    assert (first["name"], repeat["name"]) == ("a, seed 1", "a, seed 1 (1)")
    assert first["metrics"]
    assert not repeat["metrics"]
    assert len(comparison["pairs"]) == 1


def test_convergence_is_the_first_epoch_above_the_share(write_run):
    (run,) = to_record(
        compare_runs(load_finished([write_run("0_a", "baseline", planted())]), "t", QUICK, strict=False)
    )["runs"]
    assert (run["epochs_to_90_percent"], run["epochs_to_95_percent"]) == (2, 3)


def test_pairs_need_one_seed_and_two_variants(write_run):
    runs = load_finished(
        [
            write_run("0", "baseline", planted(), seed=1),
            write_run("1", "baseline", planted(), seed=2),
            write_run("2", "cutout", planted(), seed=1),
            write_run("3", "cutout", planted(), seed=2),
        ]
    )
    pairs, notes = find_pairs(runs, strict=True)
    assert [(a.name, b.name) for a, b in pairs] == [
        ("baseline, seed 1", "cutout, seed 1"),
        ("baseline, seed 2", "cutout, seed 2"),
    ]
    assert notes == []


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"right": planted(), "fingerprint": "other"}, "different test images"),
        ({"right": planted(), "threshold": 0.9}, "threshold"),
        ({"right": planted(100)}, "different images"),
    ],
)
def test_runs_of_different_data_are_not_compared(write_run, other, message):
    runs = load_finished([write_run("0_a", "baseline", planted()), write_run("1_b", "cutout", **other)])
    with pytest.raises(PairingError, match=message):
        find_pairs(runs, strict=True)
    pairs, notes = find_pairs(runs, strict=False)
    assert pairs == []
    assert message in notes[0]


def test_overfitting_is_said_only_when_the_interval_says_so(write_run):
    """Seed B: train 94.24 → 99.97, test 88.17 → 93.70 is no reduced gap."""

    def exactly(rate, n=5000):
        return np.random.default_rng(1).permutation(n) < round(rate * n)

    a = write_run("0", "sgd", exactly(0.8817), train=exactly(0.9424))
    b = write_run("1", "adam", exactly(0.9370), train=exactly(0.9997))
    c = write_run("2", "worse", exactly(0.8817), train=exactly(0.9997))
    sgd, adam, worse = load_finished([a, b, c])
    change = compare_gaps(sgd, adam, 0.95)
    assert change.overfitting == "cannot tell"
    assert abs(change.change - ((0.9997 - 0.9370) - (0.9424 - 0.8817))) < 1e-3
    assert compare_gaps(sgd, worse, 0.95).overfitting == "increased"
    assert compare_gaps(worse, sgd, 0.95).overfitting == "reduced"


def test_unfinished_runs_are_left_out(write_run):
    runs = [write_run("0", "baseline", planted()), write_run("1", "cutout", planted(), state="failed")]
    assert [run.variant for run in load_finished(runs)] == ["baseline"]
    with pytest.raises(RunError, match="none of the 1 runs finished"):
        load_finished(runs[1:])


def test_other_data_is_refused_whatever_the_seed(write_run):
    runs = [write_run("0", "a", planted(), seed=1), write_run("1", "b", planted(), seed=2, fingerprint="other")]
    with pytest.raises(PairingError, match="different test images"):
        find_pairs(load_finished(runs), strict=True)


def test_unfinished_runs_are_named():
    class Fake:
        path = type("P", (), {"name": "1_cutout"})

        def load_info(self):
            return RunInfo("cutout", 1, "failed", "now", error="the disk is full")

    assert list_unfinished([Fake()]) == ["1_cutout is left out: failed (the disk is full)"]


def test_a_second_difference_is_said(write_run):
    a, b = write_run("0", "baseline", planted()), write_run("1", "cutout", planted())
    for run, epochs, cutout in ((a, 50, None), (b, 5, 16)):
        run.save_config({**run.config, "trainer": {"max_epochs": epochs}, "augment": {"cutout": cutout}})
        del run.config
    comparison = to_record(compare_runs(load_finished([a, b]), "t", QUICK, strict=True))
    assert comparison["pairs"][0]["differs_in"] == ["augment.cutout", "trainer.max_epochs"]
    assert comparison["notes"] == ["cutout and baseline differ in more than one thing: augment, trainer"]


def test_file_names_of_pairs_stay_apart_and_inside(write_run):
    long = "sgd (" + ", ".join(f"optim.key{i}={i}" for i in range(30)) + ")"
    runs = [
        write_run(str(i), name, planted(), seed=s)
        for i, (name, s) in enumerate([(long, 1), (long + "x", 1), ("../up", 2)])
    ]
    a, b, up = load_finished(runs)
    names = {pair_name(a, b), pair_name(b, a), pair_name(a, up), pair_name(up, a)}
    assert len(names) == 4
    assert all("/" not in name and len(name) < 130 for name in names)


def test_evaluation_adds_up(make_predictions):
    record = make_predictions(planted())
    evaluation = evaluate_predictions(record, CLASSES, 0.7)
    matrix = np.array(evaluation["confusion"])
    assert matrix.sum() == evaluation["n"] == 200
    assert np.trace(matrix) == 200 - evaluation["errors"] == int(planted().sum())
    assert sum(row["n"] for row in evaluation["per_class"]) == 200
    assert evaluation["per_class"][3]["recall"] == matrix[3, 3] / matrix[3].sum()
    from sklearn.metrics import log_loss

    assert abs(evaluation["nll"] - log_loss(record.label, record.probs, labels=range(10))) < 1e-6


def test_failures_gone_and_new_are_listed(write_run):
    a = write_run("0_a", "baseline", planted(wrong=[3, 50], right=[7]))
    b = write_run("1_b", "cutout", planted(right=[3, 50], wrong=[7]))
    (pair,) = to_record(compare_runs(load_finished([a, b]), "t", QUICK, strict=True))["pairs"]
    assert pair["failures_gone"] == [3, 50]
    assert pair["failures_new"] == [7]
