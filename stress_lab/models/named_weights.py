"""Which of the tensors in a file are a net's weights, by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from stress_lab.errors import RunError

OURS = "state_dict.net."  # where Lightning's checkpoints have the weights of a classifier's net


def find_prefix(weights: Iterable[str], known: Iterable[str], path: Path) -> str:
    """The prefix before a net's own names in a file of weights, such as ``state_dict.net.``; often empty.

    Args:
        weights: dotted names in the file.
        known: names in the net's state.
        path: of the file, for the message.

    Returns:
        The prefix under which the most names are found; that of our own checkpoints where it holds a complete net.

    Raises:
        RunError: several hold a complete net.
    """
    names = {name for name in known if not name.endswith("num_batches_tracked")}  # old files lack them
    found: Counter[str] = Counter()
    for key in weights:
        parts = key.split(".")
        tails = (".".join(parts[start:]) for start in range(len(parts)))
        found.update(key.removesuffix(tail) for tail in tails if tail in names)
    whole = [prefix for prefix, count in found.items() if count == len(names)]
    if len(whole) > 1 and OURS not in whole:
        held = " and ".join(repr(prefix) for prefix in sorted(whole))
        raise RunError(f"{path} holds weights of this net more than once, under {held}: save only one of them")
    return OURS if OURS in whole or not found else found.most_common(1)[0][0]


def list_weights(content: Any, prefix: str = "") -> dict[str, Any]:
    """The tensors in nested groups of a checkpoint, by dotted names."""
    if isinstance(content, torch.Tensor) or prefix.endswith("_extra_state"):
        return {prefix: content}
    if not isinstance(content, Mapping):
        return {}
    return {
        name: value
        for key, part in content.items()
        for name, value in list_weights(part, f"{prefix}.{key}" if prefix else str(key)).items()
    }
