"""Inputs as plain arrays: from NumPy, lists, pandas, and torch tensors, without importing torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from stress_lab.errors import InputError, StressLabError

Array = np.ndarray[Any, Any]
P = ParamSpec("P")
R = TypeVar("R")

ONE_HOT = "pass one class per image (N,), such as labels.argmax(axis=1) for one-hot rows"
TWO_COLUMNS = (
    "pass one column per class (N, K); for the probability p of the second of two classes, np.stack([1 - p, p], 1)"
)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function raise InputError for invalid input."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except InputError:
            raise
        except StressLabError as error:
            raise InputError(str(error)) from None

    return call


def as_array(value: Any, name: str) -> Array:
    """An array of numbers, booleans or text (objects of type str, None where a value is missing).

    Raises:
        InputError: it is not one.
    """
    if isinstance(value, (str, bytes, dict, set)) or value is None:
        raise InputError(f"{name} is {_call(value)}: pass an array, a list, a pandas object or a tensor")
    try:
        array = np.asarray(_as_plain(value))
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"{name} cannot be converted to an array ({reason}): pass rows of equal length") from None
    array = _as_words(array, name) if array.dtype.kind == "O" else array
    if array.dtype.kind == "S":
        array = array.astype(str)
    if array.dtype.kind not in "biufUO":
        raise InputError(f"{name} holds {array.dtype}: pass numbers, or names of classes")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _call(value: Any) -> str:
    """A description of a value that is not an array."""
    return "None" if value is None else f"of type {type(value).__name__}"


def _as_plain(value: Any) -> Any:
    """A value that NumPy reads: a tensor's values on the CPU, detached; pandas objects' values."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        tensor = value.detach().cpu()
        try:
            return tensor.numpy()
        except TypeError:  # bfloat16, which NumPy lacks
            return tensor.float().numpy()
    if isinstance(value, (list, tuple)) and any(hasattr(one, "detach") for one in value):
        return [_as_plain(one) for one in value]
    if isinstance(value, np.ma.MaskedArray):
        return np.ma.filled(value.astype(object), None) if np.ma.is_masked(value) else value.data
    return value.to_numpy() if hasattr(value, "to_numpy") else value


def _as_words(array: Array, name: str) -> Array:
    """An array of objects as numbers or text."""
    if array.ndim != 1:
        try:
            return array.astype(np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{name} holds text or other objects: pass numbers") from None
    missing = [_is_missing(one) for one in array]
    if any(missing):
        words = [None if lacks else str(one) for lacks, one in zip(missing, array, strict=True)]
        return np.array([*words, None], dtype=object)[:-1]
    plain = np.array([one.decode() if isinstance(one, bytes) else one for one in array])
    return plain if plain.ndim == 1 else array.astype(str)


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN or one of pandas' marks."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def as_column(value: Any, name: str, advice: str = ONE_HOT) -> Array:
    """(N,) one value per image, from (N,) or (N, 1); raises InputError for anything else."""
    array = as_array(value, name)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1 or not len(array):
        raise InputError(f"{name} has shape {array.shape}, not one value per image: {advice}")
    return array


def as_matrix(value: Any, name: str) -> tuple[Array, list[str] | None]:
    """(N, K) one row per image, and the class names of a pandas.DataFrame; raises InputError for anything else."""
    named = list(getattr(value, "columns", []))
    array = as_array(value, name)
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
        hint = " (kind='labels' is for predicted classes)" if array.dtype.kind != "f" else ""
        raise InputError(f"{name} has one number per image, shape {array.shape}: {TWO_COLUMNS}{hint}")
    if array.ndim != 2 or not array.size:
        raise InputError(f"{name} has shape {array.shape}: pass one row per image and one column per class, (N, K)")
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name} holds {'booleans' if array.dtype.kind == 'b' else 'text'}: pass numbers (N, K)")
    return array, named if named and all(isinstance(one, str) for one in named) else None


def split_runs(value: Any, width: int) -> list[Any] | None:
    """The training runs of one model, if it is a list of several; None where it is a single one.

    Args:
        width: dimensions of one run: 2 of logits (N, K), 1 of predicted classes (N,).
    """
    if isinstance(value, (list, tuple)) and value and _depth(value[0]) >= width:
        return list(value)
    if width == 2 and len(getattr(value, "shape", ())) == 3:
        return list(value)
    return None


def _depth(value: Any) -> int:
    """Dimensions of an array or of nested lists; a large number for an object that is a model by itself."""
    if hasattr(value, "shape"):
        return len(value.shape)
    if isinstance(value, (list, tuple)):
        return 1 + (_depth(value[0]) if value else 0)
    return 0 if isinstance(value, (str, bytes, int, float, np.generic)) or value is None else 9
