"""Two models of known quality."""

import numpy as np
import pytest

N, K = 600, 4


def answer(label, strength, seed):
    """Logits that are right more often the stronger they are."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(label), K)).astype(np.float32)
    logits[np.arange(len(label)), label] += strength
    return logits


@pytest.fixture(scope="session")
def labels():
    return np.random.default_rng(0).integers(0, K, N)


@pytest.fixture(scope="session")
def old(labels):
    return answer(labels, 1.0, 1)


@pytest.fixture(scope="session")
def new(labels):
    return answer(labels, 3.0, 2)


@pytest.fixture(scope="session")
def result(old, new, labels):
    import stress_lab as sl

    return sl.compare({"old": old, "new": new}, labels, resamples=200, title="two nets")
