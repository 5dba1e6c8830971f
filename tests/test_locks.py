"""One writer a folder, on file systems with and without locks, and whatever lies where the lock belongs."""

import errno
import fcntl
import os
import re
import socket
import subprocess
import sys
import textwrap

import pytest

from stress_lab.runtime import locks
from stress_lab.runtime.locks import HeldError, NoLockError, acquire, has_locks, hold, is_held, try_acquire


@pytest.fixture(params=["flock", *sorted(locks.WITHOUT_LOCKS)])
def system(request, monkeypatch):
    """File systems with locks, and those that answer one of the errors that say they have none."""
    if request.param != "flock":

        def refuse(file, operation):
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(fcntl, "flock", refuse)
    return request.param


def test_the_errors_are_those_of_file_systems_without_locks():
    assert {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL} <= locks.WITHOUT_LOCKS


def test_one_writer_at_a_time(system, tmp_path):
    path = tmp_path / "new" / "folder" / ".lock"
    said = rf"folder is being trained by another process \({os.getpid()} on {re.escape(socket.gethostname())}\): say so"
    with hold(path, 1, "say so", doing="trained"):
        assert has_locks(path.parent) == (system == "flock")
        assert is_held(path)
        assert try_acquire(path) is None
        with pytest.raises(HeldError, match=said) as refused, hold(path, 0.1, "say so"):
            pass
        advice = f"(remove {path}-soft if that process no longer runs)"
        assert (advice in str(refused.value)) == (system != "flock")
    assert not is_held(path)
    for _ in range(2):
        acquire(path, 0.1, "say so").release()
    assert not path.with_name(".lock-soft").exists()


def test_other_folders_and_names_are_free(system, tmp_path):
    others = hold(tmp_path / ".lock-comparison", 0.1, ""), hold(tmp_path / "0_a" / ".lock", 0.1, "")
    with hold(tmp_path / ".lock", 0.1, ""), others[0], others[1]:
        assert is_held(tmp_path / ".lock-comparison")


@pytest.mark.parametrize("content", ["", "4711\nelsewhere\ntrained\n", "half", "\0\xff", "1\n2\n3\n4\n5\n"])
def test_what_an_earlier_holder_wrote_blocks_nobody(system, tmp_path, content):
    (tmp_path / ".lock").write_text(content)
    with hold(tmp_path / ".lock", 0.1, ""):
        assert (tmp_path / ".lock").read_text().splitlines()[0] == str(os.getpid())


def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def without_locks(monkeypatch):
    monkeypatch.setattr(locks, "has_locks", lambda folder: False)


def test_a_marker_of_a_killed_process_gives_way(tmp_path, monkeypatch):
    without_locks(monkeypatch)
    (tmp_path / ".lock-soft").write_text(f"{dead()}\n{socket.gethostname()}\n")
    with hold(tmp_path / ".lock", 5, "wait"):
        assert is_held(tmp_path / ".lock")


@pytest.mark.parametrize("content", ["1\nanother-host\n", ""])
def test_a_marker_of_another_machine_is_named_and_can_be_removed(tmp_path, monkeypatch, content):
    without_locks(monkeypatch)
    marker = tmp_path / ".lock-soft"
    marker.write_text(content)
    for _ in range(2):
        with pytest.raises(HeldError, match=f"remove {re.escape(str(marker))} if that process no longer runs"):
            acquire(tmp_path / ".lock", 0.1, "wait for it")
    marker.unlink()
    acquire(tmp_path / ".lock", 0.1, "wait for it").release()


def test_a_folder_in_place_of_the_lock_is_named(tmp_path):
    (tmp_path / ".lock" / "x").mkdir(parents=True)
    with pytest.raises(NoLockError, match=r"\.lock cannot be locked \(.*irectory\): .* remove what is at that path"):
        acquire(tmp_path / ".lock", 5, "wait")
    assert not is_held(tmp_path / ".lock")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch, number):
    def refuse(folder):
        raise OSError(number, os.strerror(number), str(folder))

    monkeypatch.setattr(locks, "has_locks", refuse)
    with pytest.raises(NoLockError, match="cannot be locked"):
        acquire(tmp_path / ".lock", 5, "wait")


def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch):
    def refuse(folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr(locks, "has_locks", refuse)
    with pytest.raises(OSError, match="No space left"):
        acquire(tmp_path / ".lock", 5, "wait")


def test_a_link_in_place_of_the_lock_writes_nothing_elsewhere(tmp_path, monkeypatch):
    without_locks(monkeypatch)
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "mine")
    acquire(tmp_path / ".lock", 0.1, "wait").release()
    assert (tmp_path / "mine").read_text() == "mine"


HOLDER = """
import fcntl, sys, time
from pathlib import Path
if sys.argv[2] == "soft":
    def refuse(file, operation):
        raise OSError(95, "Operation not supported")
    fcntl.flock = refuse
from stress_lab.runtime.locks import acquire
lock = acquire(Path(sys.argv[1]), 5, "wait", doing="trained")
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.processes
@pytest.mark.parametrize("way", ["flock", "soft"])
def test_a_lock_ends_with_its_process_however_that_ends(tmp_path, monkeypatch, way):
    if way == "soft":
        without_locks(monkeypatch)
    path = tmp_path / ".lock"
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(path), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert is_held(path)
        with pytest.raises(HeldError, match=rf"is being trained by another process \({process.pid} on "):
            acquire(path, 0.1, "wait")
        process.kill()
    with hold(path, 5, "wait"):
        assert is_held(path)
