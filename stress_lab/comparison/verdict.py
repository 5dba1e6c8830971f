"""Did the fix help? One of four words per question, from its test, its interval and its margin of equivalence."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import norm, ttest_1samp

from stress_lab.comparison.evidence import (
    Evidence,
    ModelsEvidence,
    MoreImages,
    MoreSeeds,
    Question,
    RecipesEvidence,
    Verdict,
)
from stress_lab.comparison.options import Options
from stress_lab.records import FloatArray, IntArray
from stress_lab.stats.clusters import (
    CLUSTERED_T,
    clustered_mean_interval,
    describe_clusters,
    paired_permutation_p,
)
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

SMALLEST_ALPHA = 1e-5  # the smallest a permutation test can reach here


def judge_models(
    values_a: FloatArray,
    values_b: FloatArray,
    margin: float,
    options: Options,
    questions: int = 1,
) -> ModelsEvidence:
    """Evidence about two trained networks: McNemar's tests, Tango's interval, equivalence by two one-sided tests.

    Args:
        values_a, values_b: (N,) 0 or 1 per image.
        margin: the largest difference of rates that counts as none.
        options: level of the interval and power.
        questions: number asked; equivalence and "how many more" take Bonferroni's share of the risk.
    """
    table = tabulate(values_a > 0, values_b > 0)
    p_equivalent = equivalence_p(table, margin)
    corrected = min(1.0, questions * p_equivalent)
    return ModelsEvidence(
        table=table,
        difference=table.difference,
        interval=tango_interval(table, options.level),
        interval_method=TANGO,
        test="McNemar mid-p",
        p=mcnemar_mid_p(table),
        exact_p=mcnemar_exact(table),
        equivalence_p_uncorrected=p_equivalent,
        equivalence_p_bonferroni=corrected,
        corrected_for=questions,
        equivalent=corrected < options.alpha,
        more=_more_images(table, margin, options, questions),
    )


def judge_clustered_models(
    values_a: FloatArray,
    values_b: FloatArray,
    clusters: IntArray,
    margin: float,
    options: Options,
    questions: int = 1,
) -> ModelsEvidence:
    """Evidence about two trained networks on images that come in clusters.

    The models' answers are swapped for whole clusters, the interval is Student's t over clusters, and equivalence asks
    whether the narrower interval lies within the margin. Arguments as for :func:`judge_models`; clusters (N,).
    """
    table, differences = tabulate(values_a > 0, values_b > 0), values_b - values_a
    size = describe_clusters(differences, clusters)
    low, high = clustered_mean_interval(differences, clusters, 1 - 2 * options.alpha / questions)
    more = _more_images(table, margin, options, questions)
    images = math.ceil(more.images * max(1.0, size.design_effect))
    return ModelsEvidence(
        table=table,
        difference=table.difference,
        interval=clustered_mean_interval(differences, clusters, options.level),
        interval_method=CLUSTERED_T,
        test="paired permutation of clusters, p",
        p=paired_permutation_p(differences, clusters),
        exact_p=mcnemar_exact(table),
        corrected_for=questions,
        equivalent=-margin < low and high < margin,
        more=replace(more, images=images, images_more=max(0, images - table.n)),
        clusters=size.clusters,
        design_effect=size.design_effect,
    )


def _more_images(table: PairedTable, margin: float, options: Options, questions: int) -> MoreImages:
    """Total images that would detect the difference seen, or the margin where that is larger.

    Below the margin it is the larger of what superiority and equivalence need.
    """
    target = max(abs(table.difference), margin)
    discordant = max((table.only_a + table.only_b) / table.n, target)
    images = images_needed(discordant, target, options.alpha / questions, options.power)
    if target == margin:
        z = norm.ppf(1 - options.alpha / questions) + norm.ppf((1 + options.power) / 2)
        images = max(images, math.ceil(z**2 * discordant / margin**2))
    return MoreImages(
        target=target,
        images=images,
        images_more=max(0, images - table.n),
        power=options.power,
        alpha=options.alpha / questions,
        corrected_for=questions,
    )


def judge_recipes(
    rates: tuple[FloatArray, FloatArray],
    draws: tuple[FloatArray, FloatArray],
    n: int,
    margin: float,
    options: Options,
    questions: int = 1,
) -> RecipesEvidence:
    """Evidence about two recipes over seeds: exact permutation of the runs, and an interval over images and runs.

    Args:
        rates: of each recipe, (k,) one rate per run.
        draws: of each, (k, B) over the same resampled images.
        n: images.
        margin: the largest difference of rates that counts as none.
        options: level of the interval and power.
        questions: number asked; equivalence and "how many more" take Bonferroni's share of the risk.
    """
    difference = float(rates[1].mean() - rates[0].mean())
    narrow = interval_over_runs(rates, draws, n, 1 - 2 * options.alpha / questions)
    return RecipesEvidence(
        difference=difference,
        interval=interval_over_runs(rates, draws, n, options.level),
        interval_method=HIERARCHICAL,
        test=f"{'exact permutation' if is_exact(*map(len, rates)) else 'permutation'} of runs, p",
        p=permutation_p(*rates),
        smallest_p=smallest_p(len(rates[0]), len(rates[1])),
        equivalence_interval=narrow,
        equivalence_interval_level=1 - 2 * options.alpha / questions,
        equivalence_interval_method=HIERARCHICAL,
        corrected_for=questions,
        equivalent=min(map(len, rates)) > 1 and -margin < narrow[0] and narrow[1] < margin,
        more=_more_seeds(rates, draws, n, max(abs(difference), margin), options, questions),
    )


def interval_over_runs(
    rates: tuple[FloatArray, FloatArray], draws: tuple[FloatArray, FloatArray], n: int, level: float
) -> tuple[float, float]:
    """The interval over images and runs, never narrower than Wilson's for n images without any event."""
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
) -> MoreSeeds:
    """Seeds per recipe that would detect a difference of ``target``, or images where no number of seeds would.

    More seeds do not reduce the uncertainty from the test images, so it is subtracted first.
    """
    alpha = max(options.alpha / questions, SMALLEST_ALPHA)
    z = float(norm.ppf(1 - alpha / 2) + norm.ppf(options.power))
    images = z * shared_spread(*draws) if sum(map(len, rates)) > 2 else 0.0
    spread, few = any(float(np.ptp(arm)) > 0 for arm in rates), images >= target
    seeds = None
    if spread and not few:
        seeds = seeds_needed(*rates, math.sqrt(target**2 - images**2), alpha, options.power)
    return MoreSeeds(
        target=target,
        alpha=alpha,
        corrected_for=questions,
        power=options.power,
        seeds=seeds,
        seeds_more=None if seeds is None else max(0, seeds - min(map(len, rates))),
        images=math.ceil(n * (images / target) ** 2) if few else None,
        spread=spread,
        seeds_to_reach=seeds_to_reach(alpha),
    )


