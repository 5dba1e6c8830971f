"""Nets, transforms and data sets by name: torchvision's, timm's, and callables by dotted path."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stress_lab.errors import ConfigError

EXTRA = "pip install 'stress_lab[audit]'"


def import_dotted(path: str, key: str) -> Any:
    """What a dotted path names; modules in the current folder are found too.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it lacks the name.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    module_name, _, name = path.rpartition(".")
    parts = module_name.split(".")
    for end in range(len(parts), 0, -1):
        module = ".".join(parts[:end])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and not f"{module}.".startswith(f"{error.name}."):
                raise ConfigError(f"{key}={path} cannot be imported: {error}") from None
            continue
        except Exception as error:  # a user's module may raise anything
            raise ConfigError(f"{key}={path} cannot be imported: {' '.join(str(error).split())}") from None
        for part in (*parts[end:], name):
            if not hasattr(found, part):
                near = difflib.get_close_matches(part, dir(found), n=1)
                raise ConfigError(
                    f"{key}={path} does not exist: {module} has no {part}"
                    + (f"; did you mean {near[0]}?" if near else "")
                )
            found = getattr(found, part)
        return found
    raise ConfigError(f"{key}={path} does not exist: there is no module {parts[0]} here or installed")


def digest_source(path: str) -> str:
    """SHA-256 of the file in which a class or function of the user's is defined; empty for names of libraries."""
    if "." not in path or path.startswith("timm/"):
        return ""
    try:
        file = inspect.getsourcefile(inspect.unwrap(import_dotted(path, "net")))
    except (TypeError, ConfigError):  # an object, or something compiled
        file = None
    return "" if file is None or not os.path.isfile(file) else hashlib.sha256(Path(file).read_bytes()).hexdigest()


def need_timm(key: str) -> Any:
    """The package timm; raises ConfigError where it is missing."""
    try:
        import timm
    except ImportError:
        raise ConfigError(f"{key} needs the package timm: {EXTRA}") from None
    return timm


def call_library(library: str, name: str, what: str, **arguments: Any) -> Any:
    """A net (``what="net"``) of timm or torchvision, or the transform that its published weights expect.

    Args:
        library: ``timm``; anything else is torchvision.
        name: of the net.
        what: ``net`` or ``transform``.
        **arguments: of the net.

    Returns:
        The net; keys of a transform, or (line, change of size, mean, std); None where the library has none.
    """
    find: Callable[..., Any] = _find_timm if library == "timm" else _find_torchvision
    return find(name, what, **arguments)


def _find_timm(name: str, what: str, **arguments: Any) -> Any:
    """From timm."""
    timm = need_timm(f"net=timm/{name}")
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        raise ConfigError(f"net=timm/{name} does not exist" + (f": did you mean timm/{near[0]}?" if near else ""))
    if what == "net":
        return timm.create_model(name, **arguments)
    from torchvision.transforms import Compose

    config = timm.get_pretrained_cfg(name)
    if config is None:
        return None
    data = timm.data.resolve_data_config(pretrained_cfg=config.to_dict(), verbose=False)
    steps = timm.data.create_transform(**data, is_training=False).transforms
    kept = [step for step in steps if type(step).__name__ not in ("ToTensor", "MaybeToTensor", "Normalize")]
    line = f"input {data['input_size'][1]}, crop {data['crop_pct']:g} ({data['crop_mode']}), {data['interpolation']}"
    return line, Compose(kept), tuple(data["mean"]), tuple(data["std"])


def _find_torchvision(name: str, what: str, **arguments: Any) -> Any:
    """From torchvision's classifiers."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean net={near[0]}?" if near else "use net=timm/NAME, or a dotted path as in net=mine.make_net"
        raise ConfigError(f"net={name} is not a net of torchvision: {hint}")
    if what == "net":
        return models.get_model(name, **arguments)
    preset: Any = models.get_model_weights(name).DEFAULT.transforms()  # type: ignore[attr-defined]
    found: Mapping[str, Any] = {
        "resize": preset.resize_size[0],
        "crop": preset.crop_size[0],
        "fit": "crop",
        "interpolation": preset.interpolation.value,
        "mean": list(preset.mean),
        "std": list(preset.std),
    }
    return found
