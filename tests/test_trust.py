"""Runs of somebody else: read as records, never executed; and records that are not those that a run left are named."""

import json
import re
import resource
import shutil
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from omegaconf import OmegaConf

from stress_lab import recording
from stress_lab.cli import compare, earlier, evaluate, resealing
from stress_lab.comparison import summary
from stress_lab.comparison.loading import load_finished
from stress_lab.errors import ConfigError, RunError, StressLabError
from stress_lab.files import load_json, save_json
from stress_lab.preflight.comparison_rules import make_options
from stress_lab.records import Predictions
from stress_lab.runs.folder import RunDir
from stress_lab.storage import keys
from stress_lab.storage.seals import is_own, load_seal, write_seal
from stress_lab.sweeps import resume
from stress_lab.training import build
from stress_lab.training.fit import collect_metrics
from tests.blank import blank_exports
from tests.hostile_runs import EVIL, FEW, ROWS, make_run

MOST = 600  # megabytes that any hostile folder may cost


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """A current folder of its own, a key of its own, and no heavy drawing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRESS_LAB_KEY", str(tmp_path / "key"))
    blank_exports(monkeypatch)
    monkeypatch.setattr(summary, "describe_confidence", lambda *_: None)  # curves, which take longest


@pytest.fixture(scope="module")
def unsealed(tmp_path_factory):
    """A sweep's folder with two runs."""
    folder = tmp_path_factory.mktemp("unsealed")
    for k, name in enumerate(("baseline", "cutout")):
        make_run(folder / f"{k}_{name}", name)
    return folder


@pytest.fixture
def pair(unsealed, tmp_path):
    """Two sealed runs of this user's own."""
    runs = [RunDir(path) for path in sorted(shutil.copytree(unsealed, tmp_path / "sweep").iterdir())]
    for run in runs:
        run.write_seal("0" * 32)
    return runs


@cache
def _make_options():
    return make_options(OmegaConf.create({"resamples": 100, "report": False}))


def choose(**changed):
    """Options of a comparison that takes little time."""
    return OmegaConf.merge(_make_options(), changed)


def ask(runs, out, **changed):
    return compare.compare([RunDir(run.path) for run in runs], out, "title", choose(**changed), strict=True)


def steal(*runs):
    """Make runs those of somebody else, by losing the key that signed them."""
    keys.key_file().unlink(missing_ok=True)
    for run in runs:
        assert not is_own(run.path)


@pytest.fixture
def built(monkeypatch):
    """Names of the runs of which a net or images are asked for; none is built."""
    asked = []

    def refuse(run, *_):
        asked.append(run.path.name)
        raise RunError("not in this test")

    from stress_lab.publishing import explained

    monkeypatch.setattr(explained, "load_datamodule", refuse)
    return asked


def test_a_run_of_ones_own_is_drawn(pair, tmp_path, built, caplog):
    ask(pair, tmp_path / "out")
    assert set(built) == {"0_baseline"}
    assert "trust=true" not in caplog.text


@pytest.mark.parametrize("older", [False, True])
def test_of_a_foreign_run_no_net_is_built_and_one_sentence_says_so(pair, tmp_path, built, caplog, older):
    own = ask(pair, tmp_path / "own")
    for run in pair[:1] if older else ():
        run.seal_file.unlink()
    if not older:
        steal(*pair)
    built.clear()
    caplog.clear()
    found = ask(pair, tmp_path / "out")
    assert built == []
    (line,) = [record.getMessage() for record in caplog.records if "trust=true" in record.getMessage()]
    assert ("has no seal.json, like runs of older versions" in line) == older
    assert f"{1 if older else 2} of 2 runs are read as records only" in line
    assert found == own  # every number is there
    ask(pair, tmp_path / "out", trust=True)
    assert set(built) == {"0_baseline"}


def test_a_sweep_that_was_just_trained_needs_no_trust(pair, tmp_path, built):
    steal(*pair)
    runs = [RunDir(run.path) for run in pair]
    compare.compare(runs, tmp_path / "out", "title", choose(), strict=True, trust=True)
    assert set(built) == {"0_baseline"}
    with pytest.raises(ConfigError, match=r"comparison\.trust does not work in training"):
        make_options(OmegaConf.create({"trust": True}))


