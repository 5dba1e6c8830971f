#!/usr/bin/env python3
"""Do the tests and intervals keep their promises? A/A rejection rates, coverage and power on simulated models.

    python benchmarks/simulate_statistics.py --repeats 2000 --seed 0 --out benchmarks/results/simulation/statistics.json

Each repeat draws one probability of an error for every image (beta, mean 6 %, shaped so that two runs differ on some
5 % of images, like networks on CIFAR-10). Models err independently given the image; a run as a whole shifts all of them
by ``u p (1 - p)``, u normal. A/A arms share everything but chance. Every rate stands beside the promised one and the
95 % band in which the rate of a method that keeps its promise would fall: one method in twenty misses it by chance.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from scipy.stats import binom, binomtest
from threadpoolctl import threadpool_limits

from stress_lab.comparison.evidence import ModelsEvidence, Question
from stress_lab.comparison.options import Options
from stress_lab.comparison.verdict import decide, judge_models
from stress_lab.stats.agreement import consistency_interval
from stress_lab.stats.paired import (
    PairedTable,
    bootstrap_interval,
    equivalence_p,
    mcnemar_exact,
    mcnemar_mid_p,
    mcnemar_power,
    tabulate,
    tango_interval,
    wald_interval,
)
from stress_lab.stats.rates import wilson_interval
from stress_lab.stats.resampling import bootstrap_means, hierarchical_interval
from stress_lab.stats.seeds import permutation_p, smallest_p, welch_interval

MEAN, SHAPE = 0.06, 0.9  # beta(MEAN * SHAPE, (1 - MEAN) * SHAPE)
WOBBLE = MEAN * (1 - MEAN) * SHAPE / (SHAPE + 1)  # mean of p (1 - p)
IMAGES, HIERARCHICAL_IMAGES = 2000, 500
RUN_EFFECT = 0.27  # at 500 images a run's shift spreads as much as its independent errors
MARGIN, ALPHA, LEVEL, RESAMPLES = 0.01, 0.05, 0.95, 1000
POWER_SETTINGS = ((2000, 0.06, 0.015), (10_000, 0.05, 0.005), (500, 0.20, 0.05))  # images, discordant, difference


def draw_images(rng: np.random.Generator, *shape: int) -> Any:
    """Error probability of each image."""
    return rng.beta(MEAN * SHAPE, (1 - MEAN) * SHAPE, size=shape)


def draw_errors(rng: np.random.Generator, p: Any, effect: Any = 0.0) -> Any:
    """Whether a model errs on each image, given the run's effect."""
    return rng.random(p.shape) < p + effect * p * (1 - p)


def draw_effects(rng: np.random.Generator, *shape: int) -> Any:
    """Effects of runs, kept where probabilities stay probabilities."""
    return np.clip(rng.normal(0, RUN_EFFECT, size=shape), -1, 1)


def draw_errors_of_two(rng: np.random.Generator, repeats: int, difference: float = 0.0) -> tuple[Any, Any]:
    """(repeats, images) errors of two models; B's error rate is higher by ``difference``."""
    p = draw_images(rng, repeats, IMAGES)
    return draw_errors(rng, p), draw_errors(rng, p + difference / (1 - MEAN) * (1 - p))


def draw_tables(rng: np.random.Generator, repeats: int, difference: float = 0.0) -> list[PairedTable]:
    """Errors of two models as tables; B's error rate is higher by ``difference``."""
    return [tabulate(a, b) for a, b in zip(*draw_errors_of_two(rng, repeats, difference), strict=True)]


def draw_matched_failures(rng: np.random.Generator, repeats: int, coverage: float = 0.8) -> list[PairedTable]:
    """Errors among each model's own most confident images; confidence falls with difficulty and is noisy."""
    p = draw_images(rng, repeats, IMAGES)
    failed = []
    for _ in range(2):
        confidence = rng.normal(-p, 0.3)
        least = np.quantile(confidence, 1 - coverage, axis=1, keepdims=True)
        failed.append(draw_errors(rng, p) & (confidence > least))
    return [tabulate(a, b) for a, b in zip(*failed, strict=True)]


def draw_run_rates(rng: np.random.Generator, repeats: int, runs: int) -> Any:
    """(repeats, runs) error rates of runs of one recipe on the same images."""
    p = draw_images(rng, repeats, IMAGES)
    return np.stack(
        [draw_errors(rng, p, effect[:, None]).mean(axis=1) for effect in draw_effects(rng, runs, repeats)], axis=1
    )


