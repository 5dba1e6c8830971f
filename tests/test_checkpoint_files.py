"""What a file of weights holds is read without unpickling it; damage is found, and nothing hostile gets to torch."""

import copyreg
import pickle
import random
import tracemalloc
import zipfile
from collections import OrderedDict

import pytest
import torch

from stress_lab.errors import RunError
from stress_lab.storage.checkpoint_files import Checkpoint, check_checkpoint, inspect_checkpoint
from stress_lab.storage.pickles import read_pickle
from stress_lab.training import weights
from tests.hostile_checkpoints import ROWS, TORCH, archive, forget_extensions

WORKING = (  # as Python's own unpickler, which is never used, executes them
    *("a function by its name", "protocol 0", "names from the memo", "frames of protocol 5", "INST", "OBJ", "getattr"),
    *("eval", "deep in a harmless state", "a key of a dict"),
)
MEMORY = 1 << 27  # bytes that looking at a file of some kB may take


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path, monkeypatch):
    """Every test runs where a hostile file would leave its mark."""
    monkeypatch.chdir(tmp_path)
    yield
    forget_extensions()
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_hostile_files_are_refused_before_torch_sees_them(tmp_path, monkeypatch, row):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch was asked"))
    row.write(tmp_path / "x.ckpt")
    tracemalloc.start()
    with pytest.raises(RunError, match=row.says):
        weights.load_state(tmp_path / "x.ckpt")  # which asks check_checkpoint first
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY


@pytest.mark.parametrize("row", TORCH, ids=lambda row: row.name)
def test_what_weights_may_name_is_refused_by_torch(tmp_path, row):
    row.write(tmp_path / "x.ckpt")
    with pytest.raises(RunError, match=row.says):
        weights.load_state(tmp_path / "x.ckpt")


@pytest.mark.parametrize("row", [row for row in ROWS if row.name in WORKING], ids=lambda row: row.name)
def test_the_hostile_pickles_of_these_tests_work(tmp_path, row):
    """Python's own unpickler, which is never used, would execute them."""
    row.write(tmp_path / "x.ckpt")
    with zipfile.ZipFile(tmp_path / "x.ckpt") as file:
        pickled = file.read("archive/data.pkl")
    pickle.loads(pickled)
    assert (tmp_path / "executed").is_dir()
    (tmp_path / "executed").rmdir()  # which no other test may leave


def test_a_number_that_stands_for_a_function_works_too(tmp_path):
    (row,) = (row for row in ROWS if row.name == "extension of 1")
    row.write(tmp_path / "x.ckpt")
    with zipfile.ZipFile(tmp_path / "x.ckpt") as file:
        pickle.loads(file.read("archive/data.pkl"))
    copyreg.clear_extension_cache()
    assert (tmp_path / "executed").is_dir()
    (tmp_path / "executed").rmdir()  # which no other test may leave


