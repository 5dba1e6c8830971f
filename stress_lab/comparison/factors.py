"""Variants that are every combination of several choices: what each does, and whether that depends on the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stress_lab.comparison.leaderboard import rate_interval
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.many import Cell, Effect, Factors
from stress_lab.comparison.measured import Measured
from stress_lab.comparison.measures import JUDGED_BY, MEASURES
from stress_lab.comparison.naming import UNNAMED
from stress_lab.comparison.options import Options
from stress_lab.comparison.variants import estimate_networks, estimate_recipes
from stress_lab.comparison.verdict import paired_t
from stress_lab.stats.factorial import Contrast, contrast_p, list_combinations, list_contrasts
from stress_lab.stats.multiplicity import holm
from stress_lab.stats.resampling import HIERARCHICAL, PERCENTILE, contrast_interval, percentile_interval

UNSET = "not set"  # level of a key that was not typed for a run
NO_FACTOR = ("variant", "launcher", "sweeper", "hydra", *UNNAMED)  # keys that make no choice of their own


@dataclass(frozen=True)
class Design:
    """Levels by factor, and the variant of each combination in the order of ``list_combinations``."""

    levels: Mapping[str, tuple[str, ...]]
    variants: tuple[str, ...]


def cross_variants(measured: Measured, options: Options) -> Factors | None:
    """The effects of crossed choices on each primary measure; None where the variants are not crossed."""
    design = find_design(measured.runs)
    names = [JUDGED_BY[question] for question in options.primary]
    names = [name for name in names if name in measured.shared(range(len(measured.runs)))]
    if design is None or not names:
        return None
    return Factors(
        levels=design.levels,
        cells=tuple(_list_cells(measured, design, names, options.level)),
        measures={name: MEASURES[name].title for name in names},
        better={name: MEASURES[name].better for name in names},
        effects=_correct([one for name in names for one in _list_effects(measured, design, name, options)], options),
        level=options.level,
        alpha=options.alpha,
    )


def find_design(runs: Sequence[LoadedRun]) -> Design | None:
    """The choices that make the variants, if every combination of theirs is a variant; the first run has the bases.

    The choices are the keys typed for the runs, or those that all names consist of, such as
    ``augment=cutout, optim=sgd``.
    """
    chosen = {run.variant: _read_choices(run) for run in reversed(runs)}
    chosen = {run.variant: chosen[run.variant] for run in runs}  # in launch order
    if any(_read_choices(run) != chosen[run.variant] for run in runs):
        return None
    keys = dict.fromkeys(key for one in chosen.values() for key in one)
    levels = {key: tuple(dict.fromkeys(one.get(key, UNSET) for one in chosen.values())) for key in keys}
    levels = {key: found for key, found in levels.items() if len(found) > 1}
    variants = {tuple(one.get(key, UNSET) for key in levels): name for name, one in chosen.items()}
    complete = math.prod(map(len, levels.values())) == len(chosen) == len(variants)
    if len(levels) < 2 or not complete:
        return None
    named = list(levels.values())
    order = [tuple(named[k][at] for k, at in enumerate(one)) for one in list_combinations(list(map(len, named)))]
    return Design(levels, tuple(variants[one] for one in order))


def _read_choices(run: LoadedRun) -> dict[str, str]:
    """What was typed for a run, by key; of a file, what its name says."""
    typed = run.variant.split(", ") if run.run is None else run.run.overrides
    pairs = [one.lstrip("+").partition("=") for one in typed]
    if run.run is None and not all(equals for _, equals, _ in pairs):
        return {}
    return {key: value for key, equals, value in pairs if equals and key.split(".")[0] not in NO_FACTOR}


def _list_cells(measured: Measured, design: Design, names: Sequence[str], level: float) -> Iterator[Cell]:
    """Each combination, its variant and its rates."""
    sizes = [len(found) for found in design.levels.values()]
    for places, variant in zip(list_combinations(sizes), design.variants, strict=True):
        yield Cell(
            variant=variant,
            levels={key: found[at] for (key, found), at in zip(design.levels.items(), places, strict=True)},
            values={name: float(measured.values(variant, name).mean()) for name in names},
            intervals={name: rate_interval(measured, variant, name, level) for name in names},
        )


def _list_effects(measured: Measured, design: Design, name: str, options: Options) -> Iterator[Effect]:
    """Every effect on one measure, without correction."""
    keys, levels = list(design.levels), list(design.levels.values())
    for one in list_contrasts(list(map(len, levels))):
        estimate = _estimate_simple if one.kind == "simple" else _estimate
        pair = None if one.other is None or one.other_level is None else (one.other, one.other_level)
        yield Effect(
            measure=name,
            kind=one.kind,
            factor=keys[one.factor],
            level=levels[one.factor][one.level],
            base=levels[one.factor][0],
            other=pair and keys[pair[0]],
            other_level=pair and levels[pair[0]][pair[1]],
            other_base=levels[pair[0]][0] if pair and one.kind == "interaction" else None,
            **estimate(measured, design, one, name, options),
        )


def _estimate(measured: Measured, design: Design, one: Contrast, name: str, options: Options) -> dict[str, Any]:
    """A weighted sum over all variants: paired over the images with one run each, over images and runs with several."""
    weights, rows = one.weights.tolist(), [measured.rows(variant) for variant in design.variants]
    runs = [measured.values(variant, name) for variant in design.variants]
    draws = [measured.resampled(variant, name) for variant in design.variants]
    difference = float(sum(weight * arm.mean() for weight, arm in zip(weights, runs, strict=True)))
    p = contrast_p(runs, weights)
    if p is None:
        images = sum(weight * measured.contributions[own[0]][name] for weight, own in zip(weights, rows, strict=True))
        drawn = sum(weight * arm[0] for weight, arm in zip(weights, draws, strict=True))
        return {
            "difference": difference,
            "interval": percentile_interval(np.asarray(drawn), options.level),
            "interval_method": PERCENTILE,
            "test": "paired t over images",
            "p": paired_t(np.zeros_like(images), np.asarray(images)),
        }
    return {
        "difference": difference,
        "interval": contrast_interval(draws, weights, options.level, means=runs),
        "interval_method": HIERARCHICAL,
        "test": "t over runs, least squares",
        "p": p,
    }


def _estimate_simple(measured: Measured, design: Design, one: Contrast, name: str, options: Options) -> dict[str, Any]:
    """Two variants, the same numbers as wherever they are compared."""
    a, b = (design.variants[int(np.flatnonzero(one.weights == weight)[0])] for weight in (-1, 1))
    single = len(measured.rows(a)) == len(measured.rows(b)) == 1
    found = (estimate_networks if single else estimate_recipes)(measured, a, b, MEASURES[name], options)
    return {**found, "test": "McNemar mid-p" if single else "permutation of runs"}


def _correct(effects: Sequence[Effect], options: Options) -> tuple[Effect, ...]:
    """Main effects and interactions with Holm's correction over all of them; simple effects explain and get none."""
    tested = [place for place, one in enumerate(effects) if one.kind != "simple"]
    adjusted = dict(zip(tested, holm([effects[place].p for place in tested]), strict=True))
    return tuple(
        replace(one, p_adjusted=adjusted[place], apart=_is_apart(one, adjusted[place], options.alpha))
        if place in adjusted
        else one
        for place, one in enumerate(effects)
    )


def _is_apart(one: Effect, p: float, alpha: float) -> bool:
    """Whether there is an effect: the test and the interval must agree."""
    low, high = one.interval
    return p <= alpha and (low > 0 or high < 0)
