"""Variants that are every combination of several choices."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from stress_lab.comparison.codec import to_record
from stress_lab.comparison.factors import UNSET, cross_variants, find_design
from stress_lab.comparison.measured import measure_runs
from stress_lab.comparison.options import Options
from stress_lab.comparison.variants import compare_measures
from stress_lab.report.factors import describe_factors, headline
from tests.comparison.test_verdict import make_run

QUICK = Options(resamples=500, primary=("accuracy",))
CELLS = {("none", "sgd"): 0.20, ("none", "adam"): 0.15, ("cutout", "sgd"): 0.10, ("cutout", "adam"): 0.15}


def crossed(seeds=1, errors=CELLS, n=2000):
    """Runs whose names say what was chosen."""
    made = []
    for number, ((augment, optim), error) in enumerate(errors.items()):
        name = f"augment={augment}, optim={optim}"
        for seed in range(seeds):
            run = make_run("abcdefgh"[number], 10 * number + seed, error, n=n)
            made.append(replace(run, variant=name, name=f"{name}, seed {seed}", seed=seed))
    return made


def effects(found, kind):
    return [one for one in found.effects if one.kind == kind]


def test_choices_come_from_what_was_typed():
    typed = [["augment=none", "experiment=x", "seed=1"], ["augment=none", "+optim=adam", "experiment=x"]]
    typed += [["augment=cutout", "experiment=x", "seed=2"], ["optim=adam", "augment=cutout", "experiment=x"]]
    runs = [
        SimpleNamespace(variant=f"v{number}", run=SimpleNamespace(overrides=one)) for number, one in enumerate(typed)
    ]
    design = find_design(runs)
    assert design.levels == {"augment": ("none", "cutout"), "optim": (UNSET, "adam")}
    assert design.variants == ("v0", "v1", "v2", "v3")
    assert find_design(runs[:3]) is None  # a combination is missing
    assert find_design(crossed()[:2]) is None  # one choice
    plain = [replace(run, variant=f"net {number}") for number, run in enumerate(crossed())]
    assert find_design(plain) is None


def test_effects_of_one_run_each_are_means_over_the_images():
    runs = crossed()
    found = cross_variants(measure_runs(runs, QUICK), QUICK)
    right = np.stack([run.scores.correct.astype(float) for run in runs])
    contrast = right[3] - right[2] - right[1] + right[0]
    (one,) = effects(found, "interaction")
    assert one.difference == pytest.approx(contrast.mean())
    half = 1.96 * contrast.std(ddof=1) / np.sqrt(right.shape[1])
    assert one.interval == pytest.approx((contrast.mean() - half, contrast.mean() + half), abs=0.004)
    assert one.apart
    main = {effect.factor: effect for effect in effects(found, "main")}
    assert main["augment"].difference == pytest.approx((right[2] + right[3] - right[0] - right[1]).mean() / 2)
    assert (main["augment"].level, main["augment"].base) == ("cutout", "none")
    assert headline(to_record(found)) == "The effect of augment depends on optim"


def test_simple_effects_are_the_numbers_of_the_pair():
    measured = measure_runs(crossed(), QUICK)
    found = cross_variants(measured, QUICK)
    first = next(one for one in effects(found, "simple") if (one.factor, one.other_level) == ("augment", "sgd"))
    pair = compare_measures(measured, QUICK)["augment=cutout, optim=sgd"][0]
    assert (first.difference, first.interval, first.p) == (pair.difference, pair.interval, pair.p)


def test_effects_over_seeds_are_those_of_least_squares():
    runs = crossed(seeds=4, n=500)
    found = cross_variants(measure_runs(runs, QUICK), QUICK)
    frame = pd.DataFrame(
        [
            {**dict(part.split("=") for part in run.variant.split(", ")), "value": run.scores.correct.mean()}
            for run in runs
        ]
    )
    formula = "value ~ C(augment, Treatment('none')) * C(optim, Treatment('sgd'))"
    model = smf.ols(formula, frame).fit()
    (one,) = effects(found, "interaction")
    assert one.difference == pytest.approx(model.params.iloc[3])
    assert one.p == pytest.approx(model.pvalues.iloc[3])
    assert one.interval[0] < one.difference < one.interval[1]
    assert next(iter(describe_factors(to_record(found)))) == headline(to_record(found))


def test_three_choices_have_no_simple_effects():
    errors = {(f"{a}, model={m}", o): 0.1 for a in ("none", "cutout") for m in "xy" for o in ("sgd", "adam")}
    found = cross_variants(measure_runs(crossed(errors=errors, n=300), QUICK), QUICK)
    assert list(found.levels) == ["augment", "model", "optim"]
    assert [len(effects(found, kind)) for kind in ("main", "interaction", "simple")] == [3, 3, 0]
