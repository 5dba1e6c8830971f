import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from stress_lab.calibration.temperature import TEMPERATURES, apply_temperature, fit_temperature
from stress_lab.errors import ConfigError, RunError
from stress_lab.records import Predictions


def draw(truth, n=4000, classes=7, seed=0):
    """Logits that are ``truth`` times too large for their labels."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(n, classes)) * 2
    label = (honest + rng.gumbel(size=(n, classes))).argmax(axis=1)
    return (honest * truth).astype(np.float32), label


@pytest.mark.parametrize("truth", [0.4, 1.0, 2.5])
def test_the_planted_temperature_is_found(truth):
    assert abs(fit_temperature(*draw(truth, n=20_000)) / truth - 1) < 0.03


@pytest.mark.parametrize("truth", [0.4, 2.5])
def test_fit_equals_other_optimisers(truth):
    logits, label = draw(truth)
    rows = np.arange(len(label))

    def nll(log_temperature):
        return -log_softmax(logits.astype(float) / np.exp(log_temperature), axis=1)[rows, label].mean()

    by_scipy = np.exp(minimize_scalar(nll, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-8}).x)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [log_temperature], max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=0
    )

    def closure():
        optimiser.zero_grad()
        scaled = torch.tensor(logits, dtype=torch.float64) / log_temperature.exp()
        loss = torch.nn.functional.cross_entropy(scaled, torch.tensor(label))
        loss.backward()
        return loss

    optimiser.step(closure)
    ours = fit_temperature(logits, label)
    assert abs(ours / by_scipy - 1) < 1e-6
    assert abs(ours / log_temperature.exp().item() - 1) < 1e-6


def test_scaled_logits_give_a_scaled_temperature_and_the_same_probabilities():
    logits, label = draw(3.0)
    whole = Predictions(np.arange(len(label)), label, logits)
    softer = Predictions(np.arange(len(label)), label, logits * np.float32(0.8))
    temperatures = fit_temperature(whole.logits, label), fit_temperature(softer.logits, label)
    assert abs(temperatures[1] / temperatures[0] - 0.8) < 1e-6
    np.testing.assert_allclose(
        apply_temperature(whole, temperatures[0]).probs, apply_temperature(softer, temperatures[1]).probs, atol=1e-6
    )


def test_decisions_stay_and_probabilities_are_the_softmax_of_scaled_logits():
    logits, label = draw(1.0)
    before = Predictions(np.arange(len(label)) + 7, label, logits)
    for temperature in (0.1, 1.7, 20.0):
        after = apply_temperature(before, temperature)
        np.testing.assert_array_equal(after.pred, before.pred)
        np.testing.assert_array_equal(after.index, before.index)
        expected = np.exp(log_softmax(logits.astype(float) / temperature, axis=1))
        np.testing.assert_allclose(after.probs, expected, atol=2e-5)


def test_the_ends_of_the_range_are_reached():
    logits = np.eye(4, dtype=np.float32)[np.arange(40) % 4] * 9
    label = np.arange(40) % 4
    assert fit_temperature(logits, label) == TEMPERATURES[0]  # all right: the surer the better
    assert fit_temperature(logits, (label + 1) % 4) == TEMPERATURES[1]  # all wrong
    assert fit_temperature(np.ones((5, 3), np.float32), np.zeros(5, int)) == 1  # no temperature matters


def test_a_shift_of_all_logits_changes_nothing():
    logits, label = draw(1.5)
    shift = np.linspace(-2000, 2000, len(label))[:, None]  # exp of these would overflow
    assert abs(fit_temperature(logits + shift, label) / fit_temperature(logits, label) - 1) < 1e-6


def test_parts_give_what_the_whole_gives(monkeypatch):
    logits, label = draw(1.5, n=1001)
    whole = fit_temperature(logits, label)
    monkeypatch.setattr("stress_lab.calibration.temperature._CHUNK", 7 * 64)
    assert abs(fit_temperature(logits, label) / whole - 1) < 1e-10


@pytest.mark.parametrize(
    ("logits", "label"),
    [
        (np.ones((3, 2)), np.zeros(4, int)),
        (np.ones((3, 2)), np.array([0, 1, 2])),
        (np.full((3, 2), np.inf), np.zeros(3, int)),
        (np.ones((0, 2)), np.zeros(0, int)),
    ],
)
def test_what_cannot_be_fitted_is_refused(logits, label):
    with pytest.raises(RunError, match="temperature needs"):
        fit_temperature(logits, label)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(ConfigError, match="above zero"):
        apply_temperature(Predictions(np.arange(1), np.zeros(1, int), np.ones((1, 2), np.float32)), temperature)
