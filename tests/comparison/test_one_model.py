"""The audit of one model against scikit-learn, and what is said about it."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, precision_score, recall_score
from statsmodels.stats.proportion import proportion_confint

import stress_lab as sl
from stress_lab.comparison.codec import from_record, to_record
from stress_lab.errors import InputError

N, K = 500, 5
CLASSES = ["ant", "bee", "cat", "dog & <b>", "elk"]
FORBIDDEN = ("variant", "equivalent", "A/A", "nothing to compare")


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def draw(seed=0, n=N, scale=1.0, strength=2.0):
    """Labels of very unequal classes, the last of which is never predicted, and logits."""
    labels = np.random.default_rng(1).choice(K, n, p=[0.5, 0.25, 0.15, 0.07, 0.03])
    logits = np.random.default_rng(seed).normal(size=(n, K))
    logits[np.arange(n), labels] += strength
    logits[:, 4] -= 30
    return labels, (scale * logits).astype(np.float32)


@pytest.fixture(scope="module")
def audit():
    labels, logits = draw()
    vl, v = draw(seed=7)
    found = sl.compare({"net": logits}, labels, classes=CLASSES, val={"net": (v, vl)}, resamples=100, title="one net")
    return found, labels, logits


def test_the_numbers_are_scikit_learns(audit):
    found, labels, logits = audit
    model, pred = found._found.one_model, logits.argmax(1)
    assert model.accuracy.value == (pred == labels).mean()
    assert model.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(labels, pred))
    matrix = confusion_matrix(labels, pred, labels=range(K))
    assert np.array_equal(found._found.variants[0].confusion, matrix)
    recall = recall_score(labels, pred, average=None, labels=range(K), zero_division=0)
    precision = precision_score(labels, pred, average=None, labels=range(K), zero_division=0)
    table = found.classes().set_index("name").loc[CLASSES]
    np.testing.assert_allclose(table["recall"], recall)
    np.testing.assert_allclose(table["precision"].iloc[:4], precision[:4])
    assert np.isnan(table["precision"].iloc[4])
    low, high = proportion_confint(matrix.diagonal(), matrix.sum(1), method="wilson")
    np.testing.assert_allclose(
        table[["recall_low", "recall_high"]].to_numpy().T, [np.maximum(low, 0), high], atol=1e-12
    )
    assert found.classes()["recall"].is_monotonic_increasing
    worst = int(recall.argmin())
    bounds = proportion_confint(matrix[worst, worst], matrix[worst].sum(), 0.05 / K, method="wilson")
    assert (model.worst_class, model.worst_recall.high) == (CLASSES[worst], pytest.approx(bounds[1]))


def test_failures_confusions_and_their_sums(audit):
    found, labels, logits = audit
    model, pred, sure = found._found.one_model, logits.argmax(1), softmax(logits).max(1)
    failed = (pred != labels) & (sure > 0.7)
    assert model.failures == failed.sum() == sum(one.confident_failures for one in model.classes)
    first = model.confusions[0]
    chosen = (labels == CLASSES.index(first.true)) & (pred == CLASSES.index(first.predicted))
    assert (first.count, first.confident) == (chosen.sum(), (chosen & failed).sum())
    assert sum(one.count for one in model.confusions) == (pred != labels).sum()


@pytest.mark.parametrize(("scale", "verdict"), [(1.0, "calibrated"), (4.0, "overconfident"), (0.3, "underconfident")])
def test_calibration_in_a_word(scale, verdict):
    """Logits of true probabilities, then multiplied: the net says too much or too little."""
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(3000, K)) * 2
    labels = np.array([rng.choice(K, p=p) for p in softmax(logits)])
    found = sl.compare({"net": scale * logits}, labels, resamples=100)
    [one] = found._found.one_model.calibration
    assert one.verdict == verdict
    probs = softmax(scale * logits.astype(np.float32))
    assert one.gap == pytest.approx(probs.max(1).mean() - (logits.argmax(1) == labels).mean(), abs=1e-6)


def test_abstention_is_chosen_on_val_or_on_the_half_that_does_not_check_it(audit):
    found, labels, logits = audit
    [one] = found._found.one_model.abstention
    assert (one.chosen_on, one.chosen_n, one.checked_n) == ("val", N, N)
    kept = softmax(logits).max(1) >= one.threshold
    assert (one.answered, one.wrong) == (kept.sum(), (logits.argmax(1) != labels)[kept].sum())
    alone = sl.compare({"net": logits}, labels, resamples=100, max_risk=0.2)
    [half] = alone._found.one_model.abstention
    assert (half.chosen_on, half.chosen_n, half.checked_n, half.max_risk) == ("half of test", N // 2, N // 2, 0.2)
    assert "as there is no val" in str(alone)


def test_text_and_card_state_the_finding_and_nothing_of_a_comparison(audit):
    found, labels, logits = audit
    for text in (str(found), found._repr_html_()):
        assert f"{100 * (logits.argmax(1) == labels).mean():.1f} % accurate" in text
        assert "never predicts elk" in text
        assert "stress_lab.compare({" in text
        assert not [word for word in FORBIDDEN if word in text]
    assert "<b> " not in found._repr_html_().replace("<b>! ", "")


def test_several_runs_are_means_with_their_spread():
    labels, _ = draw()
    runs = [draw(seed)[1] for seed in range(3)]
    found = sl.compare({"net": runs}, labels, resamples=100)
    model, rates = found._found.one_model, [(run.argmax(1) == labels).mean() for run in runs]
    assert (model.accuracy.value, model.accuracy_sd) == pytest.approx((np.mean(rates), np.std(rates, ddof=1)))
    assert len(model.calibration) == len(model.abstention) == 3
    assert "(mean of 3 runs)" in str(found)


def test_hard_labels_leave_out_what_needs_confidences():
    labels, logits = draw()
    found = sl.compare({"net": logits.argmax(1)}, labels, kind="labels", resamples=100)
    model = found._found.one_model
    assert (model.failures, model.calibration, model.abstention) == (None, (), ())
    assert "no confidences" in str(found)


def test_records_keep_it_and_older_ones_and_pairs_lack_it(audit):
    found, labels, logits = audit
    record = to_record(found._found)
    assert from_record(record) == found._found
    del record["one_model"]
    assert from_record(record).one_model is None
    two = sl.compare({"a": logits, "b": -logits}, labels, resamples=100)
    assert two._found.one_model is None
    with pytest.raises(InputError, match="pass compare"):
        two.classes()


def test_a_useless_model_is_called_so():
    labels = np.array([0] * 60 + [1] * 40)
    found = sl.compare({"net": np.zeros(100, int)}, labels, kind="labels", resamples=100)
    assert "60.0 % accurate, no better than always answering" in str(found)
