"""The files of a class-folder tree: each is an image of a class, or is counted and reported.

Hidden files and what systems and tools leave behind (any name that begins with a dot, such as ``.DS_Store``;
``Thumbs.db``, ``desktop.ini``, ``__MACOSX``) are silently ignored.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stress_lab.data.sources.decoding import MISSING_DECODERS, list_suffixes
from stress_lab.errors import DataError
from stress_lab.plain_text import printable

SPLITS: tuple[str, ...] = ("train", "test", "val")
LAYOUT = "train/<class>/*.png with test/<class>/*.png"
NAMES = {  # names of a split's folder, in any case; the first that exists is used
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
IGNORED = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin"}
KNOWN_HIDDEN = {".ipynb_checkpoints", ".git", ".svn", ".dvc", ".cache", ".thumbnails", ".trashes", ".appledouble"}
SHOWN = 8  # kinds of files, or folders, listed in a report

Picture = os.DirEntry[str]  # caches what the listing found, so that nothing is stat'ed twice


@dataclass
class LeftOut:
    """Unused files and folders, for the report.

    Attributes:
        files: number of files by suffix. ``loose``: the same for images outside class folders.
        folders: not entered, and why.
        empty: folders without a file.
    """

    files: Counter[str] = field(default_factory=Counter)
    loose: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """Everything in one line; empty where nothing was left out."""
        parts = [
            describe_counts(self.files),
            self.loose and f"{describe_counts(self.loose)} outside the class folders",
            self.folders and _enumerate([f"the folder {name}" for name in self.folders], "folders"),
            self.empty and _enumerate([f"the empty folder {name}" for name in self.empty], "empty folders"),
        ]
        return ", ".join(str(part) for part in parts if part)


@dataclass(frozen=True)
class Listing:
    """The images of a tree.

    Attributes:
        splits: by split (``train``, ``test`` and perhaps ``val``) and class, sorted by path.
        folders: of each split.
        left_out: everything else.
        val_is_test: whether there is no test folder, so that val's took its place.
    """

    splits: dict[str, dict[str, list[Picture]]]
    folders: dict[str, Path]
    left_out: LeftOut
    val_is_test: bool


def list_tree(root: Path) -> Listing:
    """Find every image of a tree, reading each folder once.

    Raises:
        DataError: train or test is missing or has no images, a class of train has none, a class folder of another split
            holds no readable files, or a folder, link or name cannot be used.
    """
    left = LeftOut()
    folders = _find_splits(root, left)
    if "train" not in folders or not {"val", "test"} & folders.keys():
        missing = "test" if "train" in folders else "train"
        raise DataError(f"{root / missing} is missing: the layout is {LAYOUT}, below one folder")
    val_is_test = "test" not in folders
    if val_is_test:
        folders["test"] = folders.pop("val")
    ordered = {name: folders[name] for name in SPLITS if name in folders}
    splits: dict[str, dict[str, list[Picture]]] = {}
    for name, folder in ordered.items():
        splits[name] = _list_split(root, folder, splits.get("train"), left)
    return Listing(splits, ordered, left, val_is_test)


def find_class_folders(root: Path, split: str = "test") -> tuple[Path, dict[str, list[Picture]], set[str], str]:
    """The images of one split: of ``root/test/<class>/*`` where there is such a folder, else of ``root/<class>/*``.

    A tree without a test folder, as ImageNet's, is tested on its val.

    Args:
        root: the folder that was named.
        split: ``test`` or ``val``.

    Returns:
        The folder of the split; its images by class, sorted by path; the names of all classes, those of train
        included; and what was left out, in words.

    Raises:
        DataError: there are no class folders, or one holds no readable files.
    """
    left = LeftOut()
    folders = _find_splits(root, LeftOut())
    folder = folders.get(split) or (folders.get("val") if split == "test" else None) or root
    if folder == root and "train" in folders:
        raise DataError(
            f"{root} has a train folder, but no {split} folder: name the folder whose subfolders are classes"
        )
    found = {label: pictures for label, pictures in _list_split(root, folder, None, left).items() if pictures}
    train = folders.get("train") if folder != root else None
    known = set(found) if train is None else {*found, *(one.name for one in _scan(train) if one.is_dir())}
    return folder, found, {name for name in known if not _is_ignored(name)}, left.describe()


def describe_counts(files: Counter[str]) -> str:
    """Counts by suffix, the most frequent first, with how to read them: ``50 .heic (…), 3 .txt``.

    >>> describe_counts(Counter({".txt": 3, "": 1}))
    '3 .txt, 1 without a suffix'
    """
    ranked = sorted(files.items(), key=lambda item: (-item[1], item[0]))
    parts = []
    for suffix, count in ranked[:SHOWN]:
        why = None if suffix in list_suffixes() else MISSING_DECODERS.get(suffix)
        parts.append(f"{count:,} {printable(suffix) or 'without a suffix'}" + (f" ({why})" if why else ""))
    rest = sum(count for _, count in ranked[SHOWN:])
    return ", ".join([*parts, f"{rest:,} of other kinds"] if rest else parts)


def _enumerate(names: Sequence[str], kind: str) -> str:
    """The first names, and the number of others."""
    more = [f"{len(names) - SHOWN:,} more {kind}"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])


def _scan(folder: str | Path) -> list[Picture]:
    """The entries of a folder, sorted by name; raises DataError where it cannot be opened."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be opened ({error.strerror}): make it readable, or remove it") from None


def _is_ignored(name: str) -> bool:
    """Whether a name is hidden, or one that systems leave behind."""
    return name.startswith(".") or name.lower() in IGNORED


def _suffix(name: str) -> str:
    """The suffix of a file, in lower case."""
    return os.path.splitext(name)[1].lower()


def _find_splits(root: Path, left: LeftOut) -> dict[str, Path]:
    """The folder of each existing split."""
    found: dict[str, list[tuple[int, bool, str]]] = {}
    for entry in _scan(root):
        split = next((split for split, names in NAMES.items() if entry.name.lower() in names), None)
        if not os.path.isdir(entry.path):
            if not _is_ignored(entry.name):
                left.files[_suffix(entry.name)] += 1
        elif split is not None:
            lower = entry.name.lower()
            found.setdefault(split, []).append((NAMES[split].index(lower), lower != entry.name, entry.name))
        elif not _is_ignored(entry.name):
            left.folders.append(printable(entry.name))
    for ranked in found.values():
        (_, _, used), *others = sorted(ranked)
        left.folders += [f"{name} ({used} is used)" for _, _, name in others]
    return {split: root / min(ranked)[2] for split, ranked in found.items()}


def _list_split(
    root: Path, folder: Path, train: Mapping[str, object] | None, left: LeftOut
) -> dict[str, list[Picture]]:
    """Images by class folder, both sorted by name; ``train`` has the classes, or is None for train itself."""
    found: dict[str, list[Picture]] = {}
    for entry in _scan(folder):
        if not os.path.isdir(entry.path):
            _count_loose(entry, left)
        elif not _is_ignored(entry.name):
            _check_printable(entry)
            found[entry.name] = _list_class(root, entry, train is None or entry.name in train, left)
        elif entry.name.lower() not in KNOWN_HIDDEN | IGNORED:
            left.folders.append(f"{_name(root, entry.path)} (hidden)")
    full = {label: pictures for label, pictures in found.items() if pictures}
    if not full:
        raise DataError(f"{folder} has no class folders with images: the layout is {LAYOUT}")
    if train is None and full.keys() != found.keys():
        empty = min(found.keys() - full.keys())
        raise DataError(f"{folder / empty} is an empty class folder: put images into it, or remove it")
    return full


def _count_loose(entry: Picture, left: LeftOut) -> None:
    """Count a file beside the class folders; raises DataError for a dangling link, perhaps to a class."""
    if entry.is_symlink() and not os.path.exists(entry.path):
        raise DataError(f"{entry.path} cannot be opened: it is a broken link; fix or remove it")
    if not _is_ignored(entry.name):
        suffix = _suffix(entry.name)
        (left.loose if suffix in list_suffixes() else left.files)[suffix] += 1


def _check_printable(entry: Picture) -> None:
    """Raise DataError for a class that could not be shown."""
    if not entry.name.isprintable():
        raise DataError(f"{entry.path!r} has a character that cannot be printed in its name: rename the class folder")


def _list_class(root: Path, entry: Picture, is_class: bool, left: LeftOut) -> list[Picture]:
    """Images of a class folder, sorted by path; possibly none if ``is_class`` is false.

    Raises:
        DataError: a class would lose all its images here.
    """
    own = LeftOut()
    pictures = list(_walk(root, entry.path, own))
    if not pictures and (own.folders or (own.files and (is_class or own.files.keys() & MISSING_DECODERS.keys()))):
        what = own.describe()
        raise DataError(f"{entry.path} has no usable image ({what}): add images, or remove the folder")
    if not pictures and not own.files:
        own.empty = [_name(root, entry.path)]
    left.files += own.files
    left.folders += own.folders
    left.empty += own.empty
    return sorted(pictures, key=lambda picture: os.path.normcase(picture.path).split(os.sep))


def _walk(root: Path, folder: str, left: LeftOut) -> Iterable[Picture]:
    """Images in a folder and its subfolders, except hidden ones and linked ones, which may lead anywhere."""
    entries = _scan(folder)
    if not entries:
        left.empty.append(_name(root, folder))
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        if _is_ignored(entry.name):
            if is_folder and entry.name.lower() not in KNOWN_HIDDEN | IGNORED:
                left.folders.append(f"{_name(root, entry.path)} (hidden)")
        elif is_folder:
            yield from _walk(root, entry.path, left)
        elif entry.is_symlink() and os.path.isdir(entry.path):
            left.folders.append(f"{_name(root, entry.path)} (a link: put its images, or links to them, in its place)")
        elif _suffix(entry.name) in list_suffixes():
            _check_file(entry)
            yield entry
        else:
            left.files[_suffix(entry.name)] += 1


def _check_file(entry: Picture) -> None:
    """Raise DataError where an image is a broken link, a pipe or socket, or its name cannot be recorded."""
    if entry.is_symlink() and not os.path.exists(entry.path):
        raise DataError(f"{entry.path} cannot be opened: it is a broken link; fix or remove it")
    try:
        entry.path.encode()
    except UnicodeEncodeError:
        raise DataError(f"the name of {entry.path!r} is not in UTF-8: rename the file or its folder") from None
    if not entry.is_file():
        raise DataError(f"{entry.path} is neither a file nor a folder: remove it")


def _name(root: Path, path: str) -> str:
    """A path below the root, for people."""
    return printable(os.path.relpath(path, root))
