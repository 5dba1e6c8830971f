"""A set of files appears as one, wherever the process that writes it is killed."""

import json
import os
import shutil

import pytest

from stress_lab.errors import RunError
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.locks import LOCK, HeldError, NoLockError, hold
from stress_lab.storage import filesets
from stress_lab.storage.filesets import COMMIT, COMPARISON, RECORDS, read_whole, recover, stage
from tests.dying import Killed, kill_everywhere, killed_at

OLD = {"status.json": "old", "deep/er/a.csv": "old", "gone/stale.txt": "old", "kept.png": "kept"}
NEW = {"status.json": "new", "deep/er/a.csv": "new", "fresh/b.csv": "new", "seal.json": "new"}
AFTER = {**NEW, "kept.png": "kept"}


def fill(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def snapshot(folder, without=()):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (LOCK, *without))
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def write_set(folder, kind=RECORDS):
    with stage(folder, kind) as files:
        fill(files.path, NEW)
        files.remove([folder / "gone" / "stale.txt", folder / "status.json"])  # the second is in the set, and stays


def test_a_set_appears_and_leaves_nothing_else(tmp_path):
    fill(tmp_path, OLD)
    write_set(tmp_path)
    assert snapshot(tmp_path) == AFTER
    assert {path.name for path in tmp_path.iterdir()} == {"status.json", "seal.json", "deep", "fresh", "kept.png"}


@pytest.mark.parametrize("opened", ["by a reader", "by a writer"])
def test_a_writer_killed_at_any_step_leaves_the_old_set_or_the_new_one(tmp_path, opened):
    found = []

    def work():
        write_set(folder)

    def check(step):
        if opened == "by a writer":
            with hold(folder / LOCK, 1, "wait"):
                filesets.complete(folder)
        else:
            assert recover(folder) is None
        found.append(snapshot(folder))
        assert not list(folder.glob(".next-*"))
        shutil.rmtree(folder)
        fill(folder, OLD)

    folder = tmp_path / "run"
    fill(folder, OLD)
    steps = kill_everywhere(work, check)
    assert steps > 12
    turned = found.index(AFTER)
    assert found == [OLD] * turned + [AFTER] * (len(found) - turned)
    assert turned > 4
    assert len(found) - turned > 4


def test_one_who_cannot_write_reads_the_old_set_or_the_new_one(tmp_path, monkeypatch):
    """On a read-only disk nobody completes a set: the staged files count."""

    def read_only(*arguments, **options):
        raise NoLockError("read-only")

    found, names = [], ("status.json", "deep/er/a.csv", "fresh/b.csv", "seal.json")

    def check(step):
        with monkeypatch.context() as patched:
            patched.setattr(filesets, "hold", read_only)
            run = RunDir(folder, recover(folder))
        read = {name: run.find(name).read_text() for name in names if run.find(name).is_file()}
        found.append(read)
        shutil.rmtree(folder)
        fill(folder, OLD)

    folder = tmp_path / "run"
    fill(folder, OLD)
    kill_everywhere(lambda: write_set(folder), check)
    old = dict.fromkeys(names[:2], "old")
    turned = found.index(NEW)
    assert found == [old] * turned + [NEW] * (len(found) - turned)


def test_the_seal_is_moved_when_all_else_is_there(tmp_path):
    seen = []

    def check(step):
        if (folder / "seal.json").is_file():
            assert snapshot(folder, without=(COMMIT,)) == AFTER
            seen.append(step)
        shutil.rmtree(folder)
        fill(folder, OLD)

    folder = tmp_path / "run"
    fill(folder, OLD)
    kill_everywhere(lambda: write_set(folder), check)
    assert seen


def test_killed_again_while_it_is_completed(tmp_path):
    commit = next(n for n in range(100) if is_committed(tmp_path / f"try{n}", n))
    folder, found = tmp_path / "run", []

    def begin():
        shutil.rmtree(folder, ignore_errors=True)
        fill(folder, OLD)
        with pytest.raises(Killed), killed_at(commit):
            write_set(folder)

    def check(step):
        assert recover(folder) is None
        found.append(snapshot(folder))
        begin()

    begin()
    assert kill_everywhere(lambda: recover(folder), check) > 6
    assert found == [AFTER] * len(found)


def is_committed(folder, step):
    """Whether a writer killed at a step has committed its set."""
    fill(folder, OLD)
    with pytest.raises(Killed), killed_at(step):
        write_set(folder)
    return bool(filesets.list_committed(folder))


def test_an_error_on_the_way_leaves_the_old_set(tmp_path):
    fill(tmp_path, OLD)
    with pytest.raises(ZeroDivisionError), stage(tmp_path) as files:
        fill(files.path, {**NEW, "last": 1 / 0})
    assert snapshot(tmp_path) == OLD
    (tmp_path / "fresh" / "b.csv").mkdir(parents=True)
    with pytest.raises(RunError, match=r"b\.csv is a folder, but a file of that name must be written: rename it"):
        write_set(tmp_path)
    assert snapshot(tmp_path) == OLD


def test_sets_of_two_kinds_do_not_touch_each_other(tmp_path):
    with stage(tmp_path, COMPARISON) as files:
        fill(files.path, {"comparison.json": "c"})
        write_set(tmp_path)
        assert recover(tmp_path) is None
        assert files.has("comparison.json")
    assert snapshot(tmp_path) == {**NEW, "comparison.json": "c"}


def commit_by_hand(folder, move=(), remove=()):
    staging = folder / f".next-{'0' * 32}"
    staging.mkdir(parents=True)
    (staging / COMMIT).write_text(json.dumps({"format": 1, "move": list(move), "remove": list(remove)}))
    return staging


