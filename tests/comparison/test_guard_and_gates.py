"""What must stand above a verdict, and what must stop a build."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from stress_lab.comparison.codec import to_record
from stress_lab.comparison.gates import check_gates
from stress_lab.comparison.loading import load_finished
from stress_lab.comparison.split_checks import inspect_splits
from stress_lab.data.duplicates import find_duplicates
from stress_lab.errors import RunError
from tests.comparison.planted import planted

NO_GATES = {
    "min_accuracy": None,
    "max_confident_failures": None,
    "max_ece": None,
    "max_nll": None,
    "no_hurt": False,
    "need_help": False,
}


def exactly(rate, n=10_000, seed=1):
    return np.random.default_rng(seed).permutation(n) < round(rate * n)


def test_a_gap_like_that_of_the_notebook_this_began_with_raises_an_alarm(write_run):
    """Validation 92.08 % and test 88.17 % of 10,000 images each: z = 9.3; 93.88 and 93.70 agree."""
    odd = write_run("0", "sgd", exactly(0.8817), val=exactly(0.9208))
    fine = write_run("1", "adam", exactly(0.9370), val=exactly(0.9388))
    found = [
        one for one in to_record(inspect_splits(load_finished([odd, fine]), 0.05)) if one["check"] == "val-test gap"
    ]
    assert [one["alarm"] for one in found] == [True]
    assert found[0]["z"] == pytest.approx(9.3, abs=0.05)
    assert "sgd, seed 1" in found[0]["sentence"]
    (calm,) = (one for one in to_record(inspect_splits(load_finished([fine]), 0.05)) if one["check"] == "val-test gap")
    assert not calm["alarm"]
    assert calm["p"] == pytest.approx(0.60, abs=0.01)


def start_of(weights, order, augmentation="c"):
    return {"weights": weights, "order": [order, "z"], "augmentation": [augmentation, "y"], "batch": "x"}


@pytest.mark.parametrize(
    ("second", "alarm", "said"),
    [
        (start_of("w2", "o2", "a2"), False, "all 2 seeds started from their own weights, order"),
        (start_of("w1", "o2", "a2"), True, "a, seed 1 and a, seed 2 had the same initial weights"),
        (start_of("w2", "o2", "a1"), True, "had the same augmentation: these seeds repeat"),
        (start_of("w1", "o1", "a1"), True, "and 2 more such pairs"),
    ],
)
def test_seeds_that_repeat_each_other_raise_an_alarm(write_run, second, alarm, said):
    runs = [write_run("0", "a", planted(), seed=1), write_run("1", "a", planted(), seed=2)]
    for run, start in zip(runs, (start_of("w1", "o1", "a1"), second), strict=True):
        run.save_fingerprint(start)
    (found,) = (one for one in to_record(inspect_splits(load_finished(runs), 0.05)) if one["check"] == "seeds")
    assert found["alarm"] == alarm
    assert said in found["sentence"]


def test_runs_of_one_seed_say_nothing_about_seeds(write_run):
    run = write_run("0", "a", planted(), seed=1)
    run.save_fingerprint(start_of("w", "o"))
    assert "seeds" not in {one["check"] for one in to_record(inspect_splits(load_finished([run]), 0.05))}


def test_duplicates_between_train_and_test_are_counted():
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (50, 1, 6, 6), dtype=np.uint8)
    test = rng.integers(0, 256, (10, 1, 6, 6), dtype=np.uint8)
    test[3], test[7] = train[11], train[40]
    labels = np.zeros(50, int)
    labels[40] = 5
    found = find_duplicates(train, labels, test, np.zeros(10, int))
    assert found == {"n": 10, "in_train": 2, "other_label": 1}


def test_duplicates_raise_an_alarm_once(write_run):
    runs = [
        write_run(str(i), v, planted(), duplicates={"n": 200, "in_train": 3, "other_label": 1})
        for i, v in enumerate("ab")
    ]
    (found,) = (one for one in to_record(inspect_splits(load_finished(runs), 0.05)) if one["check"] == "duplicates")
    assert found["alarm"]
    assert found["sentence"].startswith("3 of 200 test images are also training images")


def test_a_clean_run_does_not_hide_the_duplicates_of_another(write_run):
    runs = [
        write_run(str(i), v, planted(), duplicates={"n": 200, "in_train": 3 - 3 * i, "other_label": 0}, others=train)
        for i, (v, train) in enumerate(zip("ab", ([("train", "x")], [("train", "y")]), strict=True))
    ]
    runs.append(write_run("2", "c", planted(), duplicates=None))
    found = [one for one in to_record(inspect_splits(load_finished(runs), 0.05)) if one["check"] == "duplicates"]
    assert [one["alarm"] for one in found] == [True, False]


def test_selection_on_test_is_refused(write_run):
    run = write_run("0", "a", planted())
    run.save_config({**run.config, "callbacks": {"best": {"monitor": "test/acc"}}})
    del run.config
    with pytest.raises(RunError, match=r"chose its weights by test/acc .*monitor=val/acc"):
        to_record(inspect_splits(load_finished([run]), 0.05))


def test_other_preprocessing_of_test_than_of_val_is_refused(write_run):
    run = write_run("0", "a", planted(), val=planted())
    for split, way in (("val", "Normalize(mean=[0.5])"), ("test", "Normalize(mean=[0.4])")):
        run.save_evaluation(split, {**run.load_evaluation()[split], "preprocessing": way})
    with pytest.raises(RunError, match="in different ways"):
        to_record(inspect_splits(load_finished([run]), 0.05))
    run.save_evaluation("test", {**run.load_evaluation()["test"], "preprocessing": "Normalize(mean=[0.5])"})
    assert to_record(inspect_splits(load_finished([run]), 0.05))


def made_up(accuracies, verdicts=(), n=1000, failing=0.02, left_out=(), primary=("accuracy",)):
    """What gates ask of a comparison."""
    return SimpleNamespace(
        runs=[SimpleNamespace(n=n)],
        variants=[
            SimpleNamespace(
                variant=name,
                metrics={"accuracy": SimpleNamespace(mean=mean), "confident_failures": SimpleNamespace(mean=failing)},
            )
            for name, mean in accuracies.items()
        ],
        left_out=left_out,
        primary=primary,
        questions=[SimpleNamespace(b="fix", question="accuracy", verdict=verdict) for verdict in verdicts],
    )


@pytest.mark.parametrize(
    ("gates", "passed"),
    [
        ({"min_accuracy": 0.93}, True),
        ({"min_accuracy": 0.95}, False),
        ({"max_confident_failures": 20}, True),
        ({"max_confident_failures": 19}, False),
        ({"max_ece": 0.5}, False),  # not known: a gate that cannot see does not pass
    ],
)
def test_gates_look_at_the_fix_and_not_at_the_reference(gates, passed):
    (gate,) = check_gates(made_up({"baseline": 0.5, "fix": 0.94}), {**NO_GATES, **gates})
    assert (gate.variant, gate.passed) == ("fix", passed)
    json.dumps(to_record(gate))


@pytest.mark.parametrize(
    ("verdict", "no_hurt", "need_help"),
    [("helped", True, True), ("hurt", False, False), ("cannot tell", True, False), ("equivalent", True, False)],
)
def test_gates_on_the_verdict(verdict, no_hurt, need_help):
    comparison = made_up({"baseline": 0.5, "fix": 0.94}, [verdict])
    found = check_gates(comparison, {**NO_GATES, "no_hurt": True, "need_help": True})
    assert [(gate.gate, gate.passed) for gate in found] == [("no_hurt", no_hurt), ("need_help", need_help)]
    assert check_gates(comparison, NO_GATES) == []


def test_a_run_left_out_fails_every_gate_that_is_set():
    comparison = made_up({"baseline": 0.9}, left_out=["1_fix is left out: failed"])
    found = check_gates(comparison, {**NO_GATES, "min_accuracy": 0.5})
    assert [(gate.gate, gate.passed) for gate in found] == [("min_accuracy", True), ("all_runs", False)]
    assert check_gates(comparison, NO_GATES) == []


def test_counts_are_compared_without_rounding_errors():
    comparison = made_up({"baseline": 0.9}, n=10_000, failing=51 / 10_000)
    (gate,) = check_gates(comparison, {**NO_GATES, "max_confident_failures": 51})
    assert gate.passed


def test_a_question_that_could_not_be_asked_is_no_proof_of_no_harm():
    comparison = made_up({"a": 0.5, "fix": 0.94}, ["helped"], primary=["accuracy", "confident_failures"])
    (gate,) = check_gates(comparison, {**NO_GATES, "no_hurt": True})
    assert not gate.passed
    assert gate.value == {"fix: accuracy": "helped", "fix: confident_failures": "not asked"}


def test_nothing_compared_is_no_proof_of_no_harm():
    (gate,) = check_gates(made_up({"baseline": 0.9}), {**NO_GATES, "no_hurt": True})
    assert not gate.passed
