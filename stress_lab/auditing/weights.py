"""Weights from a file of any training script into a net, without executing anything in the file."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stress_lab.errors import ConfigError, RunError
from stress_lab.models.named_weights import find_prefix, list_weights
from stress_lab.storage.checkpoint_files import DamagedError, inspect_checkpoint
from stress_lab.storage.limits import refuse_too_large
from stress_lab.storage.seals import digest_file

NAMED = 3  # keys listed in a message
# classes that training scripts save beside weights, and that hold values only
HARMLESS = ("argparse.Namespace", "pathlib.PosixPath", "pathlib.Path", "pathlib.PurePosixPath", "pathlib._local.Path")
NUMBERS = ("bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64")
COMPILED = "_orig_mod."  # which torch.compile puts into names
OURS = "pass strict=false to load only what fits"


@dataclass(frozen=True)
class Loaded:
    """What a file of weights held for a net.

    Attributes:
        file: its path. ``sha256``: of its bytes.
        prefix: of the net's names in it, which was stripped; empty where names are equal.
        count: tensors that were loaded.
        missing: names that the net has and the file lacks. ``unexpected``: the reverse.
        misshapen: names whose shapes differ, with both shapes.
        apart: other tensors in the file, such as an optimiser's or a second network's.
    """

    file: Path
    sha256: str
    prefix: str
    count: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    apart: int = 0

    @property
    def fits(self) -> bool:
        """Whether file and net hold the same weights."""
        return not (self.missing or self.unexpected or self.misshapen)

    def describe(self) -> str:
        """One line about the file and what was done with its names."""
        stripped = f", prefix {self.prefix!r} stripped" if self.prefix else ""
        return f"{self.file} (SHA-256 {self.sha256[:12]}…): {self.count:,} tensors{stripped}"

    def describe_misfit(self) -> str:
        """What does not fit: the first keys of each kind, and a count."""
        kinds = {
            "the file lacks": self.missing,
            "the net has no": self.unexpected,
            "with another shape:": self.misshapen,
        }
        return "; ".join(f"{words} {_enumerate(keys)}" for words, keys in kinds.items() if keys)


def _enumerate(keys: Sequence[str]) -> str:
    """``a, b, c and 5 more (8 in all)``."""
    more = f" and {len(keys) - NAMED:,} more ({len(keys):,} in all)" if len(keys) > NAMED else ""
    return ", ".join(keys[:NAMED]) + more


def load_weights(
    net: nn.Module, file: str | Path, key: str | None = None, strict: bool = True, classes: Sequence[str] = ()
) -> Loaded:
    """Load a file's weights into a net; a prefix before its names is stripped.

    Args:
        net: changed in place.
        file: a state_dict, a Lightning checkpoint, a training script's dict, or safetensors.
        key: dotted name of the part of the file to take, such as ``ema``; None finds the one that fits.
        strict: refuse a file that does not fit exactly; otherwise what fits is loaded.
        classes: of the data, for the message about another number of outputs.

    Raises:
        ConfigError: the weights are another net's, or of another number of classes.
        RunError: the file is damaged, would execute code, or holds the net's weights twice.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise ConfigError(f"weights={file} is not a file: give the path of a file of weights")
    known = net.state_dict()
    held = _choose_part(list_weights(read_weights(path)), key, path)
    if not held:
        raise RunError(f"{path} holds no weights: save them with torch.save(net.state_dict(), FILE)")
    prefix = _find_prefix(held, known, path)
    named = {name.removeprefix(prefix): value for name, value in held.items() if name.startswith(prefix)}
    fitting = {name: value for name, value in named.items() if name in known and _shape(value) == _shape(known[name])}
    found = Loaded(
        file=path,
        sha256=digest_file(path),
        prefix=prefix,
        count=len(fitting),
        missing=tuple(name for name in known if name not in named and not name.endswith("num_batches_tracked")),
        unexpected=tuple(name for name in named if name not in known),
        misshapen=tuple(
            f"{name} {_shape(value)} in the file, {_shape(known[name])} in the net"
            for name, value in named.items()
            if name in known and _shape(value) != _shape(known[name])
        ),
        apart=len(held) - len(named),
    )
    _check_fit(found, named, known, strict, classes)
    net.load_state_dict(fitting, strict=False)
    return found


