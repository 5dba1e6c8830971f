"""What loggers get beside the curves: hyperparameters, final metrics, and the page of a run."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from stress_lab.plain_text import printable

log = logging.getLogger(__name__)

# config keys worth a column in a table of runs
HYPERPARAMETERS = (
    "variant",
    "seed",
    "data.",
    "augment.",
    "model.",
    "optim.",
    "trainer.max_epochs",
    "trainer.precision",
)
TRACKERS = ("MLFlowLogger", "WandbLogger", "CometLogger")  # Lightning's loggers that keep files of a run

_kept: list[Logger] = []  # trackers of the run that was trained last in this process


def log_results(loggers: Sequence[Logger], config: dict[str, Any], metrics: Mapping[str, float]) -> None:
    """Give every logger but Lightning's table the hyperparameters and the final metrics, and keep those for the page.

    TensorBoard gets both at once for its hyper-parameters tab. The records are written already: a logger that fails,
    such as one whose server is away, is reported and costs nothing else.

    Args:
        loggers: of the Trainer. ``config``: of the run, resolved. ``metrics``: by name, such as ``test/acc``.
    """
    _kept[:] = [logger for logger in loggers if is_tracker(type(logger))]
    final = {f"final/{name}": value for name, value in metrics.items()}  # apart from the curves
    parameters = list_hyperparameters(config)
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(parameters, final)
            logger.finalize("success")
        elif not isinstance(logger, CSVLogger):
            with _forgiven(logger):
                logger.log_hyperparams(parameters)
                logger.log_metrics(final)
                logger.save()


def log_page(page: Path) -> None:
    """Give the page of the run trained last in this process to its trackers."""
    for logger in _kept:
        with _forgiven(logger):
            log_file(logger, page)


def is_tracker(logger: type) -> bool:
    """Whether a class is, or derives from, a logger that keeps files of a run."""
    return any(base.__name__ in TRACKERS for base in logger.__mro__)


def log_file(logger: Any, path: Path) -> None:
    """Keep a file as an artifact of a tracker's run, in the way of MLflow, of Weights & Biases, or of Comet."""
    experiment = logger.experiment
    if hasattr(logger, "run_id"):  # MLflow's client serves many runs
        experiment.log_artifact(logger.run_id, str(path))
    elif hasattr(experiment, "log_artifact"):
        experiment.log_artifact(str(path), name=path.stem, type="report")
    else:
        experiment.log_asset(str(path))


@contextlib.contextmanager
def _forgiven(logger: Logger) -> Iterator[None]:
    """Report what a logger raises, in one line."""
    try:
        yield
    except Exception as error:
        name, reason = type(logger).__name__, f"{type(error).__name__}: {error}".splitlines()[0]
        log.warning("%s did not take the results (%s); the run's own records are complete", name, reason)


def list_hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """The keys that a table compares runs by; groups within groups as text, so that every run has the same keys.

    >>> list_hyperparameters({"augment": {"name": "cutout", "cutout": {"holes": 1}}, "threads": 2})
    {'augment.name': 'cutout', 'augment.cutout': '{"holes": 1}'}
    """
    short = {
        f"{group}.{key}" if isinstance(values, dict) else group: value
        for group, values in config.items()
        for key, value in (values.items() if isinstance(values, dict) else [("", values)])
    }
    return {
        key: json.dumps(value)
        if isinstance(value, (dict, list))
        else printable(value)
        if isinstance(value, str)
        else value
        for key, value in short.items()
        if key.startswith(HYPERPARAMETERS)
    }
