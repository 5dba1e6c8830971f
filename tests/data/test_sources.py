import gzip
import hashlib
import os
import pickle
import shutil
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources import cifar10, fashion_mnist, search
from stress_lab.data.sources.cache import cached
from stress_lab.data.sources.fashion_mnist import load_fashion_mnist, load_fashion_sample, read_idx
from stress_lab.data.sources.folder import read_tree
from stress_lab.errors import DataError

TREE = {"train": {"cat": 4, "dog": 3}, "test": {"cat": 2, "dog": 2}}


def test_tree_keeps_pixels_labels_and_file_names(make_tree):
    root = make_tree(TREE)
    data = read_tree(root)
    train = data.splits["train"]
    assert data.classes == ("cat", "dog")
    assert train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    for image, file in zip(train.images, train.files, strict=True):
        np.testing.assert_array_equal(image.transpose(1, 2, 0), np.asarray(Image.open(root / file)))


def test_grey_trees_have_one_channel_and_mixed_ones_three(make_tree):
    root = make_tree(TREE, mode="L")
    assert read_tree(root).splits["test"].images.shape == (4, 1, 12, 12)
    Image.new("RGB", (12, 12), (200, 0, 0)).save(root / "test" / "cat" / "red.png")
    mixed = read_tree(root).splits["train"].images
    assert mixed.shape == (7, 3, 12, 12)
    np.testing.assert_array_equal(mixed[:, 0], mixed[:, 2])


def test_classes_are_matched_by_name_and_may_be_missing_in_test(make_tree):
    data = read_tree(make_tree({"train": {"a": 2, "b": 2, "c": 2}, "test": {"c": 3, "a": 1}}))
    assert data.splits["test"].labels.tolist() == [0, 2, 2, 2]


def test_a_val_folder_is_its_own_split(make_tree):
    data = read_tree(make_tree({**TREE, "val": {"dog": 2}}))
    assert data.splits["val"].labels.tolist() == [1, 1]


def test_resizing_makes_sizes_equal(make_tree):
    root = make_tree(TREE)
    Image.new("RGB", (40, 30)).save(root / "train" / "cat" / "large.png")
    with pytest.raises(DataError, match=r"large\.png has 40×30 pixels, but .* has 12×12.*data\.image_size"):
        read_tree(root)
    assert read_tree(root, image_size=8).splits["train"].images.shape == (8, 3, 8, 8)


def corrupt(root):
    (root / "train" / "cat" / "001.png").write_bytes(b"\x89PNG and then nothing")


def cut(root):
    path = root / "train" / "cat" / "001.png"
    path.write_bytes(path.read_bytes()[:-40])


def deep(root):
    Image.fromarray(np.zeros((12, 12), np.uint16)).save(root / "train" / "cat" / "001.png")


def deep_colour(root):
    """A PNG of 12×12 pixels with three channels of 16 bits, which Pillow opens as RGB."""
    rows = b"".join(b"\0" + bytes(12 * 6) for _ in range(12))
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 12, 12, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    (root / "train" / "cat" / "001.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def bomb(root):
    Image.new("1", (9000, 9000)).save(root / "train" / "cat" / "001.png")


def unknown_class(root):
    shutil.copytree(root / "test" / "cat", root / "test" / "zebra")


def no_test(root):
    shutil.rmtree(root / "test")


def empty_test(root):
    for image in (root / "test").rglob("*.png"):
        image.unlink()


def one_class(root):
    for split in ("train", "test"):
        shutil.rmtree(root / split / "dog")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (corrupt, r"001\.png cannot be read as an image"),
        (cut, r"001\.png cannot be read as an image"),
        (deep, r"001\.png has more than 8 bits"),
        (deep_colour, r"001\.png has more than 8 bits per channel \(RGB\)"),
        (bomb, r"001\.png (has 9000×9000 pixels|cannot be read)"),
        (unknown_class, r"has the class folder 'zebra', which .*train lacks"),
        (no_test, r"test is missing"),
        (empty_test, r"test has no class folders with images"),
        (one_class, r"only one class"),
    ],
)
def test_damaged_trees_are_refused_with_the_file(make_tree, damage, message):
    root = make_tree(TREE)
    damage(root)
    with pytest.raises(DataError, match=message):
        read_tree(root)


