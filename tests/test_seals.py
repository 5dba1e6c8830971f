"""Keys and seals: who made a run, and whether its files are those that it left."""

import hashlib
import json
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stress_lab.errors import ConfigError, RunError
from stress_lab.storage import keys, seals
from stress_lab.storage.keys import find_key, key_file, make_key
from stress_lab.storage.seals import PRESENT, Seal, digest_file, is_own, load_seal, write_seal


@pytest.fixture(autouse=True)
def _own_key(tmp_path, monkeypatch):
    """A key of this test's own, and no warning that was given before."""
    monkeypatch.setenv("STRESS_LAB_KEY", str(tmp_path / "home" / "key"))
    seals._warn_unsigned.cache_clear()


@pytest.fixture
def run(tmp_path):
    """A folder with two records and a checkpoint."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("variant: a\n")
    (folder / "status.json").write_text("{}\n")
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"weights")
    return folder


FILES = ["config.yaml", "status.json", "checkpoints/last.ckpt"]


def test_a_key_is_made_once_and_is_private(tmp_path):
    assert find_key() is None
    key = make_key()
    assert len(key) == 32
    assert make_key() == find_key() == key == (tmp_path / "home" / "key").read_bytes()
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "home") == ["key"]


def test_without_the_variable_the_key_lies_in_the_users_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("STRESS_LAB_KEY")
    monkeypatch.setattr(keys.platformdirs, "user_data_path", lambda name: tmp_path / "data" / name)
    assert make_key() == (tmp_path / "data" / "stress_lab" / "key").read_bytes()


@pytest.mark.parametrize("links", [True, False])
def test_all_that_make_a_key_at_once_get_the_same(monkeypatch, links):
    if not links:  # as on a file system without hard links
        monkeypatch.setattr(keys.os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "not permitted")))
    count = 8 if links else 1
    gate = threading.Barrier(count)

    def make(_):
        gate.wait()
        return make_key()

    with ThreadPoolExecutor(count) as pool:
        made = set(pool.map(make, range(count)))
    assert made == {find_key()}


def _folder(path):
    path.mkdir(parents=True)


def _file(content, mode=0o600):
    def write(path):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        path.chmod(mode)

    return write


def _in_a_file(path):
    path.parent.write_text("a file where the folder should be")


BAD_KEYS = [
    (_file(b""), "is empty: put it back from a copy, or remove it to get a new one"),
    (_file(b"short"), "is damaged"),
    (_file(bytes(33)), "is damaged"),
    (_file(bytes(32), 0o644), "can be read by others, who could sign runs as yours: type chmod 600"),
    (_file(bytes(32), 0o620), "can be read by others"),
    (_folder, "is not a file: set STRESS_LAB_KEY=FILE"),
    (_in_a_file, "set STRESS_LAB_KEY=FILE to a file that only you can read"),
]


@pytest.mark.parametrize(("prepare", "said"), BAD_KEYS)
def test_a_key_that_is_none_is_said_and_loses_no_run(run, tmp_path, caplog, prepare, said):
    prepare(tmp_path / "home" / "key")
    with pytest.raises(ConfigError) as error:
        make_key()
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    for _ in range(2):
        seal = write_seal(run, FILES, "id")
    assert seal.signature == ""
    assert load_seal(run) == seal
    (line,) = caplog.messages  # once, however many runs
    assert line.startswith("runs are not signed as yours")
    assert said in line
    assert not is_own(run)


def test_what_the_sentences_say_works(run, tmp_path, monkeypatch):
    _file(bytes(32), 0o644)(tmp_path / "home" / "key")
    (tmp_path / "home" / "key").chmod(0o600)
    assert write_seal(run, FILES, "id").signature
    _file(b"")(tmp_path / "other" / "key")
    monkeypatch.setenv("STRESS_LAB_KEY", str(tmp_path / "other" / "key"))
    (tmp_path / "other" / "key").unlink()
    assert write_seal(run, FILES, "id").signature
    _in_a_file(tmp_path / "third" / "key")
    monkeypatch.setenv("STRESS_LAB_KEY", str(tmp_path / "fourth" / "key"))
    assert write_seal(run, FILES, "id").signature
    assert is_own(run)


def test_without_a_home_runs_are_unsigned(run, monkeypatch, caplog):
    monkeypatch.delenv("STRESS_LAB_KEY")
    monkeypatch.setattr(keys.platformdirs, "user_data_path", lambda name: Path("~/.local/share") / name)
    assert write_seal(run, FILES, "id").signature == ""
    assert "there is no home folder" in caplog.text
    assert "set STRESS_LAB_KEY=FILE" in caplog.text
    assert not is_own(run)
    assert not Path("~").exists()


def test_the_signature_is_an_hmac_of_the_rest(run):
    """Worked from RFC 2104: H((K ^ opad) + H((K ^ ipad) + text))."""
    seal = write_seal(run, FILES, "id")
    record = json.loads((run / "seal.json").read_text())
    assert record.pop("signature") == seal.signature
    assert record == {"format": 1, "run": "id", "files": seal.files}
    text = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    key = make_key().ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + text).digest()
    assert seal.signature == hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).hexdigest()
    assert seal.files == {
        "checkpoints/last.ckpt": PRESENT,
        "config.yaml": hashlib.sha256(b"variant: a\n").hexdigest(),
        "status.json": hashlib.sha256(b"{}\n").hexdigest(),
    }


def _edit(change):
    def edit(run):
        record = json.loads((run / "seal.json").read_text())
        change(record)
        (run / "seal.json").write_text(json.dumps(record))

    return edit


FOREIGN = [
    (lambda run: (run / "seal.json").unlink(), "has no seal.json, like runs of older versions"),
    (_edit(lambda seal: seal.update(signature="")), "was never signed"),
    (_edit(lambda seal: seal.update(signature="0" * 64)), "was not made by you, or its seal.json was edited"),
    (_edit(lambda seal: seal.update(signature="é")), "was not made by you"),
    (_edit(lambda seal: seal.update(run="other")), "was not made by you"),
    (_edit(lambda seal: seal["files"].pop("status.json")), "was not made by you"),
    (_edit(lambda seal: seal["files"].update({"more.json": ""})), "was not made by you"),
    (lambda run: (run / "config.yaml").write_text("variant: b\n"), "config.yaml was changed after the run was signed"),
    (lambda run: (run / "config.yaml").unlink(), "config.yaml was changed"),
    (lambda run: write_seal(run, ["status.json"], "id"), "does not list config.yaml"),
    (lambda run: (run / "seal.json").write_text("[]"), "it is unclear whether"),
    (lambda run: (run / "seal.json").write_text("{"), "it is unclear whether"),
    (lambda run: key_file().write_bytes(bytes(32)), "was not made by you"),
    (lambda run: key_file().unlink(), "was not made by you"),
    (lambda run: key_file().chmod(0o644), "it is unclear whether"),
]


@pytest.mark.parametrize(("change", "said"), FOREIGN)
def test_whose_a_run_is(run, change, said):
    write_seal(run, FILES, "id")
    assert is_own(run)
    assert is_own(run, digest_file(run / "config.yaml"))
    assert not is_own(run, "0" * 64)  # another config than that in the folder is about to be used
    change(run)
    assert not is_own(run)
    assert said in seals.explain_foreign(run)
    with pytest.raises(RunError, match=r"evaluating it would run the code .* set trust=true if you trust"):
        seals.require_own(run, None, "evaluating it")


def test_a_run_belongs_to_its_maker_wherever_the_folder_goes(run, tmp_path):
    write_seal(run, FILES, "id")
    run.rename(tmp_path / "moved")
    assert is_own(tmp_path / "moved")


@pytest.mark.parametrize(
    "record",
    [
        [],
        None,
        {"format": 1},
        {"format": 1, "run": 3, "files": {}, "signature": ""},
        {"format": 1, "run": "", "files": [], "signature": ""},
        {"format": 1, "run": "", "files": {"a": 3}, "signature": ""},
        {"format": 1, "run": "", "files": {"/etc/passwd": ""}, "signature": ""},
        {"format": 1, "run": "", "files": {"../other/config.yaml": ""}, "signature": ""},
        {"format": 1, "run": "", "files": {"a/../../b": ""}, "signature": ""},
        {"format": 1, "run": "", "files": {"": ""}, "signature": ""},
        {"format": 1, "run": "", "files": {"a//b": ""}, "signature": ""},
        {"format": 1, "run": "", "files": {"..\\b": ""}, "signature": ""},
        {"format": 1, "run": "", "files": {"C:b": ""}, "signature": ""},
        {"format": 1, "run": "", "files": {"a\0": ""}, "signature": ""},
        {"format": 0, "run": "", "files": {}, "signature": ""},
        {"format": "1", "run": "", "files": {}, "signature": ""},
    ],
)
def test_what_is_no_seal_is_refused(run, record):
    (run / "seal.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"seal\.json was edited: put it back, or remove it"):
        load_seal(run)


def test_a_seal_of_a_later_version_asks_for_that(run):
    (run / "seal.json").write_text(json.dumps({"format": 2, "owners": []}))
    with pytest.raises(RunError, match=r"of a later version \(format 2\): update stress_lab"):
        load_seal(run)


def test_records_are_compared_with_the_seal(run):
    seal = write_seal(run, FILES, "id")
    for name in FILES:
        seal.check(run, name)
    seal.check(run, "train.log")  # which it does not list
    (run / "status.json").write_text("{} \n")
    with pytest.raises(RunError, match=r"status\.json is not the file that the run left.*: type this"):
        seal.check(run, "status.json", again="type this")
    seal.check(run, "status.json", digest=hashlib.sha256(b"{}\n").hexdigest())  # of bytes read before
    (run / "checkpoints" / "last.ckpt").write_bytes(b"other weights")
    assert seal.holds(run, "checkpoints/last.ckpt")  # its own checksums tell
    for name in FILES:
        (run / name).unlink()
        with pytest.raises(RunError, match=rf"{name} is missing, which seal\.json lists"):
            seal.check(run, name)
        assert not seal.holds(run, name)


def test_a_later_seal_keeps_what_was_not_written_again(run, tmp_path):
    base = write_seal(run, FILES, "id")
    (run / "config.yaml").write_text("edited since")
    (run / "status.json").write_text("written again")
    seal = write_seal(run, ["status.json"], "id", base)
    assert seal.files["config.yaml"] == base.files["config.yaml"]  # the edit is not signed
    assert seal.files["status.json"] == hashlib.sha256(b"written again").hexdigest()
    assert not is_own(run)
    staged = tmp_path / "run" / ".next-1"
    (staged / "gradcam").mkdir(parents=True)
    (staged / "gradcam" / "a.png").write_bytes(b"png")
    named = ["gradcam/a.png"]
    seal = write_seal(staged, named, "id", Seal("id", {**base.files, "gradcam/b.png": "old"}), ["gradcam/b.png"])
    assert load_seal(staged) == seal
    assert seal.files == {**base.files, "gradcam/a.png": hashlib.sha256(b"png").hexdigest()}
