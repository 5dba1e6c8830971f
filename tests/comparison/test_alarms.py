"""What stands above a verdict: nets that never predict a class, or do no better than one answer for all."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from stress_lab.comparison.alarms import find_alarms, learnt_nothing, majority
from stress_lab.comparison.codec import to_record
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.options import Options
from stress_lab.figures.summary import draw_summary
from stress_lab.records import Scores
from stress_lab.report.table import describe_verdicts, make_table
from tests.comparison.planted import compare_runs

QUICK = Options(resamples=200)
ANIMALS = ("bird", "cat", "dog")
ROUND = np.repeat([1, 2, 0], [1000, 100, 12])  # cats, dogs, birds


def said(variant, label, pred, classes=ANIMALS, seed=1, confidence=0.9):
    scores = Scores(np.arange(len(label)), np.asarray(label), np.asarray(pred), np.full(len(label), confidence))
    return LoadedRun(f"{variant}, seed {seed}", variant, seed, 0.7, classes, scores, f"{variant}{seed}")


def sentences(*runs):
    return [one.sentence for one in find_alarms(runs, 0.95) if one.alarm]


def with_errors(label, rate, seed, among=None):
    """The labels with a share of them replaced by another class that occurs."""
    rng = np.random.default_rng(seed)
    classes = np.unique(label) if among is None else np.asarray(among)
    return np.where(rng.random(len(label)) < rate, rng.choice(classes, len(label)), label)


def test_one_answer_for_all_names_what_is_never_predicted():
    both = [said(name, ROUND, np.ones_like(ROUND)) for name in ("baseline", "cutout")]
    missing, useless = to_record(find_alarms(both[:1], 0.95))
    assert missing["sentence"] == "baseline, seed 1 predicts only cat and never predicts dog (100 images) and bird (12)"
    assert missing["classes"] == {"dog": 100, "bird": 12}
    low, high = proportion_confint(1000, 1112, method="wilson")
    assert useless["sentence"] == (
        f"baseline, seed 1 has an accuracy of 89.93 % (95 % interval {100 * low:.2f} to {100 * high:.2f}) that is not "
        "above the 89.93 % of always answering cat"
    )
    first, second = sentences(*both)
    assert first.startswith("each of 2 runs (baseline, seed 1; cutout, seed 1) predicts only cat and never predicts")
    assert "each of 2 runs" in second


def test_a_class_that_is_never_predicted_is_named_although_the_accuracy_is_fine():
    pred = np.where(ROUND == 0, 1, ROUND)  # every bird is a cat
    (only,) = sentences(said("a", ROUND, pred))
    assert only == "a, seed 1 never predicts bird (12 images)"
    assert sentences(said("a", ROUND, ROUND)) == []


@pytest.mark.parametrize(
    ("counts", "missed", "alarm"),
    [
        ((50, 50, 1), (2,), False),  # one image is missed by chance easily
        ((50, 50, 2), (2,), False),
        ((50, 50, 3), (2,), True),
        ((50, 3, 1), (1, 2), True),
        ((50, 0, 50), (1,), None),  # no image of that class: nothing is missed
    ],
)
def test_small_and_absent_classes(counts, missed, alarm):
    label = np.repeat(np.arange(3), counts)
    pred = np.where(np.isin(label, missed), 0, label)
    found = [
        one
        for one in to_record(find_alarms([said("a", label, pred)], 0.95))
        if one["check"] == "classes never predicted"
    ]
    assert [one["alarm"] for one in found] == ([] if alarm is None else [alarm])


def test_two_classes_and_tiny_test_sets():
    label = np.array([0, 1, 0, 1])
    found = to_record(find_alarms([said("a", label, np.zeros(4, int), ("no", "yes"))], 0.95))
    assert [one["check"] for one in found] == ["classes never predicted", "majority class"]
    assert found[0]["sentence"] == "a, seed 1 predicts only no and never predicts yes (2 images)"
    right = find_alarms([said("a", label, label, ("no", "yes"))], 0.95)  # four of four: 51 to 100 %
    assert right == []
    alone = to_record(find_alarms([said("a", np.zeros(9, int), np.zeros(9, int), ("no", "yes"))], 0.95))
    assert [one["sentence"] for one in alone] == [
        "all 9 test images are of the class no: accuracy says nothing about any other class"
    ]


@pytest.mark.parametrize("right", [70, 72, 75, 79, 81, 90])
def test_above_the_majority_class_only_where_the_interval_says_so(right):
    label = np.repeat([0, 1], [70, 30])
    pred = label.copy()
    pred[right:] = 1 - pred[right:]
    found = [one for one in find_alarms([said("a", label, pred, ("no", "yes"))], 0.95) if "majority" in one.check]
    low, _ = proportion_confint(right, 100, method="wilson")
    assert bool(found) == (low <= 0.7)
    if found:
        assert found[0].facts["below"] == (right <= 70)
        assert ("not clearly above" in found[0].sentence) == (right > 70)
        assert learnt_nothing(found) == ({"a, seed 1"} if right <= 70 else set())


def test_many_classes_are_counted():
    label = np.repeat(np.arange(40), 5)
    (only, *_) = sentences(said("a", label, np.where(label < 20, label, 0), tuple(f"c{n}" for n in range(40))))
    assert only.endswith("c20 (5 images), c21 (5), c22 (5), c23 (5), c24 (5) and 15 more classes")


def test_the_comparison_says_it_first_and_withholds_advice():
    runs = [said("baseline", ROUND, np.ones_like(ROUND)), said("cutout", ROUND, np.where(ROUND == 2, 1, 1))]
    runs[1].scores.pred[0] = 2  # one cat is a dog
    comparison = compare_runs(runs, "t", QUICK, strict=True)
    assert comparison.data.majority_rate == 1000 / 1112 == comparison.runs[0].majority_rate
    assert comparison.data.majority_class == "cat"
    assert [one.check for one in comparison.alarms].count("classes never predicted") == 2
    lines = describe_verdicts(comparison)
    assert lines[0] == "! baseline, seed 1 predicts only cat and never predicts dog (100 images) and bird (12)"
    assert lines[1] == "! cutout, seed 1 never predicts bird (12 images)"
    text = " ".join(lines)
    assert "more test images would detect" not in text
    assert "before the nets do better than always answering one class" in text
    assert "look-alikes" not in " ".join(one.pattern.words for one in comparison.patterns.found)
    table = make_table(comparison)
    assert [*table.columns[0].cells][-1].plain == "always cat"
    assert [*table.columns[1].cells][-1] == "89.93 %"
    assert "always cat: 89.93" in draw_summary(comparison, {}).axes[0].get_xlabel()


def test_nets_that_learnt_something_keep_the_advice():
    label = np.arange(2000) % 10
    classes = tuple("abcdefghij")
    runs = [said(name, label, with_errors(label, 0.2, seed), classes) for seed, name in enumerate("ab")]
    comparison = compare_runs(runs, "t", QUICK, strict=True)
    assert comparison.alarms == ()
    assert any("more test images would detect" in line for line in describe_verdicts(comparison))
    assert majority(runs[0]) == {"majority_class": "a", "majority_rate": 0.1}
