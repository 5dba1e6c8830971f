"""Split validation images off the training images, the same ones for every variant and seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stress_lab.errors import ConfigError
from stress_lab.records import IntArray

NO_VAL = "++data.val_size=0 '~callbacks.checkpoint_best' trains without validation"


def stratified_split(
    labels: IntArray, val_size: int, seed: int, classes: Sequence[str] | None = None
) -> tuple[IntArray, IntArray]:
    """Split positions into train and validation with the classes in proportion.

    Args:
        labels: (N,) class numbers of the official training images.
        val_size: images to set aside; 0 sets none aside.
        seed: of the split only, independent of the run's seed.
        classes: names, for messages.

    Returns:
        Sorted positions ``train (N - val_size,)`` and ``val (val_size,)``.

    Raises:
        ConfigError: ``val_size`` is negative, below the number of classes, or leaves too few training images; or a
            class has a single image, which cannot be in both parts.
    """
    n, (present, counts) = len(labels), np.unique(labels, return_counts=True)
    if val_size == 0:
        return np.arange(n), np.arange(0)
    if counts.min() < 2:
        names = ", ".join(str(label if classes is None else classes[label]) for label in present[counts < 2][:5])
        raise ConfigError(
            f"no validation images can be set aside by class, as train has a single image of {names}: add images "
            f"of it, or provide your own val split, or {NO_VAL}"
        )
    check_val_size(val_size, n, len(present))
    from sklearn.model_selection import train_test_split  # takes two seconds; a wrong size fails before

    try:
        train, val = train_test_split(np.arange(n), test_size=val_size, random_state=seed, stratify=labels)
    except ValueError as error:
        raise ConfigError(
            f"data.val_size={val_size} cannot be split by class: {error}; add images, or {NO_VAL}"
        ) from None
    return np.sort(train), np.sort(val)


def refuse_cut(source: str, val_size: int | None) -> None:
    """Raise ConfigError where val images are to be cut from train although the source brings its own."""
    if val_size:
        raise ConfigError(f"{source} brings its own val folder: set data.val_size=null to use it")


def check_val_size(val_size: int, n: int, classes: int) -> None:
    """Raise ConfigError unless every class can have an image in each part of ``n`` training images."""
    if n < 2 * classes:
        raise ConfigError(
            f"{n:,} training images of {classes} classes are too few to set some aside for validation: add images, or "
            f"{NO_VAL}"
        )
    if not classes <= val_size <= n - classes:
        raise ConfigError(
            f"data.val_size={val_size} does not work with {n:,} training images of {classes} classes: use a number "
            f"from {classes} to {n - classes:,}, or {NO_VAL}"
        )


def stratified_subset(labels: IntArray, size: int, seed: int) -> IntArray:
    """Sorted positions of at most ``size`` examples with the classes in proportion, or all if there are fewer.

    Every class gives its share rounded down or up, even with a single example: examples are ordered by class,
    at random within one, and every ``len(labels) / size``-th is taken.
    """
    n = len(labels)
    if size >= n:
        return np.arange(n)
    order = np.lexsort((np.random.default_rng(seed).permutation(n), labels))
    return np.sort(order[np.arange(size) * n // size])
