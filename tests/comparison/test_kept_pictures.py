"""What cannot be drawn again stays, is reported, and is not shown as this comparison's."""

import logging

import numpy as np
import pytest
import torch

from stress_lab import recording
from stress_lab.comparison.cards import are_drawn, describe_cases, load_pictures, make_gallery
from stress_lab.comparison.comparable import find_pairs
from stress_lab.comparison.loading import load_finished
from stress_lab.comparison.options import Options
from stress_lab.comparison.pairs import pair_name
from stress_lab.comparison.patterns import describe_patterns
from stress_lab.errors import DataError
from stress_lab.files import save_json
from stress_lab.publishing import explained, side_by_side, write
from stress_lab.publishing import maps as gallery
from stress_lab.publishing.explained import Explainer
from stress_lab.records import Failure
from stress_lab.runs.folder import RunDir
from stress_lab.saliency.maps import Cam
from stress_lab.storage.filesets import stage
from tests.comparison.planted import planted


@pytest.fixture
def two(write_run):
    runs = [write_run("0", "a", planted(wrong=[3], right=[7])), write_run("1", "b", planted(seed=3))]
    return load_finished(runs, trust=True)


def gone(*_):
    raise DataError("the images are not where they were")


def draw_into(folder, pairs, count):
    with stage(folder) as files:
        return sorted(path.name for path in side_by_side.draw_cases(pairs, files, count, Explainer(None)))


def test_cases_go_only_when_new_ones_appear(two, tmp_path, monkeypatch, caplog):
    pairs = find_pairs(two, strict=True)[0]
    folder = tmp_path / "cases" / pair_name(*pairs[0])
    folder.mkdir(parents=True)

    def draw(a, b, chosen, where, explainer):
        written = [
            where / side_by_side.case_name(n, o, int(a.scores.index[row])) for n, (o, row) in enumerate(chosen, 1)
        ]
        where.mkdir(parents=True)
        for path in written:
            path.write_text("new")
            assert stale.is_file() == (not drawn)
        return written

    def fail_half_way(a, b, chosen, where, explainer):
        draw(a, b, chosen[:1], where, explainer)
        gone()

    def names():
        return sorted(path.name for path in folder.glob("*.png"))

    real, stale, drawn = side_by_side._draw_pair, folder / "case_1_fixed_index_999.png", []
    stale.write_text("old")
    monkeypatch.setattr(explained, "load_datamodule", gone)
    for way in (real, fail_half_way):
        monkeypatch.setattr(side_by_side, "_draw_pair", way)
        assert draw_into(tmp_path, pairs, 2) == []
        assert names() == [stale.name]
        assert "keeps the pictures of an earlier comparison, which chose other images" in caplog.text
    monkeypatch.setattr(side_by_side, "_draw_pair", draw)
    drawn = draw_into(tmp_path, pairs, 2)
    assert len(drawn) > 2
    assert names() == drawn  # the stale one is gone
    assert are_drawn(folder, describe_cases(*pairs[0], 2, None))
    assert not are_drawn(folder, describe_cases(*pairs[0], 1, None))
    assert not are_drawn(folder, describe_cases(*pairs[0], 2, "layer4"))
    caplog.clear()
    monkeypatch.setattr(side_by_side, "_draw_pair", real)
    assert draw_into(tmp_path, pairs, 2) == []
    assert names() == drawn
    assert caplog.text.rstrip().endswith("keeps the pictures of an earlier comparison")
    assert draw_into(tmp_path, pairs, 0) == []
    assert names() == drawn


def test_pictures_of_another_pair_stay_and_are_named(two, tmp_path, caplog):
    for name in ("c_vs_a_seed1", "b_vs_a_seed1"):
        (tmp_path / "cases" / name).mkdir(parents=True)
        (tmp_path / "cases" / name / "case_1_fixed_index_1.png").write_text("old")
    with stage(tmp_path) as files:
        write._note_kept_pictures(files, {"cards": []}, {"b_vs_a_seed1"})
    assert "c_vs_a_seed1 stays" in caplog.text
    assert "b_vs_a_seed1" not in caplog.text


