"""What a search covers: the space in Hydra's syntax, its corners to rehearse, and the record of the outcome."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig

from stress_lab.errors import ConfigError
from stress_lab.files import save_json

log = logging.getLogger(__name__)

METRICS = ("val/acc", "val/nll", "val/ece")
RECORD = "optimization.json"
STUDY, SQLITE = "stress_lab", "sqlite:///"


def parse_space(config: DictConfig) -> tuple[list[str], list[Override]]:
    """Split what was typed, and the sweeper's params, into fixed overrides and keys to vary; the last one typed wins.

    Args:
        config: with the node ``hydra``.
    """
    params = config.hydra.sweeper.params or {}
    arguments = [f"{key}={value}" for key, value in params.items()] + list(config.hydra.overrides.task)
    parsed = {one.get_key_element(): one for one in OverridesParser.create().parse_overrides(arguments)}
    fixed = [str(one.input_line) for one in parsed.values() if not one.is_sweep_override()]
    return fixed, [one for one in parsed.values() if one.is_sweep_override()]


def check_search(config: DictConfig) -> None:
    """Refuse a search that cannot work or would give biased results.

    Raises:
        ConfigError: with the key to change.
    """
    chosen = config.hydra.sweeper
    if chosen.metric not in METRICS:
        why = "selects on the test split" if str(chosen.metric).startswith(("test", "failures")) else "is not known"
        raise ConfigError(f"hydra.sweeper.metric={chosen.metric} {why}: use {', '.join(METRICS)}")
    if chosen.direction not in ("maximize", "minimize"):
        raise ConfigError(f"hydra.sweeper.direction={chosen.direction} does not work: use maximize or minimize")
    for key in ("n_trials", "n_jobs"):
        if chosen[key] < 1:
            raise ConfigError(f"hydra.sweeper.{key}={chosen[key]} does not work: use a whole number from 1")
    if config.data.get("val_size") == 0:
        raise ConfigError(f"data.val_size=0 leaves no validation images, but the search selects on {chosen.metric}")
    if config.callbacks.get("predictions") is None:
        raise ConfigError(
            f"the search selects on {chosen.metric}, which callbacks.predictions computes: keep that callback"
        )
    _, varied = parse_space(config)
    if not varied:
        raise ConfigError(
            "there is nothing to search: give a key several values, such as 'optim.lr=interval(0.01,0.2)'"
        )
    if any(one.get_key_element() == "seed" for one in varied):
        raise ConfigError(
            "a search over seeds would select by luck: search with one seed, then run the best with several"
        )


def read_space(config: DictConfig) -> tuple[list[str], dict[str, Any]]:
    """Fixed overrides, and Optuna's distribution of each key to vary."""
    fixed, varied = parse_space(config)
    return fixed, {one.get_key_element(): _make_distribution(one) for one in varied}


def _make_distribution(override: Override) -> Any:
    """``interval`` and whole ``range`` keep their order, anything else is a choice; ``tag(log, …)`` is log-uniform."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if isinstance(value, IntervalSweep):
        low, high, logarithmic = value.start, value.end, "log" in value.tags
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=logarithmic)
        return FloatDistribution(float(low or 0), float(high or 0), log=logarithmic)
    if isinstance(value, RangeSweep) and not value.shuffle and _is_whole(value):
        values = [int(one) for one in override.sweep_string_iterator()]
        return IntDistribution(min(values), max(values), step=abs(int(value.step)))
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def _is_whole(value: RangeSweep) -> bool:
    """Whether a range steps through whole numbers."""
    return all(isinstance(one, int) for one in (value.start, value.stop, value.step))


def list_corners(config: DictConfig) -> list[list[str]]:
    """Jobs that show whether every value can work: the first of every key, then each other value or end in turn."""
    fixed, varied = parse_space(config)
    ends = [[f"{one.get_key_element()}={value}" for value in _list_ends(one)] for one in varied]
    first = [values[0] for values in ends]
    others = [[*first[:place], value, *first[place + 1 :]] for place, values in enumerate(ends) for value in values[1:]]
    return [[*fixed, *one] for one in [first, *others]]


def _list_ends(override: Override) -> list[str]:
    """Every value of a choice, both ends of an interval."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        return [str(value.start), str(value.end)]
    return list(override.sweep_string_iterator())


