"""A command lists each folder of a data set once, whatever it does with the images."""

import sys
from collections import Counter

import pytest

from stress_lab.cli import train
from tests.test_sweep_end_to_end import run_command

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("blank_figures")]
SHORT = ["trainer=smoke", "model.width=4", "logger=csv", "threads=1", "callbacks.gradcam.limit=0"]
SHORT += ["+comparison.resamples=100", "+comparison.report=false", "resume=false"]
listed: Counter[str] = Counter()  # an audit hook stays until the process ends
sys.addaudithook(lambda event, arguments: listed.update([str(arguments[0])]) if event == "os.scandir" else None)


def test_a_sweep_lists_each_folder_of_its_images_once(make_tree, monkeypatch, tmp_path, capfd):
    """Preflight, rehearsal, both runs, cases and gallery; the second time the images come from the cache."""
    root = make_tree({"train": {"cat": 20, "dog": 20}, "test": {"cat": 4, "dog": 4}}, size=(16, 16))
    folders = [str(path) for path in (root, *root.rglob("*")) if path.is_dir()]
    monkeypatch.chdir(tmp_path)
    sweep = ["-m", "data=image_folder", f"data.root={root}", "augment=baseline,cutout", "launcher=basic", *SHORT]
    for decoded in (1, 0):
        listed.clear()
        assert run_command(monkeypatch, train.main, *sweep) == 0
        assert {folder: listed[folder] for folder in folders} == dict.fromkeys(folders, 1)
        assert capfd.readouterr().out.count("reading 48 images from") == decoded
