"""The classes that a config names, their arguments, and the device, checked without importing them."""

from __future__ import annotations

import ctypes
import difflib
import importlib.util
import sys
from collections.abc import Collection, Iterator
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stress_lab.errors import ConfigError
from stress_lab.models.limits import refuse_library
from stress_lab.preflight.sources import NAMEABLE, list_classes
from stress_lab.preflight.targets import examine

SUPPLIED = {  # arguments that the code gives to a class of the config, by group
    "data": {"batch_size", "augment", "seed"},
    "model": {"in_channels", "num_classes"},
    "logger": {"save_dir"},
    "trainer": {"callbacks", "logger", "default_root_dir"},
}
STAGES = {  # parts of our nets that give a feature map, from input to output
    "stress_lab.models.resnet.ResNet18": ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"),
    "stress_lab.models.three_block.ThreeBlockNet": ("conv1", "bn1", "layer1", "layer2", "layer3"),
}
INHERITED = {  # keys of the classes that conf/data and conf/model name, which another _target_ takes over from them
    "data": ("root", "download", "image_size", "val_size", "split_seed"),
    "model": ("width", "zero_init_residual", "whiten"),
}
HYDRAS = ("_target_", "_args_", "_partial_", "_convert_", "_recursive_")  # keys of a node that are not arguments
POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
TRACKERS = {  # Lightning's loggers of other programs: the package each needs, and what brings it
    "MLFlowLogger": ("mlflow", "'stress_lab[mlflow]'"),
    "WandbLogger": ("wandb", "'stress_lab[wandb]'"),
    "CometLogger": ("comet_ml", "comet-ml"),
    "NeptuneLogger": ("neptune", "neptune"),
}
HEAD = "fc"  # the part of our nets that gives no map


