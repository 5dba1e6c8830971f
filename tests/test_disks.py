"""A file that cannot be written ends in one sentence: which one, on which disk, how full that is, and what to type."""

import errno
import gc
import io
import logging
import os
import re
import shutil
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.io import gfile
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from stress_lab.files import save_csv, save_json, write_atomic
from stress_lab.preflight.messages import explain
from stress_lab.publishing.tensorboard import write_sweep_board
from stress_lab.runs.folder import RunDir
from stress_lab.runtime import disks
from stress_lab.runtime.disks import find_mount, format_size, name_file, quiet_writers
from stress_lab.runtime.log_files import watch_log_files
from stress_lab.training.fit import name_disk

FULL = Path("/dev/full")  # to which every write fails as on a full disk
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="Linux alone has a device that is always full")

TOLD = {
    errno.ENOSPC: r"^the disk is full at (\S+): (\S+) has [\d.]+ (bytes|kB|MB|GB) left; free some space there",
    errno.EDQUOT: r"^the disk is full for you at (\S+): your quota on (\S+) is used up, .*; remove some of",
    errno.EFBIG: r"^(\S+) would be larger than is allowed here: ulimit -f",
    errno.EROFS: r"^(\S+): (\S+) is read-only; choose another folder",
    errno.EIO: r"^(\S+): (\S+) reports an input/output error: save what you need",
    errno.EACCES: r"^(\S+): Permission denied; choose another folder, or make this one usable$",
    errno.EPERM: r"^(\S+): Operation not permitted; choose another folder, or make this one usable$",
    errno.ENAMETOOLONG: r"^(\S+): its name is too long for this file system; choose a shorter one",
    errno.ESTALE: r"^(\S+): the server of this network folder no longer knows it \(stale file handle\)",
    errno.ENOTDIR: r"^(\S+): Not a directory; choose another folder, or make this one usable$",
}


@pytest.mark.parametrize("number", TOLD, ids=errno.errorcode.get)
@pytest.mark.parametrize("folder", ["/proc", "/dev/shm", "/"], ids=["proc", "shm", "root"])
def test_an_error_names_its_file_and_the_disk_of_that_file(number, folder):
    file = f"{folder.rstrip('/')}/stress_lab/nowhere/x.json"
    match = re.match(TOLD[number], explain(OSError(number, os.strerror(number), file)))
    assert match[1] == file
    if match.lastindex > 1 and number != errno.EACCES:
        assert match[2] == folder


def test_the_space_left_is_that_of_the_disk_of_the_file(monkeypatch):
    asked = []

    def usage(folder):
        asked.append(str(folder))
        return shutil._ntuple_diskusage(10, 10, 12_300_000 if str(folder) == "/dev/shm" else 0)

    monkeypatch.setattr(disks.shutil, "disk_usage", usage)
    said = explain(OSError(errno.ENOSPC, "No space left on device", "/dev/shm/a/b/c.ckpt"))
    assert "/dev/shm has 12.3 MB left" in said
    assert asked == ["/dev/shm"]


def test_a_disk_that_takes_no_more_files_says_so(monkeypatch):
    monkeypatch.setattr(disks, "_count_free_files", lambda folder: 0)
    said = explain(OSError(errno.ENOSPC, "No space left on device", "/dev/shm/x"))
    assert "/dev/shm takes no more files, however small (no inodes are left)" in said


@pytest.mark.parametrize("number", sorted(disks.NAMELESS))
def test_an_error_without_a_file_is_a_sentence_all_the_same(number):
    assert re.search(r"run the same command again|in another folder", explain(OSError(number, os.strerror(number))))


def test_errors_that_are_not_of_a_disk_are_ours():
    assert explain(OSError(errno.EACCES, "Permission denied")) is None  # of a socket, say
    assert explain(OSError("encoder error -2 when writing image file")) is None


def write_archive():
    with FULL.open("wb", buffering=0) as file:
        np.savez_compressed(file, a=np.ones(10))


def write_by_the_system():
    descriptor = os.open(FULL, os.O_WRONLY)
    try:
        os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "write",
    [
        lambda partial: FULL.write_text("x"),
        lambda partial: FULL.write_bytes(b"x" * 10**6),
        lambda partial: write_archive(),
        lambda partial: Image.new("RGB", (9, 9)).save(FULL, "PNG"),
        lambda partial: write_by_the_system(),
    ],
    ids=["text", "bytes", "npz", "picture", "system"],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_every_record_that_cannot_be_written_is_named(tmp_path, write, monkeypatch):
    monkeypatch.setattr(disks, "is_full", lambda folder: folder == tmp_path)
    path = tmp_path / "record"
    with pytest.raises(OSError, match=r".") as raised:
        write_atomic(path, write)
    assert explain(raised.value).startswith(f"the disk is full at {path}: {find_mount(tmp_path)} has ")
    assert list(tmp_path.iterdir()) == []
    del raised
    gc.collect()  # here, and not in a later test, NumPy's archive finds that its end cannot be written either


