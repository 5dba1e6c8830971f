"""Did the fix help? One of four words a question, from its test, its interval and its margin of equivalence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import norm, ttest_1samp

from stress_lab.comparison.options import Options
from stress_lab.records import FloatArray
from stress_lab.stats.multiplicity import holm
from stress_lab.stats.paired import (
    TANGO,
    PairedTable,
    equivalence_p,
    images_needed,
    mcnemar_exact,
    mcnemar_mid_p,
    tabulate,
    tango_interval,
)
from stress_lab.stats.resampling import HIERARCHICAL, hierarchical_interval, shared_spread
from stress_lab.stats.seeds import (
    is_exact,
    permutation_p,
    seeds_needed,
    seeds_to_reach,
    smallest_p,
)

VERDICTS = ("helped", "hurt", "equivalent", "cannot tell")
SMALLEST_ALPHA = 1e-5  # that a permutation test can reach here


def judge_models(
    values_a: FloatArray,
    values_b: FloatArray,
    margin: float,
    options: Options,
    questions: int = 1,
) -> dict[str, Any]:
    """Evidence about two trained networks: McNemar's tests, Tango's interval, equivalence by two one-sided tests.

    Args:
        values_a, values_b: (N,) 0 or 1 an image.
        margin: difference of rates that counts as none.
        options: level of the interval and power.
        questions: asked in all; equivalence and "how many more" take Bonferroni's share of the risk.
    """
    table = tabulate(values_a > 0, values_b > 0)
    p_equivalent = equivalence_p(table, margin)
    corrected = min(1.0, questions * p_equivalent)
    return {
        "unit": "models",
        "table": {"both": table.both, "only_a": table.only_a, "only_b": table.only_b, "neither": table.neither},
        "difference": table.difference,
        "interval": tango_interval(table, options.level),
        "interval_method": TANGO,
        "test": "McNemar mid-p",
        "p": mcnemar_mid_p(table),
        "exact_p": mcnemar_exact(table),
        "equivalence_p_uncorrected": p_equivalent,
        "equivalence_p_bonferroni": corrected,
        "corrected_for": questions,
        "equivalent": corrected < options.alpha,
        "more": _more_images(table, margin, options, questions),
    }


def _more_images(table: PairedTable, margin: float, options: Options, questions: int) -> dict[str, Any]:
    """Images in all that would tell the difference seen, or the margin from none where that is larger.

    Below the margin it is the larger of what superiority and what equivalence takes.
    """
    target = max(abs(table.difference), margin)
    discordant = max((table.only_a + table.only_b) / table.n, target)
    images = images_needed(discordant, target, options.alpha / questions, options.power)
    if target == margin:
        z = norm.ppf(1 - options.alpha / questions) + norm.ppf((1 + options.power) / 2)
        images = max(images, math.ceil(z**2 * discordant / margin**2))
    return {
        "target": target,
        "images": images,
        "images_more": max(0, images - table.n),
        "power": options.power,
        "alpha": options.alpha / questions,
        "corrected_for": questions,
    }


def judge_recipes(
    rates: tuple[FloatArray, FloatArray],
    draws: tuple[FloatArray, FloatArray],
    n: int,
    margin: float,
    options: Options,
    questions: int = 1,
) -> dict[str, Any]:
    """Evidence about two recipes over seeds: exact permutation of the runs, and an interval over images and runs.

    Args:
        rates: of each recipe, (k,) one rate a run.
        draws: of each, (k, B) over the same resampled images.
        n: images.
        margin: difference of rates that counts as none.
        options: level of the interval and power.
        questions: asked in all; equivalence and "how many more" take Bonferroni's share of the risk.
    """
    difference = float(rates[1].mean() - rates[0].mean())
    narrow = interval_over_runs(rates, draws, n, 1 - 2 * options.alpha / questions)
    return {
        "unit": "recipes",
        "difference": difference,
        "interval": interval_over_runs(rates, draws, n, options.level),
        "interval_method": HIERARCHICAL,
        "test": f"{'exact permutation' if is_exact(*map(len, rates)) else 'permutation'} of runs, p",
        "p": permutation_p(*rates),
        "smallest_p": smallest_p(len(rates[0]), len(rates[1])),
        "equivalence_interval": narrow,
        "equivalence_interval_level": 1 - 2 * options.alpha / questions,
        "equivalence_interval_method": HIERARCHICAL,
        "corrected_for": questions,
        "equivalent": min(map(len, rates)) > 1 and -margin < narrow[0] and narrow[1] < margin,
        "more": _more_seeds(rates, draws, n, max(abs(difference), margin), options, questions),
    }


def interval_over_runs(
    rates: tuple[FloatArray, FloatArray], draws: tuple[FloatArray, FloatArray], n: int, level: float
) -> tuple[float, float]:
    """The interval over images and runs, never narrower than what n images without any event leave open (Wilson)."""
    low, high = hierarchical_interval(*draws, level, means=rates)
    difference = float(rates[1].mean() - rates[0].mean())
    z = float(norm.ppf(0.5 + level / 2))
    least = z**2 / (n + z**2)
    return min(low, difference - least), max(high, difference + least)


def _more_seeds(
    rates: tuple[FloatArray, FloatArray],
    draws: tuple[FloatArray, FloatArray],
    n: int,
    target: float,
    options: Options,
    questions: int,
) -> dict[str, Any]:
    """Seeds a recipe that would tell a difference of ``target``, or images where no number of seeds would.

    What the test images themselves leave open, no seed takes away: it is put aside first.
    """
    alpha = max(options.alpha / questions, SMALLEST_ALPHA)
    z = float(norm.ppf(1 - alpha / 2) + norm.ppf(options.power))
    images = z * shared_spread(*draws) if sum(map(len, rates)) > 2 else 0.0
    found: dict[str, Any] = {
        "target": target,
        "alpha": alpha,
        "corrected_for": questions,
        "power": options.power,
        "seeds": None,
        "seeds_more": None,
        "images": None,
        "spread": any(float(np.ptp(arm)) > 0 for arm in rates),
        "seeds_to_reach": seeds_to_reach(alpha),
    }
    if images >= target:
        found["images"] = math.ceil(n * (images / target) ** 2)
    elif found["spread"]:
        found["seeds"] = seeds_needed(*rates, math.sqrt(target**2 - images**2), alpha, options.power)
        if found["seeds"] is not None:
            found["seeds_more"] = max(0, found["seeds"] - min(map(len, rates)))
    return found


def decide(questions: Sequence[dict[str, Any]], options: Options) -> None:
    """Add ``p_adjusted`` (Holm over all questions given), ``alpha`` and ``verdict`` to each question.

    *helped* and *hurt* need both the adjusted test and an interval without zero; *equivalent* needs the narrower
    interval inside the margin; anything else *cannot tell*. Over seeds, ``more`` also learns whether the test could
    have reached the level at all, the other questions being as they are.
    """
    p_values = [question["p"] for question in questions]
    for place, (question, p) in enumerate(zip(questions, holm(p_values), strict=True)):
        low, high = question["interval"]
        better = question["difference"] * (1 if question["better"] == "higher" else -1) > 0
        question["p_adjusted"], question["alpha"] = p, options.alpha
        if p <= options.alpha and (low > 0 or high < 0):
            question["verdict"] = "helped" if better else "hurt"
        else:
            question["verdict"] = "equivalent" if question["equivalent"] else "cannot tell"
        if question["unit"] == "recipes":
            best = holm([*p_values[:place], question["smallest_p"], *p_values[place + 1 :]])[place]
            question["more"]["smallest_adjusted_p"] = best
            question["more"]["out_of_reach"] = best > options.alpha


def paired_t(values_a: FloatArray, values_b: FloatArray) -> float:
    """Two-sided p-value of no difference between the means of paired contributions (N,), by Student's t; 1 for one."""
    difference = values_b - values_a
    if len(difference) < 2 or np.ptp(difference) == 0:
        return 1.0 if len(difference) < 2 or difference[0] == 0 else 0.0
    return float(ttest_1samp(difference, 0).pvalue)
