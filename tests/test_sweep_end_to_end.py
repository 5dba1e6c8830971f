"""One real sweep of the demo, short; everything a user gets from it is checked, and redone from its records."""

import csv
import hashlib
import json
import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stress_lab import recording
from stress_lab.cli import compare, evaluate, train
from stress_lab.comparison.loading import load_finished
from stress_lab.publishing import explained
from stress_lab.recording import record_gradcam
from stress_lab.records import SPLITS
from stress_lab.report.numbers import Speaker
from stress_lab.report.words import headline
from stress_lab.runs.find import load_runs
from stress_lab.runs.folder import RunDir
from stress_lab.saliency.gradcam import grad_cam
from stress_lab.storage.seals import is_own, load_seal
from stress_lab.sweeps import callback
from stress_lab.training import build

OVERRIDES = ["trainer.max_epochs=2", "optim.lr=0.05", "model.width=8", "callbacks.gradcam.limit=4", "threads=1"]
OVERRIDES += ["trainer.limit_train_batches=30"]


def run_command(monkeypatch, main, *arguments):
    """Run one of the commands in this process; returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["stress-lab", *arguments])
    try:
        main()
    except SystemExit as stop:
        return stop.code or 0
    return 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The sweep's folder; the command ran in an empty folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        place = tmp_path_factory.mktemp("user")
        monkeypatch.chdir(place)
        status = run_command(monkeypatch, train.main, "-m", "experiment=demo", *OVERRIDES, "launcher=basic")
        assert status == 0
        assert os.listdir(place) == ["multirun"]
        (swept,) = (place / "multirun" / "demo").iterdir()
        return swept


@pytest.fixture(scope="module")
def runs(folder):
    return load_runs(folder)


def test_both_variants_finished_and_learnt(runs):
    assert [run.path.name for run in runs] == ["0_baseline_seed42", "1_cutout_seed42"]
    for run in runs:
        info = run.load_info()
        assert info.state == "finished"
        assert info.hardware["precision"] in ("bf16-mixed", "32-true")
        assert (
            info.versions["torch"] == torch.__version__.partition("+")[0] or info.versions["torch"] == torch.__version__
        )
        accuracies = [row["val/acc"] for row in run.load_history()]
        assert accuracies[-1] > max(0.5, accuracies[0])
        assert info.metrics["test/acc"] > 0.5
        assert info.metrics["failures/count"] == len(run.load_failures())


def test_each_run_is_signed_and_every_record_is_sealed(runs):
    for run in runs:
        seal = load_seal(run.path)
        assert is_own(run.path)
        assert seal.run == run.load_info().id != ""
        assert list(seal.files) == run.list_records()
        weights = {"checkpoints/last.ckpt", "checkpoints/best.ckpt"}
        assert {"status.json", "split.json", "gradcam/maps.npz", "figures/training_curves.png", *weights} < {
            *seal.files
        }
        for name in {*seal.files} - weights:
            assert seal.files[name] == hashlib.sha256((run.path / name).read_bytes()).hexdigest()
        assert run.find_damage() is None
    assert len({run.load_info().id for run in runs}) == len(runs)


def test_variants_differ_in_the_augmentation_only(runs):
    a, b = (dict(run.config) for run in runs)
    differing = {key for key in a if a[key] != b[key]}
    assert differing == {"augment", "variant"}
    history = [run.load_history() for run in runs]
    assert history[0][0]["train/loss"] != history[1][0]["train/loss"]


@pytest.mark.parametrize("split", SPLITS)
def test_predictions_cover_each_split_once(runs, split):
    recorded = [run.load_predictions(split) for run in runs]
    np.testing.assert_array_equal(recorded[0].index, recorded[1].index)
    assert len(recorded[0]) == {"train": 2000, "val": 1000, "test": 2000}[split]
    parts = json.loads(runs[0].split_file.read_text())
    if split != "test":
        assert set(recorded[0].index) <= set(parts[split])
    assert not set(parts["train"]) & set(parts["val"])


def test_val_predictions_agree_with_what_training_logged(runs):
    """Logged in mixed precision, predicted in float32: equal but for a few borderline images."""
    for run in runs:
        logged = run.load_history()[-1]["val/acc"]
        assert abs(run.load_evaluation()["val"]["accuracy"] - logged) < 0.01


def test_records_agree_with_each_other(runs):
    for run in runs:
        table = pd.read_parquet(run.predictions_file("test"))
        confident = table[~table["correct"] & (table["confidence"] > 0.7)]
        failures = run.load_failures()
        assert {failure.index for failure in failures} == set(confident["index"])
        evaluation = run.load_evaluation()["test"]
        assert evaluation["accuracy"] == table["correct"].mean()
        assert evaluation["confident_failures"]["count"] == len(confident)
        with (run.path / "history.csv").open() as file:
            assert [float(row["val/acc"]) for row in csv.DictReader(file)] == [r["val/acc"] for r in run.load_history()]


def test_every_documented_file_is_there(folder, runs):
    """multirun/README.md is the list; one line a file."""
    from tests.test_documents import documented_files

    for run in runs:
        for pattern in documented_files("A run"):
            assert list(run.path.glob(pattern)), pattern
    for pattern in documented_files("A sweep"):
        assert list(folder.glob(pattern)), pattern


def test_nothing_undocumented_is_left(folder, runs):
    from tests.test_documents import documented_files

    known = {path for run in runs for pattern in documented_files("A run") for path in run.path.glob(pattern)}
    known |= {path for pattern in documented_files("A sweep") for path in folder.glob(pattern)}
    known |= {path for pattern in documented_files("Some runs and sweeps") for path in folder.glob(pattern)}
    assert {path for path in folder.rglob("*") if path.is_file()} - known == set()


def test_figures_are_pictures(folder):
    pictures = [path for path in folder.rglob("*.png") if path.name != "sprite.png"]
    assert len(pictures) > 20
    for path in pictures:
        pixels = np.asarray(Image.open(path).convert("L"))
        assert min(pixels.shape) > 200
        assert pixels.std() > 5


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_the_notebook_opens_the_sweep(folder, monkeypatch):
    from tests.notebook_runner import execute, pictures

    outputs = execute("open_a_sweep", folder.parents[2], monkeypatch)
    assert pictures(outputs) >= 10
    assert "0_baseline_seed42" in str(outputs[0])


def test_checkpoints_hold_plain_data_and_give_the_recorded_predictions(runs):
    from stress_lab.inference import predict
    from stress_lab.training.build import load_classifier, load_datamodule

    for name in ("last", "best"):
        checkpoint = torch.load(runs[0].checkpoint(name), weights_only=True)
        assert "state_dict" in checkpoint
    source = load_datamodule(runs[0])
    again = predict(load_classifier(runs[0], "last", source.spec), source.eval_loader("test"))
    np.testing.assert_allclose(again.logits, runs[0].load_predictions("test").logits, atol=1e-5)


def test_recorded_maps_are_those_of_the_checkpoint(runs):
    from stress_lab.training.build import load_classifier, load_datamodule

    source = load_datamodule(runs[0])
    model = load_classifier(runs[0], "last", source.spec)
    maps = np.load(runs[0].gradcam / "maps.npz")
    failures = runs[0].load_failures()[:4]
    assert maps["index"].tolist() == [failure.index for failure in failures]
    images = source.normalize(torch.from_numpy(np.array(source.split("test").images[maps["index"]])))
    cam = grad_cam(model, model.net.layer3, images, np.array([failure.pred for failure in failures]))
    np.testing.assert_allclose(maps["predicted"], cam.raw, atol=1e-5)
    assert cam.raw.shape == (4, 7, 7)


@pytest.mark.slow
def test_maps_and_tiles_do_not_depend_on_the_batch(runs, tmp_path, monkeypatch):
    from stress_lab.training.build import load_classifier, load_datamodule

    again = RunDir(shutil.copytree(runs[0].path, tmp_path / "run"))
    for file in (again.gradcam / "maps.npz", again.gradcam / "contact_sheet.png"):
        file.unlink()
    source = load_datamodule(again)
    source.batch_size = 3  # four failures are explained
    model = load_classifier(again, "last", source.spec)
    at_once = []
    monkeypatch.setattr(recording, "grad_cam", lambda *args: (at_once.append(len(args[2])), grad_cam(*args))[1])
    record_gradcam(again, model, model.net, source, "layer3", "test", 4)
    assert at_once == [3, 3, 1, 1]  # predicted and true class
    once, twice = (np.load(run.gradcam / "maps.npz") for run in (runs[0], again))
    for name in ("index", "predicted", "true"):
        np.testing.assert_allclose(twice[name], once[name], atol=1e-5)
    drawn = sorted(again.gradcam.glob("*.png"))
    assert [file.name for file in drawn] == sorted(file.name for file in runs[0].gradcam.glob("*.png"))
    assert len(drawn) == 5
    for file in drawn:
        pictures = [np.asarray(Image.open(folder / file.name), int) for folder in (runs[0].gradcam, again.gradcam)]
        assert np.abs(pictures[0] - pictures[1]).max() <= 3  # levels of 255, of what rounding leaves


def test_tensorboard_has_scalars_figures_and_real_hyperparameters(runs):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    for run in runs:
        events = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
        events.Reload()
        tags = events.Tags()
        logged = [event.value for event in events.Scalars("val/acc")]
        np.testing.assert_allclose(logged, [row["val/acc"] for row in run.load_history()], rtol=1e-6)
        expected = {"failures/grid", "gradcam/layer3", "training/curves", "test/confusion_matrix", "test/reliability"}
        assert expected <= set(tags["images"])
        metadata = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        params = HParamsPluginData.FromString(metadata).session_start_info.hparams
        assert params["variant"].string_value == run.config["variant"]
        assert params["optim.lr"].number_value == 0.05
        experiment = HParamsPluginData.FromString(events.SummaryMetadata("_hparams_/experiment").plugin_data.content)
        names = {info.name.tag for info in experiment.experiment.metric_infos}
        assert {"final/test/acc", "final/failures/count"} <= names
        logged = events.Scalars("final/test/acc")[-1].value
        np.testing.assert_allclose(logged, run.load_info().metrics["test/acc"], rtol=1e-6)


def test_comparison_counts_what_the_predictions_say(folder, runs):
    comparison = json.loads((folder / "comparison.json").read_text())
    (pair,) = comparison["pairs"]
    a, b = (run.load_predictions("test") for run in runs)
    assert pair["accuracy"]["table"]["only_b"] == int((~a.correct & b.correct).sum())
    assert pair["fixed"] == a.index[~a.correct & b.correct].tolist()
    assert pair["broken"] == a.index[a.correct & ~b.correct].tolist()
    with (folder / "disagreements" / "cutout_vs_baseline_seed42.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert [int(row["index"]) for row in listed if row["outcome"] == "fixed"] == pair["fixed"]


@pytest.mark.slow
def test_comparing_again_changes_nothing(folder, monkeypatch, capsys):
    names = ("comparison.json", "gallery.json", "report.html", "failure_rates.csv")
    before = {name: (folder / name).read_bytes() for name in names}
    assert run_command(monkeypatch, compare.main, f"sweep={folder}") == 0
    assert {name: (folder / name).read_bytes() for name in names} == before
    printed = " ".join(capsys.readouterr().out.split())
    record = {"comparison": json.loads(before["comparison.json"])}
    for place in range(len(record["comparison"]["questions"])):
        assert headline(Speaker(record, ("comparison", "questions", place))) in printed
    assert "two trained networks, the same 2,000 test images" in printed
    assert "report.html" in printed


def test_the_page_shows_every_failure_with_the_maps_of_the_checkpoints(folder, runs):
    gallery = json.loads((folder / "gallery.json").read_text())
    failed = {failure.index for run in runs for failure in run.load_failures()}
    cards = gallery["cards"]
    assert {cards[number]["index"] for number in gallery["order"]} == failed
    pictures = np.load(folder / "gallery.npz")
    assert pictures["index"].tolist() == [card["index"] for card in cards]
    recorded = np.load(runs[0].gradcam / "maps.npz")
    for place, index in enumerate(recorded["index"]):
        ours = pictures["predicted_0"][pictures["index"] == index][0]
        np.testing.assert_allclose(ours, recorded["predicted"][place], atol=1e-5)


@pytest.mark.slow
def test_maps_of_a_page_are_made_on_the_cpu_where_the_device_fails(runs, monkeypatch, caplog):
    (loaded,) = load_finished(runs[:1])
    source = build.load_datamodule(runs[0])
    index = loaded.scores.index[:3]
    expected = explained.explain_images(loaded, source, index, "layer3")
    monkeypatch.setattr(explained, "choose_accelerator", lambda requested: "meta")  # a device that computes nothing
    found = explained.explain_images(loaded, source, index, "layer3")
    assert "meta failed" in caplog.text
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.raw, other.raw)


@pytest.mark.slow
def test_gates_end_the_command_with_their_own_status(folder, monkeypatch, tmp_path, capsys):
    (tmp_path / "report.html").write_text("of another comparison")
    quick = [f"sweep={folder}", f"out={tmp_path}", "report=false", "gallery=0", "cases_per_outcome=0", "resamples=100"]
    assert run_command(monkeypatch, compare.main, *quick, "gates.min_accuracy=0.1") == 0
    assert run_command(monkeypatch, compare.main, *quick, "gates.min_accuracy=0.999") == 3
    assert "gate min_accuracy=0.999 (cutout) failed" in capsys.readouterr().err
    gates = json.loads((tmp_path / "gates.json").read_text())
    assert not gates["passed"]
    assert [gate["gate"] for gate in gates["gates"]] == ["min_accuracy"]
    assert not (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_a_sweep_of_runs_and_their_prediction_files_agree(folder, runs, monkeypatch, tmp_path):
    """The predictions that a run leaves are a file that the other way of comparing reads."""
    files = ",".join(f"{run.config['variant']}: {run.predictions_file('test')}" for run in runs)
    status = run_command(monkeypatch, compare.main, f"predictions={{{files}}}", f"out={tmp_path}", "report=false")
    assert status == 0
    ours = json.loads((tmp_path / "comparison.json").read_text())
    swept = json.loads((folder / "comparison.json").read_text())
    for one, other in zip(ours["questions"], swept["questions"], strict=True):
        assert {key: one[key] for key in ("verdict", "table", "p", "interval")} == {
            key: other[key] for key in ("verdict", "table", "p", "interval")
        }


@pytest.mark.slow
def test_evaluating_again_gives_the_same_records(runs, monkeypatch):
    run = runs[1]
    before = {path: path.read_bytes() for path in (run.evaluation_file, run.failures_file)}
    assert run_command(monkeypatch, evaluate.main, f"run={run.path}", "limit=4") == 0
    for path, content in before.items():
        assert json.loads(path.read_text()) == json.loads(content)
    assert is_own(run.path)
    assert run.find_damage() is None
    assert run.list_lost() == []


@pytest.mark.slow
def test_a_copied_run_is_evaluated_once_it_is_trusted_and_then_ones_own(runs, monkeypatch, tmp_path, capsys):
    copy, edited = RunDir(tmp_path / "copy"), json.loads(runs[0].status_file.read_text())
    shutil.copytree(runs[0].path, copy.path)
    monkeypatch.setenv("STRESS_LAB_KEY", str(tmp_path / "key"))
    assert run_command(monkeypatch, evaluate.main, f"run={copy.path}", "limit=0") == 2
    assert "was not made by you" in capsys.readouterr().err
    copy.predictions_file("test").write_bytes(runs[1].predictions_file("test").read_bytes())
    assert run_command(monkeypatch, evaluate.main, f"run={copy.path}", "limit=0", "trust=true") == 0
    assert "is now signed as your own" in capsys.readouterr().out
    assert is_own(copy.path)
    assert copy.predictions_file("test").read_bytes() == runs[0].predictions_file("test").read_bytes()
    assert copy.find_damage() is None
    assert copy.load_info().metrics == edited["metrics"]
    assert run_command(monkeypatch, evaluate.main, f"run={copy.path}", "limit=0") == 0


@pytest.mark.slow
def test_any_split_and_checkpoint_can_be_evaluated(runs, monkeypatch):
    run = runs[0]
    assert run_command(monkeypatch, evaluate.main, f"run={run.path}", "checkpoint=best", "split=val", "limit=1") == 0
    out = RunDir(run.path / "evaluate_best_val")
    assert out.load_info().metrics["val/acc"] == out.load_evaluation()["val"]["accuracy"]
    best = max(row["val/acc"] for row in run.load_history())
    assert abs(out.load_evaluation()["val"]["accuracy"] - best) < 0.01
    assert (out.gradcam / "contact_sheet.png").is_file()
    import shutil

    shutil.rmtree(out.path)


@pytest.mark.slow
def test_the_best_weights_are_compared_and_explained_as_such(runs, monkeypatch, tmp_path, capsys):
    run, made = runs[0], f"out={runs[0].path / 'best'}"
    assert run_command(monkeypatch, evaluate.main, f"run={run.path}", "checkpoint=best", made, "limit=0") == 0
    assert run_command(monkeypatch, evaluate.main, f"run={run.path}", "split=val", made) == 2
    assert "best holds records of checkpoint=best: choose another folder" in capsys.readouterr().err
    both, loaded, load = f"runs=[{run.path},{run.path / 'best'}]", [], explained.load_classifier

    def note(run, checkpoint, spec, trust):
        loaded.append((run.path.name, checkpoint))
        return load(run, checkpoint, spec, trust)

    monkeypatch.setattr(explained, "load_classifier", note)
    small = ["cases_per_outcome=1", "gallery=3", "resamples=100", f"out={tmp_path}"]
    assert run_command(monkeypatch, compare.main, both, *small) == 0
    comparison = json.loads((tmp_path / "comparison.json").read_text())
    assert comparison["weights"] == "last epoch, checkpoint=best"
    (told,) = (one["sentence"] for one in comparison["guard"] if one["check"] == "selection")
    assert "the weights of the last epoch (baseline" in told
    assert "checkpoint=best (baseline" in told
    with np.load(tmp_path / "gallery.npz") as pictures:
        assert pictures["layers"].tolist() == ["layer3", "layer3"]
        assert set(pictures) >= {"predicted_0", "predicted_1"}
    assert set(loaded) == {(run.path.name, str(run.checkpoint("last"))), ("best", str(run.checkpoint("best")))}
    import shutil

    shutil.rmtree(run.path / "best")


@pytest.mark.slow
def test_two_runs_by_name_give_the_sweeps_numbers(folder, runs, monkeypatch, tmp_path):
    listed = ",".join(str(run.path) for run in runs)
    status = run_command(
        monkeypatch, compare.main, f"runs=[{listed}]", f"out={tmp_path}", "cases_per_outcome=0", "report=false"
    )
    assert status == 0
    ours = json.loads((tmp_path / "comparison.json").read_text())
    assert ours["pairs"] == json.loads((folder / "comparison.json").read_text())["pairs"]


@pytest.mark.slow
def test_the_same_seed_repeats_bit_for_bit_and_another_does_not(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bare = [f"~callbacks.{name}" for name in ("board", "gradcam", "failures", "predictions", "terminal")]
    assert run_command(monkeypatch, train.main, "experiment=demo", *OVERRIDES[:3], *OVERRIDES[4:], *bare) == 0
    other = ["experiment=demo", *OVERRIDES, "seed=0", "trainer.max_epochs=1", "trainer.limit_train_batches=2"]
    other += ["callbacks.terminal.every=0", "+comparison.report=false"]
    assert run_command(monkeypatch, train.main, *other, "name=zero") == 0
    again = RunDir(next((tmp_path / "multirun" / "demo").glob("*/0_baseline_seed42")))
    first, second = (torch.load(run.checkpoint("last"), weights_only=True)["state_dict"] for run in (runs[0], again))
    assert all(torch.equal(first[key], second[key]) for key in first)
    zero = RunDir(next((tmp_path / "multirun" / "zero").glob("*/0_baseline_seed0")))
    assert zero.config["seed"] == 0
    assert "epoch 1/1  batch 1 of 2" in (zero.path / "train.log").read_text()
    assert not torch.equal(
        torch.load(zero.checkpoint("last"), weights_only=True)["state_dict"]["net.conv1.weight"],
        first["net.conv1.weight"],
    )


@pytest.mark.slow
def test_a_failing_run_is_reported_and_the_others_are_compared(tmp_path, monkeypatch, caplog):
    """The second variant's loss explodes to NaN; the first finishes, and the exit status says that not all is well."""
    monkeypatch.chdir(tmp_path)
    quick = [
        "trainer=smoke",
        "model.width=4",
        "callbacks.gradcam.limit=0",
        "logger=csv",
        "threads=1",
        "data.val_size=0",
    ]
    jobs = ["optim.optimizer=SGD", "optim.lr=0.01,1e30", "~callbacks.checkpoint_best"]
    status = run_command(monkeypatch, train.main, "-m", *quick, *jobs, "launcher=basic")
    assert status == 1
    (swept,) = (tmp_path / "multirun" / "quick").iterdir()
    infos = [run.load_info() for run in load_runs(swept)]
    assert [info.state for info in infos] == ["finished", "failed"]
    assert "not finite" in infos[1].error
    assert (swept / "comparison.json").is_file()
    assert callback.exit_status() == 1


@pytest.mark.slow
def test_own_images_and_own_net(make_tree, tmp_path, monkeypatch):
    """A user's tree of colour images and a net of torchvision's, by _target_."""
    root = make_tree({"train": {"a": 40, "b": 40, "c": 40}, "test": {"a": 8, "b": 8, "c": 8}}, size=(32, 32))
    monkeypatch.chdir(tmp_path)
    status = run_command(
        monkeypatch,
        train.main,
        "data=image_folder",
        f"data.root={root}",
        "model=custom",
        "model._target_=torchvision.models.squeezenet1_1",
        "+model.num_classes=3",
        "callbacks.gradcam.layer=features",
        "threshold=0.0",
        "trainer=smoke",
        "logger=csv",
        "threads=1",
    )
    assert status == 0
    run = load_runs(next((tmp_path / "multirun" / "quick").iterdir()))[0]
    assert run.load_spec().classes == ("a", "b", "c")
    assert run.load_failures()[0].file.startswith("test/")
    assert (run.gradcam / "contact_sheet.png").is_file()
    assert "Which classes fail" in (run.path / "report.html").read_text()
