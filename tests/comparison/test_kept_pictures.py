"""What cannot be drawn again stays, is said, and is not shown as this comparison's."""

import logging

import numpy as np
import pytest

from stress_lab import cases, gallery, publishing, recording
from stress_lab.comparison.cards import are_drawn, describe_cases, fits_gallery, make_gallery
from stress_lab.comparison.loading import load_finished
from stress_lab.comparison.options import Options
from stress_lab.comparison.pairs import find_pairs, pair_name
from stress_lab.comparison.patterns import describe_patterns
from stress_lab.errors import DataError
from stress_lab.files import remove_others, save_json
from stress_lab.records import Failure
from stress_lab.report.page import _load_pictures
from stress_lab.runs import RunDir
from stress_lab.saliency.maps import Cam
from tests.comparison.planted import planted


@pytest.fixture
def two(write_run):
    runs = [write_run("0", "a", planted(wrong=[3], right=[7])), write_run("1", "b", planted(seed=3))]
    return load_finished(runs, trust=True)


def gone(*_):
    raise DataError("the images are not where they were")


def test_cases_are_removed_only_after_new_ones_are_drawn(two, tmp_path, monkeypatch, caplog):
    pairs, out = find_pairs(two, strict=True)[0], tmp_path / "cases"
    folder = out / pair_name(*pairs[0])
    folder.mkdir(parents=True)

    def draw(a, b, chosen, where, layer, root):
        written = [where / cases.case_name(n, o, int(a.scores.index[row])) for n, (o, row) in enumerate(chosen, 1)]
        for path in written:
            path.write_text("new")
        return written

    real, stale = cases._draw_pair, folder / "case_1_fixed_index_999.png"
    stale.write_text("old")
    monkeypatch.setattr(cases, "load_datamodule", gone)
    assert cases.draw_cases(pairs, out, 2, None) == []
    assert stale.read_text() == "old"
    assert "keeps the pictures of an earlier comparison, which chose other images" in caplog.text
    monkeypatch.setattr(cases, "_draw_pair", draw)
    drawn = cases.draw_cases(pairs, out, 2, None)
    assert len(drawn) > 2
    assert sorted(folder.glob("*.png")) == sorted(drawn)  # the stale one is gone
    assert are_drawn(folder, describe_cases(*pairs[0], 2, None))
    assert not are_drawn(folder, describe_cases(*pairs[0], 1, None))
    assert not are_drawn(folder, describe_cases(*pairs[0], 2, "layer4"))
    caplog.clear()
    monkeypatch.setattr(cases, "_draw_pair", real)
    assert cases.draw_cases(pairs, out, 2, None) == []
    assert sorted(folder.glob("*.png")) == sorted(drawn)
    assert caplog.text.rstrip().endswith("keeps the pictures of an earlier comparison")
    assert cases.draw_cases(pairs, out, 0, None) == []
    assert sorted(folder.glob("*.png")) == sorted(drawn)


def test_pictures_of_another_pair_stay_and_are_named(two, tmp_path, caplog):
    for name in ("c_vs_a_seed1", "b_vs_a_seed1"):
        (tmp_path / "cases" / name).mkdir(parents=True)
        (tmp_path / "cases" / name / "case_1_fixed_index_1.png").write_text("old")
    publishing._note_kept_pictures(tmp_path, {"cards": []}, {"b_vs_a_seed1"})
    assert "c_vs_a_seed1 stays" in caplog.text
    assert "b_vs_a_seed1" not in caplog.text


def test_maps_of_an_earlier_comparison_stay_and_are_shown_only_where_they_fit(two, tmp_path, monkeypatch, caplog):
    patterns = describe_patterns(two, None, Options(resamples=100))
    shown = make_gallery(two, patterns, None, 5, 0, "layer3", ["layer3", "layer3"])
    index = np.array([card["index"] for card in shown["cards"]])
    path = tmp_path / "gallery.npz"
    good = {"index": index, "runs": np.array(["0", "1"]), "layers": np.array(["layer3", "layer3"])}
    good["images"] = np.zeros((len(index), 1, 8, 8), np.uint8)
    np.savez(path, **good)
    monkeypatch.setattr(gallery, "load_datamodule", gone)
    with caplog.at_level(logging.WARNING):
        gallery.record_pictures(two, index, path, None)
    assert "those of an earlier comparison are kept" in caplog.text
    assert path.is_file()
    assert _load_pictures(tmp_path, shown) is not None
    for other in (
        {"index": index[::-1]},  # the same images in another order
        {"index": index[:-1]},
        {"images": good["images"][1:]},
        {"predicted_0": np.full((len(index), 2, 2), np.nan)},
        {"runs": np.array(["0", "2"])},
        {"layers": np.array(["layer3", "layer4"])},
    ):
        assert fits_gallery(shown, good | other) == (not {"index", "runs", "layers"} & {*other})
        np.savez(path, **(good | other))
        gallery.record_pictures(two, index, path, None)
        assert path.is_file()
        assert _load_pictures(tmp_path, shown) is None
        caplog.clear()
        publishing._note_kept_pictures(tmp_path, shown, set())
        assert "it stays, and is not shown" in caplog.text
    assert fits_gallery({"cards": shown["cards"]}, {"index": index})  # older records tell less


def test_disagreements_are_written_before_those_of_another_comparison_go(tmp_path):
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    for path in (old, new):
        path.write_text("x")
    remove_others(tmp_path.glob("*.csv"), [new])
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


class Source:
    """Grey images of a single split."""

    batch_size = 4

    def split(self, name):
        return type("Split", (), {"images": np.zeros((40, 1, 8, 8), np.uint8)})

    def normalize(self, images):
        return images.float()


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
    said = recording.describe_drawn(failing, "stress-lab-evaluate run=F")
    if drawn == 7:
        assert said is None
    else:
        assert said == (
            f"Grad-CAM: {drawn} of 7 confident failures drawn; stress-lab-evaluate run=F limit=all draws them all"
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
