"""What people pass: everything that could work does, everything else ends in one sentence."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import stress_lab as sl
from stress_lab.api.predictions import as_predictions
from tests.api.conftest import K, answer

LIST = [[0.9, 0.3, 0.1, -1.0], [0.2, 1.1, 0.0, 0.0], [0.0, 0.5, 2.0, 0.0]]
SHAPES = {
    "float64": lambda a: a.astype(np.float64),
    "lists": lambda a: a.tolist(),
    "tuples": lambda a: tuple(map(tuple, a.tolist())),
    "frame": lambda a: pd.DataFrame(a),
    "frame of objects": lambda a: pd.DataFrame(a).astype(object),
    "tensor": torch.from_numpy,
    "tensor with a graph": lambda a: torch.from_numpy(a).requires_grad_() * 1,
    "list of tensors": lambda a: list(torch.from_numpy(a)),
    "rows apart": lambda a: np.repeat(a, 2, axis=0)[::2],
    "other bytes": lambda a: a.astype(">f4"),
    "longdouble": lambda a: a.astype(np.longdouble),
    "seeds in one array": lambda a: a[None],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_of_array_gives_the_same_verdicts(old, new, labels, result, shape):
    change = SHAPES[shape]
    models = {"old": change(old), "new": change(new)}
    found = sl.compare(models, change(labels) if shape == "tensor" else labels, resamples=200)
    if shape != "seeds in one array" or found.questions[0].runs_a == 1:
        assert found.questions == result.questions


def test_bfloat16_is_read_as_its_values(old, labels):
    half = torch.from_numpy(old).bfloat16()
    made = sl.Predictions.from_logits(half, labels)
    np.testing.assert_array_equal(made.logits, half.float().numpy())


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.tolist(),
        lambda y: y.astype(float),
        lambda y: y[:, None],
        lambda y: pd.Series(y).astype("Int64"),
        lambda y: pd.Series(y).astype("category"),
        lambda y: y.astype(str),
        lambda y: torch.from_numpy(y),
        lambda y: np.array(y, dtype=object),
    ],
)
def test_labels_of_every_kind(old, new, labels, result, change):
    assert sl.compare({"old": old, "new": new}, change(labels), resamples=200).questions == result.questions


def test_names_of_classes_do_for_labels(old, new, labels, result):
    names = np.array(["cat", "dog", "emu", "fox"])
    found = sl.compare({"old": old, "new": new}, names[labels], classes=names, resamples=200)
    assert found.questions == result.questions
    assert found.to_dict()["data"]["classes"] == names.tolist()


def with_nan(array):
    array = array.astype(float)
    array[5, 1] = np.nan
    return array


WRONG = {
    "no mapping": (lambda m, y: ([m["old"], m["new"]], y), r"models is of type list: pass the predictions by name"),
    "nothing": (lambda m, y: ({}, y), r"models is empty: pass the predictions by name"),
    "no labels": (
        lambda m, y: (m, None),
        r"labels is missing: models\['old'\] has no labels, so pass the true class",
    ),
    "shorter": (
        lambda m, y: ({**m, "new": m["new"][:-5]}, y),
        r"models\['new'\] has 595 entries and models\['old'\] has 600: pass one for each image",
    ),
    "fewer labels": (lambda m, y: (m, y[:-1]), r"labels has 599 entries and models\['old'\] has 600"),
    "one-hot": (lambda m, y: (m, np.eye(K)[y]), r"labels has shape \(600, 4\), not one value per image: .*argmax"),
    "text": (
        lambda m, y: (m, np.array(["cat", "dog", "emu", "fox"])[y]),
        r"labels holds names, such as .*: pass classes=",
    ),
    "from one": (lambda m, y: (m, y + 1), r"label of the argument labels holds '4', .* subtract 1 from each label"),
    "missing label": (
        lambda m, y: (m, pd.Series(y, dtype=float).where(y > 0)),
        r"the argument labels: label is missing in \d+ of 600 rows",
    ),
    "NaN": (
        lambda m, y: ({**m, "new": with_nan(m["new"])}, y),
        r"models\['new'\]: logits\[1\] is missing, NaN .* id 5",
    ),
    "probabilities": (
        lambda m, y: ({**m, "new": np.full((600, 4), 0.25)}, y),
        r"models\['new'\]: logits hold probabilities, .*: pass kind='probs' \(if they really are logits",
    ),
    "one column": (lambda m, y: ({"a": m["old"][:, 0]}, y), r"models\['a'\] has one number per image.*np.stack"),
    "classes": (
        lambda m, y: ({**m, "new": np.eye(5)[y] * 3}, y),
        r"models\['old'\] has 4 classes, models\['new'\] has 5",
    ),
    "ragged": (
        lambda m, y: ({"a": [[1.0, 2.0], [3.0]]}, y[:2]),
        r"models\['a'\] cannot be converted to an array .*equal length",
    ),
    "empty": (lambda m, y: ({"a": np.zeros((0, 4))}, []), r"models\['a'\] has shape \(0, 4\)"),
    "a path": (lambda m, y: ({"a": "logits.npy"}, y), r"models\['a'\] is of type str: pass Predictions.from_logits"),
    "complex": (lambda m, y: ({"a": m["old"] * 1j}, y), r"models\['a'\] holds complex64: pass numbers"),
    "copies": (lambda m, y: ({"a": [m["old"], m["old"]], "b": m["new"]}, y), r"a copy is not another seed"),
    "two names": (lambda m, y: ({"1": m["old"], 1: m["new"]}, y), r"models has two keys that both read '1'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_ends_in_one_sentence(old, new, labels, case):
    change, sentence = WRONG[case]
    models, truth = change({"old": old, "new": new}, labels)
    with pytest.raises(sl.StressLabError, match=sentence) as caught:
        sl.compare(models, truth, resamples=100)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"level": 95}, "level=95 does not work: pass a fraction from 0.5 to 0.999"),
        ({"threshold": 70}, "threshold=70 does not work: pass a fraction"),
        ({"kind": "softmax"}, "kind='softmax' does not work: pass one of 'logits', 'probs', 'labels'"),
        ({"resamples": 5}, "resamples=5 does not work: pass a whole number from 100"),
        ({"margins": {"ece": 0.1}}, "margins holds 'ece': its keys are accuracy and confident_failures"),
        ({"margins": 0}, "margins.accuracy=0 does not work"),
        ({"primary": "ece"}, "primary=['ece'] does not work: pass accuracy, confident_failures, or a list of both"),
        ({"classes": ["a", "b"]}, "classes has 2 names and models['old'] has 4 columns"),
        ({"classes": ["a", "b", "c", "a"]}, "classes holds 'a' twice"),
        ({"ids": [1, 2]}, "index has 2 entries and models['old'] has 600"),
        ({"ids": [0] * 600}, "599 of 600 rows repeat the id of another"),
        ({"image_paths": ["a.png"]}, "image_paths has 1 entries and models has 600"),
        ({"groups": ["a"]}, "groups has 1 entries and models has 600"),
        ({"groups": {"camera": [None] * 600}}, "groups['camera'] lacks a value for some images"),
        ({"val": {"old": 1}}, "val has other names than models"),
        ({"val": {"old": [1], "new": [2]}}, "val['old'] is not a pair: pass (logits, labels)"),
    ],
)
def test_wrong_options_end_in_one_sentence(old, new, labels, given, sentence):
    with pytest.raises(sl.InputError, match=re.escape(sentence)):
        sl.compare({"old": old, "new": new}, labels, **given)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: sl.Predictions.from_probs(LIST, [0, 1, 2]),
            r"probs: a probability is -1 .*use Predictions.from_logits",
        ),
        (lambda: sl.Predictions.from_logits(np.eye(3), [0, 1, 2]), r"logits hold .*: use Predictions.from_probs"),
        (lambda: sl.Predictions.from_labels([0, 1], [0, 1, 2]), r"labels has 3 entries and pred has 2"),
        (lambda: sl.Predictions.from_labels([0, 1], [0, 1], confidence=[2, 0.5]), r"confidence is 2 .* fraction"),
        (lambda: sl.mine_failures(LIST), r"predictions is of type list: pass Predictions.from_logits"),
        (
            lambda: sl.mine_failures(sl.Predictions.from_labels([0, 1], [1, 1])),
            r"have no confidences: pass confidence=",
        ),
        (
            lambda: sl.mcnemar_test([0, 2], [1, 1]),
            r"correct_a holds values other than true and false: pass pred == labels",
        ),
        (lambda: sl.mcnemar_test([True], [True, False]), r"two models must be compared on the same images"),
        (lambda: sl.read_predictions("nowhere.csv"), r"nowhere.csv is missing"),
        (lambda: sl.fit_temperature(LIST, [0, 1]), r"labels has 2 entries and logits has 3"),
        (lambda: sl.load_comparison("nowhere"), r"nowhere"),
    ],
)
def test_other_functions_end_in_one_sentence(call, sentence):
    with pytest.raises(sl.InputError, match=sentence):
        call()


def test_one_model_alone_is_described(old, labels):
    found = sl.compare({"only": old}, labels, resamples=100)
    assert found.verdicts == {}
    assert str(found).startswith(f"only: {100 * (old.argmax(1) == labels).mean():.1f} % accurate")
    assert "variant" not in str(found)
    assert "only: " in found._repr_html_()


def test_lists_of_seeds_may_differ_in_length(labels):
    seeds = {"old": [answer(labels, 1.0, k) for k in range(2)], "new": [answer(labels, 1.5, k) for k in (7, 8, 9)]}
    question = sl.compare(seeds, labels, resamples=200).verdicts["accuracy"]
    assert (question.runs_a, question.runs_b) == (2, 3)
    assert "2 and 3 runs" in str(question)


def test_a_thousand_classes_and_a_single_one():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 1200, 300)
    logits = rng.normal(size=(300, 1200)) + 8 * np.eye(1200)[label]
    found = sl.compare({"a": logits, "b": logits - 1e-3 * rng.normal(size=logits.shape)}, label, resamples=100)
    assert found.verdicts["accuracy"].n == 300
    same = np.zeros(100, int)
    alone = sl.compare({"a": same, "b": same}, same, kind="labels", resamples=100)
    assert alone.verdicts["accuracy"].difference == 0


def test_what_a_run_folder_holds_is_taken_as_it_is(write_run, make_predictions):
    right = np.arange(80) % 4 > 0
    run = write_run("0_a", "a", right, classes=tuple("jihgfedcba"))
    held, made = as_predictions(run), make_predictions(right)
    np.testing.assert_array_equal(held.correct, made.correct)
    np.testing.assert_array_equal(held.label, made.label)
    assert [one.index for one in sl.mine_failures(run)] == [one.index for one in sl.mine_failures(made)]
    assert sl.mine_failures(run)[0].label_name == "jihgfedcba"[made.label[sl.mine_failures(run)[0].index]]
    assert sl.compare({"a": run, "b": run}, resamples=100, primary=["accuracy"]).verdicts["accuracy"].difference == 0
