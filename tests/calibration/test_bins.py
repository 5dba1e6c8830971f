import numpy as np

from stress_lab.calibration.bins import bin_confidence
from tests.references import ece_by_loop


def test_ece_equals_the_loop():
    rng = np.random.default_rng(0)
    confidence = rng.random(3000).astype(np.float32)
    correct = rng.random(3000) < confidence**2
    for bins in (1, 10, 15):
        result = bin_confidence(confidence, correct, bins)
        assert result.count.sum() == 3000
        assert abs(result.ece - ece_by_loop(confidence.astype(float), correct, bins)) < 1e-9


def test_edges_belong_to_the_lower_bin_and_one_to_the_last():
    confidence = np.array([0.0, 0.25, 0.2500001, 0.5, 1.0])
    result = bin_confidence(confidence, np.ones(5, bool), bins=4)
    assert result.count.tolist() == [2, 2, 0, 1]


def test_perfect_and_overconfident_models():
    sure = np.ones(100)
    assert bin_confidence(sure, np.ones(100, bool)).ece == 0
    assert abs(bin_confidence(sure, np.arange(100) < 60).ece - 0.4) < 1e-12
