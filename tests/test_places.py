"""Where a command runs: folders that are gone, users without a home, paths with any letters."""

import os
import pwd
import tempfile
from pathlib import Path

import numpy as np
import pytest

from stress_lab.cli import compare
from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources.cache import cached
from stress_lab.files import load_json
from stress_lab.preflight.messages import explain
from stress_lab.preflight.places import name_home
from tests.bad_inputs import write_csv
from tests.test_sweep_end_to_end import run_command


@pytest.mark.parametrize("home", [None, ""])
def test_a_user_without_a_home_is_served_without_a_cache(tmp_path, monkeypatch, caplog, home):
    """As in a container that is given a number for a user; no folder is called tilde."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRESS_LAB_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", home or "")
    if home is None:
        monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])
    monkeypatch.setattr(Path, "mkdir", refuse)  # nor may such a user make a folder beside the system's
    name_home()
    assert Path.home() == Path("/nonexistent")
    (tmp_path / "source").write_text("x", encoding="utf-8")
    data = ImageData({"train": ImageSplit(np.zeros((2, 1, 4, 4), np.uint8), np.arange(2))}, ("a", "b"), "here", "order")
    assert cached("thing", [tmp_path / "source"], "", lambda _: data) is data
    assert "are not cached" in caplog.text
    assert os.listdir(tmp_path) == ["source"]


def refuse(*arguments, **options):
    """A folder that may not be made."""
    raise PermissionError(13, "Permission denied")


def test_a_home_that_is_there_stays(tmp_path, monkeypatch):
    for home in (str(tmp_path), "/not/there/yet"):
        monkeypatch.setenv("HOME", home)
        name_home()
        assert os.environ["HOME"] == home
    monkeypatch.delenv("HOME")
    name_home()
    assert Path.home() == Path(pwd.getpwuid(os.getuid()).pw_dir)


def test_files_of_any_name_have_an_entry_in_the_cache(tmp_path):
    data = ImageData({"train": ImageSplit(np.zeros((2, 1, 4, 4), np.uint8), np.arange(2))}, ("a", "b"), "here", "order")
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    source = tmp_path / name
    source.write_bytes(b"x")
    made = [cached("thing", [source], "", lambda _: data).source for _ in range(2)]
    assert made == ["here"] * 2


def test_a_removed_current_folder_is_said(tmp_path, monkeypatch, capsys):
    place = tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    assert run_command(monkeypatch, compare.main, "sweep=x") == 2
    assert capsys.readouterr().err.startswith("error: the current folder was removed: change to another one")
    monkeypatch.chdir(tmp_path)


def test_missing_places_are_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "nowhere")])
    with pytest.raises(FileNotFoundError) as error:
        tempfile.gettempdir()
    assert "set TMPDIR" in explain(error.value)
    with pytest.raises(RuntimeError) as error:
        raise RuntimeError("Could not determine home directory.")
    assert "write the path in full" in explain(error.value)
    assert explain(RuntimeError("something else")) is None
    assert explain(FileNotFoundError("something else")) is None


ODD = ["a b", "it's", 'say "x"', "a=b,c", "$HOME", "${x}", "{a}", "[b]", "長い", "two\nlines", "-x", "~", "café\udce9"]


@pytest.mark.parametrize("name", ODD)
def test_results_go_to_folders_of_any_name(tmp_path, monkeypatch, capsys, blank_figures, name):
    from shlex import split

    from stress_lab.plain_text import as_override

    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path)
    arguments = ["predictions=[a.csv]", "report=false", "resamples=100", *split(as_override("out", name))]
    assert run_command(monkeypatch, compare.main, *arguments) == 0, capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == sorted(["a.csv", name])
    assert load_json(tmp_path / name / "comparison.json")["runs"][0]["n"] == 3
    capsys.readouterr().out.encode("utf-8")