def make_content():
    """As much of a checkpoint as Lightning writes, of a small net."""
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(torch.ones(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    return {
        "epoch": 4,
        "pytorch-lightning_version": "2.6",
        "state_dict": net.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "callbacks": {"rows": [{"epoch": 1, "val/acc": 0.5}], "half": torch.ones(3, dtype=torch.bfloat16)},
        "ended": True,
        "stress_lab": {"run": "ab12", "epoch": 5},
    }


def are_equal(one, other):
    """Whether two contents of checkpoints hold the same values of the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, (dict, OrderedDict)):
        return list(one) == list(other) and all(are_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(are_equal, one, other))
    return one == other


def test_what_a_checkpoint_says_is_what_torch_loads(tmp_path):
    path = tmp_path / "x.ckpt"
    torch.save(make_content(), path)
    found = check_checkpoint(path)
    assert found == Checkpoint(path, "ab12", 5, ended=True, resumable=True, room=found.room)
    weights = sum(value.nbytes for value in make_content()["state_dict"].values())
    assert weights < found.room <= path.stat().st_size
    torch.save({**make_content(), "stress_lab": None, "optimizer_states": None, "ended": False}, path)
    assert check_checkpoint(path) == Checkpoint(path, "", 5, room=check_checkpoint(path).room)
    torch.save(make_content()["state_dict"], path)
    assert check_checkpoint(path) == Checkpoint(path, room=check_checkpoint(path).room)


def test_the_old_format_says_the_same(tmp_path):
    torch.save(make_content(), tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    found = check_checkpoint(tmp_path / "old.ckpt")
    assert (found.run, found.epoch, found.ended, found.resumable) == ("ab12", 5, True, True)
    assert are_equal(dict(weights.load_state(tmp_path / "old.ckpt")), dict(make_content()["state_dict"]))


@pytest.mark.parametrize(
    "content",
    [
        {"a": torch.ones(10**6).expand(3, 10**6)},
        {"a": torch.arange(12).reshape(3, 4).T[1:]},
        {"a": torch.empty(0, 5), "b": torch.tensor(3.5, dtype=torch.float64), "c": torch.ones(2) * 1j},
        {"a": torch.ones(4, dtype=torch.bfloat16), "b": torch.ones(4, dtype=torch.uint8)},
        {"a": torch.nn.Parameter(torch.ones(3)), "b": torch.Size([2, 3]), "c": {1}, "d": b"\x00", "e": bytearray(b"a")},
        {"a": torch.ones(5).to_sparse(), "b": torch.device("cpu"), "c": torch.float16, "d": 2**70, "e": complex(1, 2)},
        {"a": torch.empty(10**12, device="meta")},
        {("a", 1): [None, True, {"b": ()}]},
        [torch.ones(2)] * 1000,
        torch.ones(3),
    ],
    ids=range(10),
)  # fmt: skip
@pytest.mark.parametrize("new", [True, False], ids=["new", "old"])
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_whatever_torch_writes_and_loads_may_be_in_a_checkpoint(tmp_path, content, new):
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
    torch.load(tmp_path / "x.pt", weights_only=True)
    check_checkpoint(tmp_path / "x.pt")


def test_types_of_which_the_old_format_knows_nothing_may_be_too(tmp_path):
    torch.save(
        {"a": torch.ones(4, dtype=torch.float8_e4m3fn), "b": torch.ones(4, dtype=torch.uint16)}, tmp_path / "x.pt"
    )
    check_checkpoint(tmp_path / "x.pt")


def test_a_part_that_is_marked_as_a_folder_is_found(tmp_path):
    """torch reads none of it, and takes whatever lay in memory for weights."""
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {"a": torch.ones(1000)}}, path)
    content = bytearray(path.read_bytes())
    (entry,) = (
        place
        for place in range(len(content))
        if content[place : place + 4] == b"PK\x01\x02" and content[place + 46 :].startswith(b"x/data/0")
    )
    content[entry + 38] |= 0x10
    path.write_bytes(content)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None  # Python's own look finds nothing
    with pytest.raises(RunError, match="its headers for the part x/data/0 contradict each other"):
        weights.load_state(path)


def test_flipped_bits_are_found_or_are_in_bytes_that_nobody_reads(tmp_path):
    path, content = tmp_path / "x.ckpt", make_content()
    torch.save(content, path)
    whole, found = path.read_bytes(), 0
    draw = random.Random(1)
    places = sorted(
        {*range(len(whole) - 400, len(whole)), *draw.sample(range(len(whole)), 300)}
    )  # and the list of parts
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            check_checkpoint(path)
            loaded = weights.load_content(path)
        except RunError as error:
            assert "cannot be read as a checkpoint" in str(error)  # noqa: PT017
            found += 1
        else:
            assert are_equal(loaded, content), f"a bit at {place} of {len(whole)}"
    assert found > len(places) / 4


def test_flipped_weights_are_what_torch_alone_would_load(tmp_path):
    """Which is why the checksums are compared first."""
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {"a": torch.ones(1000)}}, path)
    whole = path.read_bytes()
    path.write_bytes(
        whole.replace(torch.ones(3).numpy().tobytes(), torch.tensor([1.0, -7.0, 1.0]).numpy().tobytes(), 1)
    )
    assert torch.load(path, weights_only=True)["state_dict"]["a"].min() == -7
    with pytest.raises(RunError, match="Bad CRC-32 for file 'x/data/0'"):
        weights.load_state(path)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_found(tmp_path, share):
    path = tmp_path / "x.ckpt"
    torch.save(make_content(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(RunError, match="truncated, or something else"):
        inspect_checkpoint(path)


def test_a_file_that_was_written_without_checksums_is_taken_as_it_is(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(make_content(), tmp_path / "x.ckpt")
    finally:
        torch.serialization.set_crc32_options(before)
    assert check_checkpoint(tmp_path / "x.ckpt").run == "ab12"


def test_a_file_that_cannot_be_opened_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        check_checkpoint(tmp_path / "nowhere.ckpt")


def test_a_file_that_was_packed_again_is_read(tmp_path):
    torch.save(make_content(), tmp_path / "x.ckpt")
    with (
        zipfile.ZipFile(tmp_path / "x.ckpt") as old,
        zipfile.ZipFile(tmp_path / "y.ckpt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for one in old.infolist():
            new.writestr(one.filename, old.read(one))
    assert check_checkpoint(tmp_path / "y.ckpt").epoch == 5


def test_an_honest_pickle_of_any_protocol_can_be_followed():
    import io

    value = {"a": [1, 2.5, "é", b"\x00", (1, (2,)), None, True, 10**30], "b": {"c": set("x"), "d": frozenset("y")}}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        content = read_pickle(io.BytesIO(pickle.dumps(value, protocol)))
        assert content.value.get("a")[:4] == value["a"][:4] or protocol < 3  # bytes are a call before protocol 3
        assert content.value.get("a")[4:] == value["a"][4:]
        assert not content.others


def test_the_file_of_this_test_is_whole(tmp_path):
    archive(tmp_path / "x.ckpt", b"\x80\x02}q\x00.")
    found = check_checkpoint(tmp_path / "x.ckpt")
    assert (found.epoch, found.called) == (None, ())
