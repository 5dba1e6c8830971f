"""The rules that the options of a comparison must keep."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stress_lab.comparison.option_rules import FIGURES, OPTION_RULES, is_number, is_whole
from stress_lab.errors import ConfigError
from stress_lab.files import flatten
from stress_lab.preflight.configs import config_folder
from stress_lab.preflight.values import check_value

COMPARISON_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("margins", lambda v: isinstance(v, dict), "a group such as margins.accuracy=0.005"),
    ("gates", lambda v: isinstance(v, dict), "a group such as gates.min_accuracy=0.93"),
    *OPTION_RULES,
    ("gallery", lambda v: is_whole(v, 0) and v <= 20_000, "a whole number of images to 20000, 0 for none"),
    ("cases_per_outcome", lambda v: is_whole(v, 0), "a whole number, 0 for none"),
    ("reference", lambda v: v is None or (isinstance(v, str) and v != ""), "null, or the name of a variant in quotes"),
    ("label_check", lambda v: is_whole(v, 0) and v <= 20_000, "a whole number of images to 20000, 0 for none"),
    ("near_duplicates", lambda v: isinstance(v, bool), "true or false"),
    (
        "figures",
        lambda v: isinstance(v, list) and set(v) <= {*FIGURES} and len(set(v)) == len(v),
        "a list of png, svg and pdf, such as figures=[png,pdf]; figures=[] draws none",
    ),
    ("report", lambda v: isinstance(v, bool), "true or false"),
    ("trust", lambda v: isinstance(v, bool), "true or false"),
    ("gates.min_accuracy", lambda v: v is None or (is_number(v) and 0 <= v <= 1), "null or a fraction such as 0.93"),
    ("gates.max_confident_failures", lambda v: v is None or (is_number(v) and v >= 0), "null or a number of images"),
    ("gates.max_ece", lambda v: v is None or (is_number(v) and 0 <= v <= 1), "null or a fraction such as 0.05"),
    ("gates.max_nll", lambda v: v is None or (is_number(v) and v >= 0), "null or a number from 0"),
    ("gates.no_hurt", lambda v: isinstance(v, bool), "true or false"),
    ("gates.need_help", lambda v: isinstance(v, bool), "true or false"),
)


def check_comparison(cfg: DictConfig) -> None:
    """Check the options given to ``stress-lab compare``.

    Raises:
        ConfigError: with the key and what to type instead.
    """
    named = [bool(cfg.sweep), bool(cfg.runs), bool(cfg.predictions)]
    if sum(named) != 1:
        raise ConfigError(
            "give one of sweep=FOLDER, 'runs=[FOLDER,FOLDER]' and 'predictions=[FILE,FILE]' (with labels=FILE)"
        )
    for key in ("sweep", "labels", "clusters", "corrected_labels", "soft_labels", "out", "root", "layer"):
        check_value(cfg, key, lambda v: v is None or (isinstance(v, str) and v != ""), "null, or a name in quotes")
    for key in ("runs", "predictions"):
        value = cfg[key]
        if (
            value is not None
            and not OmegaConf.is_list(value)
            and not (key == "predictions" and OmegaConf.is_dict(value))
        ):
            raise ConfigError(f"{key}={value} does not work: write it as a list, '{key}=[{value}]'")
    if cfg.clusters is not None and not cfg.predictions:
        raise ConfigError(
            f"clusters={cfg.clusters} names a column of files of predictions, and runs record none: use it with "
            "predictions=… labels=FILE"
        )
    if not all(isinstance(folder, str) for folder in cfg.runs or ()):
        raise ConfigError(f"runs={cfg.runs} does not work: it takes paths of folders, in quotes")
    check_comparison_values(cfg)


def check_comparison_values(cfg: DictConfig) -> None:
    """Check the confidence level and the gates of a comparison; raises ConfigError."""
    for key, is_right, wanted in COMPARISON_RULES:
        check_value(cfg, key, is_right, wanted)


MISSING = object()


NOT_IN_TRAINING = (
    *("sweep", "runs", "predictions", "labels", "clusters", "corrected_labels", "soft_labels"),
    *("out", "threshold", "trust"),
)


@cache
def known_options() -> dict[str, Any]:
    """The keys of ``conf/compare.yaml``, which is read once."""
    found: Any = OmegaConf.to_container(OmegaConf.load(config_folder() / "compare.yaml"))
    return {key: value for key, value in found.items() if key not in ("defaults", "hydra")}


def make_options(chosen: DictConfig | None = None) -> DictConfig:
    """``conf/compare.yaml`` with the keys that ``comparison`` in a training config chose.

    Raises:
        ConfigError: a key is unknown, or a value does not work.
    """
    known = known_options()
    options = OmegaConf.create(known)
    OmegaConf.set_struct(options, True)
    for key in flatten(OmegaConf.to_container(chosen, resolve=True) if chosen else {}):
        if key.split(".")[0] in NOT_IN_TRAINING:
            raise ConfigError(f"comparison.{key} does not work in training: only stress-lab compare takes {key}")
        if key and OmegaConf.select(options, key, default=MISSING) is MISSING:
            near = difflib.get_close_matches(key, flatten(known), n=1)
            hint = f"did you mean comparison.{near[0]}?" if near else "see stress-lab compare --cfg job"
            raise ConfigError(f"there is no config key comparison.{key}: {hint}")
    merged = OmegaConf.merge(options, chosen or {})
    check_comparison_values(merged)  # type: ignore[arg-type]
    return merged  # type: ignore[return-value]
