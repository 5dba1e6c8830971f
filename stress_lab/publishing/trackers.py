"""The comparison of a sweep in the tracker of its runs: one more run, with every variant's metrics and the page."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

if TYPE_CHECKING:
    from stress_lab.comparison.result import Comparison

log = logging.getLogger(__name__)

MODULES = ("lightning.", "pytorch_lightning.")
NAMES = ("run_name", "name")  # keys by which MLflow and Weights & Biases name a run


def log_comparison(comparison: Comparison, cfg: DictConfig, folder: Path) -> None:
    """Add a run named ``comparison`` to each tracker that the sweep's config names; without one nothing is imported.

    Args:
        comparison: what was found. ``cfg``: of the sweep. ``folder``: of the sweep, with the page.
    """
    nodes = [node for node in (cfg.logger or {}).values() if node is not None and _may_be_tracker(str(node._target_))]
    if not nodes:
        return
    from hydra.utils import get_class, instantiate

    from stress_lab.training.loggers import is_tracker, log_file

    for node in nodes:
        try:
            if is_tracker(get_class(node._target_)):
                names = {key: "comparison" for key in NAMES if key in node}
                logger = instantiate(node, save_dir=str(folder), **names)
                logger.log_metrics(list_metrics(comparison))
                if (folder / "report.html").is_file():
                    log_file(logger, folder / "report.html")
                logger.finalize("success")
        except Exception as error:  # the comparison itself is complete
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            log.warning("%s did not take the comparison (%s); it is complete in %s", node._target_, reason, folder)


def _may_be_tracker(target: str) -> bool:
    """Whether a class may keep files; Lightning's own two that do not are known by name."""
    return not (target.startswith(MODULES) and target.endswith(("TensorBoardLogger", "CSVLogger")))


def list_metrics(comparison: Comparison) -> dict[str, float]:
    """Mean of each measure by variant, and the differences behind the verdicts, as ``cutout/accuracy``."""
    means = {
        f"{one.variant}/{name}": spread.mean for one in comparison.variants for name, spread in one.metrics.items()
    }
    asked = {f"{one.b} - {one.a}/{one.measure}": one.evidence.difference for one in comparison.questions}
    return {_clean(name): value for name, value in {**means, **asked}.items()}


def _clean(name: str) -> str:
    """A name that trackers take: letters, digits and ``_ - . / space``; others become ``_``."""
    return "".join(one if one.isalnum() or one in "_-. /" else "_" for one in name)
