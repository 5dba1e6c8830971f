"""The images of an audit: which there are, their labels, and how to open one; nothing is decoded here."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab.auditing.classes import match_labels
from stress_lab.auditing.lookup import import_dotted
from stress_lab.auditing.readers import ArrayReader, DatasetReader, FileReader, Reader
from stress_lab.auditing.tables import read_table
from stress_lab.data.sources.listing import find_class_folders
from stress_lab.errors import ConfigError, DataError
from stress_lab.records import IntArray

NAMED = 3  # missing files listed in a message
SOURCES = ("root", "csv", "npz", "dataset", "hf")
IMAGES = ("images", "x", "x_test", "X", "data", "arr_0")  # usual names in an NPZ file
LABELS = ("labels", "label", "y", "y_test", "Y", "targets", "arr_1")


@dataclass(frozen=True)
class Photographs:
    """The images of one split.

    Attributes:
        names: paths below the folder, or numbers, for people.
        labels: (N,) class numbers.
        classes: K names.
        source: where they were found. ``order``: what a position means.
        read: opens one.
        columns: (N,) further columns of a table, by name.
        has_files: whether ``names`` are files.
        notes: sentences for the reader.
    """

    names: tuple[str, ...]
    labels: IntArray
    classes: tuple[str, ...]
    source: str
    order: str
    read: Reader
    columns: Mapping[str, Any] = field(default_factory=dict)
    has_files: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def stamp(self) -> str:
        """What changes where a file changes: a digest of sizes and times; empty for images without files."""
        if not isinstance(self.read, FileReader):
            return ""
        facts = ((one.st_size, one.st_mtime_ns) for name in self.names for one in [Path(self.read.root, name).stat()])
        return hashlib.sha256(repr(list(facts)).encode()).hexdigest()


def find_photographs(node: Mapping[str, Any], classes: Sequence[str] | None, key: str = "data") -> Photographs:
    """The images that a node of a config names.

    Args:
        node: exactly one of ``root`` (alone, or beside ``csv``), ``csv``, ``npz``, ``dataset``, ``hf``.
        classes: K names in the order of the net's outputs; None takes those of the data.
        key: of the node, for messages.

    Raises:
        ConfigError: it names none, or several.
        DataError: files are missing, or labels are not those of the classes.
    """
    named = [name for name in SOURCES if node.get(name) is not None]
    kinds = [name for name in named if name != "root"] or named
    if len(kinds) != 1:
        what = " and ".join(f"{key}.{name}" for name in kinds) or f"no {key}"
        raise ConfigError(
            f"{what} given: say where the images are by one of {', '.join(f'{key}.{name}' for name in SOURCES)}"
        )
    find = {"root": _of_folder, "csv": _of_table, "npz": _of_arrays, "dataset": _of_dataset, "hf": _of_hugging_face}
    found = find[kinds[0]](node, classes, key)
    if not len(found):
        raise DataError(f"{found.source} has no images")
    return found


def _folder(node: Mapping[str, Any], key: str) -> Path:
    """The folder that a node names."""
    root = Path(str(node["root"])).expanduser()
    if not root.is_dir():
        raise DataError(f"{key}.root={node['root']} is not a folder: give the one that holds the images")
    return root


def _of_folder(node: Mapping[str, Any], classes: Sequence[str] | None, key: str) -> Photographs:
    """Files in folders named after their classes: ``root/test/<class>/*``, or ``root/<class>/*``."""
    root = _folder(node, key)
    folder, found, known, left_out = find_class_folders(root, "val" if key == "val" else "test")
    files = [(picture.path, label) for label, pictures in found.items() for picture in pictures]
    labels, names = match_labels([label for _, label in files], classes or sorted(known), str(folder))
    paths = tuple(str(Path(path).relative_to(root)) for path, _ in files)
    notes = (f"left out of {root}: {left_out}",) if left_out else ()
    reader = FileReader(str(root), paths, bool(node.get("upright", True)))
    order = "files sorted by class, then by path"
    return Photographs(paths, labels, names, str(folder), order, reader, has_files=True, notes=notes)


def _of_table(node: Mapping[str, Any], classes: Sequence[str] | None, key: str) -> Photographs:
    """Files that a table lists with their labels."""
    table = Path(str(node["csv"])).expanduser()
    root = _folder(node, key) if node.get("root") is not None else table.parent
    columns = read_table(table, f"{key}.csv")
    for name in (node.get("file") or "file", node.get("label") or "label"):
        if name not in columns:
            raise DataError(
                f"{table} has no column {name}: it has {', '.join(columns)}; say {key}.file and {key}.label"
            )
    paths = tuple(columns.pop(node.get("file") or "file"))
    labels = columns.pop(node.get("label") or "label")
    _check_there(root, paths, table)
    numbers, names = match_labels(labels, classes, str(table))
    reader = FileReader(str(root), paths, bool(node.get("upright", True)))
    return Photographs(paths, numbers, names, f"{table} of files in {root}", "rows of the table", reader, columns, True)


def _check_there(root: Path, paths: Sequence[str], table: Path) -> None:
    """Raise DataError where files that a table lists are missing, or listed twice."""
    missing = [path for path in paths if not (root / path).is_file()]
    if missing:
        more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
        raise DataError(
            f"{len(missing):,} of the {len(paths):,} files in {table} are not below {root}: "
            f"{', '.join(missing[:NAMED])}{more}; set data.root to the folder that the paths start from"
        )
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise DataError(
            f"{table} lists {twice} twice: this tool needs one class for each image, so remove one of the rows"
        )


def _of_arrays(node: Mapping[str, Any], classes: Sequence[str] | None, key: str) -> Photographs:
    """Arrays of pixels and labels in an NPZ file."""
    path = Path(str(node["npz"])).expanduser()
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise DataError(f"{key}.npz={path} cannot be opened ({error.strerror or error}): give an NPZ file") from None
    except Exception as error:  # broken bytes make numpy raise anything
        raise DataError(
            f"{path} cannot be read as NPZ ({' '.join(str(error).split())[:160]}): use another file"
        ) from None
    images, labels = (
        next((arrays[name] for name in (*given, *usual) if name in arrays), None)
        for given, usual in (((node.get("file"),), IMAGES), ((node.get("label"),), LABELS))
    )
    if images is None or labels is None:
        raise DataError(f"{path} holds {', '.join(arrays)}: name its arrays images and labels")
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) != len(labels):
        raise DataError(
            f"{path} holds images {images.dtype} {images.shape} and labels {labels.shape}: uint8 pixels "
            "(N, H, W, 3) and N labels are needed"
        )
    numbers, names = match_labels(labels, classes, str(path))
    place = tuple(map(str, range(len(images))))
    return Photographs(place, numbers, names, str(path), "rows of the arrays", ArrayReader(images))


def _of_dataset(node: Mapping[str, Any], classes: Sequence[str] | None, key: str) -> Photographs:
    """A torch data set, or a function that returns one, by its dotted path."""
    found: Any = import_dotted(str(node["dataset"]), f"{key}.dataset")
    if not hasattr(found, "__getitem__") or isinstance(found, type):
        if not callable(found):
            raise ConfigError(f"{key}.dataset={node['dataset']} is neither a data set nor a function that returns one")
        found = found()
    return from_dataset(found, classes, str(node["dataset"]))


def from_dataset(
    dataset: Any, classes: Sequence[str] | None, name: str, keys: tuple[str, str] | None = None
) -> Photographs:
    """The images of a map-style data set; labels are its ``targets`` where it has them, else read item by item."""
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise ConfigError(f"{name} is not a map-style data set: it needs __len__ and __getitem__")
    reader = DatasetReader(dataset, keys)
    labels = getattr(dataset, "targets", None)
    if labels is None or len(labels) != len(dataset):
        labels = [reader.take(place)[1] for place in range(len(dataset))]
    numbers, names = match_labels(labels, classes or getattr(dataset, "classes", None), name)
    place = tuple(map(str, range(len(numbers))))
    return Photographs(place, numbers, names, name, "positions in the data set", reader)


def take_loader(loader: Any, classes: Sequence[str] | None, name: str) -> Photographs:
    """The images that a DataLoader serves, in the order of its data set.

    Raises:
        ConfigError: it draws images several times, collates them in its own way, or has no positions.
    """
    from torch.utils.data import RandomSampler, SequentialSampler, Subset, SubsetRandomSampler, default_collate

    sampler: Any = getattr(loader, "sampler", None)
    chosen = isinstance(sampler, SubsetRandomSampler)
    repeats = isinstance(sampler, RandomSampler) and (sampler.replacement or len(sampler) != len(loader.dataset))
    if repeats or not (chosen or isinstance(sampler, (RandomSampler, SequentialSampler))):
        raise ConfigError(f"{name} draws its images with {type(sampler).__name__}: pass the data set itself")
    if loader.collate_fn is not default_collate:
        raise ConfigError(f"{name} has a collate_fn of its own: pass a data set whose items are (image, label)")
    dataset = Subset(loader.dataset, sorted(int(one) for one in sampler)) if chosen else loader.dataset
    return from_dataset(dataset, classes or getattr(loader.dataset, "classes", None), name)


def _of_hugging_face(node: Mapping[str, Any], classes: Sequence[str] | None, key: str) -> Photographs:
    """A data set that ``datasets`` saved to disk, or one split of several."""
    try:
        from datasets import load_from_disk
    except ImportError:
        raise ConfigError(f"{key}.hf needs the package datasets: pip install 'stress_lab[huggingface]'") from None
    path = Path(str(node["hf"])).expanduser()
    try:
        found: Any = load_from_disk(str(path))
    except FileNotFoundError:
        raise DataError(f"{key}.hf={path} is not a data set: give a folder that save_to_disk wrote") from None
    if not hasattr(found, "features"):  # several splits
        wanted = "validation" if key == "val" else "test"
        if wanted not in found:
            raise DataError(
                f"{path} has the splits {', '.join(found)}: give the folder of one, as {path / next(iter(found))}"
            )
        found = found[wanted]
    image, label = node.get("file") or "image", node.get("label") or "label"
    for column in (image, label):
        if column not in found.column_names:
            raise DataError(
                f"{path} has no column {column}: it has {', '.join(found.column_names)}; say {key}.file and {key}.label"
            )
    known = getattr(found.features[label], "names", None)
    numbers, names = match_labels(list(found[label]), classes or known, str(path), known)
    place = tuple(map(str, range(len(numbers))))
    return Photographs(place, numbers, names, str(path), "rows of the data set", DatasetReader(found, (image, label)))
