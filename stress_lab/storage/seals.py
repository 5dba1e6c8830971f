"""The seal of a run's folder: which files the run left, by their SHA-256, signed with its maker's key.

``seal.json`` is ``{"format": 1, "run": id, "files": {path: digest}, "signature": …}``. The signature is the HMAC-SHA256
of the rest as canonical JSON. It answers two questions: is this the user's own run, so that the code its config
names may run; and is each record the one that the run left. docs/trust.md says what it does not answer.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from stress_lab.errors import ConfigError, RunError
from stress_lab.files import load_json, save_json
from stress_lab.storage.keys import find_key, make_key

log = logging.getLogger(__name__)

NAME = "seal.json"
CONFIG = "config.yaml"
FORMAT = 1
PRESENT = "checked by its own checksums"  # in place of a digest: a checkpoint, whose zip holds CRCs
AGAIN = "the command in status.json, run again with the same code, recreates the run's records"
TRUST = "set trust=true if you trust whoever made it"


@dataclass(frozen=True)
class Seal:
    """What ``seal.json`` holds.

    Attributes:
        run: id of the run, as ``status.json`` has it; empty for runs of older versions.
        files: SHA-256 of each record, or :data:`PRESENT`, by its path within the folder.
        signature: of all that; empty where no key could be written.
    """

    run: str
    files: dict[str, str]
    signature: str = ""

    def check(self, folder: Path, path: str, digest: str | None = None, again: str = AGAIN) -> None:
        """Compare a record with the seal; an unlisted one passes.

        Args:
            folder: of the run.
            path: of the record within it.
            digest: of its bytes, where they have been read; else the file is read.
            again: what to type if it is not.

        Raises:
            RunError: the record is missing, or not the one that the run left.
        """
        known = self.files.get(path)
        if known is None:
            return
        if digest is None and not (folder / path).is_file():
            raise RunError(f"{folder / path} is missing, which {NAME} lists: {again}")
        if known != PRESENT and (digest or digest_file(folder / path)) != known:
            raise RunError(f"{folder / path} is not the file that the run left (it was changed later): {again}")

    def holds(self, folder: Path, path: str, digest: str | None = None) -> bool:
        """Whether a record is the one that the run left; ``digest`` as in :meth:`check`."""
        try:
            self.check(folder, path, digest)
        except RunError:
            return False
        return True


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_bytes(content: bytes) -> str:
    """SHA-256 of bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def write_seal(
    folder: Path,
    files: Iterable[str],
    run_id: str,
    base: Seal | None = None,
    removed: Iterable[str] = (),
    find: Callable[[str], Path] | None = None,
) -> Seal:
    """Write ``seal.json``; without a key it is not signed, which is logged once.

    Args:
        folder: of the run, or one in which its next files are staged.
        files: paths within it that were written, with slashes.
        run_id: of the run.
        base: the seal so far, whose digests stay for all other files.
        removed: paths that were removed, which ``base`` may list.
        find: maps a path to the file to read; None looks in ``folder``.
    """
    place = find or folder.joinpath
    listed = list(filter(_stays_inside, files))  # any other name could not be read back
    found = {path: PRESENT if path.endswith(".ckpt") else digest_file(place(path)) for path in listed}
    merged = {**(base.files if base else {}), **found}
    gone = set(removed) - set(found)
    kept = {path: merged[path] for path in sorted(merged) if path not in gone}
    try:
        signature = _sign(run_id, kept, make_key())
    except ConfigError as error:
        _warn_unsigned(str(error))
        signature = ""
    seal = Seal(run_id, kept, signature)
    save_json(folder / NAME, {"format": FORMAT, "run": run_id, "files": kept, "signature": signature})
    return seal


@cache
def _warn_unsigned(reason: str) -> None:
    """Warn once why runs are not signed."""
    log.warning("runs are not signed as yours, so later commands will read only their records: %s", reason)


def _sign(run: str, files: dict[str, str], key: bytes) -> str:
    """HMAC-SHA256 of a seal's content as canonical JSON, in hex."""
    content: dict[str, Any] = {"format": FORMAT, "run": run, "files": files}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def load_seal(folder: Path) -> Seal | None:
    """The seal of a folder, whoever signed it; None where it is missing.

    Raises:
        RunError: it cannot be read, was edited, or is of a later version.
    """
    path = folder / NAME
    if not path.exists() and not path.is_symlink():
        return None
    record = load_json(path)
    if isinstance(record, dict) and isinstance(record.get("format"), int) and record["format"] > FORMAT:
        raise RunError(f"{path} is of a later version (format {record['format']}): update stress_lab")
    if not _is_seal(record):
        raise RunError(
            f"{path} was edited: put it back, or remove it (the run is then read as one of an older version)"
        )
    return Seal(record["run"], record["files"], record["signature"])


def _is_seal(record: Any) -> bool:
    """Whether JSON has the parts of a seal, and every path in it stays within the folder."""
    if not isinstance(record, dict) or record.get("format") != FORMAT or not isinstance(record.get("files"), dict):
        return False
    texts = [record.get("run"), record.get("signature"), *record["files"].values()]
    return all(isinstance(text, str) for text in texts) and all(map(_stays_inside, record["files"]))


def _stays_inside(path: str) -> bool:
    """Whether a relative path stays inside its folder, on any system."""
    parts = path.split("/")
    return not {"", ".", ".."} & set(parts) and not set(path) & set("\\:\0") and not PurePosixPath(path).is_absolute()


def is_own(folder: Path, config_digest: str | None = None) -> bool:
    """Whether this user signed a run and its config is the one that was signed.

    Args:
        folder: of the run.
        config_digest: SHA-256 of the config that will be used, where it has been read.
    """
    return explain_foreign(folder, config_digest) is None


def explain_foreign(folder: Path, config_digest: str | None = None) -> str | None:
    """Why a run does not count as this user's own, as the first half of a sentence; None where it does.

    Args:
        folder: of the run.
        config_digest: SHA-256 of the config that will be used, where it has been read.
    """
    try:
        seal, key = load_seal(folder), find_key()
    except (RunError, ConfigError) as error:
        return f"it is unclear whether {folder} is your own run ({error})"
    if seal is None:
        return f"{folder} has no {NAME}, like runs of older versions"
    if not seal.signature:
        return f"{folder} was never signed: there was no key when it was made"
    if key is None or not hmac.compare_digest(_sign(seal.run, seal.files, key).encode(), seal.signature.encode()):
        return f"{folder} was not made by you, or its {NAME} was edited"
    try:
        seal.check(folder, CONFIG, config_digest)
    except RunError:
        return f"{folder / CONFIG} was changed after the run was signed"
    return None if CONFIG in seal.files else f"the {NAME} of {folder} does not list {CONFIG}"


def require_own(folder: Path, config_digest: str | None, what: str) -> None:
    """Raise RunError where a run is not this user's own, before anything that its config names is imported or called.

    Args:
        folder: of the run.
        config_digest: SHA-256 of the config that will be used.
        what: about to be done, such as "evaluating it".
    """
    reason = explain_foreign(folder, config_digest)
    if reason is not None:
        raise RunError(f"{reason}: {what} would run the code that its config names; {TRUST}")
