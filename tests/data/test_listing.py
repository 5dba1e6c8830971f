"""A class-folder tree: every file and folder is used, reported with its count, or the tree is refused."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from stress_lab.data.sources import decoding, listing
from stress_lab.data.sources.decoding import list_suffixes
from stress_lab.data.sources.folder import load_folder, read_tree
from stress_lab.data.sources.listing import list_tree
from stress_lab.data.sources.snapshot import one_snapshot
from stress_lab.errors import DataError

TREE = {"train": {"cat": 4, "dog": 3}, "test": {"cat": 2, "dog": 2}}


@pytest.fixture(autouse=True)
def _without_heif(monkeypatch):
    """Whether pillow-heif is installed shall not matter here."""
    known = frozenset(list_suffixes() - set(decoding.FORMATS["HEIF"]))
    monkeypatch.setattr(listing, "list_suffixes", lambda: known)


def left_out(root):
    return list_tree(root).left_out.describe()


@pytest.mark.parametrize("suffix", ["jfif", "JPE", "pjpeg", "WEBP", "tif", "pnm", "Jp2"])
def test_usual_suffixes_are_read_in_any_case(make_tree, suffix):
    root = make_tree(TREE)
    for file in list((root / "train" / "dog").iterdir()):
        file.rename(file.with_suffix(f".{suffix}"))  # the content decides how it is decoded
    data = read_tree(root)
    assert np.bincount(data.splits["train"].labels).tolist() == [4, 3]
    assert left_out(root) == ""


def test_what_is_left_out_is_counted_by_suffix(make_tree, caplog):
    root = make_tree(TREE)
    cat = root / "train" / "cat"
    for number in range(1200):
        (cat / f"{number}.HEIC").write_bytes(b"x")
    for name in ("notes.txt", "a.txt", "noend", "odd.\x1b[31m"):
        (cat / name).write_text("x")
    (root / "README.md").write_text("x")
    shutil.copy(cat / "000.png", root / "train" / "stray.png")
    shutil.copytree(root / "test", root / "extra")
    (root / "test" / "cat" / "empty").mkdir()
    (cat / "linked").symlink_to(root / "train" / "dog")
    read_tree(root)
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    for words in (
        "1,200 .heic (no decoder: pip install pillow-heif)",
        "2 .txt",
        "1 without a suffix",
        "1 .md",
        "1 .\\x1b[31m",
        "1 .png outside the class folders",
        "the folder extra",
        "the folder train/cat/linked (a link: put its images, or links to them, in its place)",
        "the empty folder test/cat/empty",
    ):
        assert words in line, words
    caplog.clear()
    read_tree(root)
    assert "1,200 .heic" in caplog.text  # also where the images come from the cache


def test_many_kinds_are_summed_up(make_tree):
    root = make_tree(TREE)
    for number in range(20):
        (root / "train" / "cat" / f"a.k{number:02d}").write_text("x")
        (root / f"other{number:02d}").mkdir()
    told = left_out(root)
    assert "1 .k07, 12 of other kinds" in told
    assert "the folder other07, 12 more folders" in told


def test_what_systems_leave_behind_is_no_news(make_tree):
    root = make_tree(TREE)
    for place in (root, root / "train", root / "train" / "cat"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._000.png"):
            (place / name).write_text("x")
        for name in ("__MACOSX", ".ipynb_checkpoints"):
            (place / name).mkdir()
            shutil.copy(root / "test" / "cat" / "000.png", place / name / "a.png")
    assert left_out(root) == ""
    assert np.bincount(read_tree(root).splits["train"].labels).tolist() == [4, 3]


def test_a_hidden_folder_of_images_is_reported(make_tree):
    root = make_tree({"train": {**TREE["train"], ".bird": 2}, "test": TREE["test"]})
    (root / "train" / "cat" / ".old").mkdir()
    assert left_out(root) == "the folder train/.bird (hidden), the folder train/cat/.old (hidden)"


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Training", "valid", "TESTING"),
        ("TRAIN", "Validation", "Test"),
        ("train", "dev", "test"),
    ],
)
def test_the_usual_names_of_folders_are_taken(make_tree, train, val, test):
    data = read_tree(make_tree({train: TREE["train"], test: TREE["test"], val: {"dog": 3}}))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 7, "test": 4, "val": 3}
    assert data.splits["val"].files[0] == f"{val}/dog/000.png"


def test_of_two_folders_for_one_split_the_first_name_is_used_and_the_other_reported(make_tree):
    root = make_tree({**TREE, "training": {"cat": 1}, "valid": {"cat": 1}, "Val": {"cat": 2}, "val": {"dog": 3}})
    data = read_tree(root)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 7, "test": 4, "val": 3}
    assert left_out(root) == (
        "the folder Val (val is used), the folder valid (val is used), the folder training (train is used)"
    )


def test_val_is_the_test_split_where_there_is_no_other(make_tree, caplog):
    """The layout of ImageNet."""
    root = make_tree({"train": TREE["train"], "val": {"cat": 1, "dog": 2}})
    data = read_tree(root)
    assert {name: split.labels.tolist() for name, split in data.splits.items()} == {
        "train": [0, 0, 0, 0, 1, 1, 1],
        "test": [0, 1, 1],
    }
    assert "has no test folder: val is its test split" in caplog.text


def heic(root, split="train"):
    for file in (root / split / "dog").iterdir():
        file.rename(file.with_suffix(".heic"))


def emptied(root):
    for file in (root / "train" / "dog").iterdir():
        file.unlink()
    (root / "train" / "dog" / ".DS_Store").write_text("x")


def texts(root):
    for file in (root / "test" / "dog").iterdir():
        file.rename(file.with_suffix(".txt"))


def linked(root):
    (root / "more").mkdir()
    shutil.move(root / "train" / "dog", root / "more" / "dog")
    (root / "train" / "dog").mkdir()
    (root / "train" / "dog" / "inner").symlink_to(root / "more" / "dog")


def unknown_heic(root):
    (root / "test" / "bird").mkdir()
    (root / "test" / "bird" / "a.heic").write_bytes(b"x")


def dead_link(root):
    (root / "train" / "dog" / "a.png").symlink_to(root / "nowhere.png")


def pipe(root):
    os.mkfifo(root / "train" / "dog" / "a.png")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (heic, r"train/dog has no usable image \(3 \.heic \(no decoder: pip install pillow-heif\)\)"),
        (lambda root: heic(root, "test"), r"test/dog has no usable image \(2 \.heic"),
        (texts, r"test/dog has no usable image \(2 \.txt\)"),
        (emptied, r"train/dog is an empty class folder: put images into it, or remove it"),
        (linked, r"train/dog has no usable image \(the folder train/dog/inner \(a link"),
        (unknown_heic, r"test/bird has no usable image \(1 \.heic"),
        (dead_link, r"train/dog/a\.png cannot be opened: it is a broken link"),
        (pipe, r"train/dog/a\.png is neither a file nor a folder"),
    ],
)
def test_no_class_vanishes_nor_loses_all_it_has(make_tree, damage, message):
    root = make_tree(TREE)
    damage(root)
    with pytest.raises(DataError, match=message):
        read_tree(root)


def test_what_was_no_class_stays_none(make_tree):
    """Folders of test without images, of classes or not, and notes beside the classes."""
    root = make_tree(TREE)
    for name in ("dog2", "notes"):
        (root / "test" / name).mkdir()
    (root / "test" / "notes" / "a.txt").write_text("x")
    assert read_tree(root).classes == ("cat", "dog")
    assert left_out(root) == "1 .txt, the empty folder test/dog2"


def test_a_folder_that_cannot_be_opened_is_not_taken_for_empty(make_tree, monkeypatch):
    root, scandir = make_tree(TREE), os.scandir
    (root / "train" / "cat" / "inner").mkdir()

    def refuse(path):
        if str(path).endswith("inner"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"inner cannot be opened \(Permission denied\): make it readable"):
        read_tree(root)


def test_images_of_several_pages_are_reported_once(make_tree, caplog):
    root = make_tree(TREE)
    for place in ("train/cat/a.gif", "train/dog/b.tif"):
        pages = [Image.new("RGB", (12, 12), colour) for colour in ("red", "blue")]
        pages[0].save(root / place, save_all=True, append_images=pages[1:])
    read_tree(root)
    assert caplog.text.count("2 files hold several images") == 1


def test_the_order_of_images_is_that_of_their_paths(make_tree):
    """Runs of earlier versions recorded a digest in this order."""
    root = make_tree(TREE)
    cat = root / "train" / "cat"
    for name in ("10.png", "9.png", "a.png", "a/z.png", "a b/0.png", "B.png"):
        (cat / name).parent.mkdir(exist_ok=True) if "/" in name else None
        shutil.copy(cat / "000.png", cat / name)
    files = [name for name in read_tree(root).splits["train"].files if "/cat/" in name]
    assert files == [str(path.relative_to(root)) for path in sorted(cat.rglob("*.png"))]


@pytest.fixture
def looks(monkeypatch):
    """Folders that were listed, in order."""
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    return listed


def test_each_folder_is_listed_once_and_in_a_snapshot_once_at_all(make_tree, looks, monkeypatch, caplog):
    root = make_tree(TREE)
    caplog.set_level("INFO")
    with one_snapshot():
        first = load_folder(str(root), None)
        assert len(looks) == len(set(looks)) == 7  # the root, two splits, and two classes of each
        monkeypatch.chdir(root.parent)
        with one_snapshot():
            assert load_folder(str(root), None) is first
        assert len(looks) == 7
        assert load_folder(str(root), 8) is not first
    assert [record.getMessage() for record in caplog.records] == [f"reading 11 images from {root}"] * 2
    caplog.clear()
    assert load_folder(str(root), None) is not first  # without a snapshot each call looks anew
    assert caplog.text == ""  # and no line about images that are not decoded


def test_a_new_snapshot_sees_what_changed(make_tree):
    root = make_tree(TREE)
    sizes = []
    for _ in range(2):
        with one_snapshot():
            sizes.append(len(load_folder(str(root), None).splits["train"]))
            shutil.copy(root / "train" / "cat" / "000.png", root / "train" / "cat" / f"new{len(sizes)}.png")
            assert len(load_folder(str(root), None).splits["train"]) == sizes[-1]
    assert sizes == [7, 8]


def test_an_error_is_not_kept(make_tree):
    root = make_tree({"train": TREE["train"]})
    with one_snapshot():
        with pytest.raises(DataError, match="test is missing"):
            load_folder(str(root), None)
        make_tree(TREE)
        assert len(load_folder(str(root), None).splits["test"]) == 4


def test_facts_of_the_pixels_are_counted_once(make_tree, monkeypatch):
    from stress_lab.data import images
    from stress_lab.data.datamodules import ImageFolderDataModule

    root, calls = make_tree(TREE), []
    for name in ("fingerprint", "pixel_statistics", "find_duplicates"):
        function = getattr(images, name)
        monkeypatch.setattr(images, name, lambda *a, f=function, n=name: calls.append(n) or f(*a))
    with one_snapshot():
        specs = [ImageFolderDataModule(root=str(root), seed=seed).spec for seed in range(3)]
    assert specs[0] == specs[2]
    assert sorted(calls) == ["find_duplicates", "fingerprint", "fingerprint", "pixel_statistics"]