@pytest.mark.parametrize("save", [lambda p: save_json(p, {"a": 1}), lambda p: save_csv(p, [{"a": 1}], ["a"])])
def test_a_record_is_named_and_not_the_file_beside_it(tmp_path, save):
    (tmp_path / "x").mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        save(tmp_path / "x")  # a folder lies in its place
    assert explain(raised.value).startswith(f"{tmp_path / 'x'}: Is a directory")


def test_an_error_of_a_library_without_a_number_is_of_the_full_disk_or_of_none(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    for full, number, file in ((True, errno.ENOSPC, str(path)), (False, None, None)):
        monkeypatch.setattr(disks, "is_full", lambda folder, full=full: full)
        error = OSError("encoder error -2 when writing image file")
        name_file(error, path)
        assert (error.errno, error.filename) == (number, file)
        assert "encoder error -2 when writing image file" in str(error)


def fill(monkeypatch):
    """Let TensorBoard's files lie on a full disk."""
    original = gfile.LocalFileSystem._write
    monkeypatch.setattr(gfile.LocalFileSystem, "_write", lambda self, name, *rest: original(self, str(FULL), *rest))


def write_events(logger):
    """So many that the thread which writes them has met the disk."""
    for step in range(50):
        logger.log_metrics({"a": 1.0}, step)
        logger.experiment.flush()


def test_events_of_tensorboard_that_cannot_be_written_end_in_a_sentence(tmp_path, monkeypatch, capsys):
    fill(monkeypatch)
    with pytest.raises(OSError, match="No space left") as raised:
        write_sweep_board([("baseline", [{"epoch": 1, "val/acc": 0.5}])], tmp_path)
    assert explain(raised.value).startswith(f"the disk is full at {tmp_path / 'tensorboard' / 'baseline'}: ")
    assert "Traceback" not in capsys.readouterr().err


def test_what_lightning_makes_of_it_is_the_same_sentence(tmp_path, monkeypatch, capsys):
    from lightning.pytorch.loggers import TensorBoardLogger

    fill(monkeypatch)
    monkeypatch.setattr(disks, "is_full", lambda folder: folder == tmp_path / "tensorboard")
    (tmp_path / "tensorboard").mkdir()
    with pytest.raises((OSError, ValueError)) as raised, name_disk(RunDir(tmp_path)), quiet_writers():
        write_events(TensorBoardLogger(tmp_path, name="tensorboard", version=""))
    assert explain(raised.value).startswith(f"the disk is full at {tmp_path / 'tensorboard'}: ")
    assert "Traceback" not in capsys.readouterr().err


def test_other_threads_still_say_why_they_ended(capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    with quiet_writers():
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    assert seen[0].exc_type is ZeroDivisionError
    assert threading.excepthook == seen.append


def test_a_log_that_cannot_be_written_is_reported_once(capsys, monkeypatch):
    handler, screen = logging.FileHandler(FULL), logging.StreamHandler(io.StringIO())
    logger = logging.getLogger()
    before = logger.handlers[:]
    logger.handlers[:] = [handler, screen]
    try:
        watch_log_files()
        watch_log_files()
        for number in range(3):
            logger.warning("line %d", number)
        logger.warning("%d", "not a number")
    finally:
        logger.handlers[:] = before
        with pytest.raises(OSError, match="No space"), closing(handler):
            pass
    said = capsys.readouterr().err
    assert said.count("lines are missing from the log: the disk is full at /dev/full: ") == 1
    assert said.count("Traceback") == 2  # of the line that is wrong, once a handler
    assert screen.stream.getvalue() == "line 0\nline 1\nline 2\n"


def test_sizes_are_written_in_the_largest_unit_that_fits():
    assert [format_size(size) for size in (999, 1000, 10**6, 10**9 - 10**5, 2 * 10**12)] == [
        "999 bytes",
        "1.0 kB",
        "1.0 MB",
        "999.9 MB",
        "2000.0 GB",
    ]


def test_an_event_writer_that_works_is_left_alone(tmp_path):
    with quiet_writers(), closing(EventFileWriter(str(tmp_path))) as writer:
        writer.add_event(Event(step=1))
    assert len(list(tmp_path.iterdir())) == 1
