"""Which failures persist when only the seed changes, and how many images chance alone would "fix"."""

from __future__ import annotations

from math import comb

import numpy as np

from stress_lab.errors import PairingError
from stress_lab.records import BoolArray, IntArray

TAGS = ("hard core", "fixed", "broken", "flicker", "never", "no longer confident", "newly confident")


def tag_images(failed_a: BoolArray, failed_b: BoolArray) -> IntArray:
    """Number each image's behaviour under two variants, in TAGS.

    ``hard core`` fails in every run of both; ``fixed`` in every run of A and in none of B; ``broken`` the other way
    round; ``never`` in none; ``flicker`` is all the rest: the seed decides.

    Args:
        failed_a, failed_b: (k_A, N) and (k_B, N) whether each run fails on each image, images in the same order.

    Raises:
        PairingError: the two do not hold the same images.
    """
    _check_images(failed_a, failed_b)
    all_a, all_b = failed_a.all(axis=0), failed_b.all(axis=0)
    none_a, none_b = ~failed_a.any(axis=0), ~failed_b.any(axis=0)
    cases = [all_a & all_b, all_a & none_b, none_a & all_b, none_a & none_b]
    return np.asarray(np.select(cases, [TAGS.index(name) for name in ("hard core", "fixed", "broken", "never")], 3))


def split_by_answer(tags: IntArray, wrong_a: BoolArray, wrong_b: BoolArray) -> IntArray:
    """The tags, with *fixed* and *broken* only where the answer changed in every run; see :func:`tag_images`.

    A confident failure of A that a run of B still gets wrong is *no longer confident*; one of B that a run of A got
    wrong already is *newly confident*.

    Args:
        tags: (N,) numbers in TAGS. ``wrong_a``, ``wrong_b``: (k_A, N) and (k_B, N) whether each run is wrong.
    """
    still = (tags == TAGS.index("fixed")) & wrong_b.any(axis=0)
    before = (tags == TAGS.index("broken")) & wrong_a.any(axis=0)
    return np.asarray(
        np.select([still, before], [TAGS.index("no longer confident"), TAGS.index("newly confident")], tags)
    )


def one_variant_tags(failed: BoolArray) -> IntArray:
    """Number each image's behaviour under one variant: ``hard core`` in all runs, ``flicker`` in some, ``never``.

    Args:
        failed: (k, N) whether each run fails on each image. With one run nothing can flicker.
    """
    numbers = [TAGS.index("hard core"), TAGS.index("never")]
    return np.asarray(np.select([failed.all(axis=0), ~failed.any(axis=0)], numbers, TAGS.index("flicker")))


def chance_counts(failed_a: BoolArray, failed_b: BoolArray) -> dict[str, float]:
    """Expected number of fixed and of broken images if the variants' names were assigned to the runs at random.

    The mean over all C(k_A + k_B, k_A) relabelings, to compare the observed counts with. It needs no enumeration: an
    image that fails in exactly k_A of all runs is fixed in one relabeling, the one that calls those runs A; likewise
    k_B for broken. With one run each both are the mean of the two observed counts.

    Raises:
        PairingError: the two do not hold the same images.
    """
    _check_images(failed_a, failed_b)
    k_a, k_b = len(failed_a), len(failed_b)
    failures = failed_a.sum(axis=0) + failed_b.sum(axis=0)
    relabelings = comb(k_a + k_b, k_a)
    return {
        "fixed": int((failures == k_a).sum()) / relabelings,
        "broken": int((failures == k_b).sum()) / relabelings,
    }


def _check_images(failed_a: BoolArray, failed_b: BoolArray) -> None:
    """Raise PairingError unless both are (runs, N) with the same N and at least one run."""
    if failed_a.ndim != 2 or failed_b.ndim != 2 or failed_a.shape[1:] != failed_b.shape[1:]:
        raise PairingError(f"two variants must fail on the same images, got {failed_a.shape} and {failed_b.shape}")
    if not len(failed_a) or not len(failed_b):
        raise PairingError("each variant needs at least one run")
