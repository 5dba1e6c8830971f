"""Confident learning against a slow plain version, a worked example and planted faults."""

import numpy as np
import pytest

from stress_lab.errors import RunError
from stress_lab.labels import confident_learning
from stress_lab.labels.confident_learning import estimate_joint, find_label_issues


def plain(probs, label):
    """The same by the definition, an image at a time."""
    n, k = probs.shape
    thresholds = [np.mean([probs[i, c] for i in range(n) if label[i] == c] or [np.inf]) for c in range(k)]
    joint, suggestion, margin = np.zeros((k, k), int), [], []
    for i in range(n):
        reached = [c for c in range(k) if probs[i, c] >= thresholds[c] - 1e-6]
        best = max(reached, key=lambda c: (probs[i, c], -c)) if reached else None
        if best is not None:
            joint[label[i], best] += 1
        suggestion.append(label[i] if best is None else best)
        margin.append(probs[i, label[i]] - max(probs[i, c] for c in range(k) if c != label[i]))
    return joint, suggestion, margin, thresholds


def drawn(n, k, seed=0, runs=1):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, k, n)
    return [rng.dirichlet(np.full(k, 0.4), n).astype(np.float32) for _ in range(runs)], label


@pytest.mark.parametrize(("n", "k", "runs"), [(60, 2, 1), (200, 5, 3), (90, 30, 2)])
def test_equal_to_the_definition_for_any_chunk(n, k, runs, monkeypatch):
    arrays, label = drawn(n, k, seed=k, runs=runs)
    joint, suggestion, margin, thresholds = plain(np.mean(arrays, axis=0), label)
    for values in (1 << 22, 7 * k):
        monkeypatch.setattr(confident_learning, "VALUES", values)
        found = find_label_issues(arrays, label)
        assert found.confident_joint.tolist() == joint.tolist()
        assert found.suggestion.tolist() == suggestion
        assert found.is_suspect.tolist() == (np.array(suggestion) != label).tolist()
        assert found.normalized_margin == pytest.approx(margin, abs=1e-6)
        assert found.thresholds == pytest.approx(thresholds, abs=1e-6)
        assert np.isclose(found.self_confidence, np.mean(arrays, axis=0)[np.arange(n), label], atol=1e-6).all()
    assert np.diff(found.normalized_margin[found.ranked]).min() >= 0
    assert set(found.ranked) == set(np.flatnonzero(found.is_suspect))


def test_a_worked_example():
    """Thresholds: class 0 (.9 + .8 + .1)/3 = .6, class 1 (.9 + .4)/2 = .65. The third image reaches only class 1."""
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9], [0.6, 0.4]], np.float32)
    found = find_label_issues([probs], np.array([0, 0, 0, 1, 1]))
    assert found.thresholds == pytest.approx([0.6, 0.65])
    assert found.confident_joint.tolist() == [[2, 1], [1, 1]]
    assert found.ranked.tolist() == [2, 4]  # margins -.8 and -.2
    assert found.suggestion.tolist() == [0, 0, 1, 1, 0]
    joint = [[3 / 5 * 2 / 3, 3 / 5 * 1 / 3], [2 / 5 * 1 / 2, 2 / 5 * 1 / 2]]
    assert estimate_joint(found.confident_joint, found.label) == pytest.approx(np.array(joint))
    assert found.error_rate == pytest.approx(0.4)


def test_planted_faults_rank_first_and_nothing_else_is_suspect():
    rng = np.random.default_rng(1)
    true = rng.integers(0, 10, 5_000)
    label, flipped = true.copy(), rng.choice(5_000, 100, replace=False)
    label[flipped] = (true[flipped] + 1 + rng.integers(0, 9, 100)) % 10
    probs = np.full((5_000, 10), 0.01, np.float32)
    probs[np.arange(5_000), true] = 0.91
    found = find_label_issues([probs], label)
    assert set(found.ranked) == set(flipped)
    assert (found.suggestion[flipped] == true[flipped]).all()
    assert found.error_rate == pytest.approx(100 / 5_000)


def test_equal_probabilities_and_a_class_without_images_are_no_reason_for_suspicion():
    probs = np.tile(np.float32([0.7, 0.2, 0.1]), (1_000, 1))  # rounding puts their mean above each of them
    found = find_label_issues([probs], np.zeros(1_000, int))
    assert not found.is_suspect.any()
    assert found.confident_joint[0].tolist() == [1_000, 0, 0]
    assert np.isinf(found.thresholds[1:]).all()
    assert found.error_rate == 0


@pytest.mark.parametrize(
    ("runs", "label"),
    [([], [0]), ([np.ones((2, 2))], [0]), ([np.ones((1, 1))], [0]), ([np.ones((1, 2))], [2]), ([np.ones(2)], [0, 1])],
)
def test_arrays_that_do_not_fit_are_refused(runs, label):
    with pytest.raises(RunError, match=r"do not match|one per class"):
        find_label_issues(runs, np.array(label))


@pytest.mark.parametrize(("n", "k"), [(500, 3), (2_000, 10)])
def test_equal_to_cleanlab(n, k):
    cleanlab = pytest.importorskip("cleanlab")
    arrays, label = drawn(n, k, seed=n)
    probs = arrays[0] / arrays[0].sum(axis=1, keepdims=True)
    found = find_label_issues([probs], label)
    assert cleanlab.count.get_confident_thresholds(label, probs) == pytest.approx(found.thresholds, abs=1e-6)
    joint = cleanlab.count.compute_confident_joint(label, probs, calibrate=False)
    assert found.confident_joint.tolist() == joint.tolist()
    marked = cleanlab.filter.find_label_issues(label, probs, filter_by="confident_learning", n_jobs=1)
    assert found.is_suspect[marked].all()  # its filter spares labels that are also the most probable class
    assert (found.is_suspect & ~marked).sum() == (found.is_suspect & ~marked & (probs.argmax(axis=1) == label)).sum()
    scores = cleanlab.rank.get_label_quality_scores(label, probs, method="normalized_margin")
    assert scores == pytest.approx((found.normalized_margin + 1) / 2, abs=1e-6)
