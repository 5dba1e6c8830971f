"""Answers with known truth."""

import numpy as np

CLASSES = tuple("abcdefghij")


def planted(n=200, wrong=(), right=(), rate=0.8, seed=0):
    """Right or wrong at random, but for the images named."""
    answers = np.random.default_rng(seed).random(n) < rate
    answers[list(wrong)] = False
    answers[list(right)] = True
    return answers