def describe(count: int, repeats: int, promised: float) -> dict[str, Any]:
    """A simulated rate, its Clopper-Pearson interval, and the 95 % band in which an exact method's rate would be."""
    exact = binomtest(count, repeats).proportion_ci(LEVEL, method="exact")
    band = [float(bound) / repeats for bound in binom.interval(LEVEL, repeats, promised)]
    rate = count / repeats
    verdict = "low" if rate < band[0] else "high" if rate > band[1] else "within"
    interval = [float(exact.low), float(exact.high)]
    return {"rate": rate, "interval": interval, "promised": promised, "band": band, "verdict": verdict}


def simulate_tests(rng: np.random.Generator, repeats: int) -> dict[str, Any]:
    """How often each test rejects at 5 % although there is nothing to find.

    TOST must pass two tests and rejects less where its interval is nearly as wide as the margins are apart, as for
    2,000 images and a margin of one point. A permutation test of few runs promises what its steps allow.
    """
    tables, matched = draw_tables(rng, repeats), draw_matched_failures(rng, repeats)
    edge, wide_edge = (draw_tables(rng, repeats, difference=margin) for margin in (MARGIN, 2 * MARGIN))
    rates = draw_run_rates(rng, repeats, 10)
    p_values = {
        "mcnemar_mid_p": [mcnemar_mid_p(table) for table in tables],
        "mcnemar_exact": [mcnemar_exact(table) for table in tables],
        "matched_coverage_mcnemar_mid_p": [mcnemar_mid_p(table) for table in matched],
        "tost_at_the_margin": [equivalence_p(table, MARGIN) for table in edge],
        "tost_at_twice_the_margin": [equivalence_p(table, 2 * MARGIN) for table in wide_edge],
    }
    found = {name: describe(sum(p <= ALPHA for p in values), repeats, ALPHA) for name, values in p_values.items()}
    for k in (4, 5):
        p = np.array([permutation_p(row[:k], row[k : 2 * k]) for row in rates])
        attainable = int(ALPHA / smallest_p(k, k)) * smallest_p(k, k)  # p-values are multiples of the smallest
        found[f"seed_permutation_k{k}"] = describe(int((p <= ALPHA + 1e-12).sum()), repeats, attainable)
    return found


def simulate_verdicts(rng: np.random.Generator, repeats: int) -> dict[str, Any]:
    """How often a comparison of two networks ends in any false verdict over its two questions, asked independently.

    Truths are: no difference, which *helped* and *hurt* contradict, and a difference as large as the margin, which
    *equivalent* contradicts. Holm's correction spans the first and Bonferroni's the second; where one question is of
    each kind, what they leave adds up: the level, and its half.
    """
    margin, options = 2 * MARGIN, Options(level=1 - ALPHA)
    worlds = {"no differences": (0.0, 0.0), "both at the margin": (margin, margin), "one of each": (0.0, margin)}
    found = {}
    for name, differences in worlds.items():
        pairs = [draw_errors_of_two(rng, repeats, difference) for difference in differences]
        false = 0
        for repeat in range(repeats):
            evidence = [judge_models(a[repeat], b[repeat], margin, options, 2) for a, b in pairs]
            said = [one.verdict for one in decide([_pose(one, margin) for one in evidence], options)]
            false += any(
                verdict == "equivalent" if difference else verdict in ("helped", "hurt")
                for verdict, difference in zip(said, differences, strict=True)
            )
        promised = ALPHA * (1.5 if name == "one of each" else 1)
        found[f"any_false_verdict_{name.replace(' ', '_')}"] = describe(false, repeats, promised)
    return found


def _pose(evidence: ModelsEvidence, margin: float) -> Question:
    """A question about errors (fewer are better) with this evidence."""
    unasked = {"outperformance": None, "control": None, "fair": None, "mean_a": 0.0, "mean_b": 0.0}
    names = {"question": "accuracy", "measure": "errors", "better": "lower", "a": "a", "b": "b"}
    return Question(**names, **unasked, k_a=1, k_b=1, n=evidence.table.n, margin=margin, evidence=evidence)


