import numpy as np

from stress_lab.failures import count_failures, is_confident_failure, mine_failures
from stress_lab.records import Predictions

# confidences 0.9 wrong, 0.9 right, exactly 0.5 wrong (tie), 0.6 wrong, 0.9 wrong again
PROBS = np.array([[0.1, 0.9], [0.9, 0.1], [0.5, 0.5], [0.4, 0.6], [0.1, 0.9]])
LABEL = np.array([0, 0, 1, 0, 0])
RECORD = Predictions(np.array([7, 3, 5, 9, 2]), LABEL, np.log(PROBS).astype(np.float32))


def test_threshold_is_strict():
    assert is_confident_failure(RECORD, 0.5).tolist() == [True, False, False, True, True]
    exact = float(RECORD.confidence[3])
    assert is_confident_failure(RECORD, exact).tolist() == [True, False, False, False, True]


def test_failures_are_sorted_by_confidence_then_index():
    failures = mine_failures(RECORD, 0.5, ["cat", "dog"], files=[f"{i}.png" for i in range(10)])
    assert [(f.rank, f.index) for f in failures] == [(1, 2), (2, 7), (3, 9)]
    assert failures[2].pred_name == "dog"
    assert failures[2].label_name == "cat"
    assert failures[2].file == "9.png"
    assert abs(failures[2].true_confidence - 0.4) < 1e-6


def test_limit_keeps_the_most_confident():
    assert mine_failures(RECORD, 0.5, ["cat", "dog"], limit=1) == mine_failures(RECORD, 0.5, ["cat", "dog"])[:1]


def test_counts_belong_together():
    counts = count_failures(RECORD, 0.55)
    assert (counts["n"], counts["errors"], counts["count"]) == (5, 4, 3)
    assert counts["rate"] == 3 / 5
    assert counts["share_of_errors"] == 3 / 4
    assert counts["selective_risk"] == 3 / 4  # four images are above 0.55, three of them wrong


def test_list_and_count_agree_on_random_predictions(make_predictions):
    record = make_predictions(np.random.default_rng(1).random(2000) < 0.8, sharpness=2.5)
    for threshold in (0.0, 0.5, 0.7, 0.99):
        failures = mine_failures(record, threshold, list("abcdefghij"))
        by_hand = sum(record.confidence[i] > threshold and record.pred[i] != record.label[i] for i in range(2000))
        assert len(failures) == count_failures(record, threshold)["count"] == by_hand
