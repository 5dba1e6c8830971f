"""Folders that a command will write, tried before it starts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from stress_lab.errors import ConfigError

NO_HOME = "/nonexistent"  # as Debian has it for users without a home


def name_home() -> None:
    """Set HOME to a missing folder for a user without a home, as in a container started with a numeric user.

    Libraries look it up when imported, and fail without one; what they would write there is not kept.
    """
    if os.environ.get("HOME") == "":  # which would be /
        del os.environ["HOME"]
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = NO_HOME


def check_environment() -> None:
    """Raise ConfigError where a variable of the environment does not name a usable folder.

    A cache that is there but cannot be written still serves what it holds.
    """
    for name in ("STRESS_LAB_CACHE", "STRESS_LAB_DATA"):
        value = os.environ.get(name)
        if value:
            folder = Path(value).expanduser()
            check_writable(folder, name, must_write=name == "STRESS_LAB_CACHE" and not folder.is_dir())


def check_writable(folder: Path, key: str, must_write: bool = True) -> None:
    """Raise ConfigError where a folder cannot be made, or nothing can be written into it; leaves nothing behind."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists() or one.is_symlink())
    if not there.is_dir():
        raise ConfigError(f"{key}={folder} does not work: {there} is not a folder; choose another one")
    if not must_write:
        return
    try:
        tempfile.TemporaryDirectory(prefix=".partial-", dir=there).cleanup()
    except OSError as error:
        raise ConfigError(
            f"{key}={folder} does not work: nothing can be written into {there} ({error.strerror}); choose another one"
        ) from None