def test_hidden_folders_are_left_out_and_odd_names_refused(make_tree):
    root = make_tree({**TREE, "train": {**TREE["train"], ".ipynb_checkpoints": 1}})
    assert read_tree(root).classes == ("cat", "dog")
    make_tree({"train": {"a\nb": 1}}, root=root)
    with pytest.raises(DataError, match="cannot be printed"):
        read_tree(root)


def test_inner_folders_are_read_but_hidden_ones_and_links_aloud_not(make_tree, caplog):
    root = make_tree(TREE)
    cat = root / "train" / "cat"
    for inner in ("more", ".ipynb_checkpoints"):
        (cat / inner).mkdir()
        shutil.copy(cat / "000.png", cat / inner / "one.png")
    (cat / "linked").symlink_to(root / "train" / "dog")
    files = [file for file in read_tree(root).splits["train"].files if "cat" in file]
    assert sorted(files) == sorted(["train/cat/more/one.png", *(f"train/cat/{n:03d}.png" for n in range(4))])
    assert "the folder train/cat/linked (a link: " in caplog.text


def test_a_name_that_is_no_text_is_refused(make_tree):
    root = make_tree(TREE)
    name = os.fsencode(root / "train" / "cat") + b"/caf\xe9.png"
    shutil.copy(root / "train" / "cat" / "000.png", name)
    with pytest.raises(DataError, match="is not in UTF-8: rename the file or its folder"):
        read_tree(root)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_cameras_rotation_is_applied_whatever_else_it_wrote(make_tree, orientation):
    """Pillow's own function is the reference, of a file without the odd tag on which it fails."""
    root = make_tree(TREE, size=(12, 12))
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    plain, odd = root.parent / "plain.png", root / "train" / "cat" / "000.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(plain, exif=exif)
    head = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    text = struct.pack(">HHI4s", 0x011A, 2, 4, b"300\0")  # XResolution as text, where a fraction belongs
    Image.fromarray(pixels).save(odd, exif=head + text + bytes(4))
    if orientation > 1:
        with Image.open(odd) as image, pytest.raises(TypeError):
            ImageOps.exif_transpose(image)
    with Image.open(plain) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert (orientation == 1) == np.array_equal(expected, pixels)
    np.testing.assert_array_equal(read_tree(root).splits["train"].images[0].transpose(1, 2, 0), expected)


def test_decoding_happens_once_and_again_when_a_file_changes(make_tree, monkeypatch):
    root, calls = make_tree(TREE), []
    from stress_lab.data.sources import folder

    original = folder._decode
    monkeypatch.setattr(folder, "_decode", lambda *args: calls.append(1) or original(*args))
    first, second = read_tree(root), read_tree(root)
    assert len(calls) == 1
    assert isinstance(second.splits["train"].images, np.memmap)
    np.testing.assert_array_equal(first.splits["train"].images, second.splits["train"].images)
    time.sleep(0.01)
    Image.new("RGB", (12, 12), (9, 9, 9)).save(root / "train" / "cat" / "000.png")
    assert (read_tree(root).splits["train"].images[0] == 9).all()
    assert len(calls) == 2


def test_images_are_decoded_into_the_cache_and_not_into_memory(make_tree, monkeypatch):
    """Sixty images of 27 kB, decoded four at a time."""
    from stress_lab.data.sources import folder

    root = make_tree({"train": {"a": 25, "b": 25}, "test": {"a": 5, "b": 5}}, size=(96, 96))
    monkeypatch.setattr(folder, "AT_ONCE", 4)
    tracemalloc.start()
    data = read_tree(root)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.splits["train"].images.nbytes == 50 * 3 * 96 * 96
    assert peak < data.splits["train"].images.nbytes / 2


