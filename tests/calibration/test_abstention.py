"""The threshold for abstaining against a slow plain version, and whether it keeps its promise."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from stress_lab.calibration.abstention import SPARE, STEPS, choose_threshold, images_for, upper_bound
from stress_lab.errors import ConfigError


def draw(n, seed, sharp=6.0):
    rng = np.random.default_rng(seed)
    confidence = np.round(rng.beta(sharp, 1.5, n), 2)  # with many ties
    return confidence, rng.random(n) < confidence


def plain(confidence, correct, max_risk, level):
    """Threshold by threshold, counting anew each time."""
    n = len(confidence)
    starts = []
    for errors in range(SPARE, -1, -1):
        m = errors + 1
        while upper_bound(errors, m, level) > max_risk:
            m += 1
        starts.append(m)
    start = next((m for m in starts if m <= n / 4), starts[-1])
    sizes = sorted({start, *(-(-n * step // STEPS) for step in range(1, STEPS + 1))})
    found = None
    for size in sizes:
        if not start <= size <= n:
            continue
        threshold = sorted(confidence, reverse=True)[size - 1]
        kept = [right for c, right in zip(confidence, correct, strict=True) if c >= threshold]
        wrong = len(kept) - sum(kept)
        bound = 1.0 if wrong == len(kept) else proportion_confint(wrong, len(kept), 2 * (1 - level), method="beta")[1]
        if bound > max_risk:
            break
        found = threshold
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "max_risk"), [(40, 0.1), (150, 0.1), (900, 0.05), (900, 0.2)])
def test_it_is_the_plain_one(n, max_risk, seed):
    confidence, correct = draw(n, seed)
    chosen = choose_threshold(confidence, correct, max_risk)
    assert chosen.threshold == plain(confidence, correct, max_risk, 0.95)
    if chosen.threshold is not None:
        kept = confidence >= chosen.threshold
        assert (chosen.kept, chosen.errors) == (kept.sum(), (~correct[kept]).sum())
        assert chosen.bound <= max_risk


def test_the_bound_is_clopper_and_pearsons():
    for wrong, n in ((0, 59), (3, 70), (69, 70)):
        assert upper_bound(wrong, n) == pytest.approx(proportion_confint(wrong, n, 0.1, method="beta")[1])
    assert upper_bound(5, 5) == 1
    assert [upper_bound(0, n) <= 0.05 for n in (images_for(0, 0.05, 0.95), images_for(0, 0.05, 0.95) - 1)] == [
        True,
        False,
    ]


def test_the_promise_is_kept():
    """Confidences are the true probabilities, so the risk above each threshold is known; at most 5 % may miss it."""
    missed = 0
    for seed in range(300):
        confidence, correct = draw(600, seed)
        found = choose_threshold(confidence, correct, 0.1).threshold
        missed += found is not None and (1 - confidence[confidence >= found]).mean() > 0.1
    assert missed <= 23  # 15 expected at most; 23 has a chance of 2 %


def test_too_few_or_too_wrong_images_have_no_threshold():
    few = choose_threshold(np.ones(58), np.ones(58, bool))
    assert (few.threshold, few.needed) == (None, 59)
    assert choose_threshold(np.ones(59), np.ones(59, bool)).threshold == 1
    assert choose_threshold(np.ones(500), np.arange(500) % 2 == 0).threshold is None


@pytest.mark.parametrize("limit", [0, 1, -0.1, float("nan")])
def test_a_limit_is_a_fraction(limit):
    with pytest.raises(ConfigError, match="fraction between 0 and 1"):
        choose_threshold(np.ones(3), np.ones(3, bool), limit)