def test_maps_that_are_recorded_are_shown_and_not_made_again(pair, tmp_path, built, caplog):
    out = tmp_path / "out"
    ask(pair, out, cases_per_outcome=0, label_check=0)
    gallery = load_json(out / "gallery.json")
    n = len(gallery["cards"])
    maps = {f"{kind}_{k}": np.ones((n, 2, 2), np.float32) for kind in ("predicted", "true") for k in range(2)}
    images = np.zeros((n, 1, 8, 8), np.uint8)
    index = np.array([card["index"] for card in gallery["cards"]])
    arrays = {name: np.array(gallery[key]) for name, key in (("runs", "folders"), ("layers", "layers"))}
    arrays |= {"index": index, "images": images, "predictions": np.array(gallery["predictions"]), **maps}
    assert gallery["predictions"] == [load_seal(run.path).files["predictions/test.parquet"] for run in pair]
    np.savez(out / "gallery.npz", **arrays)
    for foreign in (False, True):
        if foreign:
            steal(*pair)
        built.clear()
        caplog.clear()
        ask(pair, out, cases_per_outcome=0, label_check=0)
        assert built == []
        assert "trust=true" not in caplog.text
    np.savez(out / "gallery.npz", **(arrays | {"predictions": arrays["predictions"][::-1]}))
    ask(pair, out, cases_per_outcome=0, label_check=0)
    assert "gallery.npz holds other pictures" in caplog.text
    assert "trust=true" in caplog.text


def test_evaluating_a_foreign_run_is_refused_before_its_config_is_looked_at(pair, compose_config, monkeypatch):
    steal(*pair)
    monkeypatch.setattr(evaluate, "check_typed_in_evaluation", lambda *_: pytest.fail("too late"))
    with pytest.raises(RunError, match=r"was not made by you.*: evaluating it would run the code .* set trust=true"):
        evaluate._task(compose_config(f"run={pair[0].path}", name="evaluate"))
    for load in (build.load_datamodule, lambda run: build.load_classifier(run, "last", None)):
        with pytest.raises(RunError, match="set trust=true"):
            load(RunDir(pair[0].path))