def list_targets(cfg: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    """Each node that becomes an object, with its key."""
    yield from ((group, cfg[group]) for group in ("data", "model", "trainer"))
    for group in ("callbacks", "logger"):
        for name, node in (cfg[group] or {}).items():
            if node is not None:
                yield f"{group}.{name}", node
    for number, node in enumerate(cfg.augment.get("extra") or ()):
        yield f"augment.extra[{number}]", node


def check_arguments(key: str, node: Any) -> None:
    """Raise ConfigError where a node names something else than a class, a wrong argument, or too few of them."""
    target = node.get("_target_") if OmegaConf.is_dict(node) else None
    if not isinstance(target, str):
        raise ConfigError(f"{key} does not name a class: it is a group with {key}._target_=package.module.Class")
    examine(f"{key}._target_", target, lambda signature: check_call(key, node, signature))


def check_call(key: str, node: DictConfig, signature: Signature) -> None:
    """Raise ConfigError where Hydra cannot call a class or function with what its node gives.

    Args:
        key: of the node.
        node: with its ``_target_``.
        signature: of the class or function; one with ``**kwargs`` may still refuse a name when it is called.
    """
    target, supplied = str(node["_target_"]), SUPPLIED.get(key.split(".")[0], set())
    given = [str(name) for name in node if name not in HYDRAS]
    for name in given:
        check_name(f"{key}.{name}", name, signature, target, supplied)
    if node.get("_partial_"):
        return
    positional = [one for one in signature.parameters.values() if one.kind in POSITIONAL]
    filled = positional[: len(node.get("_args_") or ())]
    for one in signature.parameters.values():
        by_name = one.kind in NAMEABLE and one.name in {*given, *supplied}
        if one.kind in (*POSITIONAL, *NAMEABLE) and one.default is one.empty and one not in filled and not by_name:
            raise ConfigError(f"{key}._target_={target} needs {one.name}: set {_say_argument(key, target, one)}")


def _say_argument(key: str, target: str, missing: Parameter) -> str:
    """What to type for an argument that is missing."""
    if key.startswith("augment.extra"):  # Hydra sets a list as a whole
        return f"'augment.extra=[{{_target_: {target}, {missing.name}: VALUE}}]'"
    return f"+{key}.{missing.name}=VALUE" if missing.kind in NAMEABLE else f"'+{key}._args_=[VALUE]'"


def check_name(key: str, name: str, signature: Signature, target: str, supplied: Collection[str] = ()) -> None:
    """Raise ConfigError where a class does not take an argument, with the nearest that it does."""
    parameters = signature.parameters.values()
    names = [one.name for one in parameters if one.kind in NAMEABLE]
    if name in names or any(one.kind is Parameter.VAR_KEYWORD for one in parameters):
        return
    group = key.split(".")[0]
    known = ", ".join(other for other in names[:12] if other not in SUPPLIED.get(group, ())) or "none"
    if name in INHERITED.get(group, ()) and not target.startswith("stress_lab."):
        raise ConfigError(
            f"{key} does not work: {target} does not take {name} ({advise_custom(group, target)}; it takes {known})"
        )
    near = difflib.get_close_matches(name, [other for other in names if other not in supplied], n=1)
    hint = f"did you mean {key.removesuffix(name)}{near[0]}?" if near else f"it takes {known}"
    raise ConfigError(f"{key} does not work: {target} does not take {name}: {hint}")


def advise_custom(group: str, target: str) -> str:
    """How to name your own class without the keys of another."""
    return (
        f"set {group}=custom {group}._target_={target} instead of any other {group}=, to get no keys of another "
        f"class, and +{group}.KEY=VALUE for those it takes"
    )


def say_inherited(group: str, node: DictConfig, signature: Signature | None) -> str:
    """What to type where a class of the user's failed and was given a key of another class; else nothing."""
    target, named = str(node["_target_"]), () if signature is None else signature.parameters
    taken = [key for key in INHERITED.get(group, ()) if key in node and key not in named]
    if not taken or target.startswith("stress_lab."):
        return ""
    return f" ({group}.{taken[0]} is an argument of another class: {advise_custom(group, target)})"


def list_inherited(config: DictConfig) -> Iterator[str]:
    """A sentence for each of the user's own classes that inherits values from another class's file unasked.

    Args:
        config: of a command, with the node ``hydra``.
    """
    given = [override.lstrip("+~").partition("=") for override in config.hydra.overrides.task]
    typed = {key: value for key, _, value in given}
    for group in INHERITED:
        target, choice = typed.get(f"{group}._target_"), config.hydra.runtime.choices.get(group)
        if target is None or target.startswith("stress_lab.") or choice in (None, "custom"):
            continue
        values = {key: config[group].get(key) for key in INHERITED[group] if f"{group}.{key}" not in typed}
        taken = ", ".join(f"{group}.{key}={value}" for key, value in values.items() if value is not None)
        if taken:
            yield f"{target} gets {taken} from {group}={choice}: if that is not meant, {advise_custom(group, target)}"


def check_tracker(key: str, target: str) -> None:
    """Raise ConfigError where one of Lightning's loggers is named whose package is not installed."""
    name = target.rpartition(".")[2]
    package, install = TRACKERS.get(name, ("", ""))
    if (
        package
        and target.startswith(("lightning.", "pytorch_lightning."))
        and importlib.util.find_spec(package) is None
    ):
        raise ConfigError(f"{key}._target_={name} needs the package {package}: pip install {install}")


def check_optimizer(cfg: DictConfig) -> None:
    """Raise ConfigError where there is no such optimiser, or it takes no such argument."""
    name, known = str(cfg.optim.optimizer), list_classes("torch.optim")
    dotted = name if "." in name else f"torch.optim.{name}"
    refuse_library(name)
    if dotted.startswith("timm.") and importlib.util.find_spec("timm") is None:
        raise ConfigError(f"optim.optimizer={name} needs timm: pip install 'stress_lab[fast]'")
    if known and "." not in name and name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4) or ["SGD"]
        raise ConfigError(f"optim.optimizer={name} is not a class of torch.optim: did you mean {near[0]}?")

    def check_names(signature: Signature) -> None:
        for key in map(str, cfg.optim.args):
            check_name(f"optim.args.{key}", key, signature, name, ("params", "lr"))

    examine("optim.optimizer", dotted, check_names)
    for key, value in cfg.optim.args.items():
        if key in ("params", "lr"):
            raise ConfigError(
                f"optim.args.{key} does not work: the learning rate is optim.lr, and the weights come from the net"
            )
        is_number = isinstance(value, (int, float)) and value >= 0
        if key in ("momentum", "weight_decay") and dotted.startswith("torch.optim.") and not is_number:
            raise ConfigError(f"optim.args.{key}={value} does not work: use a number from 0")


def check_layer(target: str, layer: Any, key: str) -> None:
    """Raise ConfigError where one of our nets has no such part, or it gives no map."""
    stages = STAGES.get(target)
    if layer is None or stages is None:
        return
    part = str(layer).split(".")[0]
    if part == HEAD:
        raise ConfigError(f"{key}={layer} gives no feature map: use one of {', '.join(stages)}")
    if part not in stages:
        raise ConfigError(f"{key}={layer} is not a part of the net: its parts are {', '.join(stages)}")


def check_device(requested: str, key: str) -> None:
    """Raise ConfigError where a device is asked for that this machine cannot have, found without asking torch."""
    apple, cuda = sys.platform == "darwin", has_cuda_driver()
    possible = {"auto": True, "cpu": True, "mps": apple, "cuda": cuda, "gpu": apple or cuda}
    if not possible.get(requested, False):
        there = ", ".join(name for name in ("cpu", "cuda", "mps") if possible[name])
        raise ConfigError(f"{key}={requested}, but this machine has: {there}; use auto, or trainer=cpu for the CPU")


def has_cuda_driver() -> bool:
    """Whether there is a driver through which torch could use an NVIDIA or AMD GPU."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():
        return sys.platform != "darwin"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
