"""Did the fix help? One of four words a question, from its test, its interval and its margin of equivalence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from stress_lab.comparison.options import Options
from stress_lab.records import FloatArray
from stress_lab.stats.multiplicity import holm
from stress_lab.stats.paired import (
    PairedTable,
    equivalence_p,
    images_needed,
    mcnemar_exact,
    mcnemar_mid_p,
    tabulate,
    tango_interval,
    wald_interval,
)
from stress_lab.stats.resampling import hierarchical_interval, percentile_interval
from stress_lab.stats.seeds import (
    outperformance,
    permutation_p,
    seeds_needed,
    seeds_to_reach,
    smallest_p,
    welch_interval,
)

VERDICTS = ("helped", "hurt", "equivalent", "cannot tell")


def judge_models(
    values_a: FloatArray,
    values_b: FloatArray,
    draws_a: FloatArray,
    draws_b: FloatArray,
    margin: float,
    options: Options,
) -> dict[str, Any]:
    """Evidence about two trained networks: McNemar's tests, Tango's interval, equivalence by two one-sided tests.

    Args:
        values_a, values_b: (N,) 0 or 1 an image. ``draws_a``, ``draws_b``: (B,) rates over resampled images.
        margin: difference of rates that counts as none.
        options: level of the interval and power.
    """
    table = tabulate(values_a > 0, values_b > 0)
    p_equivalent = equivalence_p(table, margin)
    return {
        "unit": "models",
        "table": {"both": table.both, "only_a": table.only_a, "only_b": table.only_b, "neither": table.neither},
        "difference": table.difference,
        "interval": tango_interval(table, options.level),
        "interval_method": "Tango score",
        "wald_interval": wald_interval(table, options.level),
        "bootstrap_interval": percentile_interval(draws_b - draws_a, options.level),
        "test": "McNemar mid-p",
        "p": mcnemar_mid_p(table),
        "exact_p": mcnemar_exact(table),
        "equivalence_p": p_equivalent,
        "equivalent": p_equivalent < options.alpha,
        "more": _more_images(table, margin, options),
    }


def _more_images(table: PairedTable, margin: float, options: Options) -> dict[str, Any]:
    """Images in all that would tell the difference seen, or the margin where that is larger."""
    target = max(abs(table.difference), margin)
    discordant = max((table.only_a + table.only_b) / table.n, target)
    return {"target": target, "images": images_needed(discordant, target, options.alpha, options.power)}


def judge_recipes(
    rates_a: FloatArray, rates_b: FloatArray, draws_a: FloatArray, draws_b: FloatArray, margin: float, options: Options
) -> dict[str, Any]:
    """Evidence about two recipes over seeds: exact permutation of the runs, and an interval over images and runs.

    Args:
        rates_a, rates_b: (k,) one rate a run. ``draws_a``, ``draws_b``: (k, B) over the same resampled images.
        margin: difference of rates that counts as none.
        options: level of the interval and power.
    """
    difference = float(rates_b.mean() - rates_a.mean())
    narrow = hierarchical_interval(draws_a, draws_b, 1 - 2 * options.alpha)
    target = max(abs(difference), margin)
    return {
        "unit": "recipes",
        "difference": difference,
        "interval": hierarchical_interval(draws_a, draws_b, options.level),
        "interval_method": "bootstrap over images, t over runs",
        "welch_interval": welch_interval(rates_a, rates_b, options.level),
        "test": "exact permutation of runs, p",
        "p": permutation_p(rates_a, rates_b),
        "smallest_p": smallest_p(len(rates_a), len(rates_b)),
        "outperformance": outperformance(rates_a, rates_b),
        "equivalence_interval": narrow,
        "equivalent": min(len(rates_a), len(rates_b)) > 1 and -margin < narrow[0] and narrow[1] < margin,
        "more": {
            "target": target,
            "seeds": seeds_needed(rates_a, rates_b, target, options.alpha / len(options.primary), options.power),
        },
    }


def decide(questions: Sequence[dict[str, Any]], options: Options) -> None:
    """Add ``p_adjusted`` (Holm over all questions given), ``alpha`` and ``verdict`` to each question.

    *helped* and *hurt* need both the adjusted test and an interval without zero; *equivalent* needs the narrower
    interval inside the margin; anything else *cannot tell*. Over seeds, ``more`` also learns how many runs the test
    needs before it can reach the level at all.
    """
    adjusted = holm([question["p"] for question in questions])
    for question, p in zip(questions, adjusted, strict=True):
        low, high = question["interval"]
        better = question["difference"] * (1 if question["better"] == "higher" else -1) > 0
        question["p_adjusted"], question["alpha"] = p, options.alpha
        if p <= options.alpha and (low > 0 or high < 0):
            question["verdict"] = "helped" if better else "hurt"
        else:
            question["verdict"] = "equivalent" if question["equivalent"] else "cannot tell"
        if question["unit"] == "recipes":
            reach = options.alpha / len(questions)
            question["more"]["out_of_reach"] = bool(question["smallest_p"] * len(questions) > options.alpha)
            question["more"]["seeds_to_reach"] = seeds_to_reach(reach)


def paired_z(values_a: FloatArray, values_b: FloatArray) -> float:
    """Two-sided p-value of no difference between the means of paired contributions (N,), by their normal limit."""
    difference = values_b - values_a
    error = difference.std() / np.sqrt(len(difference))
    if error == 0:
        return 1.0 if difference.mean() == 0 else 0.0
    return float(2 * norm.sf(abs(difference.mean()) / error))
