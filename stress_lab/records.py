"""The nouns that pass between the parts: plain, validated, frozen, writable as JSON or Parquet.

Notation used everywhere: N examples, K classes, ``logits (N, K)``, ``label (N,)``, ``index (N,)`` the position in the
official split. Rates are fractions in [0, 1].
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stress_lab.errors import DataError, RunError

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]

SPLITS = ("train", "val", "test")
LARGEST = 1 << 63  # of the numbers in a record


def _read_fields(cls: type, values: dict[str, Any], what: str) -> dict[str, Any]:
    """Keep the fields of a dataclass, and report which are missing."""
    if not isinstance(values, dict):
        raise RunError(f"{what} has no fields: it is of another version, or was edited")
    names = {f.name for f in dataclasses.fields(cls) if f.init}
    required = {
        f.name
        for f in dataclasses.fields(cls)
        if f.init and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - values.keys())
    if missing:
        raise RunError(f"{what} lacks {', '.join(missing)}: it is of another version, or was edited")
    known, hints = {name: value for name, value in values.items() if name in names}, _hints_of(cls)
    wrong = sorted(name for name, value in known.items() if not _fits(value, hints[name]))
    if wrong:
        raise RunError(f"{what} was edited: {wrong[0]} cannot have its current value; put the file back")
    return known


@cache
def _hints_of(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    return typing.get_type_hints(cls)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from JSON has a type: whole numbers are numbers too, lists are tuples, booleans are not."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, one) for one in inner)
    if origin in (list, tuple):
        return isinstance(value, (list, tuple)) and all(_fits(one, inner[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    return is_number(value, whole=hint is int) if hint in (int, float) else isinstance(value, hint)


def is_number(value: Any, whole: bool = False) -> bool:
    """Whether a value from JSON is a number that a record can hold, or a whole one."""
    kinds = int if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and abs(value) < LARGEST


@dataclass(frozen=True)
class DatasetSpec:
    """What a model and a reader need to know about a data set.

    Attributes:
        name: config name, such as ``cifar10``.
        classes: K class names; a label is a position in it.
        channels: 1 or 3. ``height`` and ``width`` in pixels.
        mean, std: per channel, of the pixels of the official training images scaled to [0, 1].
        sizes: images in each split, after validation was split off train.
        source: where the images were found.
        index_order: what ``index`` counts, such as the official order or sorted file names.
        fingerprint: SHA-256 of the pixels and labels of each official split.
        duplicates: test images that are training images too, as ``data.duplicates`` counts them; None if not counted.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sizes: dict[str, int]
    source: str
    index_order: str
    fingerprint: dict[str, str]
    duplicates: dict[str, int] | None = None

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise DataError(
                f"{self.name} has images of {self.channels} channels: only grey (1) and colour (3) are supported"
            )
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise DataError(f"{self.name} needs one mean and one std per channel, got {self.mean} and {self.std}")

    @classmethod
    def from_dict(cls, values: dict[str, Any], file: str = "data.json") -> DatasetSpec:
        """Read what ``dataclasses.asdict`` wrote; raises RunError, naming the file, when a field is missing."""
        known = _read_fields(cls, values, file)
        duplicates = known.get("duplicates")
        if duplicates is not None and not {"n", "in_train", "other_label"} <= duplicates.keys():
            raise RunError(f"{file} was edited: duplicates lacks a count; put the file back")
        for name in ("classes", "mean", "std"):
            known[name] = tuple(known[name])
        return cls(**known)


