"""What an optimiser and a schedule may be; apart from the recipe, so that it is reported before torch is imported."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from stress_lab.errors import ConfigError

OPTIMIZERS = "use SGD, Adam, AdamW …"
MILESTONES = "fractions of the run such as [0.5,0.8], which are epochs 25 and 40 of 50"


def refuse_library(optimizer: str) -> None:
    """Raise ConfigError where a dotted name leads into Python's own library, such as os.abort."""
    if "." in optimizer and optimizer.partition(".")[0] in sys.stdlib_module_names:
        raise ConfigError(f"optim.optimizer={optimizer} is not an optimiser, and is not imported: {OPTIMIZERS}")


def are_milestones(values: Iterable[object]) -> bool:
    """Whether each value is a fraction between 0 and 1."""
    return all(isinstance(one, (int, float)) and 0 < one < 1 for one in values)
