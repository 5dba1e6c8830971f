import numpy as np
import pytest
import torch

from stress_lab.calibration.equal_coverage import (
    CURVE_THRESHOLDS,
    count_confident,
    failure_curve,
    matched_failures,
    split_change,
)
from stress_lab.calibration.scores import score_predictions
from stress_lab.calibration.temperature import apply_temperature, fit_temperature
from stress_lab.errors import ConfigError, PairingError, RunError
from stress_lab.failures import is_confident_failure
from stress_lab.records import Predictions, Scores


def soften(predictions):
    """The same model with logits times 0.8: less sure, and right on the same images."""
    return Predictions(predictions.index, predictions.label, predictions.logits * np.float32(0.8))


def synthetic(classes, seed, n=4000):
    """Predictions that are twice as sure as they should be."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(n, classes)) * 1.5
    label = (honest + rng.gumbel(size=(n, classes))).argmax(axis=1)
    return Predictions(np.arange(n), label, (2 * honest).astype(np.float32))


def trained(classes, seed, n=2000):
    """Validation and test predictions of a small net that has overfitted clusters in eight dimensions."""
    torch.manual_seed(seed)
    centres = torch.randn(classes, 8) * 0.9

    def draw(count):
        label = torch.randint(classes, (count,))
        return centres[label] + torch.randn(count, 8), label

    images, labels = draw(200)
    net = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, classes))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(images), labels).backward()
        optimiser.step()
    with torch.no_grad():
        parts = [(net(inputs).numpy(), label.numpy()) for inputs, label in (draw(n), draw(n))]
    return [Predictions(np.arange(n), label, logits) for logits, label in parts]


CASES = {
    "synthetic, 2 classes": lambda: (synthetic(2, 0), synthetic(2, 1)),
    "synthetic, 10 classes": lambda: (synthetic(10, 0), synthetic(10, 1)),
    "net, 2 classes": lambda: trained(2, 0),
    "net, 5 classes": lambda: trained(5, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_softer_logits_win_nothing_that_counts(case):
    val, test = CASES[case]()
    raw = split_change(score_predictions(test), score_predictions(soften(test)), 0.7)
    assert soften(test).correct.mean() == test.correct.mean()
    assert raw["change"] < -3
    if "2 classes" in case:
        assert raw["by_ranking"] == 0
    else:  # more than two classes: the order by confidence depends on all logits, so a few images change places
        assert abs(raw["by_ranking"]) < 0.15 * abs(raw["change"])
    a = apply_temperature(test, fit_temperature(val.logits, val.label))
    b = apply_temperature(soften(test), fit_temperature(soften(val).logits, val.label))
    calibrated = split_change(score_predictions(a), score_predictions(b), 0.7)
    assert calibrated["raw_a"] > 0
    assert calibrated["change"] == calibrated["by_ranking"] == calibrated["by_confidence"] == 0


def test_a_model_that_is_right_more_often_wins_by_ranking():
    before = synthetic(10, 2)
    failures = np.flatnonzero(is_confident_failure(before, 0.7))[:30]
    label = before.label.copy()
    label[failures] = before.pred[failures]
    after = Predictions(before.index, label, before.logits)
    result = split_change(score_predictions(before), score_predictions(after), 0.7)
    assert result["change"] == result["by_ranking"] == -30
    assert result["by_confidence"] == 0


@pytest.mark.parametrize("seed", range(5))
def test_parts_equal_a_plain_count_and_sum_to_the_change(seed):
    a, b = synthetic(4, seed, n=300), synthetic(4, seed + 50, n=300)
    result = split_change(score_predictions(a), score_predictions(b), 0.6)
    above = sum(float(c) > np.float32(0.6) for c in a.confidence)
    most = sorted(range(300), key=lambda i: (-b.confidence[i], i))[:above]
    assert result["matched_b"] == sum(not b.correct[i] for i in most)
    assert result["raw_a"] == int(is_confident_failure(a, 0.6).sum())
    assert result["raw_b"] == int(is_confident_failure(b, 0.6).sum())
    assert result["by_ranking"] + result["by_confidence"] == result["change"] == result["raw_b"] - result["raw_a"]


def test_a_model_matched_with_itself_keeps_its_count():
    a = synthetic(6, 7)
    kept = count_confident(a.confidence, 0.7)
    np.testing.assert_array_equal(matched_failures(a.confidence, a.correct, kept), is_confident_failure(a, 0.7))


def test_where_confidences_are_tied_no_class_goes_first():
    """Five votes an image, sorted by class, the last class hard: by position all or none of it would be kept."""
    confidence, correct = np.repeat(0.8, 10_000), np.arange(10_000) < 9000
    for order in (slice(None), slice(None, None, -1)):
        count = int(matched_failures(confidence, correct[order], 7000).sum())
        assert abs(count - 700) < 4 * 14.5  # standard deviation of the hypergeometric count
    np.testing.assert_array_equal(
        matched_failures(confidence, correct, 7000), matched_failures(confidence, correct, 7000)
    )


def test_all_or_none_are_kept():
    confidence, wrong = np.array([0.5, 0.9, 0.5, 0.5, 0.9]), np.zeros(5, bool)
    assert matched_failures(confidence, wrong, 2).tolist() == [False, True, False, False, True]
    assert matched_failures(confidence, wrong, 3).sum() == 3
    assert not matched_failures(confidence, wrong, 0).any()
    assert matched_failures(confidence, wrong, 5).all()


def test_curve_equals_the_count_of_failures_at_each_threshold():
    predictions = synthetic(10, 3)
    expected = [int(is_confident_failure(predictions, threshold).sum()) for threshold in CURVE_THRESHOLDS]
    assert failure_curve(predictions.confidence, predictions.correct) == expected
    assert expected == sorted(expected, reverse=True)
    assert CURVE_THRESHOLDS[:3] == (0.5, 0.52, 0.54)
    assert CURVE_THRESHOLDS[-2:] == (0.98, 0.99)
    assert len(CURVE_THRESHOLDS) == 26


@pytest.mark.parametrize("threshold", [*CURVE_THRESHOLDS, np.float64(0.6)])
def test_a_confidence_at_the_threshold_is_not_above_it(threshold):
    """Also for 0.6, which rounds up in float32, and for a threshold that numpy computed."""
    at = np.full(3, threshold, np.float32)
    assert count_confident(at, threshold) == 0
    assert count_confident(np.nextafter(at, np.float32(2)), threshold) == 3


def test_bad_input_is_refused():
    scores = score_predictions(synthetic(3, 0, n=5))
    hard = Scores(scores.index, scores.label, scores.pred)
    with pytest.raises(RunError, match="model B has only hard labels"):
        split_change(scores, hard, 0.7)
    with pytest.raises(PairingError, match="align them by index"):
        split_change(scores, score_predictions(synthetic(3, 0, n=6)), 0.7)
    with pytest.raises(ConfigError, match="6 most confident of 5"):
        matched_failures(scores.confidence, scores.correct, 6)
