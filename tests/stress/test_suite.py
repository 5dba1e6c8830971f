"""The suite on a finished run: what it records, how it goes on after an interruption, what it adds up to."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.stats import binomtest

from stress_lab.cli import stress as command
from stress_lab.errors import ConfigError, PairingError, RunError
from stress_lab.files import load_json
from stress_lab.publishing import stressed
from stress_lab.runs.folder import RunDir
from stress_lab.storage.seals import is_own
from stress_lab.stress.suite import CLEAN, Cell, contrast_runs, plan_cells, summarize

KEPT = Path(__file__).parents[1] / "before_the_move"


@pytest.fixture
def planted():
    """Two runs on the same 2,000 images: the second is right more often under fog and no better on clean ones."""
    rng = np.random.default_rng(0)
    hard = rng.random(2000)
    cells = plan_cells(["fog", "contrast"], [1, 3], [0.2], channels=3)
    loss = [0, 0.05, 0.1, 0.1, 0.2, 0.15]
    first = {cell: hard < 0.8 - lost for cell, lost in zip(cells, loss, strict=True)}
    second = {cell: right | (hard > 0.95) if cell.condition == "fog" else right for cell, right in first.items()}
    return cells, first, second


def test_plans_hold_every_cell_once_and_grey_images_have_no_saturation():
    assert len(plan_cells("common", [1, 3, 5], [], channels=3)) == 1 + 45
    assert len(plan_cells("all", [1, 2, 3, 4, 5], [0.1], channels=3)) == 1 + 95 + 1
    assert len(plan_cells("all", [1], [], channels=1)) == 1 + 18
    for wrong in (("foggy", [1], []), (["fog"], [6], []), (["fog"], [1], [1.5])):
        with pytest.raises(ConfigError, match="use"):
            plan_cells(*wrong, channels=3)


def test_the_summary_adds_up(planted):
    cells, first, _ = planted
    found = summarize(first, level=0.95, resamples=4000)
    for cell, row in zip(cells, found["cells"], strict=True):
        wilson = binomtest(row["correct"], 2000).proportion_ci(method="wilson")
        assert (row["accuracy"], row["accuracy_interval"]) == (first[cell].mean(), (wilson.low, wilson.high))
    corrupted = np.mean([first[cell] for cell in cells[1:5]], axis=0)
    mean, clean = found["mean"], first[cells[0]].astype(float)
    assert mean["accuracy"] == pytest.approx(corrupted.mean())
    assert mean["relative_drop"] == pytest.approx(mean["drop"] / clean.mean())
    width = mean["drop_interval"][1] - mean["drop_interval"][0]
    assert width == pytest.approx(2 * 1.96 * (clean - corrupted).std() / 2000**0.5, rel=0.08)  # paired over images
    low, high = mean["relative_drop_interval"]
    assert low < mean["relative_drop"] < high


def test_a_contrast_finds_the_cells_that_differ(planted):
    cells, first, second = planted
    found = contrast_runs(first, second, level=0.95, resamples=2000)
    marked = {cell.condition for cell, row in zip(cells, found["cells"], strict=True) if row["p_adjusted"] < 0.05}
    assert marked == {"fog"}
    gain = (second[cells[1]].mean() - first[cells[1]].mean()) / 2  # in half of the cells
    assert found["mean"]["difference"] == pytest.approx(gain)
    assert found["mean"]["interval"][0] > 0
    errors = {
        run: [sum((~one[cell]).mean() for cell in pair) for pair in (cells[1:3], cells[3:5])]
        for run, one in (("a", first), ("b", second))
    }
    assert found["mce"] == pytest.approx(np.mean(np.divide(errors["b"], errors["a"])))
    assert found["relative_mce"] < found["mce"] < 1
    assert contrast_runs(first, first, 0.95, 200)["mce"] == 1
    with pytest.raises(PairingError):
        contrast_runs(first, {cells[0]: first[cells[0]]}, 0.95, 200)


@pytest.fixture
def ask(tmp_path, compose_config, monkeypatch):
    """Stress one of two kept runs by a suite of three cells on 80 images."""
    folder = shutil.copytree(KEPT, tmp_path / "sweep")
    suite = "images: 80\ncorruptions: [fog, impulse_noise]\nseverities: [4]\nocclusion: [0.3]\n"
    (tmp_path / "stress").mkdir()
    (tmp_path / "stress" / "quick.yaml").write_text(suite)
    monkeypatch.setattr(command, "config_folder", lambda: tmp_path)

    def run(name="0_baseline_seed42", *more):
        asked = [f"run='{folder / name}'", "checkpoint=best", "trust=true", "threads=1", "resamples=200", *more]
        return command.stress(compose_config(*asked, name="stress")), RunDir(folder / name)

    return run


@pytest.mark.slow
def test_an_interrupted_suite_goes_on_and_leaves_what_an_undisturbed_one_does(ask, monkeypatch, capsys):
    predict, calls = stressed.predict, []

    def die_at_the_last_cell(model, batches):
        calls.append(1)
        if len(calls) == 8 + 3:  # two tries of each of four conditions come first
            raise KeyboardInterrupt
        return predict(model, batches)

    monkeypatch.setattr(stressed, "predict", die_at_the_last_cell)
    with pytest.raises(KeyboardInterrupt):
        ask()
    calls.clear()
    monkeypatch.setattr(stressed, "predict", lambda *given: calls.append(1) or predict(*given))
    summary, run = ask()
    assert len(calls) == 2 * 2 + 2  # what was finished is not done again
    assert "impulse noise" in capsys.readouterr().out
    folder = run.path / "stress" / "quick"
    kept = {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
    assert set(kept) == {"clean.parquet", "fog_4.parquet", "impulse_noise_4.parquet", "occlusion_0.3.parquet"}
    table = pq.read_table(folder / "fog_4.parquet").to_pandas()
    assert (set(table.condition), set(table.severity), len(table)) == ({"fog"}, {4.0}, 80)
    assert summary["cells"][1]["accuracy"] == table.correct.mean()
    assert load_json(folder / "summary.json")["mean"]["cells"] == 2
    with Image.open(folder / "accuracy.png") as picture:
        assert picture.size[0] > 500
    clean, test = pq.read_table(folder / "clean.parquet").to_pandas(), run.load_predictions("test")
    assert (clean.pred.to_numpy() == test.pred[np.searchsorted(test.index, clean["index"])]).mean() > 0.98
    assert is_own(run.path)
    assert run.find_damage() is None

    (folder / "fog_4.parquet").write_bytes(kept["clean.parquet"])  # not the sealed one: made again
    calls.clear()
    ask()
    assert len(calls) == 2 + 1
    assert {path.name: path.read_bytes() for path in folder.glob("*.parquet")} == kept

    again, _ = ask("0_baseline_seed42", f"reference='{run.path}'")
    assert {row["difference"] for row in again["contrast"]["cells"]} == {0}
    with pytest.raises(RunError, match="first run stress-lab stress run="):
        ask("0_baseline_seed42", f"reference='{run.path.parent / '1_cutout_seed42'}'")


def test_a_wrong_value_is_named_before_torch_is_imported(compose_config, tmp_path):
    with pytest.raises(ConfigError, match="say which run"):
        command.stress(compose_config(name="stress"))
    with pytest.raises(RunError, match="is not a run folder"):
        command.stress(compose_config(f"run='{tmp_path}'", name="stress"))
    run = f"run='{KEPT / '0_baseline_seed42'}'"
    for wrong in ("suite=quik", "seed=-1", "level=95", "checkpoint=first", "trust=yes", "frost=7"):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            command.stress(compose_config(run, wrong, name="stress"))
    assert Cell(CLEAN).name == "clean"
