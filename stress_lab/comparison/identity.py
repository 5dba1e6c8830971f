"""Which files belong to one comparison: they all carry its id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stress_lab.errors import RunError
from stress_lab.files import load_json
from stress_lab.storage.filesets import COMPARISON, recover

LENGTH = 16  # hexadecimal digits of an id


def identify(*records: Mapping[str, Any]) -> str:
    """The id of a comparison: a digest of its records, so that comparing the same runs again changes no file."""
    text = json.dumps(records, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:LENGTH]


def load_set(folder: Path, staging: Path | None = None) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What ``comparison.json`` and ``gallery.json`` of one comparison hold; None where there is no gallery.

    Args:
        folder: of the comparison.
        staging: of a set being written, whose files take precedence.

    Raises:
        RunError: there is no comparison, or the files belong to several.
    """
    staging = recover(folder, COMPARISON) if staging is None else staging
    comparison = load_json(find(folder, staging, "comparison.json"))
    found = {}
    for name in ("gallery.json", "gates.json"):
        path = find(folder, staging, name)
        if path.is_file():
            found[name] = load_json(path)
            if (found[name].get("id") or "") != (comparison.get("id") or ""):  # older ones have none
                raise RunError(
                    f"{path} belongs to another comparison than comparison.json beside it: compare again to write both"
                )
    return comparison, found.get("gallery.json")


def find(folder: Path, staging: Path | None, name: str) -> Path:
    """Where a file of a comparison is read."""
    staged = (staging or folder) / name
    return staged if staged.exists() else folder / name