def decide(questions: Sequence[Question], options: Options, useless: Collection[str] = ()) -> list[Question]:
    """The questions with their verdicts, and with p-values that Holm's method adjusts over all of them.

    *helped* and *hurt* need both the adjusted test and an interval without zero; *equivalent* needs the narrower
    interval inside the margin; anything else *cannot tell*. Over seeds, ``more`` also records whether the test could
    have reached the level at all, given the other questions.

    Args:
        questions: all primary ones.
        options: the risk of a false verdict.
        useless: variants with a run that learnt nothing, for which more data would not help.
    """
    p_values = [question.evidence.p for question in questions]
    decided = []
    for place, (question, p) in enumerate(zip(questions, holm(p_values), strict=True)):
        evidence = _qualify(question.evidence, p_values, place, options.alpha)
        moot = not {question.a, question.b}.isdisjoint(useless)
        evidence = replace(evidence, more=replace(evidence.more, moot=moot))  # type: ignore[arg-type]
        verdict = _judge(question, p, options.alpha)
        decided.append(replace(question, evidence=evidence, p_adjusted=p, alpha=options.alpha, verdict=verdict))
    return decided


def _judge(question: Question, p: float, alpha: float) -> Verdict:
    """One of the four words, for an adjusted p-value."""
    evidence = question.evidence
    low, high = evidence.interval
    if p <= alpha and (low > 0 or high < 0):
        return "helped" if evidence.difference * (1 if question.better == "higher" else -1) > 0 else "hurt"
    return "equivalent" if evidence.equivalent else "cannot tell"


def _qualify(evidence: Evidence, p_values: Sequence[float], place: int, alpha: float) -> Evidence:
    """With seeds: adds whether the test could have reached the level at all."""
    if not isinstance(evidence, RecipesEvidence):
        return evidence
    best = holm([*p_values[:place], evidence.smallest_p, *p_values[place + 1 :]])[place]
    return replace(evidence, more=replace(evidence.more, smallest_adjusted_p=best, out_of_reach=best > alpha))


def paired_t(values_a: FloatArray, values_b: FloatArray) -> float:
    """Two-sided p-value of no difference between the means of paired contributions (N,), by Student's t; 1 for one."""
    difference = values_b - values_a
    if len(difference) < 2 or np.ptp(difference) == 0:
        return 1.0 if len(difference) < 2 or difference[0] == 0 else 0.0
    return float(ttest_1samp(difference, 0).pvalue)
