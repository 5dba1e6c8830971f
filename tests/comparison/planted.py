"""Answers with known truth."""

import numpy as np

from stress_lab.comparison.assemble import compare_matched
from stress_lab.comparison.comparable import match_runs

CLASSES = tuple("abcdefghij")


def planted(n=200, wrong=(), right=(), rate=0.8, seed=0):
    """Right or wrong at random, but for the images named."""
    answers = np.random.default_rng(seed).random(n) < rate
    answers[list(wrong)] = False
    answers[list(right)] = True
    return answers


def compare_runs(runs, title, options, strict, *rest, **named):
    """Every number about loaded runs, the first one's variant being the reference."""
    return compare_matched(match_runs(runs, strict), title, options, *rest, **named)
