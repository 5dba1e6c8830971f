"""The cache of decoded images: what is damaged, changed or hostile in it is found, said in one line and made again."""

import json
import logging
import os
import shutil
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources import cache, folder, partial, search
from stress_lab.data.sources.cache import cached
from stress_lab.data.sources.folder import read_tree
from stress_lab.errors import DataError
from stress_lab.preflight.places import check_environment

RNG = np.random.default_rng(0)
IMAGES = {
    "train": RNG.integers(0, 256, (6, 1, 4, 4), dtype=np.uint8),
    "test": RNG.integers(0, 256, (6, 1, 4, 4), dtype=np.uint8),
}
LABELS = {"train": np.array([0, 1, 2, 0, 1, 2]), "test": np.array([2, 1, 0, 2, 1, 0])}
FILES = ("meta.json", "digests.json", *(f"{split}_{what}.npy" for split in IMAGES for what in ("images", "labels")))


class Cache:
    """A cache with one entry, made from one file, and how often its images were decoded."""

    def __init__(self, place):
        self.folder, self.source, self.decoded = place / "cache", place / "source", 0
        self.source.write_text("x")

    def decode(self, allocate):
        self.decoded += 1
        splits = {name: ImageSplit(IMAGES[name], LABELS[name], tuple("abcdef")) for name in IMAGES}
        return ImageData(splits, ("cat", "dog", "emu"), "here", "the order")

    def load(self):
        data = cached("thing", [self.source], "", self.decode)
        for name in IMAGES:
            np.testing.assert_array_equal(data.splits[name].images, IMAGES[name])
            np.testing.assert_array_equal(data.splits[name].labels, LABELS[name])
            assert data.splits[name].files == tuple("abcdef")
        assert (data.classes, data.source, data.index_order) == (("cat", "dog", "emu"), "here", "the order")
        return data

    @property
    def entry(self):
        (entry,) = self.folder.iterdir()
        return entry


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache that has been filled."""
    monkeypatch.setenv("STRESS_LAB_CACHE", str(tmp_path / "cache"))
    made = Cache(tmp_path)
    made.load()
    return made


def test_an_entry_is_mapped_and_hashed_once(kept, monkeypatch):
    from stress_lab.data import images

    hashed, original = [], images.fingerprint
    monkeypatch.setattr(images, "fingerprint", lambda split: hashed.append(split) or original(split))
    data = kept.load()
    assert kept.decoded == 1
    assert isinstance(data.splits["train"].images, np.memmap)
    assert [split.fingerprint for split in data.splits.values()] == [original(split) for split in hashed]
    assert len(hashed) == 2  # by the check alone; the run's records take what it found


def test_an_entry_just_made_is_not_read_again(kept, monkeypatch):
    from stress_lab.data import images

    shutil.rmtree(kept.entry)
    hashed, original = [], images.fingerprint
    monkeypatch.setattr(images, "fingerprint", lambda split: hashed.append(split) or original(split))
    assert {split.fingerprint for split in kept.load().splits.values()} == {original(split) for split in hashed}
    assert len(hashed) == 2


def test_an_entry_is_what_it_was_in_any_earlier_process(kept):
    """The digests that a run records are those of the decoded images."""
    digests = json.loads((kept.entry / "digests.json").read_text())
    for name in IMAGES:
        assert digests["splits"][name] == ImageSplit(IMAGES[name], LABELS[name]).fingerprint


def write(name, content):
    def damage(entry):
        (entry / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    return damage


def change_meta(**changes):
    def damage(entry):
        meta = json.loads((entry / "meta.json").read_text())
        (entry / "meta.json").write_text(json.dumps({**meta, **changes}))

    return damage


def change_digests(change):
    def damage(entry):
        digests = json.loads((entry / "digests.json").read_text())
        change(digests)
        (entry / "digests.json").write_text(json.dumps(digests))

    return damage


def save(name, array, **options):
    return lambda entry: np.save(entry / name, array, **options)


def swap(one, other):
    def damage(entry):
        (entry / one).rename(entry / "aside")
        (entry / other).rename(entry / one)
        (entry / "aside").rename(entry / other)

    return damage


def cut(name, keep):
    return lambda entry: os.truncate(entry / name, keep)


def in_a_zip(entry):
    with (entry / "train_images.npy").open("wb") as file:
        np.savez(file, a=IMAGES["train"])


def version_2(entry):
    """A head that claims four billion bytes."""
    (entry / "train_images.npy").write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(1000))


def as_link(name, target):
    def damage(entry):
        (entry / name).unlink()
        (entry / name).symlink_to(target)

    return damage


def as_pipe(name):
    def damage(entry):
        (entry / name).unlink()
        os.mkfifo(entry / name)

    return damage


def as_folder(name):
    def damage(entry):
        (entry / name).unlink()
        (entry / name).mkdir()

    return damage


def in_place(make):
    def damage(entry):
        shutil.rmtree(entry)
        make(entry)

    return damage


def anothers(entry):
    """The entry of other images in the place of this one."""
    cached(
        "other",
        [entry.parent.parent / "source"],
        "x",
        lambda _: ImageData(
            {"train": ImageSplit(IMAGES["test"], LABELS["test"]), "test": ImageSplit(IMAGES["train"], LABELS["train"])},
            ("cat", "dog", "emu"),
            "here",
            "the order",
        ),
    )
    (other,) = entry.parent.glob("other-*")
    shutil.rmtree(entry)
    other.rename(entry)


DAMAGES = {
    "meta []": write("meta.json", []),
    "meta null": write("meta.json", None),
    "meta 3": write("meta.json", 3),
    "meta empty": write("meta.json", b""),
    "meta nested": write("meta.json", b"[" * 100_000),
    "meta huge": write("meta.json", b" " * (1 << 22)),
    "meta no text": write("meta.json", b"\xff\xfe"),
    "classes": change_meta(classes=["dog", "cat", "emu"]),
    "one more class": change_meta(classes=["cat", "dog", "emu", "fox"]),
    "files": change_meta(files={"train": list("abcdef"), "test": list("fedcba")}),
    "order": change_meta(index_order="another"),
    "digests []": write("digests.json", []),
    "digests null": write("digests.json", None),
    "digests 3": write("digests.json", 3),
    "digests {}": write("digests.json", {}),
    "digests nested": write("digests.json", b'{"a":' * 100_000),
    "digests huge": write("digests.json", b" " * (1 << 22)),
    "digests of numbers": change_digests(lambda digests: digests.update(splits={"train": 1, "test": None})),
    "digests of no splits": change_digests(lambda digests: digests.update(splits={})),
    "digests of text": change_digests(lambda digests: digests["meta"].update(bytes="many")),
    "digests gone": lambda entry: (entry / "digests.json").unlink(),
    "images gone": lambda entry: (entry / "train_images.npy").unlink(),
    "images cut": cut("test_images.npy", 200),
    "images empty": cut("train_images.npy", 0),
    "images longer": save("train_images.npy", np.concatenate([IMAGES["train"]] * 2)),
    "images of another kind": save("train_images.npy", IMAGES["train"].astype(np.int8)),
    "images of float": save("train_images.npy", IMAGES["train"].astype(np.float64)),
    "images of another shape": save("train_images.npy", IMAGES["train"].reshape(6, 4, 4, 1)),
    "images in another order": save("train_images.npy", IMAGES["train"][::-1]),
    "images in Fortran order": save("train_images.npy", np.asfortranarray(IMAGES["train"][:, :, ::-1])),
    "images of objects": save("train_images.npy", np.array([None] * 6), allow_pickle=True),
    "no images": save("train_images.npy", IMAGES["train"][:0]),
    "images in a zip": in_a_zip,
    "an endless head": version_2,
    "labels": save("train_labels.npy", LABELS["test"]),
    "labels of int8": save("train_labels.npy", LABELS["train"].astype(np.int8)),
    "labels too few": save("train_labels.npy", LABELS["train"][:2]),
    "labels of objects": save("train_labels.npy", np.array([None] * 6), allow_pickle=True),
    "train and test swapped": swap("train_images.npy", "test_images.npy"),
    "labels swapped": swap("train_labels.npy", "test_labels.npy"),
    "images and labels swapped": swap("train_images.npy", "train_labels.npy"),
    "endless link": as_link("meta.json", "/dev/zero"),
    "endless digests": as_link("digests.json", "/dev/zero"),
    "endless images": as_link("train_images.npy", "/dev/zero"),
    "link to nowhere": as_link("train_images.npy", "nowhere"),
    "pipe": as_pipe("meta.json"),
    "pipe of images": as_pipe("train_images.npy"),
    "folder": as_folder("test_labels.npy"),
    "a file in its place": in_place(lambda entry: entry.write_text("x")),
    "an empty folder": in_place(lambda entry: entry.mkdir()),
    "a link in its place": in_place(lambda entry: entry.symlink_to("nowhere")),
    "a pipe in its place": in_place(os.mkfifo),
    "another entry in its place": anothers,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_said_in_one_line_and_made_good(kept, caplog, damage):
    damage(kept.entry)
    kept.load()
    assert kept.decoded == 2
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "is broken (" in record.getMessage()
    assert "and is being recreated" in record.getMessage()
    assert len(record.getMessage().splitlines()) == 1
    assert sorted(path.name for path in kept.entry.iterdir()) == sorted(FILES)
    caplog.clear()
    kept.load()
    assert (kept.decoded, caplog.text) == (2, "")


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_found_or_harmless(kept, name):
    """Some sixty of each file; ``benchmarks/cache_kills.py`` flips more."""
    whole = (kept.entry / name).read_bytes()
    found = 0
    for bit in range(0, 8 * len(whole), 8 * len(whole) // 60 | 1):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (kept.entry / name).write_bytes(damaged)
        before = kept.decoded
        kept.load()  # compares everything
        found += kept.decoded > before
        (kept.entry / name).write_bytes(whole)
    assert found > 15


def test_an_entry_of_links_to_the_same_bytes_is_whole(kept, tmp_path):
    """As people do who move a cache to another disk."""
    entry = kept.entry
    shutil.move(entry, tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    kept.load()
    assert kept.decoded == 1


def refuse(*names):
    """A function of ``os`` that fails for paths that end so."""

    def patch(monkeypatch, function, number):
        original = getattr(os, function)

        def fails(path, *args, **kwargs):
            if str(path).endswith(names):
                raise OSError(number, os.strerror(number), str(path))
            return original(path, *args, **kwargs)

        monkeypatch.setattr(os, function, fails)

    return patch


@pytest.mark.parametrize("number", [1, 13, 30])
def test_an_entry_that_can_be_neither_read_nor_replaced_is_done_without(kept, monkeypatch, caplog, number):
    """Somebody else's, or on a disk that cannot be written; root may do anything, so the system is asked to refuse."""
    (kept.entry / "meta.json").write_text("[]")
    refuse(kept.entry.name)(monkeypatch, "rename", number)
    kept.load()
    assert (kept.decoded, caplog.text.count("\n")) == (2, 2)
    assert "decoded images are not cached" in caplog.text
    assert (kept.entry / "meta.json").read_text() == "[]"  # and nothing else is left
    kept.load()
    assert kept.decoded == 3


