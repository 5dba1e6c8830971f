"""A data set is loaded once per command, no matter how often it is requested.

Within :func:`one_snapshot` what a source returned is kept and reused: whatever happens to the files meanwhile,
all runs and the comparison see the images that were there when the command first looked. Without it each call looks
again.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

from stress_lab.data.images import ImageData

P = ParamSpec("P")

_kept: dict[object, ImageData] | None = None  # by function, arguments, and whatever else decides where it looks


@contextmanager
def one_snapshot() -> Iterator[None]:
    """Load each data set once until the end of the outermost such block."""
    global _kept
    before = _kept
    _kept = {} if before is None else before
    try:
        yield
    finally:
        _kept = before


def once(load: Callable[P, ImageData]) -> Callable[P, ImageData]:
    """Make a loader return the same data set for the same arguments within a snapshot.

    Text arguments are folder paths, so relative and absolute ones are equal.
    """

    @functools.wraps(load)
    def shared(*args: P.args, **kwargs: P.kwargs) -> ImageData:
        if _kept is None:
            return load(*args, **kwargs)
        places = [os.path.abspath(os.path.expanduser(one)) if isinstance(one, str) else one for one in args]
        key = (load, *places, *sorted(kwargs.items()), os.environ.get("STRESS_LAB_DATA"))
        if key not in _kept:
            _kept[key] = load(*args, **kwargs)
        return _kept[key]

    return shared
