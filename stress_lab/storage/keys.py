"""The key that identifies a user's own runs: 32 random bytes in a file that nobody else may read.

It is in the user's data folder (Linux: ``~/.local/share/stress_lab/key``), or in the file that ``STRESS_LAB_KEY``
names. docs/trust.md explains its purpose.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

import platformdirs

from stress_lab.errors import ConfigError

VARIABLE = "STRESS_LAB_KEY"
SIZE = 32  # bytes
OTHERS = 0o077  # permission bits of everyone but the owner
INSTEAD = f"set {VARIABLE}=FILE to a file that only you can read"


def key_file() -> Path:
    """Where the key is, or will be; raises ConfigError where this user has no home."""
    named = os.environ.get(VARIABLE)
    try:
        path = Path(named).expanduser().absolute() if named else platformdirs.user_data_path("stress_lab") / "key"
    except RuntimeError:  # a tilde that cannot be expanded
        path = Path(named or "")
    if not path.is_absolute():
        raise ConfigError(f"there is no home folder for the key that signs your runs: {INSTEAD}")
    return path


def find_key() -> bytes | None:
    """This user's key, or None where there is none yet; raises ConfigError where the file cannot be one."""
    path = key_file()
    try:
        if not path.exists():
            return None
        _check_private(path)
        with path.open("rb") as file:
            key = file.read(SIZE + 1)
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be read ({error.strerror or error}): {INSTEAD}") from None
    if len(key) != SIZE:
        what = "empty" if not key else "damaged"
        raise ConfigError(
            f"the key {path} is {what}: put it back from a copy, or remove it to get a new one (runs that the old "
            "one signed then need trust=true)"
        )
    return key


def _check_private(path: Path) -> None:
    """Raise ConfigError where a key is not a file, or others may read or write it."""
    if not path.is_file():
        raise ConfigError(f"the key {path} is not a file: {INSTEAD}, or move away what is there")
    if os.name == "posix" and path.stat().st_mode & OTHERS:
        raise ConfigError(
            f"the key {path} can be read by others, who could sign runs as yours: type chmod 600 {path}, or remove it "
            "to get a new one"
        )


def make_key() -> bytes:
    """This user's key, created where there is none; processes that create one at the same time all get the same.

    Raises:
        ConfigError: it can be neither read nor written.
    """
    key = find_key()
    if key is not None:
        return key
    path = key_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_new(path, secrets.token_bytes(SIZE))
    except OSError as error:
        raise ConfigError(f"no key can be written to {path} ({error.strerror or error}): {INSTEAD}") from None
    key = find_key()
    if key is None:
        raise ConfigError(f"the key {path} disappeared while it was written: {INSTEAD}")
    return key


def share_key() -> None:
    """Pass this process's key to the processes it starts, whatever their working folder and home."""
    with contextlib.suppress(ConfigError):
        make_key()
        os.environ[VARIABLE] = str(key_file())


def _write_new(path: Path, key: bytes) -> None:
    """Write a whole key in one step, unless another process did so first."""
    partial = path.with_name(f".partial-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            _place(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _place(partial: Path, path: Path) -> None:
    """Give a file a second name; raises FileExistsError where it is taken."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(partial.read_bytes())
