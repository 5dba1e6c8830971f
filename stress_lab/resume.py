"""Where a sweep or run goes: to a new folder, or back to the one that the same command left behind.

A folder of ``multirun/NAME/`` remembers in ``launch.json`` what was typed and which code ran. With ``resume=true`` the
same command with the same code takes it up again: finished runs are skipped, an interrupted one goes on from its last
whole epoch.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout
from omegaconf import OmegaConf

from stress_lab.errors import RunError
from stress_lab.runs import load_json, save_json

log = logging.getLogger(__name__)

RECORD, LOCK = "launch.json", ".lock"
IRRELEVANT = (
    "resume=",
    "threads=",
    "jobs=",
    "launcher=",
    "hydra.verbose=",
    "hydra.launcher.",
)  # what cannot change a number, or a folder
MULTIRUN = ("-m", "--multirun")


def register_resolver() -> None:
    """Make ``${launch:NAME}`` in a config the name of the folder below ``multirun/NAME``."""
    OmegaConf.register_new_resolver("launch", _name_folder, replace=True, use_cache=True)


def _name_folder(name: str) -> str:
    """The folder that this very command left unfinished or finished, else one named after the moment."""
    typed = sys.argv[1:]
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    if "resume=true" not in [one.lower() for one in typed]:
        return now
    known = find_launch(Path("multirun") / name, describe_launch(typed))
    return now if known is None else known.name


def describe_launch(typed: Sequence[str]) -> dict[str, Any]:
    """What decides which folder a command belongs to: its overrides in any order, sweep or not, and the code."""
    overrides = sorted(one for one in typed if one not in MULTIRUN and not one.startswith(IRRELEVANT))
    return {"multirun": not set(typed).isdisjoint(MULTIRUN), "overrides": overrides, "code": hash_code()}


def find_launch(base: Path, launch: dict[str, Any]) -> Path | None:
    """The newest folder below ``base`` that was made by the same launch, or None."""
    if not base.is_dir():
        return None
    same = [path.parent for path in base.glob(f"*/{RECORD}") if _describes(path, launch)]
    return max(same, default=None, key=lambda path: path.name)


def _describes(path: Path, launch: dict[str, Any]) -> bool:
    """Whether a record is of this launch; one that cannot be read is of none."""
    try:
        return bool(load_json(path) == launch)
    except RunError:
        return False


_locks: list[BaseFileLock] = []  # held until the process ends, however it ends


def claim_folder(folder: Path) -> None:
    """Write what was typed into the folder of a sweep or run, and hold it until this process ends.

    Raises:
        RunError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"{folder} is being written by another process that was given the same command: wait for it, or leave "
            f"resume=true out for a folder of its own"
        ) from None
    _locks.append(lock)
    save_json(folder / RECORD, describe_launch(sys.argv[1:]))


def release_folders() -> None:
    """Let go of every folder; one process may run several sweeps."""
    while _locks:
        _locks.pop().release()


@cache
def hash_code() -> str:
    """SHA-256 of the package's sources and configs: other code may give other numbers."""
    from stress_lab.door import config_folder

    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, config_folder()):
        for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.yaml")]):
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def describe_code() -> dict[str, Any]:
    """What ran: hash of the sources, and commit and state of the checkout they lie in, where they lie in one."""
    here = Path(__file__).parents[1]

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "stress_lab/resume.py") is None:  # an installed package, or no git
        return {"hash": hash_code(), "commit": None, "changed": None}
    return {"hash": hash_code(), "commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