@dataclass(frozen=True)
class Predictions:
    """The output of one model on one split, one row per image.

    Attributes:
        index: (N,) position in the official split, unique.
        label: (N,) class numbers in [0, K).
        logits: (N, K) float32, finite.

    Raises:
        RunError: the shapes differ, an index repeats, a label is out of range, or a logit is not finite.
    """

    index: IntArray
    label: IntArray
    logits: FloatArray

    def __post_init__(self) -> None:
        n = len(self.index)
        if self.logits.ndim != 2 or len(self.label) != n or len(self.logits) != n:
            raise RunError(
                f"predictions do not match: index {self.index.shape}, label {self.label.shape}, "
                f"logits {self.logits.shape}"
            )
        if n == 0:
            raise RunError("there are no predictions: the split is empty")
        if len(np.unique(self.index)) != n:
            raise RunError(f"{n - len(np.unique(self.index))} images are predicted more than once")
        if self.label.min() < 0 or self.label.max() >= self.logits.shape[1]:
            raise RunError(
                f"labels run to {self.label.max()}, but there are only {self.logits.shape[1]} logits per image"
            )
        if not np.isfinite(self.logits).all():
            raise RunError("some logits are not finite: the training diverged; lower optim.lr")

    @cached_property
    def probs(self) -> FloatArray:
        """(N, K) softmax of the logits in float32, summed in float64."""
        scaled = np.exp(self.logits - self.logits.max(axis=1, keepdims=True), dtype=np.float32)
        return np.asarray(scaled / scaled.sum(axis=1, keepdims=True, dtype=np.float64), dtype=np.float32)

    @cached_property
    def pred(self) -> IntArray:
        """(N,) class of the highest probability, the first one on ties."""
        return np.asarray(self.probs.argmax(axis=1))

    @cached_property
    def confidence(self) -> FloatArray:
        """(N,) highest probability, float32 in [1/K, 1]."""
        return np.asarray(self.probs.max(axis=1))

    @cached_property
    def correct(self) -> BoolArray:
        """(N,) whether the predicted class is the label."""
        return np.asarray(self.pred == self.label)

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Scores:
    """What a comparison needs of one model on one split, one entry per image; None for what a source does not provide.

    Attributes:
        index: (N,) position in the official split, or in the label file; unique.
        label, pred: (N,) class numbers.
        confidence: (N,) probability of the predicted class; None where only hard labels are known.
        nll: (N,) negative natural logarithm of the true class's probability.
        brier: (N,) squared distance of the probabilities from the one-hot label, 0 to 2.
        classwise: (N,) contributions whose mean is the classwise calibration error.

    Raises:
        RunError: the arrays do not all have one entry per image.
    """

    index: IntArray
    label: IntArray
    pred: IntArray
    confidence: FloatArray | None = None
    nll: FloatArray | None = None
    brier: FloatArray | None = None
    classwise: FloatArray | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value.shape != self.index.shape:
                raise RunError(f"scores do not match: {name} is {value.shape}, index {self.index.shape}")

    @cached_property
    def correct(self) -> BoolArray:
        """(N,) whether the predicted class is the label."""
        return np.asarray(self.pred == self.label)

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Failure:
    """One image that is wrong with a confidence strictly above the threshold.

    Attributes:
        rank: 1 for the most confident failure.
        index: position in the official split.
        label, pred: class numbers; ``label_name`` and ``pred_name`` their names.
        confidence: probability of the (wrong) predicted class.
        true_confidence: probability of the true class.
        file: path within the data folder, empty where images have no files.
    """

    rank: int
    index: int
    label: int
    pred: int
    label_name: str
    pred_name: str
    confidence: float
    true_confidence: float
    file: str = ""

    @classmethod
    def from_dict(cls, values: dict[str, Any], file: str = "failures.json") -> Failure:
        """Read what ``dataclasses.asdict`` wrote; raises RunError, naming the file, where it was edited."""
        return cls(**_read_fields(cls, values, file))


@dataclass(frozen=True)
class RunInfo:
    """What happened to a run: its id, how far it got, on what machine.

    Attributes:
        state: ``started``, ``finished`` or ``failed``; ``error`` says why it failed.
        epochs: trained, of ``max_epochs`` at most; 0 for runs of older versions.
        trained: whether training ended, so that only records can be missing.
        seconds: wall time from start to the last record, over all processes; for killed ones at least their epochs.
        metrics: the final numbers, such as ``test/acc`` and ``failures/count``.
        command: what was typed. ``code``: hash of the sources, commit, whether the checkout had changes.
        resumed: how often the run was resumed.
        id: of the run, kept on resume; empty in runs of older versions.
        weights: where those of an audited net came from (file, SHA-256, what was loaded); empty for a trained one.
    """

    variant: str
    seed: int
    state: str
    started: str
    seconds: float = 0.0
    error: str = ""
    epochs: int = 0
    max_epochs: int = 0
    trained: bool = False
    parameters: int = 0
    hardware: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    code: dict[str, Any] = field(default_factory=dict)
    resumed: int = 0
    id: str = ""
    weights: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: dict[str, Any], file: str = "status.json") -> RunInfo:
        """Read what ``dataclasses.asdict`` wrote; raises RunError, naming the file, when a field is missing."""
        return cls(**_read_fields(cls, values, file))