def test_a_full_disk_is_met_when_a_file_is_made(tmp_path, monkeypatch, caplog):
    """And not by a signal when its pages are written."""
    monkeypatch.setenv("STRESS_LAB_CACHE", str(tmp_path / "cache"))

    def refuse(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    (tmp_path / "source").write_text("x")

    def decode(allocate):
        images = allocate("train", (2, 1, 2, 2))
        images[:] = 7
        return ImageData({"train": ImageSplit(images, np.arange(2))}, ("a", "b"), "here", "order")

    data = cached("thing", [tmp_path / "source"], "", decode)
    assert data.splits["train"].images.tolist() == np.full((2, 1, 2, 2), 7).tolist()
    assert "No space left" in caplog.text
    assert not list((tmp_path / "cache").iterdir())


def test_a_broken_cache_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STRESS_LAB_CACHE", "~/cache")
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 4, 4), dtype=np.uint8)
    data = ImageData({"train": ImageSplit(images, np.arange(6))}, ("a",) * 6, "here", "order")
    file = tmp_path / "source"
    file.write_text("x")
    cached("thing", [file], "", lambda _: data)
    (stored,) = (tmp_path / "cache").glob("thing-*/train_images.npy")
    labels = stored.with_name("train_labels.npy")
    shorter = labels.read_bytes().replace(b"(6,)", b"(2,)")
    for damaged, content in ((stored, stored.read_bytes()[:100]), (stored, b""), (labels, b""), (labels, shorter)):
        damaged.write_bytes(content)
        again = cached("thing", [file], "", lambda _: data)
        np.testing.assert_array_equal(again.splits["train"].images, images)
        assert again.splits["train"].labels.tolist() == list(range(6))
    assert not list((tmp_path / "cache").glob(".partial-*"))


def test_an_unwritable_cache_costs_only_a_warning(tmp_path, monkeypatch, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("STRESS_LAB_CACHE", str(blocked))
    data = ImageData({"train": ImageSplit(np.zeros((1, 1, 2, 2), np.uint8), np.zeros(1, int))}, ("a",), "here", "order")
    assert cached("thing", [blocked], "", lambda _: data) is data
    assert "are not cached" in caplog.text


@pytest.fixture
def official(tmp_path, monkeypatch):
    """CIFAR-10's official batches with five images each, and their checksums in place of the published ones."""
    folder = tmp_path / "root" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    checksums, images = {}, []
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        data = rng.integers(0, 256, (5, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [0, 1, 2, 3, 4]}))
        checksums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
        images.append(data)
    monkeypatch.setattr(cifar10, "CHECKSUMS", checksums)
    return folder, images


def test_official_batches_are_read_in_their_order(official):
    folder, images = official
    for root in (folder.parent, folder):
        data = cifar10.load_cifar10(str(root), download=False)
        expected = np.concatenate(images[:5]).reshape(25, 3, 32, 32)
        np.testing.assert_array_equal(data.splits["train"].images, expected)
        assert data.index_order == "the official order"


def test_a_truncated_batch_is_never_unpickled(official, monkeypatch):
    folder, _ = official
    batch = folder / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:-10])
    opened = []
    original = cifar10._ArraysOnly.load
    monkeypatch.setattr(cifar10._ArraysOnly, "load", lambda self: opened.append(1) or original(self))
    with pytest.raises(DataError, match=r"data_batch_3 does not have its published checksum"):
        cifar10.load_cifar10(str(folder.parent), download=False)
    assert len(opened) == 2  # the two before it
    batch.unlink()
    with pytest.raises(DataError, match=r"data_batch_3 is missing"):
        cifar10.load_cifar10(str(folder.parent), download=False)


def test_half_a_cifar_tree_is_refused(make_tree):
    classes = dict.fromkeys(cifar10.CLASSES, 2)
    root = make_tree({"train": classes, "test": classes}, size=(32, 32))
    with pytest.raises(DataError, match=r"train/airplane has 2 of 5,000 images"):
        cifar10.load_cifar10(str(root), download=False)


