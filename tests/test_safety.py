"""Nothing untrusted is executed, nothing leaves its folder, and no file fills the memory."""

import contextlib
import gzip
import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from stress_lab.comparison.pairs import pair_name
from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources import cifar10, fashion_mnist
from stress_lab.data.sources.cache import cached
from stress_lab.data.sources.folder import read_tree
from stress_lab.errors import DataError, RunError, StressLabError
from stress_lab.prediction_files import read_prediction_files
from stress_lab.runs.checkpoints import find_checkpoint
from stress_lab.storage.checkpoint_files import check_checkpoint
from stress_lab.training import weights
from tests.bad_inputs import Evil, a_png_that_claims, make_tree, write_checkpoint

HOSTILE = [
    "../../escape",
    "/absolute",
    "..",
    ".hidden",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a'b;c&d",
    "new\nline",
    "nul\0byte",
    "長い" * 80,
    "x" * 400,
    "‮gnp.exe",
]


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path, monkeypatch):
    """Every test runs where :class:`Evil` would leave its mark."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "executed").exists()


def test_the_evil_pickle_of_these_tests_works(tmp_path):
    pickle.loads(pickle.dumps(Evil()))
    assert (tmp_path / "executed").is_dir()
    (tmp_path / "executed").rmdir()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_checkpoint_is_never_executed(tmp_path, protocol):
    write_checkpoint(tmp_path / "evil.ckpt", pickle.dumps({"state_dict": Evil()}, protocol))
    with pytest.raises(RunError, match="posix"):
        check_checkpoint(tmp_path / "evil.ckpt")
    with pytest.raises(RunError, match="cannot be read as a checkpoint"):
        weights.load_state(tmp_path / "evil.ckpt")


def test_torch_refuses_it_even_where_the_quick_look_is_fooled(tmp_path):
    torch.save({"state_dict": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(RunError, match="cannot be read as a checkpoint"):
        weights.load_state(tmp_path / "evil.ckpt")
    torch.save({"state_dict": Evil()}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    with pytest.raises(RunError, match="cannot be read as a checkpoint"):
        weights.load_state(tmp_path / "old.ckpt")


def test_a_run_that_is_taken_up_again_executes_no_checkpoint(write_run, caplog):
    run = write_run("r", "baseline", [True, False])
    run.checkpoints.mkdir()
    for name in ("last", "previous"):
        torch.save({"epoch": Evil(), "state_dict": {}}, run.checkpoints / f"{name}.ckpt")
    assert find_checkpoint(run) is None
    assert "cannot be read" in caplog.text


def test_real_checkpoints_pass_the_quick_look(tmp_path):
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 2)).sum().backward()
    optimizer.step()
    state = {"state_dict": net.state_dict(), "optimizer_states": [optimizer.state_dict()], "epoch": 3, "names": {"a"}}
    torch.save(state, tmp_path / "good.ckpt")
    assert check_checkpoint(tmp_path / "good.ckpt").called == ()
    assert weights.load_state(tmp_path / "good.ckpt").keys() == net.state_dict().keys()


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_cut_checkpoint_is_told_without_torch(tmp_path, keep):
    torch.save({"state_dict": torch.nn.Linear(50, 50).state_dict()}, tmp_path / "cut.ckpt")
    whole = (tmp_path / "cut.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(RunError, match=r"cut\.ckpt cannot be read as a checkpoint"):
        check_checkpoint(tmp_path / "cut.ckpt")


@pytest.mark.parametrize("column", ["id", "pred", "label", "probs"])
def test_objects_in_predictions_are_never_unpickled(tmp_path, column):
    arrays = {"id": np.arange(2), "pred": np.arange(2), "label": np.arange(2)}
    np.savez(tmp_path / "a.npz", **{**arrays, column: np.array([Evil(), Evil()], dtype=object)})
    with pytest.raises(RunError, match="never loaded"):
        read_prediction_files([tmp_path / "a.npz"], None)


def test_objects_in_the_cache_are_never_unpickled(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("STRESS_LAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "source").write_text("x")
    data = ImageData({"train": ImageSplit(np.zeros((2, 1, 4, 4), np.uint8), np.arange(2))}, ("a", "b"), "here", "order")
    cached("thing", [tmp_path / "source"], "", lambda _: data)
    for stored in (tmp_path / "cache").glob("thing-*/*.npy"):
        np.save(stored, np.array([Evil(), Evil()], dtype=object))
    again = cached("thing", [tmp_path / "source"], "", lambda _: data)
    np.testing.assert_array_equal(again.splits["train"].images, data.splits["train"].images)
    assert "is broken" in caplog.text


def test_the_checksums_of_cifar_are_the_published_ones():
    assert dict([*CIFAR10.train_list, *CIFAR10.test_list]) == cifar10.CHECKSUMS
    assert CIFAR10.base_folder == cifar10.OFFICIAL


def test_a_strangers_batch_is_never_unpickled(tmp_path):
    folder = tmp_path / cifar10.OFFICIAL
    folder.mkdir()
    for name in cifar10.CHECKSUMS:
        (folder / name).write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    with pytest.raises(DataError, match="does not have its published checksum"):
        cifar10.load_cifar10(str(tmp_path), download=False)


def test_a_batch_whose_checksum_was_forged_can_still_call_nothing(tmp_path, monkeypatch):
    import hashlib

    content = pickle.dumps({"data": Evil(), "labels": []})
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(DataError, match=r"names posix\.mkdir"):
        cifar10._decode_batch(tmp_path / "batch", hashlib.md5(content).hexdigest())


def test_the_downloaded_archive_cannot_write_outside_its_folder(tmp_path):
    """torchvision unpacks CIFAR-10; what it does with a hostile archive is tried here."""
    from torchvision.datasets.utils import extract_archive

    for name in ("../outside", str(tmp_path / "absolute")):
        with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
        (tmp_path / "inside").mkdir(exist_ok=True)
        with contextlib.suppress(tarfile.TarError):
            extract_archive(str(tmp_path / "evil.tar.gz"), str(tmp_path / "inside"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar.gz", "inside"]


def test_a_gzip_bomb_is_read_no_further_than_the_longest_file(tmp_path):
    with gzip.open(tmp_path / "x.gz", "wb") as file:
        for _ in range(60):
            file.write(bytes(1 << 20))
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(DataError, match="is truncated or altered"):
        fashion_mnist.read_idx(tmp_path / "x.gz", "0" * 32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * fashion_mnist.LARGEST


@pytest.mark.parametrize("size", [(100_000, 100_000), (20_000, 5_000), (2_000_000, 26)])
def test_image_bombs_are_refused_by_what_they_claim(tmp_path, size):
    make_tree(tmp_path)
    (tmp_path / "tree" / "train" / "cat" / "0.png").write_bytes(a_png_that_claims(*size))
    with pytest.raises(DataError, match=r"cat/0\.png (has .* pixels, more than|cannot be read)"):
        read_tree(tmp_path / "tree")


def test_of_a_film_the_first_picture_counts(tmp_path):
    make_tree(tmp_path)
    frames = [Image.new("RGB", (12, 12), (k, k, k)) for k in range(200)]
    frames[0].save(tmp_path / "tree" / "train" / "cat" / "film.gif", save_all=True, append_images=frames[1:])
    images = read_tree(tmp_path / "tree").splits["train"].images
    assert images.shape == (13, 3, 12, 12)


def test_only_image_formats_are_opened(tmp_path):
    """A PostScript file by an image's name would be given to Ghostscript by Pillow."""
    make_tree(tmp_path)
    (tmp_path / "tree" / "train" / "cat" / "0.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 12 12\n%%EndComments\n(executed) (w) file closefile\nshowpage\n"
    )
    with pytest.raises(DataError, match=r"0\.png cannot be read as an image"):
        read_tree(tmp_path / "tree")


