"""Rules for what ``stress-lab audit`` was given, checked without torch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stress_lab.errors import ConfigError
from stress_lab.preflight.classes import check_device
from stress_lab.preflight.values import check_value

NET_KEYS = ("net", "weights", "net_args", "weights_key", "strict", "out", "output", "transform", "layer")
OUTS = ("logits", "probs", "sigmoid")
PRETRAINED = "pretrained"
FILES = (".pt2", ".onnx")
TWO_NETS = "'nets={old: {net: resnet18, weights: old.pth}, new: {net: resnet18, weights: new.pth}}'"


def name_folder(text: str) -> str:
    """A name of a net as that of a folder."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._") or "net"


def check_audit(cfg: DictConfig) -> None:
    """Check the options given to ``stress-lab audit``.

    Raises:
        ConfigError: with the key and what to type instead.
    """
    _check_values(cfg)
    several = OmegaConf.to_container(cfg.nets) if OmegaConf.is_config(cfg.nets) else cfg.nets
    if (cfg.net is None) == (several is None):
        raise ConfigError(f"give one of net=NAME and {TWO_NETS}")
    if several is None:
        check_net({key: cfg[key] for key in NET_KEYS}, "")
        return
    if cfg.name is not None:
        raise ConfigError(f"name={cfg.name} has no effect beside nets, which names each: leave it out")
    if cfg.expect_accuracy is not None:
        raise ConfigError("expect_accuracy is for one net: audit each with net=NAME and its own expect_accuracy")
    if not isinstance(several, Mapping) or not several:
        raise ConfigError(f"nets={several} does not work: write {TWO_NETS}")
    for key, keys in several.items():
        name = str(key)
        if not isinstance(keys, Mapping):
            raise ConfigError(f"nets.{name}={keys} does not work: write {TWO_NETS}")
        unknown = [str(one) for one in keys if one not in NET_KEYS]
        if unknown:
            near = difflib.get_close_matches(unknown[0], NET_KEYS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"use {', '.join(NET_KEYS)}"
            raise ConfigError(f"nets.{name}.{unknown[0]} is not a key: {hint}")
        check_net({**{key: cfg[key] for key in NET_KEYS}, **keys}, f"nets.{name}.")


def check_net(keys: Mapping[str, Any], prefix: str) -> None:
    """Check the keys of one net; ``prefix`` stands before them in messages."""
    net, weights, out, strict = keys["net"], keys["weights"], keys["out"], keys["strict"]
    if not isinstance(net, str) or not net:
        raise ConfigError(
            f"{prefix}net={net} does not work: use resnet18, timm/NAME, or a dotted path as mine.make_net"
        )
    if net.endswith(FILES) or Path(net).is_dir():
        raise ConfigError(
            f"{prefix}net={net} is an exported net, which is not built here: name a function that returns it as a "
            "torch.nn.Module, as in net=mine.load_net, or compare its predictions with stress-lab compare"
        )
    if out not in OUTS:
        raise ConfigError(f"{prefix}out={out} does not work: use logits, probs or sigmoid (folder= is where to write)")
    if not isinstance(strict, bool):
        raise ConfigError(f"{prefix}strict={strict} does not work: use true or false")
    if weights is not None and weights != PRETRAINED and not Path(str(weights)).expanduser().is_file():
        raise ConfigError(
            f"{prefix}weights={weights} is not a file: give the path of a file of weights, or {PRETRAINED}"
        )
    own = "." in net and not net.startswith("timm/")
    if weights is None and not own:
        raise ConfigError(
            f"{prefix}net={net} has random weights: say {prefix}weights=FILE, or {prefix}weights={PRETRAINED} for the "
            "library's own"
        )


def _check_values(cfg: DictConfig) -> None:
    """Check the values of the keys that are not a net's."""
    fraction = "a fraction from 0 to 1, as 0.712"
    check_value(cfg, "expect_accuracy", lambda v: v is None or (_is_number(v) and 0 <= v <= 1), f"null or {fraction}")
    check_value(cfg, "threshold", lambda v: _is_number(v) and 0 <= v < 1, "a fraction from 0 to below 1")
    check_value(cfg, "limit", lambda v: v == "all" or _is_count(v), "all or a whole number of images")
    check_value(cfg, "shown", _is_count, "a whole number from 0")
    check_value(cfg, "batch_size", lambda v: _is_count(v, 1), "a whole number from 1")
    check_value(cfg, "workers", lambda v: v is None or _is_count(v), "null or a whole number from 0")
    check_value(cfg, "threads", lambda v: v is None or _is_count(v, 1), "null or a whole number from 1")
    check_value(cfg, "report", lambda v: isinstance(v, bool), "true or false")
    for key in ("name", "folder"):
        check_value(cfg, key, lambda v: v is None or (isinstance(v, str) and v != ""), "null or a name in quotes")
    for group in ("data", "val"):
        check_value(cfg, f"{group}.upright", lambda v: isinstance(v, bool), "true or false")
        for key in ("root", "csv", "npz", "dataset", "hf", "file", "label"):
            check_value(cfg, f"{group}.{key}", lambda v: v is None or (isinstance(v, str) and v != ""), "null or text")
    check_device(str(cfg.accelerator), "accelerator")


def _is_number(value: object) -> bool:
    """Whether a value is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: object, least: int = 0) -> bool:
    """Whether a value is a whole number from a smallest one."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