@pytest.mark.parametrize("number", [13, 28, 30])
def test_a_disk_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, caplog, number):
    monkeypatch.setenv("STRESS_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(partial.tempfile, "mkdtemp", lambda **_: (_ for _ in ()).throw(OSError(number, "no")))
    made = Cache(tmp_path)
    made.load()
    assert (made.decoded, caplog.text.count("decoded images are not cached")) == (1, 1)


def test_a_cache_that_cannot_be_written_serves_what_it_holds(kept, monkeypatch, caplog):
    monkeypatch.setattr(partial.tempfile, "mkdtemp", lambda **_: pytest.fail("it is written"))
    check_environment()
    kept.load()
    assert (kept.decoded, caplog.text) == (1, "")


def test_a_disk_that_fills_up_at_the_end_leaves_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("STRESS_LAB_CACHE", str(tmp_path / "cache"))
    made, original = Cache(tmp_path), np.save

    def full(file, array, **options):
        if "test_labels" in str(file):
            raise OSError(28, "No space left on device")
        original(file, array, **options)

    monkeypatch.setattr(np, "save", full)
    made.load()
    assert "No space left on device" in caplog.text
    assert list(made.folder.iterdir()) == []


def test_images_for_which_neither_disk_nor_memory_suffices_are_refused_with_both_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("STRESS_LAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "source").write_text("x")
    decode = lambda allocate: allocate("train", (10**9, 3, 1000, 1000))  # noqa: E731
    with pytest.raises(
        DataError,
        match=r"^1,000,000,000 train images of 1000×1000 pixels would take 3,000,000.0 GB .*: set data\.image_size",
    ):
        cached("thing", [tmp_path / "source"], "", decode)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_file_system_that_takes_no_place_at_once_is_used_all_the_same(make_tree, monkeypatch):
    def refuse(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    images = read_tree(make_tree({"train": {"a": 2, "b": 2}, "test": {"a": 1}})).splits["train"].images
    assert isinstance(images, np.memmap)


# images that changed without looking it


def grey(path, value):
    Image.new("L", (4, 4), value).save(path, format="BMP")


@pytest.fixture
def pictures(tmp_path):
    """A tree of bitmaps of one size and time; each class has its own colours."""
    root = tmp_path / "tree"
    for split in ("train", "test"):
        for number, label in enumerate(("cat", "dog")):
            (root / split / label).mkdir(parents=True)
            for place in range(3):
                grey(root / split / label / f"{place}.bmp", 100 * number + place)
    for path in root.rglob("*.bmp"):
        os.utime(path, ns=(10**18, 10**18))
    return root


def seen(root):
    return read_tree(root).splits["train"].images[:, 0, 0, 0].tolist()


def copied(root):
    grey(root.parent / "new.bmp", 7)
    os.utime(root.parent / "new.bmp", ns=(10**18, 10**18))
    shutil.copy2(root.parent / "new.bmp", root / "train" / "cat" / "0.bmp")  # cp -p


def touched(root):
    grey(root / "train" / "cat" / "0.bmp", 7)
    os.utime(root / "train" / "cat" / "0.bmp", ns=(10**18, 10**18))  # touch -r


def moved(root):
    grey(root.parent / "new.bmp", 7)
    os.utime(root.parent / "new.bmp", ns=(10**18, 10**18))
    (root.parent / "new.bmp").replace(root / "train" / "cat" / "0.bmp")  # rsync --times


def edited_in_place(root):
    with (root / "train" / "cat" / "0.bmp").open("r+b") as file:
        file.seek(-16, 2)
        file.write(bytes([7] * 16))
    os.utime(root / "train" / "cat" / "0.bmp", ns=(10**18, 10**18))


@pytest.mark.parametrize("change", [copied, touched, moved, edited_in_place])
def test_a_change_under_the_same_size_and_time_is_seen(pictures, change):
    assert seen(pictures) == [0, 1, 2, 100, 101, 102]
    time.sleep(0.02)  # more than a tick of the clock that files are stamped by
    change(pictures)
    assert seen(pictures) == [7, 1, 2, 100, 101, 102]


def test_classes_that_exchange_their_folders_are_seen(pictures):
    """No file is touched: only the inode numbers under each path tell."""
    assert seen(pictures) == [0, 1, 2, 100, 101, 102]
    train = pictures / "train"
    (train / "cat").rename(train / "aside")
    (train / "dog").rename(train / "cat")
    (train / "aside").rename(train / "dog")
    assert seen(pictures) == [100, 101, 102, 0, 1, 2]


def test_a_link_that_leads_elsewhere_is_seen(pictures):
    file = pictures / "train" / "cat" / "0.bmp"
    for name, value in (("one", 50), ("two", 60)):
        grey(pictures / name, value)
        os.utime(pictures / name, ns=(10**18, 10**18))
        file.unlink()
        file.symlink_to(pictures / name)
        assert seen(pictures) == [value, 1, 2, 100, 101, 102]


def test_what_did_not_change_is_decoded_once(pictures, monkeypatch):
    calls, original = [], folder._decode
    monkeypatch.setattr(folder, "_decode", lambda *args: calls.append(1) or original(*args))
    for _ in range(3):
        seen(pictures)
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["x" * 250, "長い" * 40, ".hidden", "a\nb", "..."])
def test_a_folder_of_any_name_is_cached(pictures, name):
    root = pictures.rename(pictures.parent / name)
    assert isinstance(read_tree(root).splits["train"].images, np.memmap)
    assert isinstance(read_tree(root).splits["train"].images, np.memmap)


# several processes


def test_of_two_that_fill_an_entry_at_once_the_second_takes_the_first_ones(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("STRESS_LAB_CACHE", str(tmp_path / "cache"))
    made, other = Cache(tmp_path), Cache(tmp_path)

    def slowly(allocate):
        other.load()  # another process begins later and is done first
        return made.decode(allocate)

    data = cached("thing", [made.source], "", slowly)
    np.testing.assert_array_equal(data.splits["train"].images, IMAGES["train"])
    assert (made.decoded, other.decoded, caplog.text) == (1, 1, "")
    assert sorted(path.name for path in made.entry.iterdir()) == sorted(FILES)


def test_an_entry_that_is_removed_or_replaced_while_it_is_mapped_stays_readable(kept):
    data = kept.load()
    shutil.rmtree(kept.entry)
    np.testing.assert_array_equal(data.splits["train"].images, IMAGES["train"])
    kept.load()
    (kept.entry / "meta.json").write_text("3")
    kept.load()
    np.testing.assert_array_equal(data.splits["train"].images, IMAGES["train"])
    assert kept.decoded == 3


def test_an_entry_that_vanishes_while_it_is_looked_at_is_made_without_a_word(kept, monkeypatch, caplog):
    original = cache._read_digests

    def removed_meanwhile(entry, key):
        if not entry.name.startswith(".partial-"):
            monkeypatch.setattr(cache, "_read_digests", original)
            shutil.rmtree(entry)
        return original(entry, key)

    monkeypatch.setattr(cache, "_read_digests", removed_meanwhile)
    kept.load()
    assert (kept.decoded, caplog.text) == (2, "")


def test_of_two_that_find_damage_only_the_first_removes_it(kept, monkeypatch, caplog):
    """The second finds that another entry is in its place by now."""
    (kept.entry / "meta.json").write_text("3")
    original = cache._load

    def repaired_meanwhile(entry, key):
        monkeypatch.setattr(cache, "_load", original)
        try:
            return original(entry, key)
        finally:
            kept.load()

    monkeypatch.setattr(cache, "_load", repaired_meanwhile)
    kept.load()
    assert (kept.decoded, caplog.text.count("is broken")) == (2, 1)


def leave(folder, name, age):
    """What a process left that was killed ``age`` seconds ago."""
    path = folder / name
    path.mkdir()
    (path / "train_images.npy").write_bytes(bytes(100))
    for one in (path / "train_images.npy", path):
        os.utime(one, (time.time() - age,) * 2)
    return path


def fill_again(kept):
    shutil.rmtree(next(kept.folder.glob("thing-*")))
    kept.load()


def test_what_a_killed_process_left_neither_blocks_nor_counts_and_goes_in_time(kept):
    fresh, old = leave(kept.folder, ".partial-fresh", 60), leave(kept.folder, ".partial-old", 4000)
    (kept.folder / ".partial-file").write_text("x")
    os.utime(kept.folder / ".partial-file", (0, 0))
    (kept.folder / ".partial-link").symlink_to("nowhere")
    kept.load()
    assert kept.decoded == 1
    fill_again(kept)
    assert (fresh.exists(), old.exists(), (kept.folder / ".partial-file").exists()) == (True, False, False)


def test_what_a_living_process_fills_is_never_removed(kept):
    busy, held = leave(kept.folder, ".partial-busy", 4000), leave(kept.folder, ".partial-held", 4000)
    (busy / "train_images.npy").write_bytes(b"just now")
    lock = partial._try_lock(held)
    if lock is None:
        pytest.skip("this file system locks no folders")
    try:
        fill_again(kept)
        assert busy.exists()
        assert held.exists()
    finally:
        os.close(lock)
    fill_again(kept)
    assert not held.exists()


def test_a_folder_that_is_being_filled_is_held(tmp_path):
    with partial.partial_folder(tmp_path) as mine:
        if partial._try_lock(tmp_path) is None:
            pytest.skip("this file system locks no folders")
        with pytest.raises(BlockingIOError):
            partial._try_lock(mine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [9, 37, 95])
def test_a_file_system_without_locks_is_used_all_the_same(kept, monkeypatch, number):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(partial.fcntl, "flock", refuse)
    old = leave(kept.folder, ".partial-old", 4000)
    fill_again(kept)
    assert not old.exists()


def test_a_download_that_was_killed_is_removed_and_two_at_once_are_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    leave(tmp_path, ".partial-old", 4000)
    data = ImageData({"train": ImageSplit(IMAGES["train"], LABELS["train"])}, ("a", "b", "c"), "x", "y")
    form = search.Format(
        "things", lambda place: search.first_folder(place / "things", holding=["whole"]), lambda _: data
    )

    def fetch(place):
        for there in (place, tmp_path):  # another process fetches the same meanwhile
            (there / "things").mkdir()
            (there / "things" / "whole").write_text("whole")

    assert search.find_data("Things", [form], str(tmp_path), download=search.Download(fetch, "things")) is data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["things"]


FILL = """
import sys, time
from pathlib import Path
from stress_lab.data.sources.folder import read_tree
while time.time() < float(sys.argv[2]): pass
print(read_tree(Path(sys.argv[1])).splits["train"].fingerprint)
"""


@pytest.mark.processes
@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_fill_one_entry_at_once_end_with_one(make_tree, tmp_path, count):
    root = make_tree({"train": {"a": 40, "b": 40}, "test": {"a": 5, "b": 5}})
    env = {**os.environ, "STRESS_LAB_CACHE": str(tmp_path / "own")}
    arguments = [sys.executable, "-c", FILL, str(root), str(time.time() + 3)]
    processes = [
        subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(count)
    ]
    told = [process.communicate(timeout=100) for process in processes]
    assert {out.decode().strip() for out, _ in told} == {read_tree(root).splits["train"].fingerprint}
    assert not [err for _, err in told if b"broken" in err or b"not cached" in err]
    (entry,) = (tmp_path / "own").iterdir()
    assert stat.S_ISDIR(entry.stat().st_mode)
