"""Which failures persist when only the seed changes, and how many images chance alone would "fix"."""

from __future__ import annotations

from math import comb

import numpy as np

from stress_lab.errors import PairingError
from stress_lab.records import BoolArray, IntArray

TAGS = ("hard core", "fixed", "broken", "flicker", "never", "no longer confident", "newly confident")


def tag_images(
    failed_a: BoolArray, failed_b: BoolArray, wrong_a: BoolArray | None = None, wrong_b: BoolArray | None = None
) -> IntArray:
    """Number each image's behaviour under two variants, in TAGS.

    ``hard core`` fails in every run of both; ``fixed`` in every run of A, and every run of B is right; ``broken`` the
    other way round. ``no longer confident`` fails in every run of A and in none of B, one of which is still wrong;
    ``newly confident`` the other way round. ``never`` fails in none; ``flicker`` is all the rest: the seed decides.

    Args:
        failed_a, failed_b: (k_A, N) and (k_B, N) whether each run fails on each image, images in the same order.
        wrong_a, wrong_b: the same for wrong answers of any confidence; None where every wrong answer is a failure.

    Raises:
        PairingError: the two do not hold the same images.
    """
    _check_images(failed_a, failed_b)
    all_a, all_b = failed_a.all(axis=0), failed_b.all(axis=0)
    none_a, none_b = ~failed_a.any(axis=0), ~failed_b.any(axis=0)
    right_a = ~(failed_a if wrong_a is None else wrong_a).any(axis=0)
    right_b = ~(failed_b if wrong_b is None else wrong_b).any(axis=0)
    cases = {
        "hard core": all_a & all_b,
        "fixed": all_a & none_b & right_b,
        "broken": none_a & all_b & right_a,
        "no longer confident": all_a & none_b,
        "newly confident": none_a & all_b,
        "never": none_a & none_b,
    }
    return np.asarray(np.select(list(cases.values()), [TAGS.index(name) for name in cases], TAGS.index("flicker")))


def one_variant_tags(failed: BoolArray) -> IntArray:
    """Number each image's behaviour under one variant: ``hard core`` in all runs, ``flicker`` in some, ``never``.

    Args:
        failed: (k, N) whether each run fails on each image. With one run nothing can flicker.
    """
    numbers = [TAGS.index("hard core"), TAGS.index("never")]
    return np.asarray(np.select([failed.all(axis=0), ~failed.any(axis=0)], numbers, TAGS.index("flicker")))


def chance_counts(
    failed_a: BoolArray, failed_b: BoolArray, wrong_a: BoolArray | None = None, wrong_b: BoolArray | None = None
) -> dict[str, float]:
    """Expected number of images with each tag of a change if the variants' names were given to the runs at random.

    The mean over all C(k_A + k_B, k_A) relabelings, to compare the observed counts with. It needs no enumeration: an
    image that fails in exactly k_A of all runs changes in one relabeling, the one that calls those runs A; it is fixed
    there if no other run is wrong, and else no longer confident. Likewise k_B for broken and newly confident. With one
    run each the two ways are equal.

    Raises:
        PairingError: the two do not hold the same images.
    """
    _check_images(failed_a, failed_b)
    k_a, k_b = len(failed_a), len(failed_b)
    failures = failed_a.sum(axis=0) + failed_b.sum(axis=0)
    wrong = (failed_a if wrong_a is None else wrong_a).sum(axis=0) + (failed_b if wrong_b is None else wrong_b).sum(0)
    clean = wrong == failures
    relabelings = comb(k_a + k_b, k_a)
    gone, new = failures == k_a, failures == k_b
    counts = {
        "fixed": gone & clean,
        "broken": new & clean,
        "no longer confident": gone & ~clean,
        "newly confident": new & ~clean,
    }
    return {name: int(images.sum()) / relabelings for name, images in counts.items()}


def _check_images(failed_a: BoolArray, failed_b: BoolArray) -> None:
    """Raise PairingError unless both are (runs, N) with the same N and at least one run."""
    if failed_a.ndim != 2 or failed_b.ndim != 2 or failed_a.shape[1:] != failed_b.shape[1:]:
        raise PairingError(f"two variants must fail on the same images, got {failed_a.shape} and {failed_b.shape}")
    if not len(failed_a) or not len(failed_b):
        raise PairingError("each variant needs at least one run")