def test_maps_of_an_earlier_comparison_stay_and_are_shown_only_where_they_fit(two, tmp_path, monkeypatch, caplog):
    patterns = describe_patterns(two, None, Options(resamples=100))
    shown = make_gallery(two, patterns, None, 5, 0, "layer3", ["layer3", "layer3"])
    index = np.array([card["index"] for card in shown["cards"]])
    path = tmp_path / "gallery.npz"
    maps = {f"{kind}_{v}": np.zeros((len(index), 2, 2)) for v in (0, 1) for kind in ("predicted", "true")}
    good = {"index": index, "images": np.zeros((len(index), 1, 2, 2), np.uint8), **maps}
    good |= {"runs": np.array(["0", "1"]), "layers": np.array(["layer3", "layer3"])}
    monkeypatch.setattr(explained, "load_datamodule", gone)

    def record(arrays):
        caplog.clear()
        np.savez(path, **arrays)
        with caplog.at_level(logging.WARNING), stage(tmp_path) as files:
            gallery.record_pictures(two, shown, files, Explainer(None))
            write._note_kept_pictures(files, shown, set())
        assert "those of an earlier comparison are kept" in caplog.text
        assert path.is_file()
        return load_pictures(path, shown)

    assert record(good) is not None
    assert record({name: value for name, value in good.items() if name not in ("runs", "layers")}) is not None  # older
    assert "it stays but is not shown" not in caplog.text
    for other in (
        {"index": index + 1},
        {"index": index[:-1]},
        {"images": good["images"][1:]},
        {"predicted_0": np.full((len(index), 2, 2), np.nan)},
        {"runs": np.array(["0", "2"])},
        {"layers": np.array(["layer3", "layer4"])},
    ):
        assert record(good | other) is None
        assert "it stays but is not shown" in caplog.text


class Source:
    """Grey images of a single split."""

    batch_size = 4

    def split(self, name):
        return type("Split", (), {"images": np.zeros((40, 1, 8, 8), np.uint8)})

    def eval_loader(self, name, index):
        return [(torch.zeros(len(index), 1, 8, 8), None, index)]


@pytest.fixture
def failing(write_run, monkeypatch):
    """A run with seven failures, and a Grad-CAM that costs nothing."""
    run = write_run("0", "a", planted(40))
    failures = [Failure(n + 1, n, 0, 1, "a", "b", 0.9, 0.1) for n in range(7)]
    save_json(run.failures_file, {"failures": [vars(one) for one in failures]})
    monkeypatch.setattr(recording, "find_layer", lambda net, layer: None)
    monkeypatch.setattr(recording, "grad_cam", lambda *args: Cam(np.ones((len(args[3]), 2, 2), np.float32)))
    return run


def draw(run, limit):
    recording.record_gradcam(run, None, None, Source(), "layer3", "test", limit)
    return len(list(run.gradcam.glob("failure_*.png")))


@pytest.mark.parametrize(("limit", "drawn"), [(3, 3), (0, 0), (7, 7), (50, 7), (None, 7)])
def test_so_many_failures_are_drawn_and_the_rest_is_named(failing, limit, drawn):
    assert draw(failing, 5) == 5
    assert draw(failing, limit) == drawn
    assert (failing.gradcam / "contact_sheet.png").is_file() == bool(drawn)
    said = recording.describe_drawn(failing, "stress-lab evaluate run=F")
    if drawn == 7:
        assert said is None
    else:
        assert said == (
            f"Grad-CAM: {drawn} of 7 confident failures drawn; stress-lab evaluate run=F limit=all draws them all"
        )
    if drawn:
        assert len(np.load(failing.gradcam / "maps.npz")["index"]) == drawn


def test_maps_that_cannot_be_made_again_stay(failing, monkeypatch):
    assert draw(failing, 5) == 5
    monkeypatch.setattr(recording, "grad_cam", gone)
    with pytest.raises(DataError):
        draw(failing, 2)
    assert len(list(failing.gradcam.glob("failure_*.png"))) == 5
    assert (failing.gradcam / "maps.npz").is_file()
    assert isinstance(failing, RunDir)
