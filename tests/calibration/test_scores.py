from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from stress_lab.calibration.bins import bin_confidence
from stress_lab.calibration.scores import (
    METRICS,
    ClasswiseBins,
    adaptive_contributions,
    classwise_contributions,
    ece_contributions,
    metric_contributions,
    score_predictions,
)
from stress_lab.calibration.selective import aurc
from stress_lab.errors import ConfigError, RunError
from stress_lab.records import Predictions, Scores
from tests.references import augrc_by_trapezoid, ece_by_loop, softmax


def draw(n=600, classes=5, seed=0, sharpness=2.0):
    """Predictions that are ``sharpness`` times too sure."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(n, classes)) * 1.5
    label = (honest + rng.gumbel(size=(n, classes))).argmax(axis=1)
    return Predictions(np.arange(n), label, (honest * sharpness).astype(np.float32))


def adaptive_by_loop(confidence, correct, bins):
    """Equal-mass ECE: the image at place r of N is in the bin with m/M <= r/N < (m+1)/M, in whole numbers."""
    order, n, total = sorted(range(len(confidence)), key=lambda i: confidence[i]), len(confidence), 0.0
    for m in range(bins):
        members = [i for r, i in enumerate(order) if Fraction(m, bins) <= Fraction(r, n) < Fraction(m + 1, bins)]
        assert n // bins <= len(members) <= -(-n // bins)
        total += abs(sum(float(correct[i]) - float(confidence[i]) for i in members)) / n
    return total


def test_scores_of_images_equal_scikit_learn():
    predictions = draw()
    scores = score_predictions(predictions)
    probs, classes = softmax(predictions.logits), np.arange(5)
    assert abs(scores.nll.mean() - log_loss(predictions.label, probs, labels=classes)) < 1e-5
    theirs = np.mean(
        [((row - (classes == label)) ** 2).sum() for row, label in zip(probs, predictions.label, strict=True)]
    )
    assert abs(scores.brier.mean() - theirs) < 1e-6
    assert scores.confidence.dtype == np.float32
    assert scores.correct.mean() == accuracy_score(predictions.label, probs.argmax(axis=1))


def test_extremes_of_the_scores():
    sure = np.array([[300, 0, 0], [300, 0, 0]], np.float32)
    scores = score_predictions(Predictions(np.arange(2), np.array([0, 1]), sure))
    np.testing.assert_allclose(scores.brier, [0, 2])
    np.testing.assert_allclose(scores.nll, [0, -np.log(1e-12)])


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_means_equal_the_loops(bins):
    predictions = draw(n=337, sharpness=1.0)  # gaps of both signs, so that the borders of the bins matter
    probs, label = predictions.probs, predictions.label
    confidence, correct = predictions.confidence, predictions.correct
    ece = bin_confidence(confidence, correct, bins).ece
    assert abs(ece_contributions(confidence, correct, bins).mean() - ece) < 1e-12
    adaptive = adaptive_by_loop(confidence, correct, bins)
    assert abs(adaptive_contributions(confidence, correct, bins).mean() - adaptive) < 1e-12
    classwise = np.mean([ece_by_loop(probs[:, k].astype(float), label == k, bins) for k in range(5)])
    assert abs(classwise_contributions(probs, label, bins).mean() - classwise) < 1e-9


def test_parts_of_a_file_give_what_the_whole_gives():
    predictions = draw()
    gathered, parts = ClasswiseBins(5), [slice(0, 100), slice(100, 101), slice(101, 600)]
    for part in parts:
        gathered.add(predictions.probs[part], predictions.label[part])
    joined = np.concatenate([gathered.contributions(predictions.probs[p], predictions.label[p]) for p in parts])
    np.testing.assert_allclose(joined, classwise_contributions(predictions.probs, predictions.label), atol=1e-12)


@pytest.fixture(scope="module")
def repeated():
    """Of 300 experiments, the mean of each metric and its standard error: (300, 8) twice."""
    means, errors = [], []
    for seed in range(300):
        values = np.array(list(metric_contributions(score_predictions(draw(n=800, seed=seed, sharpness=3.0))).values()))
        means.append(values.mean(axis=1))
        errors.append(values.std(axis=1, ddof=1) / np.sqrt(values.shape[1]))
    return np.array(means), np.array(errors)


@pytest.mark.parametrize(("place", "name"), list(enumerate(METRICS)), ids=list(METRICS))
def test_standard_errors_are_those_of_repeated_experiments(repeated, place, name):
    means, errors = (part[:, place] for part in repeated)
    assert abs(np.std(means) / np.mean(errors) - 1) < 0.14  # 99.9 % band of a deviation from 300 experiments


def test_metrics_are_the_named_functions_in_order():
    predictions = draw()
    values = metric_contributions(score_predictions(predictions))
    assert list(values) == ["accuracy", "nll", "brier", "ece", "adaptive_ece", "classwise_ece", "aurc", "augrc"]
    assert abs(values["aurc"].mean() - aurc(predictions.confidence, predictions.correct)) < 1e-12
    assert abs(values["augrc"].mean() - augrc_by_trapezoid(predictions.confidence, predictions.correct)) < 1e-12
    assert abs(values["ece"].mean() - bin_confidence(predictions.confidence, predictions.correct).ece) < 1e-12
    assert values["accuracy"].mean() == predictions.correct.mean()
    assert [METRICS[name].better for name in values] == ["higher"] + ["lower"] * 7
    assert all(value.shape == (600,) and value.dtype == np.float64 for value in values.values())


def test_what_a_source_does_not_give_is_left_out():
    index, label = np.arange(4), np.array([0, 1, 0, 1])
    hard = Scores(index, label, pred=np.array([0, 1, 1, 1]))
    assert list(metric_contributions(hard)) == ["accuracy"]
    assert metric_contributions(hard)["accuracy"].mean() == 0.75
    sure = Scores(index, label, label, confidence=np.full(4, 0.9, np.float32))
    assert list(metric_contributions(sure)) == ["accuracy", "ece", "adaptive_ece", "aurc", "augrc"]
    assert list(metric_contributions(sure, ["aurc", "nll", "ece"])) == ["aurc", "ece"]


def test_bad_input_is_refused():
    with pytest.raises(ConfigError, match=r"f1 is not a metric: choose from accuracy"):
        metric_contributions(score_predictions(draw(n=10)), ["accuracy", "f1"])
    with pytest.raises(RunError, match=r"give \(N, 5\)"):
        ClasswiseBins(5).add(np.ones((3, 4)), np.zeros(3, int))
    with pytest.raises(RunError, match="outside"):
        ece_contributions(np.array([0.2, -0.1]), np.ones(2, bool))
    with pytest.raises(ConfigError, match="at least one bin"):
        adaptive_contributions(np.array([0.2, 0.1]), np.ones(2, bool), bins=0)
