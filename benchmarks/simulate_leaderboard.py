#!/usr/bin/env python3
"""How often does a leaderboard tell models apart that do not differ? Family-wise errors on simulated models.

    python benchmarks/simulate_leaderboard.py --repeats 2000 --out benchmarks/results/simulation/leaderboard.json

Images and runs are those of ``simulate_statistics.py``: each image has a probability of an error of its own, models err
independently given the image, and a run as a whole shifts all of them. A family is all pairs of one leaderboard, or all
main effects and interactions of crossed variants; an error is any pair or effect that Holm's correction over the family
calls real where there is none. Every rate stands beside the most that is promised and the 95 % band of chance about it.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from scipy.stats import binom
from simulate_statistics import ALPHA, IMAGES, RUN_EFFECT, draw_images

from stress_lab.comparison.verdict import paired_t
from stress_lab.stats.factorial import contrast_p, list_contrasts
from stress_lab.stats.multiplicity import holm
from stress_lab.stats.pairwise import count_only, mid_p_of_counts
from stress_lab.stats.seeds import permutation_p

Rng = np.random.Generator
BETTER = 0.4  # of the better half's probabilities of an error


def test_pairs(right: Any) -> tuple[list[float], list[tuple[int, int]]]:
    """Adjusted p-value of every pair of models (V, N), and the pairs."""
    pairs = list(itertools.combinations(range(len(right)), 2))
    first, second = np.array(pairs).T
    only = count_only(right)
    return holm(mid_p_of_counts(only[first, second], only[second, first]).tolist()), pairs


def equal_models(rng: Rng, count: int) -> bool:
    """Whether any pair of equal models is told apart."""
    chance = draw_images(rng, IMAGES)
    return min(test_pairs(rng.random((count, IMAGES)) >= chance)[0]) <= ALPHA


def two_groups(rng: Rng, count: int) -> bool:
    """Whether any pair within a group is told apart, where half of the models make far fewer errors."""
    chance = draw_images(rng, IMAGES) * np.where(np.arange(count) < count // 2, BETTER, 1)[:, None]
    adjusted, pairs = test_pairs(rng.random((count, IMAGES)) >= chance)
    within = [(a < count // 2) == (b < count // 2) for a, b in pairs]
    return any(p <= ALPHA for p, same in zip(adjusted, within, strict=True) if same)


def draw_runs(rng: Rng, recipes: int, runs: int) -> list[Any]:
    """Accuracies (k,) of each of equal recipes on the same images."""
    chance = draw_images(rng, IMAGES)
    shift = RUN_EFFECT * rng.normal(size=(recipes, runs, 1)) * chance * (1 - chance)
    return list((rng.random((recipes, runs, IMAGES)) >= chance + shift).mean(axis=2))


def equal_recipes(rng: Rng, recipes: int, runs: int) -> bool:
    """Whether any pair of equal recipes is told apart over their runs."""
    arms = draw_runs(rng, recipes, runs)
    return min(holm([permutation_p(a, b) for a, b in itertools.combinations(arms, 2)])) <= ALPHA


def crossed_models(rng: Rng, sizes: Sequence[int]) -> bool:
    """Whether any effect is found among equal models, one run of each combination."""
    right = rng.random((int(np.prod(sizes)), IMAGES)) >= draw_images(rng, IMAGES)
    tested = [one for one in list_contrasts(sizes) if one.kind != "simple"]
    return min(holm([paired_t(np.zeros(IMAGES), one.weights @ right) for one in tested])) <= ALPHA


def crossed_recipes(rng: Rng, sizes: Sequence[int], runs: int) -> bool:
    """Whether any effect is found among equal recipes, several runs of each combination."""
    arms = draw_runs(rng, int(np.prod(sizes)), runs)
    tested = [one for one in list_contrasts(sizes) if one.kind != "simple"]
    return min(holm([contrast_p(arms, one.weights.tolist()) or 1.0 for one in tested])) <= ALPHA


FAMILIES: dict[str, Callable[[Rng], bool]] = {
    "pairs of 10 equal models": lambda rng: equal_models(rng, 10),
    "pairs of 30 equal models": lambda rng: equal_models(rng, 30),
    "pairs within two groups of 5 models": lambda rng: two_groups(rng, 10),
    "pairs of 5 equal recipes, 6 runs each": lambda rng: equal_recipes(rng, 5, 6),
    "effects of 2 x 2 equal models": lambda rng: crossed_models(rng, (2, 2)),
    "effects of 3 x 3 equal models": lambda rng: crossed_models(rng, (3, 3)),
    "effects of 2 x 2 equal recipes, 5 runs each": lambda rng: crossed_recipes(rng, (2, 2), 5),
}


def simulate(repeats: int, seed: int) -> dict[str, Any]:
    """Share of families with any error, by family."""
    low, high = (float(bound) / repeats for bound in binom.ppf([0.025, 0.975], repeats, ALPHA))
    found = {}
    for number, (name, errs) in enumerate(FAMILIES.items()):
        rng = np.random.default_rng([seed, number])
        rate = sum(errs(rng) for _ in range(repeats)) / repeats
        verdict = "low" if rate < low else "high" if rate > high else "within"
        found[name] = {"rate": rate, "promised": ALPHA, "band": [low, high], "verdict": verdict}
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    started = time.perf_counter()
    record = {
        "repeats": options.repeats,
        "seed": options.seed,
        "images": IMAGES,
        "families": simulate(options.repeats, options.seed),
        "seconds": round(time.perf_counter() - started, 1),
        "date": str(datetime.datetime.now(datetime.UTC).date()),
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
    }
    text = json.dumps(record, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    print(text)
