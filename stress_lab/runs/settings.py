"""What a run's config says of its callbacks."""

from __future__ import annotations

from typing import Any

from stress_lab.runs.folder import RunDir


def setting(run: RunDir, callback: str, key: str, otherwise: Any) -> Any:
    """The setting of a run's callback, or ``otherwise`` where the run had no such callback."""
    callbacks = run.config.get("callbacks")
    chosen = callbacks.get(callback) if isinstance(callbacks, dict) else None
    return chosen.get(key, otherwise) if isinstance(chosen, dict) else otherwise


def explained_layer(run: RunDir, asked: str | None) -> str:
    """Dotted name of the layer that Grad-CAM explains: the one asked for, else that of the run's own maps."""
    return str(asked or setting(run, "gradcam", "layer", "layer3"))