def test_another_tree_is_not_cifar(make_tree):
    with pytest.raises(DataError, match="is not CIFAR-10"):
        cifar10.load_cifar10(str(make_tree(TREE)), download=False)


def test_nowhere_lists_every_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "named").mkdir()
    monkeypatch.setenv("STRESS_LAB_DATA", str(tmp_path / "from_environment"))
    with pytest.raises(DataError) as error:
        cifar10.load_cifar10(str(tmp_path / "named"), download=False)
    for place in ("named: holds neither", "from_environment: no such folder", "data: no such folder", "switched off"):
        assert place in str(error.value)


def test_a_named_folder_must_exist(tmp_path):
    with pytest.raises(DataError, match=r"data\.root=.*nowhere is not a folder"):
        cifar10.load_cifar10(str(tmp_path / "nowhere"), download=True)


def test_a_broken_download_leaves_nothing(tmp_path, monkeypatch):
    def fetch(folder):
        (Path(folder) / "things").mkdir()
        (Path(folder) / "things" / "half").write_text("half")
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.chdir(tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    form = search.Format("things", lambda folder: search.first_folder(folder / "things", holding=["half"]), pytest.fail)
    with pytest.raises(DataError, match=r"download into .*target: File not found or corrupted"):
        search.find_data("Things", [form], str(target), download=search.Download(fetch, "things"))
    assert list(target.iterdir()) == []


def test_a_download_is_moved_into_place_and_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ImageData({"train": ImageSplit(np.zeros((1, 1, 2, 2), np.uint8), np.zeros(1, int))}, ("a",), "x", "y")
    form = search.Format(
        "things", lambda folder: search.first_folder(folder / "things", holding=["whole"]), lambda _: data
    )

    def fetch(folder):
        (Path(folder) / "things").mkdir()
        (Path(folder) / "things" / "whole").write_text("whole")

    assert search.find_data("Things", [form], None, download=search.Download(fetch, "things")) is data
    assert (tmp_path / "data" / "things" / "whole").is_file()


def write_idx(path, array, compress):
    content = b"\x00\x00\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    path.write_bytes(gzip.compress(content) if compress else content)
    return hashlib.md5(content).hexdigest()


@pytest.mark.parametrize("compress", [True, False])
def test_idx_files_are_read_and_checked(tmp_path, compress):
    array = np.random.default_rng(0).integers(0, 256, (4, 3, 2), dtype=np.uint8)
    file = tmp_path / ("x.gz" if compress else "x")
    md5 = write_idx(file, array, compress)
    np.testing.assert_array_equal(read_idx(file, md5), array)
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DataError, match="truncated or altered"):
        read_idx(file, md5)


def test_three_of_four_files_are_not_fashion_mnist(tmp_path):
    for name in list(fashion_mnist.CHECKSUMS)[:3]:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz is missing"):
        load_fashion_mnist(str(tmp_path), download=False)


def test_the_sample_is_stratified_and_the_size_it_says():
    data = load_fashion_sample()
    assert np.bincount(data.splits["train"].labels).tolist() == [700] * 10
    assert np.bincount(data.splits["test"].labels).tolist() == [200] * 10
    assert data.splits["train"].images.shape == (7000, 1, 28, 28)
    assert len(np.unique(data.splits["train"].images.reshape(7000, -1), axis=0)) > 6990


@pytest.mark.skipif(not fashion_mnist.SYSTEM[0].is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_sample_is_cut_from_the_official_images(tmp_path, monkeypatch):
    from importlib import resources

    monkeypatch.chdir(tmp_path)
    official = load_fashion_mnist(None, download=False)
    sample = np.load(resources.files("stress_lab") / "data" / "sample" / "fashion_sample.npz")
    for split in ("train", "test"):
        index = sample[f"{split}_index"]
        np.testing.assert_array_equal(official.splits[split].images[index, 0], sample[f"{split}_images"])
        np.testing.assert_array_equal(official.splits[split].labels[index], sample[f"{split}_labels"])
    assert len(official.splits["train"]) == 60_000
