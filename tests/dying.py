"""A process that is killed at a chosen step: from then on it changes nothing on the disk."""

import io
import os
from contextlib import contextmanager

import pytest

STEPS = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir")  # of os


class Killed(BaseException):
    """What stands for SIGKILL: no code of the process does anything after it."""


@contextmanager
def killed_at(step):
    """Let the ``step``-th change of the disk within, and all that follow, not happen; yields the list of changes."""
    done = []

    def dying(change, changes=lambda *arguments, **options: True):
        def wrapped(*arguments, **options):
            if changes(*arguments, **options):
                if len(done) >= step:
                    raise Killed
                done.append(arguments[0])
            return change(*arguments, **options)

        return wrapped

    def writes(file, mode="r", *arguments, **options):
        return any(letter in mode for letter in "wxa+")

    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in STEPS:
            monkeypatch.setattr(os, name, dying(getattr(os, name)))
        monkeypatch.setattr(io, "open", dying(io.open, writes))
        yield done


def kill_everywhere(work, check, every=1):
    """Call ``work`` killed at each step, and ``check`` after it with the number of the step; returns the steps."""
    step = 0
    while True:
        try:
            with killed_at(step):
                work()
        except Killed:
            check(step)
            step += every
        else:
            return step
