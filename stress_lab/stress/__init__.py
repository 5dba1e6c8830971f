"""How a trained net does under harder conditions: corruptions, occlusion, unknown inputs, attacks, and a suite."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stress_lab.stress.attack import attack as attack
    from stress_lab.stress.corruptions import corrupt as corrupt
    from stress_lab.stress.occlusion import hide as hide
    from stress_lab.stress.unknown import measure_unknown as measure_unknown

_PLACES = {"attack": "attack", "corrupt": "corruptions", "hide": "occlusion", "measure_unknown": "unknown"}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Load a public function on first use (PEP 562): most need torch."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"stress_lab.stress.{_PLACES[name]}"), name)
