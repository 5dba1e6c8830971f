import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from stress_lab.stats.multiplicity import benjamini_hochberg, holm

FAMILIES = [
    [0.03],
    [0.04, 0.01],
    [0.01, 0.01, 0.01, 0.5],  # ties
    [1.0, 1.0, 0.9],
    [0.0, 0.2, 0.2, 1.0],
    np.random.default_rng(0).random(40).tolist(),
    (np.random.default_rng(1).random(200) ** 4).tolist(),
]


@pytest.mark.parametrize("family", FAMILIES, ids=len)
@pytest.mark.parametrize(("ours", "theirs"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_adjusted_values_equal_statsmodels(ours, theirs, family):
    np.testing.assert_allclose(ours(family), multipletests(family, method=theirs)[1], atol=1e-12, rtol=0)


def test_no_tests_need_no_adjustment():
    assert holm([]) == []
    assert benjamini_hochberg([]) == []
