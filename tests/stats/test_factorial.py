"""Contrasts of crossed recipes against least squares by statsmodels."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from stress_lab.stats.factorial import contrast_p, list_combinations, list_contrasts
from stress_lab.stats.resampling import bootstrap_means, contrast_interval, hierarchical_interval, percentile_interval


def fit(runs, sizes):
    """Least squares on one mean for each combination, as statsmodels does it."""
    rows = [
        {"cell": str(number), "value": value}
        for number, (arm, _) in enumerate(zip(runs, list_combinations(sizes), strict=True))
        for value in arm
    ]
    return smf.ols("value ~ 0 + cell", pd.DataFrame(rows)).fit()


@pytest.mark.parametrize("sizes", [(2, 2), (2, 3), (2, 2, 2)])
def test_every_effect_is_that_of_least_squares(sizes):
    rng = np.random.default_rng(3)
    runs = [rng.normal(0.9, 0.01, rng.integers(2, 6)) for _ in list_combinations(sizes)]
    model = fit(runs, sizes)
    for one in list_contrasts(sizes):
        tested = model.t_test(one.weights)
        assert float(np.squeeze(tested.effect)) == pytest.approx(
            sum(w * arm.mean() for w, arm in zip(one.weights, runs, strict=True)), abs=1e-12
        )
        assert contrast_p(runs, one.weights) == pytest.approx(float(np.squeeze(tested.pvalue)), abs=1e-9)


def test_the_interaction_is_the_coefficient_of_the_product():
    """Two by two, balanced: a difference of differences is what ``a:b`` estimates with treatment coding."""
    rng = np.random.default_rng(4)
    cells = list_combinations([2, 2])
    runs = [rng.normal(0.9 + 0.02 * a * b, 0.01, 5) for a, b in cells]
    frame = pd.DataFrame([{"a": a, "b": b, "value": v} for (a, b), arm in zip(cells, runs, strict=True) for v in arm])
    model = smf.ols("value ~ a * b", frame).fit()
    one = next(one for one in list_contrasts([2, 2]) if one.kind == "interaction")
    assert contrast_p(runs, one.weights) == pytest.approx(model.pvalues["a:b"], abs=1e-9)
    assert sum(w * arm.mean() for w, arm in zip(one.weights, runs, strict=True)) == pytest.approx(model.params["a:b"])


def test_a_simple_effect_is_one_variant_against_another():
    simple = [one for one in list_contrasts([2, 3]) if one.kind == "simple"]
    assert len(simple) == 3 + 2 * 2
    assert all(sorted(one.weights.tolist()) == [-1, 0, 0, 0, 0, 1] for one in simple)


def test_one_run_each_leaves_no_spread_to_test():
    assert contrast_p([np.array([0.1]), np.array([0.2])], [-1, 1]) is None
    assert contrast_p([np.array([0.1, 0.1]), np.array([0.2])], [-1, 1]) == 0
    assert contrast_p([np.array([0.1, 0.1]), np.array([0.1])], [-1, 1]) == 1


def test_the_interval_of_a_difference_is_that_of_its_contrast():
    rng = np.random.default_rng(5)
    values = (rng.random((7, 400)) < 0.9).astype(float)
    draws = bootstrap_means(values, 500)
    a, b = draws[:3], draws[3:]
    assert contrast_interval((a, b), (-1, 1)) == hierarchical_interval(a, b)
    half = contrast_interval((a, b), (-0.5, 0.5))
    np.testing.assert_allclose(2 * np.array(half), hierarchical_interval(a, b), atol=1e-12)
    single = contrast_interval((draws[:1], draws[1:2]), (-1, 1))
    assert single == percentile_interval(draws[1] - draws[0])