def test_links_cannot_lead_a_reader_around_in_circles(tmp_path):
    make_tree(tmp_path)
    (tmp_path / "tree" / "train" / "cat" / "loop").symlink_to(tmp_path / "tree")
    assert len(read_tree(tmp_path / "tree").splits["train"]) == 12


class Named:
    """As much of a run as names a file."""

    def __init__(self, variant, seed=1):
        self.variant, self.seed = variant, seed


@pytest.mark.parametrize("variant", HOSTILE)
def test_hostile_variants_stay_in_their_folder(tmp_path, variant):
    name = pair_name(Named("baseline"), Named(variant))
    target = tmp_path / "out" / f"case_1_{name}.csv"
    assert target.resolve().parent == (tmp_path / "out").resolve()
    assert not set(name) & set("/\\\0\n<>\"'&")
    target.parent.mkdir()
    target.write_text("it can be written")
    other = pair_name(Named("baseline"), Named(variant + "x"))
    assert other != name


@pytest.mark.parametrize("seed", ["../../x", 1.5, None])
def test_a_strangers_seed_is_no_path(write_run, seed):
    run = write_run("r", "baseline", [True, False])
    run.save_config({**run.config, "seed": seed})
    del run.__dict__["config"]
    with pytest.raises(RunError, match="seed a whole number"):
        _ = run.config


@pytest.mark.parametrize("name", [one for one in HOSTILE if one.isprintable() and "/" not in one and one != ".."])
def test_hostile_class_folders_are_classes_or_refused(tmp_path, name):
    if len(name.encode()) > 255 or name.startswith("."):
        return
    make_tree(tmp_path, {"train": {"cat": 2, name: 2}, "test": {"cat": 1, name: 1}})
    data = read_tree(tmp_path / "tree")
    assert set(data.classes) == {"cat", name}


def test_files_that_promise_more_than_any_memory_are_refused(tmp_path):
    rows = 200_000_000
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("id.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (rows,)})
        file.write(bytes(1 << 20))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("pred.npy", b"")
    with pytest.raises(RunError, match="declares 200,000,000 rows"):
        read_prediction_files([tmp_path / "a.npz"], None)
    wide = np.zeros(1, dtype="U100000")
    np.savez(tmp_path / "b.npz", id=wide, pred=np.zeros(1), label=np.zeros(1))
    with pytest.raises(RunError, match="write short ids"):
        read_prediction_files([tmp_path / "b.npz"], None)


def test_ids_and_classes_of_a_stranger_are_text(tmp_path):
    for name in ("a", "b"):
        table = {"id": HOSTILE, "pred": HOSTILE, "label": HOSTILE[::-1]}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    try:
        read = read_prediction_files([tmp_path / "a.parquet", tmp_path / "b.parquet"], None)
    except StressLabError as error:
        assert "a.parquet" in str(error)  # noqa: PT017
    else:
        assert set(read[0].ids) == set(HOSTILE)
    assert sorted(os.listdir(tmp_path)) == ["a.parquet", "b.parquet"]
