"""Keys that were typed and cannot take effect: an error, since whoever types a key expects it to do something.

Only what was typed counts, and only where it changes the value and asks for something: turning off
what is already off (0, false, null, an empty list) is fine. So is a key that has an effect in any job of a sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.compose import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from stress_lab.errors import ConfigError

MISSING = object()
Rule = tuple[str, Callable[[DictConfig], bool], str]  # key, whether it is idle in a config, why and what to type


def _value(cfg: DictConfig, key: str) -> Any:
    """What a key holds, MISSING, or None where it is known only when the run begins, such as ``${hydra:job.name}``."""
    try:
        value = OmegaConf.select(cfg, key, default=MISSING)
    except InterpolationResolutionError:
        return None
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _is_one_cycle(cfg: DictConfig) -> bool:
    return bool(cfg.optim.schedule == "one_cycle")


def _has_no_val(cfg: DictConfig) -> bool:
    return bool(cfg.data.get("val_size", None) == 0)


def _has_no_board(cfg: DictConfig) -> bool:
    targets = [str(logger.get("_target_")) for logger in (cfg.logger or {}).values() if logger is not None]
    return all(target.startswith("lightning.") and not target.endswith("TensorBoardLogger") for target in targets)


def _draws_nothing(options: Mapping[str, Any]) -> bool:
    return bool(options.get("gallery", 400) == 0 and options.get("cases_per_outcome", 2) == 0)


def _is_not_asked(question: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda options: question not in options.get("primary", (question,))


SHARED: tuple[tuple[str, Callable[[Mapping[str, Any]], bool], str], ...] = (  # of conf/compare.yaml
    ("root", _draws_nothing, "gallery=0 and cases_per_outcome=0 show no images"),
    ("layer", _draws_nothing, "gallery=0 and cases_per_outcome=0 draw no maps"),
    ("margins.accuracy", _is_not_asked("accuracy"), "primary does not ask for accuracy"),
    ("margins.confident_failures", _is_not_asked("confident_failures"), "primary does not ask for confident_failures"),
)
TRAINING: tuple[Rule, ...] = (
    ("optim.milestones", _is_one_cycle, "optim.schedule=one_cycle has no milestones; set optim.schedule=step"),
    (
        "optim.milestones",
        lambda cfg: bool(cfg.optim.gamma == 1 and cfg.optim.milestones),
        "optim.gamma=1 leaves the rate as it is at each of them; set optim.gamma=0.1",
    ),
    ("optim.gamma", _is_one_cycle, "optim.schedule=one_cycle has no milestones; set optim.schedule=step"),
    ("optim.gamma", lambda cfg: not cfg.optim.milestones, "there is no milestone; set 'optim.milestones=[0.5,0.8]'"),
    (
        "optim.warm_up",
        lambda cfg: not _is_one_cycle(cfg),
        "only optim.schedule=one_cycle warms up; set optim=sgd_one_cycle",
    ),
    (
        "augment.finetune_fraction",
        lambda cfg: cfg.augment.get("initial_scale") in (None, 1),
        "images do not grow; set augment.initial_scale=0.5",
    ),
    ("data.split_seed", _has_no_val, "data.val_size=0 takes no validation images from train"),
    (
        "trainer.limit_val_batches",
        lambda cfg: _has_no_val(cfg) and cfg.trainer.limit_val_batches != 0,
        "data.val_size=0 leaves no validation images",
    ),
    ("trainer.num_sanity_val_steps", _has_no_val, "data.val_size=0 leaves no validation images"),
    ("callbacks.board.embedded", _has_no_board, "no TensorBoard is written; set logger=both"),
    *(
        (f"comparison.{key}", lambda cfg, idle=idle: idle(cfg.comparison), why)  # type: ignore[misc]
        for key, idle, why in SHARED
    ),
)
FILES: tuple[Rule, ...] = (
    ("root", lambda cfg: True, "prediction files come without images; root is for sweep= and runs="),
    ("layer", lambda cfg: True, "prediction files come without a net; layer is for sweep= and runs="),
    ("trust", lambda cfg: True, "prediction files name no code; trust is for sweep= and runs="),
    *SHARED,
)
RUNS: tuple[Rule, ...] = (
    ("labels", lambda cfg: True, "runs hold their own labels; labels is for predictions="),
    ("threshold", lambda cfg: True, "runs have their own threshold, set in training; this one is for predictions="),
    *SHARED,
)


def check_typed_in_training(config: DictConfig, jobs: Sequence[DictConfig]) -> None:
    """Check what was typed for a run, or for a sweep whose jobs are known; raises ConfigError.

    Args:
        config: with the node ``hydra``.
        jobs: their configs; empty for a sweeper other than Hydra's own.
    """
    if not jobs or not str(config.hydra.sweeper._target_).endswith("BasicSweeper"):
        return
    typed = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))

    def without(key: str) -> DictConfig:
        """The first job, had the key not been typed."""
        kept = [_first(override) for override in typed if override.get_key_element() != key]
        return compose(config.hydra.job.config_name, kept)

    check_typed(typed, jobs, TRAINING, without)


def check_typed_in_comparison(cfg: DictConfig) -> None:
    """Check what was typed for ``stress-lab compare``; raises ConfigError."""
    _check_command(cfg, FILES if cfg.predictions else RUNS)


def check_typed_in_evaluation(cfg: DictConfig, limit: int | None) -> None:
    """Check what was typed for ``stress-lab evaluate``, where ``limit`` failures are explained; raises ConfigError."""
    _check_command(cfg, [("layer", lambda cfg: limit == 0, "limit=0 explains nothing; set limit=25")])


def check_typed_in_audit() -> None:
    """Check what was typed for ``stress-lab audit``; raises ConfigError for a key that it does not have."""
    if HydraConfig.initialized() and HydraConfig.get().job.config_name == "audit":
        typed = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
        _refuse_added(typed, "audit")


def _check_command(cfg: DictConfig, rules: Sequence[Rule]) -> None:
    """Check the overrides of a command that is not a sweep, where Hydra runs it."""
    command = HydraConfig.get() if HydraConfig.initialized() else None
    if command is None or command.job.config_name not in ("compare", "evaluate"):
        return
    typed = OverridesParser.create().parse_overrides(list(command.overrides.task))
    _refuse_added(typed, str(command.job.config_name))

    def without(key: str) -> DictConfig:
        """The config, had the key not been typed."""
        kept = [str(override.input_line) for override in typed if override.get_key_element() != key]
        return compose(str(command.job.config_name), kept)

    check_typed(typed, [cfg], rules, without)


def _refuse_added(typed: Sequence[Override], name: str) -> None:
    """Raise ConfigError where a key was added to a command whose keys are all known, so that it would be ignored."""
    for override in typed:
        key = str(override.key_or_group)
        unknown = override.is_force_add() and OmegaConf.select(compose(name), key, default=MISSING) is MISSING
        if override.is_add() or unknown:
            raise ConfigError(f"{override.input_line} would be ignored: stress-lab {name} has no key {key}, see --help")


def check_typed(
    typed: Sequence[Override],
    configs: Sequence[DictConfig],
    rules: Sequence[Rule],
    without: Callable[[str], DictConfig],
) -> None:
    """Raise ConfigError for the first key that is idle in every config, unless it changes nothing.

    Args:
        typed: what was typed.
        configs: composed from it.
        rules: when a key is idle.
        without: gives the first config as if a key had not been typed.
    """
    for override in typed:
        key = override.get_key_element().lstrip("+")
        if override.is_delete() or key.startswith("hydra") or set(key) & set("/@"):
            continue
        parent = key.rpartition(".")[0]
        if parent and all(_value(cfg, key) is MISSING for cfg in configs):
            raise ConfigError(f"{key} has no effect: {parent} is dropped or null; leave one of the two out")
        why = next((why for name, is_idle, why in rules if name == key and all(map(is_idle, configs))), None)
        if why is None:
            continue
        otherwise = _value(without(override.get_key_element()), key)
        seen = configs if override.is_sweep_override() else configs[:1]
        if any(_value(cfg, key) and _value(cfg, key) != otherwise for cfg in seen):
            raise ConfigError(f"{key} has no effect: {why}, or leave {key} out")


def _first(override: Override) -> str:
    """An override with the first of its values."""
    if not override.is_sweep_override():
        return str(override.input_line)
    return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
