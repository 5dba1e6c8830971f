"""What a value of a config may be, and the sentence for one that is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stress_lab.errors import ConfigError

NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?")


def check_value(cfg: DictConfig, key: str, is_right: Callable[[Any], bool], wanted: str) -> None:
    """Raise ConfigError where the key exists and its value is not right."""
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    if node is None:
        return
    if not OmegaConf.is_dict(node):
        raise ConfigError(f"{parent}={node} does not work: it is a group of keys, such as {key}")
    if leaf not in node:
        return
    value = OmegaConf.select(cfg, key)
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value)
    if not is_right(value):
        typed = " (it is text here: leave out the quotes)" if isinstance(value, str) and NUMBER.fullmatch(value) else ""
        raise ConfigError(f"{key}={value} does not work: use {wanted}{typed}")