def test_the_config_that_is_used_is_the_one_that_was_signed(pair):
    """It is swapped after it was read, or before: either way what was read decides."""
    run = RunDir(pair[0].path)
    signed, other = run.config_file.read_bytes(), pair[1].config_file.read_bytes()
    run.config_file.write_bytes(other)
    assert run.config["variant"] == "cutout"
    run.config_file.write_bytes(signed)
    assert is_own(run.path)
    with pytest.raises(RunError, match=r"config\.yaml was changed after the run was signed"):
        build.load_datamodule(run)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A run that every row of the table changes a copy of."""
    folder = tmp_path_factory.mktemp("template") / "1_cutout"
    make_run(folder, "cutout")
    return folder


@pytest.mark.parametrize("rows", [FEW, pytest.param(ROWS, marks=pytest.mark.slow)], ids=["a row of each kind", "all"])
def test_no_hostile_folder_executes_anything(rows, template, tmp_path, compose_config, monkeypatch, caplog, capsys):
    """One test for the whole table, so that what is shared is made once; each row that fails is named."""
    (tmp_path / f"{EVIL}.py").write_text("import os\nos.mkdir('executed')\nclass Net: pass\nData = SGD = Net\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SECRET", "of-the-environment")
    (tmp_path / "outside.txt").write_text("outside")
    good = make_run(tmp_path / "0_baseline")
    command, wrong = compose_config("run=x", name="evaluate"), []
    for number, row in enumerate(rows):
        folder = tmp_path / f"row{number}" / "1_cutout"
        shutil.copytree(template, folder)
        row.change(folder)
        caplog.clear()
        capsys.readouterr()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        said = _try(lambda folder=folder: ask([RunDir(folder), good], folder.parent / "out", trust=False))
        command.run = str(folder)
        refused = _try(lambda: evaluate._task(command))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
        told = [record.getMessage() for record in caplog.records if "trust=true" in record.getMessage()]
        if row.said is None and (said is not None or len(told) != 1):
            wrong.append((row.name, "compared", said, told))
        if row.said is not None and (said is None or row.said not in said):
            wrong.append((row.name, "compared", said))
        if refused is None or "\n" in (said or "") + refused:
            wrong.append((row.name, "evaluated", refused))
        if grown > MOST or "of-the-environment" in f"{said}{refused}{caplog.text}{capsys.readouterr().out}":
            wrong.append((row.name, f"{grown:.0f} MB, or the environment was read"))
        if (tmp_path / "executed").exists() or EVIL in sys.modules:
            wrong.append((row.name, "EXECUTED"))
            break
    assert wrong == []
    assert len(ROWS) > 100
    assert len(FEW) > 20
    assert (tmp_path / "outside.txt").read_text() == "outside"
    assert not list(tmp_path.glob("row*/*escape*"))


def _try(act):
    """The sentence that a command ends in, or None; any other exception is what this table is to find."""
    try:
        act()
    except StressLabError as error:
        return str(error)
    except Exception as error:
        return f"TRACEBACK {type(error).__name__}: {error}"
    return None


def test_the_hostile_module_of_these_tests_works(tmp_path, monkeypatch):
    (tmp_path / f"{EVIL}.py").write_text("import os\nos.mkdir('executed')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__(EVIL)
    assert (tmp_path / "executed").is_dir()
    del sys.modules[EVIL]


@pytest.mark.parametrize("name", ["cases", "disagreements", "tensorboard"])
def test_a_link_in_a_copied_sweep_leads_nowhere(pair, tmp_path, name):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "data.csv").write_text("mine")
    (tmp_path / "sweep" / name).symlink_to(tmp_path / "thesis")
    with pytest.raises(RunError, match=rf"{name} is a link to another folder.*remove the link, or set out=FOLDER"):
        ask(pair, tmp_path / "sweep")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["data.csv"]
    ask(pair, tmp_path / "out", gallery=0, cases_per_outcome=0)


@pytest.mark.parametrize("content", [b"PK", b"", b"\x93NUMPY", None])
def test_pictures_of_a_copied_sweep_that_cannot_be_read_are_not_shown(pair, tmp_path, caplog, content):
    steal(*pair)
    out = tmp_path / "sweep"
    if content is None:
        np.savez(out / "gallery.npz", index=np.array([{}], dtype=object))
    else:
        (out / "gallery.npz").write_bytes(content)
    ask(pair, out)
    assert "gallery.npz holds other pictures than this comparison's" in caplog.text


def edit(name, old, new):
    def change(run):
        path = run.path / name
        content = path.read_bytes()
        assert content.count(old)
        path.write_bytes(content.replace(old, new, 1))

    return change


def flip(name):
    """Change a label in a table, whose numbers stay plausible."""

    def change(run):
        was = run.load_predictions("test")
        label = np.where(np.arange(len(was)) == 3, (was.label + 1) % 4, was.label)
        run.save_predictions("test", Predictions(was.index, label, was.logits))

    return change


def remove(name):
    return lambda run: (run.path / name).unlink()


def copy_from_other(name):
    return lambda run: shutil.copy(run.path.parent / "1_cutout" / name, run.path / name)


EVALUATE = r"stress-lab evaluate run=\S*0_baseline rewrites it"
TRAIN = r"the command in \S*status\.json, run again with the same code, rewrites it"
EITHER = r"put it back, or run the command in \S*status\.json again"
TAMPERED = [
    (flip("predictions/test.parquet"), r"test\.parquet is not the file that the run left", EVALUATE),
    (copy_from_other("predictions/test.parquet"), r"test\.parquet is not the file", EVALUATE),
    (copy_from_other("predictions/val.parquet"), r"val\.parquet is not the file", TRAIN),
    (copy_from_other("evaluation.json"), r"evaluation\.json is not the file", EVALUATE),
    (edit("evaluation.json", b'"ece": 0', b'"ece": 1'), r"evaluation\.json is not the file", EVALUATE),
    (edit("history.json", b'"val/acc": 0.2', b'"val/acc": 0.3'), r"history\.json is not the file", TRAIN),
    (edit("failures/failures.json", b'"rank": 1', b'"rank": 2'), r"failures\.json is not the file", EVALUATE),
    (edit("data.json", b'"here"', b'"there"'), r"data\.json is not the file", TRAIN),
    (edit("fingerprint.json", b'"1"', b'"2"'), r"fingerprint\.json is not the file", TRAIN),
    (edit("status.json", b'"seconds": 3.0', b'"seconds": 2.0'), r"status\.json is not the file", EITHER),
    (edit("config.yaml", b"lr: 0.1", b"lr: 0.2"), r"config\.yaml is not the file", EITHER),
    (edit(".hydra/overrides.yaml", b"demo", b"domo"), r"overrides\.yaml is not the file", TRAIN),
    (copy_from_other("properties/test.parquet"), r"properties\S*test\.parquet is not the file", EVALUATE),
    (copy_from_other("seal.json"), r"status\.json is not the file|config\.yaml is not the file", EITHER),
    (remove("history.json"), r"history\.json is missing, which seal\.json lists", TRAIN),
    (remove("fingerprint.json"), r"fingerprint\.json is missing", TRAIN),
    (remove("failures/failures.json"), r"failures\.json is missing", EVALUATE),
    (remove("properties/test.parquet"), r"properties\S*test\.parquet is missing", EVALUATE),
    (remove("predictions/val.parquet"), r"val\.parquet is missing", TRAIN),
]


@pytest.mark.parametrize(("change", "what", "typed"), TAMPERED)
def test_a_record_that_is_not_the_runs_is_named_with_what_to_type(pair, tmp_path, change, what, typed):
    change(RunDir(pair[0].path))
    with pytest.raises(RunError, match=rf"({what}).*{typed}"):
        ask(pair, tmp_path / "out")
    assert re.search(rf"({what}).*{typed}", RunDir(pair[0].path).find_damage())
    steal(*pair)  # whoever signed it
    with pytest.raises(RunError, match=what):
        ask(pair, tmp_path / "out")


def test_a_seal_of_another_run_is_named(tmp_path):
    runs = [make_run(tmp_path / f"{k}_x", run_id=str(k) * 32) for k in range(2)]
    for k, run in enumerate(runs):
        run.write_seal(str(k) * 32)
    shutil.copy(runs[1].seal_file, runs[0].seal_file)
    shutil.copy(runs[1].config_file, runs[0].config_file)
    with pytest.raises(RunError, match=r"0_x/status\.json is not the file|0_x/seal\.json is of another run"):
        ask(runs, tmp_path / "out")


def test_an_untouched_run_is_whole(pair, tmp_path):
    for run in pair:
        assert RunDir(run.path).find_damage() is None
        assert RunDir(run.path).list_lost() == []
        assert earlier.find_work(RunDir(run.path)) is None
    ask(pair, tmp_path / "out", gallery=0, cases_per_outcome=0)


def test_records_that_contradict_each_other_are_named_without_a_seal(pair, tmp_path):
    """Both ways: numbers that do not fit, and numbers that fit by chance beside another digest."""
    run = RunDir(pair[0].path)
    run.seal_file.unlink()
    was = run.load_predictions("test")
    run.save_predictions("test", Predictions(was.index, was.label, was.logits * np.float32(1.01)))
    with pytest.raises(RunError, match=rf"evaluation\.json and \S*test\.parquet contradict each other.*{EVALUATE}"):
        ask(pair, tmp_path / "out")
    evaluation = load_json(run.evaluation_file)
    del evaluation["test"]["predictions_sha256"]  # as older versions wrote it
    save_json(run.evaluation_file, evaluation)
    with pytest.raises(RunError, match=rf"failures\.json and \S*test\.parquet contradict each other.*{EVALUATE}"):
        ask(pair, tmp_path / "out")
    run.failures_file.unlink()
    ask(pair, tmp_path / "out")
    flip("")(run)
    with pytest.raises(RunError, match=rf"reports \d+ errors among 60 test images, but .*{EVALUATE}"):
        ask(pair, tmp_path / "out")


LOST = [
    ("figures/test_reliability.png", True, "figures/test_reliability.png is missing or changed"),
    ("failures/grid.png", True, "failures/grid.png is missing or changed"),
    ("failures/failures.csv", True, "failures/failures.csv is missing or changed"),
    ("split.json", True, "split.json is missing or changed"),
    ("history.csv", True, "history.csv is missing or changed"),
    ("history.json", True, "history.json is missing, which seal.json lists"),
]


@pytest.mark.parametrize(("name", "again", "said"), LOST)
@pytest.mark.parametrize("gone", [True, False])
def test_what_a_finished_run_lacks_is_made_again_or_said(pair, caplog, monkeypatch, name, again, said, gone):
    monkeypatch.setattr(earlier, "is_whole", lambda run, name: run.checkpoint(name).is_file())
    run = RunDir(pair[0].path)
    if gone:
        (run.path / name).unlink()
    else:
        (run.path / name).write_bytes(b"[]")
    work = earlier.find_work(run)
    assert (work is not None) == again
    told = caplog.text if work is None else work
    assert (said if gone else said.partition(" is missing")[0].rpartition("/")[2]) in told
    if name == "history.json":
        earlier.drop_changed(run)
        assert not run.history_file.is_file()


def test_without_a_checkpoint_pictures_that_are_gone_are_said_and_nothing_is_trained(pair, caplog):
    run = RunDir(pair[0].path)
    for name in (
        "checkpoints/last.ckpt",
        "figures/test_reliability.png",
        "failures/grid.png",
        "history.csv",
        "split.json",
    ):
        (run.path / name).unlink()
    assert earlier.find_work(run) is None
    assert re.search(r"\S+, \S+, \S+ and 1 more are missing or changed, and only training", caplog.text)


def test_a_run_that_was_killed_before_its_seal_is_finished_by_the_same_command(pair, tmp_path):
    run = RunDir(pair[0].path)
    write_seal(run.path, ["config.yaml"], "0" * 32)  # as when it began
    assert "was interrupted as it finished" in earlier.find_work(run)
    with pytest.raises(RunError, match=r"was interrupted as it finished.* run the command in \S+ again"):
        ask(pair, tmp_path / "out")


def test_taking_up_a_foreign_run_is_said(pair, caplog):
    earlier.warn_foreign(RunDir(pair[0].path))
    assert caplog.text == ""
    steal(pair[0])
    earlier.warn_foreign(RunDir(pair[0].path))
    assert "was not made by you" in caplog.text
    caplog.clear()
    pair[0].seal_file.unlink()  # of an older version, as every run once was
    earlier.warn_foreign(RunDir(pair[0].path))
    assert caplog.text == ""


class Source:
    """As much of a data module as an evaluation asks for."""

    def eval_loader(self, split):
        return type("Loader", (), {"pipeline": "plain"})


@pytest.fixture
def evaluated(monkeypatch):
    """What evaluating writes, without its figures."""
    for name in ("draw_confusion_matrix", "draw_reliability"):
        monkeypatch.setattr(recording, name, lambda *_: None)
    monkeypatch.setattr(recording, "render", lambda figure: figure)
    monkeypatch.setattr(recording, "save_figure", lambda _, path: path.write_bytes(b"drawn"))

    def again(run):
        """Evaluate the test split of a run into its own folder, as the command does after it has predicted."""
        splits = ["test", *evaluate._renew_evaluation(run, Source(), "test")]
        run.save_predictions("test", make_run(run.path.parent / "same", "baseline").load_predictions("test"))
        recording.record_evaluation(run, "test", Source())
        info = run.load_info()
        run.save_info(replace(info, metrics=collect_metrics(run)))
        resealing.reseal(run, info.id, ["status.", *resealing.list_starts(splits)], drew=False)

    return again


def test_evaluating_again_mends_what_was_edited_and_signs_nothing_else(pair, tmp_path, evaluated, caplog):
    run = RunDir(pair[0].path)
    flip("")(run)
    copy_from_other("evaluation.json")(run)
    evaluated(RunDir(run.path))
    assert "evaluation.json is rewritten" in caplog.text
    assert RunDir(run.path).find_damage() is None
    assert is_own(run.path)
    found = RunDir(run.path).load_info()
    assert found.metrics["test/acc"] == RunDir(run.path).load_evaluation()["test"]["accuracy"]
    ask(pair, tmp_path / "out", gallery=0, cases_per_outcome=0)


@pytest.mark.parametrize("name", ["history.json", "predictions/val.parquet", "data.json", "fingerprint.json"])
def test_evaluating_again_signs_no_edited_record_that_it_does_not_write(pair, evaluated, name):
    run = RunDir(pair[0].path)
    if name.endswith(".json"):
        (run.path / name).write_bytes((run.path / name).read_bytes() + b"\n")
    else:
        was = run.load_predictions("val")
        run.save_predictions("val", Predictions(was.index, was.label, was.logits[:, ::-1]))
    evaluated(RunDir(run.path))
    assert f"{name} is not the file that the run left" in RunDir(run.path).find_damage()


def test_trust_signs_a_run_of_an_older_version(pair):
    run = RunDir(pair[0].path)
    run.seal_file.unlink()
    resealing.reseal(run, "", ["config."], drew=False)
    assert is_own(run.path)
    assert set(load_seal(run.path).files) == set(run.list_records())


def test_a_seal_of_somebody_elses_is_taken_over_as_it_is(pair):
    run, was = RunDir(pair[0].path), load_seal(pair[0].path).files
    steal(run)
    (run.path / "history.json").write_bytes(b"[]\n")
    resealing.reseal(run, "0" * 32, ["config."], drew=False)
    assert is_own(run.path)
    assert load_seal(run.path).files == was  # the edited history is still found
    assert "history.json" in RunDir(run.path).find_damage()


def test_maps_that_were_removed_leave_the_seal(pair):
    run = RunDir(pair[0].path)
    for number in range(2):
        run.gradcam.mkdir(exist_ok=True)
        (run.gradcam / f"failure_{number}.png").write_bytes(b"png")
    run.write_seal("0" * 32)
    (run.gradcam / "failure_1.png").unlink()
    resealing.reseal(run, "0" * 32, ["gradcam/"], drew=False)
    assert RunDir(run.path).list_lost() == ["gradcam/failure_1.png"]
    resealing.reseal(run, "0" * 32, ["gradcam/"], drew=True)
    assert RunDir(run.path).list_lost() == []


def test_a_run_says_by_which_predictions_its_records_go(pair):
    run = pair[0]
    digests = {split: load_seal(run.path).files[f"predictions/{split}.parquet"] for split in ("test", "val")}
    assert {split: one["predictions_sha256"] for split, one in load_json(run.evaluation_file).items()} == digests
    assert load_json(run.failures_file)["predictions_sha256"] == digests["test"]


def test_runs_of_older_versions_still_load(pair, tmp_path):
    run = RunDir(pair[0].path)
    run.seal_file.unlink()
    status = {key: value for key, value in load_json(run.status_file).items() if key != "id"}
    run.status_file.write_text(json.dumps(status))
    assert run.load_info().id == ""
    loaded = load_finished([run, pair[1]])
    assert [one.trusted for one in loaded] == [False, True]
    assert RunDir(run.path).find_damage() is None


def test_a_checkpoint_named_by_a_foreign_config_is_not_opened(pair, tmp_path, compose_config, monkeypatch):
    steal(*pair)
    monkeypatch.setattr("stress_lab.preflight.finished_run.check_checkpoint", lambda _: pytest.fail("it was opened"))
    with pytest.raises(RunError, match="set trust=true"):
        evaluate._task(compose_config(f"run={pair[0].path}", f"checkpoint={tmp_path / 'x.ckpt'}", name="evaluate"))


def test_a_config_that_only_looks_like_the_one_that_was_typed_is_not_taken_up(pair):
    """A key with a dot in it and a key within a group are one key in a list of dotted keys, and two in a config."""
    run = RunDir(pair[0].path)
    typed = {**run.config, "data": {"_target_": "stress_lab.data.datamodules.FashionSampleDataModule"}}
    run.save_config({**typed, "data": {"_target_": EVIL}, "data._target_": typed["data"]["_target_"]})
    with pytest.raises(ConfigError, match=r"'data\._target_' is not a key that a command writes"):
        resume.refuse_other_config(RunDir(run.path), typed, True)
    run.save_config(typed)
    resume.refuse_other_config(RunDir(run.path), typed, True)


def test_what_was_changed_is_not_sealed_as_if_it_were_the_runs_own(pair):
    run = RunDir(pair[0].path)
    for content in (b"{}", b"[]"):
        for name in ("throughput.json", "history.csv"):
            (run.path / name).write_bytes(content)
        if content == b"{}":
            run.write_seal(run.load_info().id)
    earlier.drop_changed(run)
    assert not (run.path / "throughput.json").exists()
    assert not run.history_file.exists()  # written with the table, from the checkpoint's rows
    assert run.config_file.is_file()
    assert run.status_file.is_file()


def test_what_training_alone_measures_makes_no_work(pair, caplog):
    pair[0].save_throughput({})
    pair[0].write_seal(pair[0].load_info().id)
    pair[0].save_throughput({"images": 1})
    assert earlier.find_work(RunDir(pair[0].path)) is None
    assert "throughput.json is missing or changed, and only training can recreate that" in caplog.text


def test_a_folder_takes_the_records_of_one_run_alone(pair, tmp_path):
    first, second = pair
    out = RunDir(tmp_path / "o")
    evaluate._refuse_other(first, out)  # an empty folder
    out.save_config({**first.config, "checkpoint": "best"})
    out.save_info(first.load_info())
    evaluate._refuse_other(first, out)
    with pytest.raises(ConfigError, match="holds records of another run"):
        evaluate._refuse_other(second, out)


def test_jobs_use_the_key_of_whoever_launches_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(keys.VARIABLE, "own.key")
    keys.share_key()
    key = keys.find_key()
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    assert keys.find_key() == key
    assert keys.key_file() == tmp_path / "own.key"