def simulate_intervals(rng: np.random.Generator, repeats: int) -> dict[str, Any]:
    """How often each 95 % interval holds the truth."""
    tables = draw_tables(rng, repeats, difference=MARGIN)
    p = draw_images(rng, repeats, IMAGES)
    wrong_a, wrong_b = draw_errors(rng, p), draw_errors(rng, p)
    rates = draw_run_rates(rng, repeats, 10)
    intervals: dict[str, tuple[float, list[Any]]] = {
        "wald": (MARGIN, [wald_interval(table, LEVEL) for table in tables]),
        "tango": (MARGIN, [tango_interval(table, LEVEL) for table in tables]),
        "paired_bootstrap": (
            MARGIN,
            [bootstrap_interval(table, LEVEL, RESAMPLES, seed) for seed, table in enumerate(tables)],
        ),
        "wilson": (MEAN, [wilson_interval(int(row.sum()), IMAGES, LEVEL) for row in wrong_a]),
        "error_consistency": (
            1 / (SHAPE + 1),  # Var p / (m (1 - m))
            [consistency_interval(wrong_a[row], wrong_b[row], LEVEL, RESAMPLES, row) for row in range(repeats)],
        ),
        **{f"welch_k{k}": (0.0, [welch_interval(row[:k], row[5 : 5 + k], LEVEL) for row in rates]) for k in (3, 5)},
    }
    return {
        name: describe(sum(low <= truth <= high for low, high in bounds), repeats, LEVEL)
        for name, (truth, bounds) in intervals.items()
    }


def simulate_hierarchical(
    rng: np.random.Generator, repeats: int, effect: bool = True, same_images: bool = True
) -> dict[str, Any]:
    """Coverage of the hierarchical interval; one run each is about the two networks, more runs about the recipes."""
    covered = dict.fromkeys((1, 2, 3, 5, 10), 0)
    for repeat in range(repeats):
        p = draw_images(rng, 2, 1, HIERARCHICAL_IMAGES)
        p[1] = p[0] if same_images else p[1]
        effects = draw_effects(rng, 2, 10, 1) * effect
        wrong = draw_errors(rng, np.repeat(p, 10, axis=1), effects)
        draws_a, draws_b = np.split(bootstrap_means(wrong.reshape(20, -1), RESAMPLES, seed=repeat), 2)
        for k in covered:
            low, high = hierarchical_interval(draws_a[:k], draws_b[:k], LEVEL, seed=repeat)
            truth = WOBBLE * float(effects[1, 0, 0] - effects[0, 0, 0]) if k == 1 else 0.0
            covered[k] += low <= truth <= high
    return {f"k{k}": describe(count, repeats, LEVEL) for k, count in covered.items()}


def simulate_power(rng: np.random.Generator, repeats: int) -> list[dict[str, Any]]:
    """How often McNemar's mid-p test sees a true difference, beside the closed form."""
    rows = []
    for n, discordant, difference in POWER_SETTINGS:
        cells = [(discordant - difference) / 2, (discordant + difference) / 2, 1 - discordant]
        draws = rng.multinomial(n, cells, size=repeats)
        seen = sum(mcnemar_mid_p(PairedTable(int(rest), int(b), int(c), 0)) <= ALPHA for b, c, rest in draws)
        expected = mcnemar_power(n, discordant, difference, ALPHA)
        setting = {"n": n, "discordant": discordant, "difference": difference}
        rows.append(setting | describe(seen, repeats, expected))
    return rows


def simulate(repeats: int, seed: int) -> dict[str, Any]:
    """Everything, on one core; the same seed gives the same numbers."""
    with threadpool_limits(1):
        return _simulate(repeats, seed)


def _simulate(repeats: int, seed: int) -> dict[str, Any]:
    """Each part with a stream of its own."""
    streams = [np.random.default_rng([seed, part]) for part in range(7)]
    return {
        "tests": simulate_tests(streams[0], repeats) | simulate_verdicts(streams[6], repeats),
        "coverage": simulate_intervals(streams[1], repeats),
        "hierarchical": {
            "same images, runs differ": simulate_hierarchical(streams[2], repeats),
            "same images, independent flips only": simulate_hierarchical(streams[3], repeats, effect=False),
            "other difficulty of each image, runs differ": simulate_hierarchical(
                streams[4], repeats, same_images=False
            ),
        },
        "power": simulate_power(streams[5], repeats),
    }


def main() -> None:
    """Simulate and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/simulation/statistics.json"))
    arguments = parser.parse_args()
    start = time.perf_counter()
    found = simulate(arguments.repeats, arguments.seed)
    record = {
        "repeats": arguments.repeats,
        "seed": arguments.seed,
        "images": {"all": IMAGES, "hierarchical": HIERARCHICAL_IMAGES},
        "error": MEAN,
        "discordant": 2 * WOBBLE,
        "margin": MARGIN,
        "seconds": round(time.perf_counter() - start, 1),
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
        **found,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{arguments.out}: {record['seconds']} s", file=sys.stderr)


if __name__ == "__main__":
    main()
