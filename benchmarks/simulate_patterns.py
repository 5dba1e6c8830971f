#!/usr/bin/env python3
"""How often the search for failure patterns is fooled by chance, and how often it finds a pattern that is there.

    python benchmarks/simulate_patterns.py --repeats 1000 --seed 0 --out benchmarks/results/simulation/patterns.json

Labels and properties are those of the 2,000 test images inside stress_lab (10,000: drawn from them with replacement);
the failures are simulated, so the truth is known. Without a pattern: a fixed number of images fails, which ones is
shuffled, and the wrong class is any of the nine alike. With a pattern: the images of one set fail ``ratio`` times as
often as 5 % of all others; for a pair each of its images is mistaken for the other class ``ratio`` times as often as
the 5 % / 9 of any wrong class. Model B of "no fix" draws its failures again at the same rates: nothing was fixed.
"""

import argparse
import json
import platform
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from stress_lab.data.sources.fashion_mnist import load_fashion_sample
from stress_lab.slices.discovery import PatternSearch
from stress_lab.slices.effect import compare_inside
from stress_lab.slices.properties import measure_properties
from stress_lab.slices.rules import event_inside, is_member

SIZES, NULL_RATES, RATIOS, BASE = (2_000, 10_000), (0.05, 0.2), (1.5, 2.0, 3.0, 5.0), 0.05
PLANTED = ("contrast:low", "true:Shirt", "brightness:high & true:Pullover", "pair:T-shirt/top<>Shirt")
PAIR_RATIOS = (*RATIOS, 10.0, 20.0)  # real nets mistake such classes 5 to 20 times as often as others
SPLITS = 20  # samples and splits into halves that the repeats take in turn


def make_searches(n: int, seed: int) -> list[PatternSearch]:
    """One search a split: the sample's test images, or as many as wanted drawn from them."""
    data = load_fashion_sample()
    split = data.splits["test"]
    properties, rng = measure_properties(split.images), np.random.default_rng(seed)
    searches = []
    for number in range(SPLITS):
        rows = np.arange(n) if n == len(split.labels) else rng.integers(0, len(split.labels), n)
        values = {name: value[rows] for name, value in properties.items()}
        searches.append(PatternSearch(split.labels[rows].astype(np.int64), data.classes, values, seed + number))
    return searches


def spread(label: np.ndarray, event: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Predictions with failures spread evenly over the wrong classes."""
    return np.where(event, (label + rng.integers(1, k, len(label))) % k, label)


def rate_of(count: int, repeats: int) -> dict[str, float]:
    """A share of the repeats with its exact (Clopper-Pearson) interval."""
    interval = binomtest(count, repeats).proportion_ci(0.95, method="exact")
    return {"count": count, "repeats": repeats, "share": count / repeats, "low": interval.low, "high": interval.high}


def without_pattern(searches: list[PatternSearch], rate: float, repeats: int, rng: np.random.Generator) -> dict:
    """Runs that confirm anything where failures strike at random."""
    n, wrongly, tested = len(searches[0].label), 0, 0
    fixed = np.arange(n) < round(rate * n)
    for repeat in range(repeats):
        search, event = searches[repeat % SPLITS], rng.permutation(fixed)
        found = search.run(event, spread(search.label, event, len(search.classes), rng)).found
        wrongly += any(pattern.confirmed for pattern in found)
        tested += len(found)
    return {"n": n, "failure_rate": rate, "tested_a_run": tested / repeats, **rate_of(wrongly, repeats)}


def fail(search: PatternSearch, key: str, member: np.ndarray, ratio: float, rng: np.random.Generator) -> tuple:
    """Failures and predictions of a model with one planted pattern."""
    label, k = search.label, len(search.classes)
    pair = key.startswith("pair:")
    event = rng.random(len(label)) < np.where(member & (not pair), ratio * BASE, BASE)
    pred = spread(label, event, k, rng)
    if pair:  # one of the k - 1 wrong classes already takes its even share
        swapped = member & ~event & (rng.random(len(label)) < (ratio - 1) * BASE / (k - 1) / (1 - BASE))
        event, pred = event | swapped, np.where(swapped, label[member].min() + label[member].max() - label, pred)
    return event, pred


def planted_rule(search: PatternSearch, key: str) -> dict:
    """The rule of a pattern by its key."""
    if key.startswith("pair:"):
        return {"classes": key.removeprefix("pair:").split("<>"), "bounds": {}, "pair": True}
    return next(one.rule for one in search.slices if one.key == key)


def with_pattern(searches: list[PatternSearch], key: str, ratio: float, repeats: int, rng: np.random.Generator) -> dict:
    """How often the planted pattern is confirmed, at what ratio, and how often a model without a fix seems better."""
    rules = [planted_rule(search, key) for search in searches]
    members = [_member(search, rule) for search, rule in zip(searches, rules, strict=True)]
    hits, others, ratios, helped = 0, 0, [], []
    for repeat in range(repeats):
        search, rule, member = searches[repeat % SPLITS], rules[repeat % SPLITS], members[repeat % SPLITS]
        event, pred = fail(search, key, member, ratio, rng)
        found = {pattern.key: pattern for pattern in search.run(event, pred).found if pattern.confirmed}
        others += len(found.keys() - {key})
        if key in found:
            hits += 1
            ratios.append(found[key].ratio)
            event_b, pred_b = fail(search, key, member, ratio, rng)
            events = [
                event_inside(rule, *who, search.classes)
                for who in ((event, search.label, pred), (event_b, search.label, pred_b))
            ]
            result = compare_inside(member, *events, ~search.discovery)
            helped.append((result["difference"], result["p"] < 0.05 and result["difference"] < 0))
    return {
        "pattern": key,
        "n": len(searches[0].label),
        "images_inside": float(np.mean([member.sum() for member in members])),
        "ratio": ratio,
        "power": rate_of(hits, repeats),
        "median_ratio_where_confirmed": float(np.median(ratios)) if ratios else None,
        "other_patterns_confirmed_a_run": others / repeats,
        "no_fix_mean_difference": float(np.mean([d for d, _ in helped])) if helped else None,
        "no_fix_seems_to_help": rate_of(sum(h for _, h in helped), len(helped)) if helped else None,
    }


def _member(search: PatternSearch, rule: dict) -> np.ndarray:
    """Images inside a rule."""
    return is_member(rule, search.label, search.properties, search.classes)


def main() -> None:
    """Simulate, print one line a setting, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000, help="runs without a pattern; a quarter of it with one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/simulation/patterns.json"))
    args = parser.parse_args()
    start, rng = time.perf_counter(), np.random.default_rng(args.seed)
    null, planted = [], []
    for n in SIZES:
        searches = make_searches(n, args.seed)
        for rate in NULL_RATES:
            null.append(without_pattern(searches, rate, args.repeats, rng))
            print(null[-1], flush=True)
        for key in PLANTED:
            for ratio in PAIR_RATIOS if key.startswith("pair:") else RATIOS:
                planted.append(with_pattern(searches, key, ratio, max(1, args.repeats // 4), rng))
                print(planted[-1], flush=True)
    result = {
        "date": date.today().isoformat(),
        "seed": args.seed,
        "repeats": args.repeats,
        "seconds": round(time.perf_counter() - start, 1),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("stress_lab", "numpy", "scipy")},
        "without_pattern": null,
        "with_pattern": planted,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