@pytest.mark.parametrize("name", ["../secret", "/etc/x", "a/../../secret", "", 7, None, "link/secret"])
@pytest.mark.parametrize("key", ["move", "remove"])
def test_a_set_of_a_stranger_reaches_nothing_outside_its_folder(tmp_path, key, name):
    folder, secret = tmp_path / "run", tmp_path / "secret"
    secret.write_text("mine")
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    staging = commit_by_hand(folder, **{key: [name]})
    with pytest.raises(RunError, match=r"remove .*next-"):
        recover(folder)
    assert secret.read_text() == "mine"
    assert staging.is_dir()
    shutil.rmtree(staging)  # as the sentence says
    assert recover(folder) is None


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"move": ["a"]}', '{"move": "a", "remove": []}'])
def test_a_list_that_was_edited_is_named(tmp_path, text):
    (commit_by_hand(tmp_path) / COMMIT).write_text(text)
    with pytest.raises(RunError, match=r"commit\.json"):
        recover(tmp_path)


def test_a_linked_staging_folder_is_not_ours(tmp_path):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    folder.mkdir()
    fill(elsewhere, {"a.txt": "mine"})
    (folder / f".next-{'0' * 32}").symlink_to(elsewhere)
    assert recover(folder) is None
    assert snapshot(elsewhere) == {"a.txt": "mine"}


def test_a_set_that_is_being_written_is_left_alone(tmp_path):
    fill(tmp_path, OLD)
    with hold(tmp_path / LOCK, 1, "wait"), stage(tmp_path) as files:
        fill(files.path, NEW)
        assert recover(tmp_path, patience=0.1) is None
        assert snapshot(files.path) == NEW
    assert snapshot(tmp_path) == {**AFTER, "gone/stale.txt": "old"}


def test_a_set_that_is_being_moved_is_waited_for_and_never_read(tmp_path):
    fill(tmp_path, OLD)
    commit_by_hand(tmp_path, remove=["kept.png"])
    with hold(tmp_path / LOCK, 1, "wait", doing="evaluated"):
        with pytest.raises(HeldError, match=r"is being evaluated by another process \(\d+ on .*\): wait for it"):
            recover(tmp_path, patience=0.1)
        assert (tmp_path / "kept.png").is_file()
    assert recover(tmp_path) is None
    assert not (tmp_path / "kept.png").exists()


def test_what_changes_while_it_is_read_is_read_again(tmp_path):
    names = ("status.json", "evaluation.json")
    fill(tmp_path, dict.fromkeys(names, "0"))
    calls = []

    def read(staging):
        first = (tmp_path / names[0]).read_text()
        calls.append(first)
        if len(calls) < 3:  # another process puts a new set in place, half way through
            with stage(tmp_path) as files:
                fill(files.path, dict.fromkeys(names, str(len(calls))))
        return first, (tmp_path / names[1]).read_text()

    assert read_whole(tmp_path, read) == ("2", "2")
    assert calls == ["0", "1", "2"]


def test_a_record_that_is_missing_for_a_moment_is_read_again(tmp_path):
    fill(tmp_path, {"status.json": "0"})
    calls = []

    def read(staging):
        calls.append(1)
        if len(calls) == 1:
            os.replace(tmp_path / "status.json", tmp_path / "evaluation.json")
            raise RunError("missing")
        return "whole"

    assert read_whole(tmp_path, read) == "whole"

    def fail(staging):
        raise RunError("really missing")

    with pytest.raises(RunError, match="really missing"):
        read_whole(tmp_path, fail)

    def restless(staging):
        calls.append(1)
        fill(tmp_path, {f"{len(calls)}.json": "x"})

    with pytest.raises(RunError, match="keeps changing while it is read: wait"):
        read_whole(tmp_path, restless)


def test_staged_records_are_read_first_and_written_nowhere_else(tmp_path):
    run = RunDir(tmp_path)
    run.save_config({"variant": "a", "seed": 1})
    run.save_evaluation("val", {"n": 1, "errors": 0, "accuracy": 1.0})
    with stage(tmp_path) as files:
        staged = RunDir(tmp_path, files.path)
        assert staged.config["variant"] == "a"
        staged.save_evaluation("test", {"n": 2, "errors": 1, "accuracy": 0.5})
        assert set(staged.load_evaluation()) == {"val", "test"}
        assert set(run.load_evaluation()) == {"val"}
        staged.retire([tmp_path / "config.yaml"])
        files.remove(staged.retired)
        assert run.config_file.is_file()
    assert set(run.load_evaluation()) == {"val", "test"}
    assert not run.config_file.exists()


def test_a_set_moves_nothing_that_lies_elsewhere(tmp_path):
    """Neither a copied folder's staged set nor one's own writes, removes or takes away files by way of a link."""
    folder, elsewhere = tmp_path / "run", tmp_path / "mine"
    fill(elsewhere, {"train.parquet": "mine"})
    staging = folder / f".next-{'0' * 32}"
    staging.mkdir(parents=True)
    (staging / "predictions").symlink_to(elsewhere)
    (staging / COMMIT).write_text(json.dumps({"format": 1, "move": ["predictions/train.parquet"], "remove": []}))
    with pytest.raises(RunError, match="leads outside"):
        recover(folder)
    shutil.rmtree(staging)
    (folder / "deep").symlink_to(elsewhere)
    with pytest.raises(RunError, match="leads outside"), stage(folder) as files:
        fill(files.path, {"deep/train.parquet": "other"})
    assert (elsewhere / "train.parquet").read_text() == "mine"
    assert not list(folder.glob(".next-*"))
