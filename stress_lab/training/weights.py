"""Weights in checkpoint files, read without executing anything in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stress_lab.errors import RunError
from stress_lab.storage.checkpoint_files import DamagedError, check_checkpoint


def load_callback_states(path: Path) -> Mapping[str, Any]:
    """What the callbacks had saved in a Lightning checkpoint, by their keys."""
    states = load_content(path).get("callbacks")
    return states if isinstance(states, Mapping) else {}


def load_state(path: Path) -> Mapping[str, torch.Tensor]:
    """The weights in a Lightning checkpoint, read without executing anything in it."""
    try:
        check_checkpoint(path)
        return load_content(path)["state_dict"]  # type: ignore[no-any-return]
    except (KeyError, TypeError):
        raise RunError(f"{path} is not a Lightning checkpoint, since it has no state_dict: use another one") from None


def load_content(path: Path) -> Any:
    """What torch saved in a file that was checked, read without executing anything in it."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken bytes make torch raise anything
        raise DamagedError(path, error) from None