def read_weights(path: Path) -> Any:
    """What a file holds, read without executing anything in it.

    Raises:
        RunError: it is damaged, larger than the memory, would execute code, or needs a package that is missing.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    found = inspect_checkpoint(path)
    if found.odd:
        raise DamagedError(path, ValueError(found.odd))
    strange = [name for name in found.called if name not in HARMLESS]
    if strange:
        raise RunError(
            f"{path} holds Python objects ({strange[0]}), which loading would execute, so it is not opened: save the "
            "weights alone, with torch.save(net.state_dict(), FILE)"
        )
    refuse_too_large(path, found.room, "close other programs, or use another machine", RunError)
    try:
        with torch.serialization.safe_globals(_list_harmless()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken bytes make torch raise anything
        raise DamagedError(path, error) from None


def _list_harmless() -> list[Any]:
    """Classes of plain values that training scripts save beside weights."""
    kinds: list[Any] = [type(np.dtype(name)) for name in NUMBERS]
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    named = [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]
    paths = [(pathlib.PosixPath, name) for name in HARMLESS if name.startswith("pathlib")]
    return [*kinds, np.dtype, argparse.Namespace, *named, *paths]


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """A file in the format of Hugging Face, which holds tensors only."""
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise RunError(f"{path} needs the package safetensors: pip install 'stress_lab[audit]'") from None
    try:
        return dict(load_file(path))
    except Exception as error:  # broken bytes
        raise RunError(
            f"{path} cannot be read as safetensors ({' '.join(str(error).split())[:160]}): use another file"
        ) from None


def _choose_part(held: Mapping[str, Any], key: str | None, path: Path) -> dict[str, Any]:
    """The tensors below a key, all where none is given; names lose what torch.compile put into them."""
    plain = {name.replace(COMPILED, ""): value for name, value in held.items() if isinstance(value, Tensor)}
    if key is None:
        return plain
    part = {name.removeprefix(f"{key}."): value for name, value in plain.items() if name.startswith(f"{key}.")}
    if not part:
        groups = sorted({name.partition(".")[0] for name in plain})
        raise ConfigError(f"weights_key={key} is not in {path}: it holds {_enumerate(groups)}")
    return part


def _find_prefix(held: Mapping[str, Any], known: Mapping[str, Any], path: Path) -> str:
    """The prefix of the net's names in a file; raises ConfigError with what to type where several parts fit."""
    try:
        prefix = find_prefix(held, known, path)
    except RunError:
        names = [name for name in known if not name.endswith("num_batches_tracked")]
        whole = sorted({key.removesuffix(names[0]) for key in held if key.endswith(names[0])})
        fit = [one.rstrip(".") for one in whole if all(one + name in held for name in names)]
        keys = " or ".join(f"weights_key={one}" for one in fit if one)
        raise ConfigError(f"{path} holds weights of this net {len(fit)} times: say which, with {keys}") from None
    if not any(prefix + name in held for name in known):
        raise ConfigError(
            f"{path} holds weights of another net: it has {_enumerate(list(held))}, but the net has "
            f"{_enumerate(list(known))}"
        )
    return prefix


def _shape(value: Any) -> tuple[int, ...]:
    """Shape of a tensor."""
    return tuple(getattr(value, "shape", ()))


def _check_fit(
    found: Loaded, named: Mapping[str, Any], known: Mapping[str, Any], strict: bool, classes: Sequence[str]
) -> None:
    """Raise ConfigError where a file does not fit and must, or nothing of it fits."""
    if found.fits or (found.count and not strict):
        return
    outputs = _find_outputs(named, known, len(classes))
    if outputs is not None:
        raise ConfigError(
            f"{found.file} has {outputs} outputs, but the images have {len(classes)} classes ({name_some(classes)}): "
            f"give the names of all {outputs} in the order of the outputs, with 'classes=[a,b,…]' or classes=FILE"
        )
    raise ConfigError(
        f"{found.file} does not fit the net: {found.describe_misfit()}; {OURS}, or use the file's own net"
    )


def _find_outputs(named: Mapping[str, Any], known: Mapping[str, Any], k: int) -> int | None:
    """Outputs of a file's head, where only the number of classes differs; None where something else does."""
    differ = [name for name in known if name in named and _shape(named[name]) != _shape(known[name])]
    if not differ or not k or len(named.keys() & known.keys()) < len(known) - 4:
        return None
    sizes = {_shape(named[name])[0] for name in differ if _shape(named[name])}
    same_rest = all(_shape(named[name])[1:] == _shape(known[name])[1:] for name in differ)
    ours = all(_shape(known[name])[:1] == (k,) for name in differ)
    return sizes.pop() if ours and same_rest and len(sizes) == 1 else None


def name_some(classes: Sequence[str], shown: int = 12) -> str:
    """The first classes with their numbers: ``0 cat, 1 dog, …``."""
    first = ", ".join(f"{number} {name}" for number, name in enumerate(classes[:shown]))
    return first + (", …" if len(classes) > shown else "")