def load_study(storage: str | None) -> Any:
    """The study that an earlier process left in a storage, or None; makes no file."""
    import optuna

    if storage is None or (storage.startswith(SQLITE) and not Path(storage.removeprefix(SQLITE)).is_file()):
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.load_study(study_name=STUDY, storage=storage)
    except KeyError:
        return None


def list_done(config: DictConfig) -> dict[int, list[str]]:
    """Overrides of each trial that finished in an earlier process, by its number.

    Raises:
        ConfigError: that was a search for something else.
    """
    from optuna.trial import TrialState

    chosen = config.hydra.sweeper
    study = load_study(chosen.storage)
    if study is None:
        return {}
    fixed, varied = parse_space(config)
    trials = study.get_trials(states=(TrialState.COMPLETE,))
    other = sorted({key for trial in trials for key in trial.params} - {one.get_key_element() for one in varied})
    direction, metric = study.direction.name.lower(), study.user_attrs.get("metric", chosen.metric)
    if trials and (other or direction != chosen.direction or metric != chosen.metric):
        how = f"varied {', '.join(other)}" if other else f"was to {direction} {metric}"
        raise ConfigError(
            f"the search in {chosen.storage} {how}: choose another hydra.sweep.dir or hydra.sweeper.storage"
        )
    return {trial.number: [*fixed, *write_overrides(trial.params)] for trial in trials}


def list_open(study: Any) -> list[Any]:
    """Trials without a result, of a process that was killed or of a run that failed."""
    from optuna.trial import TrialState

    return list(study.get_trials(states=(TrialState.RUNNING,)))


def write_outcome(study: Any, folder: Path, metric: str, names: Mapping[int, str] | None = None) -> None:
    """Write every trial and the best one to ``optimization.json``, and log the best.

    Args:
        study: of Optuna.
        folder: of the sweep.
        metric: the one optimised.
        names: folder of each trial's run, by the trial's number; missing ones are left out.
    """
    from optuna.trial import TrialState

    trials = [_describe(trial, folder, (names or {}).get(trial.number)) for trial in study.trials]
    finished = [one for one, trial in zip(trials, study.trials, strict=True) if trial.state == TrialState.COMPLETE]
    best = trials[study.best_trial.number] if finished else None
    record = {"metric": metric, "direction": study.direction.name.lower(), "best": best, "trials": trials}
    save_json(folder / RECORD, record)
    if best is None:
        log.error("no trial finished: there is no best one")
    else:
        params = " ".join(write_overrides(best["params"]))
        log.info("best of %d trials: %s = %.4f with %s", len(finished), metric, best["value"], params)


def shorten(params: dict[str, Any]) -> dict[str, Any]:
    """The values that run in place of proposed ones: rounded to four digits, for readable variant names.

    >>> shorten({"optim.lr": 0.060843366042818384, "augment": "cutout"})
    {'optim.lr': 0.06084, 'augment': 'cutout'}
    """
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in params.items()}


def write_overrides(params: dict[str, Any]) -> list[str]:
    """Proposed values as they are typed.

    >>> write_overrides({"optim.lr": 0.060843366042818384, "augment": "cutout"})
    ['optim.lr=0.06084', 'augment=cutout']
    """
    return [f"{key}={value}" for key, value in shorten(params).items()]


def _describe(trial: Any, folder: Path, name: str | None) -> dict[str, Any]:
    """One trial as plain values; ``run`` is the name of its folder, None where none was made."""
    return {
        "number": trial.number,
        "run": name if name is not None and (folder / name).is_dir() else None,
        "state": "finished" if trial.state.name == "COMPLETE" else "failed",
        "value": trial.value,
        "params": shorten(trial.params),
    }
