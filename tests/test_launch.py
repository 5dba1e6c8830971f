"""Success is what this launch did: what an earlier command left in the folder is not taken for it."""

import json
import os
import shutil
import time
from datetime import datetime

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from stress_lab.cli import compare, train
from stress_lab.errors import RunError
from stress_lab.files import load_json, save_json
from stress_lab.records import RunInfo
from stress_lab.runs.find import launch_order, newest_sweep, when_launched
from stress_lab.runs.folder import RunDir
from stress_lab.storage import launches
from stress_lab.sweeps import callback, resume
from stress_lab.sweeps.outcomes import Launch, collect_outcomes
from tests.test_sweep_end_to_end import run_command

pytestmark = pytest.mark.usefixtures("blank_figures")
QUICK = ["data=image_folder", "data.val_size=6", "trainer=smoke", "model.width=4", "threads=1", "optim.batch_size=8"]
QUICK += ["logger=none", "callbacks.gradcam.limit=0", "callbacks.board.embedded=0", "callbacks.terminal.every=0"]
QUICK += ["+comparison.report=false", "+comparison.resamples=100", "+comparison.gallery=0", "augment.crop_padding=1"]
QUICK += ["+comparison.cases_per_outcome=0", "callbacks.predictions.train_examples=0", "~callbacks.throughput"]
BOTH = ["augment=baseline,cutout", "augment.flip=false"]
KEPT = ("comparison.json", "gates.json", "launch.json", "multirun.yaml", "comparison_summary.png", "runs.csv")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep of two variants in a folder of the user's choice, beside its images."""
    place = tmp_path_factory.mktemp("launch")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for label in "abc":
            folder = place / "images" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert launch(monkeypatch, place, *BOTH) == 0
    return place


@pytest.fixture
def place(swept, tmp_path, monkeypatch):
    """A copy of it that a test may spoil; the images stay where the runs know them, and are put back."""
    shutil.copytree(swept / "sweep", tmp_path / "sweep")
    shutil.copytree(swept / "images", tmp_path / "kept")
    yield tmp_path
    shutil.rmtree(swept / "images")
    shutil.copytree(tmp_path / "kept", swept / "images")


def launch(monkeypatch, place, *overrides, images=None):
    """Give the command; returns its exit status."""
    monkeypatch.chdir(place)
    where = [f"data.root={images or place / 'images'}", f"hydra.sweep.dir={place / 'sweep'}"]
    return run_command(monkeypatch, train.main, "-m", *QUICK, *where, *overrides)


def snapshot(place, names=KEPT):
    """The contents of files, by name; None where there is none."""
    files = {name: place / "sweep" / name for name in names}
    return {name: file.read_bytes() if file.is_file() else None for name, file in files.items()}


def states(place):
    return {name: one.state for name, one in launches.load_jobs(place / "sweep").items()}


def relabel(images):
    """Move a test image to another class, as one does who found it in the wrong one."""
    (images / "test" / "a" / "0.png").rename(images / "test" / "b" / "moved.png")


def hydra_records(place):
    return {file: file.read_bytes() for file in sorted((place / "sweep").glob("*/.hydra/*.yaml"))}


@pytest.mark.slow
def test_the_same_command_again_skips_all_and_keeps_the_comparison(swept, place, monkeypatch):
    assert states(place) == {"0_baseline_seed42": "finished", "1_cutout_seed42": "finished"}
    before, records = snapshot(place, KEPT[:2]), hydra_records(place)
    assert len(records) == 6
    assert launch(monkeypatch, place, *BOTH, images=swept / "images") == 0
    assert states(place) == {"0_baseline_seed42": "skipped", "1_cutout_seed42": "skipped"}
    assert snapshot(place, KEPT[:2]) == before
    assert hydra_records(place) == records
    assert not (place / "sweep" / ".launch").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([*BOTH, "trainer.max_epochs=2"], "holds a run of another config (trainer.max_epochs="),
        ([*BOTH, "resume=false"], "already holds a run: choose another folder"),
        ([*BOTH, "seed=42", "optim.lr=0.01"], "holds a run of another config (optim.lr="),
    ],
    ids=["more epochs", "resume=false", "another rate"],
)
def test_a_folder_of_other_runs_is_refused_before_any_job(swept, place, monkeypatch, capsys, overrides, said):
    before, records = snapshot(place), hydra_records(place)
    assert launch(monkeypatch, place, *overrides, images=swept / "images") == 1
    table = " ".join(capsys.readouterr().out.split())
    assert "of the sweep's runs did not finish" in table
    assert said in table
    assert snapshot(place) == before
    assert hydra_records(place) == records


@pytest.mark.slow
def test_images_that_changed_are_refused_before_any_job(swept, place, monkeypatch, capsys):
    before = snapshot(place)
    relabel(swept / "images")
    assert launch(monkeypatch, place, *BOTH, images=swept / "images") == 1
    table = " ".join(capsys.readouterr().out.split())
    assert "2 of the sweep's runs did not finish" in table
    assert table.count("the test images in") == 2
    assert callback._failed == ["0_baseline_seed42", "1_cutout_seed42"]
    assert snapshot(place) == before


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.processes)])
def test_jobs_that_are_refused_one_by_one_fail_in_this_launch(swept, place, monkeypatch, capsys, launcher):
    """As where the images change after the rehearsal."""
    before, records = snapshot(place), hydra_records(place)
    relabel(swept / "images")
    monkeypatch.setattr(callback, "refuse_other_images", lambda run, cfg, sources: None)
    chosen = [] if launcher == "basic" else ["launcher=joblib"]
    assert launch(monkeypatch, place, *BOTH, *chosen, images=swept / "images") == 1
    said = capsys.readouterr()
    table = " ".join(said.out.split())
    assert "2 of the sweep's runs did not finish" in table
    assert "0_baseline_seed42" in table
    assert "1_cutout_seed42" in table
    assert table.count("the test images in") >= 2
    assert callback._failed == ["0_baseline_seed42", "1_cutout_seed42"]
    assert snapshot(place) == before  # launch.json is that of the launch that trained
    assert hydra_records(place) == records
    assert [RunDir(place / "sweep" / name).load_info().state for name in callback._failed] == ["finished"] * 2


@pytest.mark.slow
def test_a_refused_job_beside_one_that_succeeds(swept, place, monkeypatch, capsys):
    """The first run's folder is held by another process; the second goes through and is compared alone."""
    hold = resume.hold_run
    monkeypatch.setattr(train, "hold_run", lambda folder: hold(folder, patience=0.1))
    with hold(place / "sweep" / "0_baseline_seed42"):
        status = launch(monkeypatch, place, *BOTH, "+comparison.gates.min_accuracy=0", images=swept / "images")
    assert status == 1
    assert states(place) == {"0_baseline_seed42": "refused", "1_cutout_seed42": "skipped"}
    comparison = load_json(place / "sweep" / "comparison.json")
    assert [run["variant"] for run in comparison["runs"]] == ["cutout"]
    (note,) = comparison["left_out"]
    assert note.startswith("0_baseline_seed42 is left out: failed (")
    assert "is being trained by another process" in note
    gates = load_json(place / "sweep" / "gates.json")
    assert [gate["gate"] for gate in gates["gates"] if not gate["passed"]] == ["all_runs"]


@pytest.mark.slow
def test_runs_of_an_earlier_command_are_named_and_never_compared(swept, place, monkeypatch, capsys):
    other = ["augment=plain,cutout", "seed=7", "augment.flip=false"]
    assert launch(monkeypatch, place, *other, images=swept / "images") == 0
    for again in (False, True):
        if again:  # by hand
            status = run_command(monkeypatch, compare.main, f"sweep={place / 'sweep'}", *by_hand())
            assert status == 0
        comparison = load_json(place / "sweep" / "comparison.json")
        assert [(run["variant"], run["seed"]) for run in comparison["runs"]] == [("plain", 7), ("cutout", 7)]
        (note,) = [note for note in comparison["notes"] if "earlier command" in note]
        assert note.startswith("0_baseline_seed42, 1_cutout_seed42 are left out")
        assert comparison["left_out"] == []


def by_hand():
    return ["report=false", "resamples=100", "gallery=0", "cases_per_outcome=0"]


@pytest.mark.slow
def test_jobs_that_left_nothing_are_named_by_hand(place, monkeypatch):
    """A launch that was killed before its third job, and one whose record is older than lists of jobs."""
    record = load_json(place / "sweep" / "launch.json")
    listed = {**record["jobs"], "2_plain_seed42": {"state": "waiting", "error": ""}}
    save_json(place / "sweep" / "launch.json", {**record, "jobs": listed})
    assert run_command(monkeypatch, compare.main, f"sweep={place / 'sweep'}", *by_hand()) == 1  # a run is lost
    comparison = load_json(place / "sweep" / "comparison.json")
    assert comparison["left_out"] == ["2_plain_seed42 is left out: it did not run"]
    assert len(comparison["runs"]) == 2
    del record["jobs"], record["id"]
    save_json(place / "sweep" / "launch.json", record)
    assert run_command(monkeypatch, compare.main, f"sweep={place / 'sweep'}", *by_hand()) == 0
    assert load_json(place / "sweep" / "comparison.json")["left_out"] == []


@pytest.mark.slow
def test_what_failed_last_is_said_by_hand(place, monkeypatch):
    record = load_json(place / "sweep" / "launch.json")
    record["jobs"]["1_cutout_seed42"] = {"state": "refused", "error": "other images"}
    save_json(place / "sweep" / "launch.json", record)
    assert run_command(monkeypatch, compare.main, f"sweep={place / 'sweep'}", *by_hand()) == 0
    notes = load_json(place / "sweep" / "comparison.json")["notes"]
    assert any(note.startswith("1_cutout_seed42: the last command failed on it (other images)") for note in notes)


def plan(folder, jobs, before=()):
    """A launch of which nothing has run."""
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}, "comparison": {}})
    kept = {folder / name: content for name, content in before}
    return Launch(config, "launch-x", jobs, before=kept)


def write_run(folder, name, state, variant="a"):
    run = RunDir(folder / name)
    run.save_config({"name": "planted", "variant": variant, "seed": 1})
    run.save_info(RunInfo(variant, 1, state, "2026-01-02T03:04:05+00:00", seconds=7.0, error="diverged"))
    return run


@pytest.mark.parametrize("state", ["started", "finished", "failed"])
def test_a_job_without_an_outcome_of_this_launch_failed(tmp_path, state):
    write_run(tmp_path, "0_a", state)
    launches.Ticket(tmp_path, "launch-earlier", "0_a").leave("finished")
    outcomes = collect_outcomes(plan(tmp_path, ["0_a", "1_b"]))
    assert list(outcomes) == ["0_a", "1_b"]
    assert {one.state for one in outcomes.values()} == {"failed"}
    assert "no process of this command" in outcomes["1_b"].error


def test_a_job_that_left_no_more_than_its_start_was_killed(tmp_path):
    run = write_run(tmp_path, "0_a", "started")
    launches.Ticket(tmp_path, "launch-x", "0_a").leave("started")
    launches.Ticket(tmp_path, "launch-x", "10_c").leave("started")
    launches.Ticket(tmp_path, "launch-x", "9_b").leave("started")
    outcomes = collect_outcomes(plan(tmp_path, []))  # whose jobs nobody knew ahead
    assert list(outcomes) == ["0_a", "9_b", "10_c"]
    assert "without an error message" in outcomes["0_a"].error
    assert run.load_info().state == "failed"
    assert launches.load_jobs(tmp_path) == outcomes


def test_a_job_that_another_process_still_trains_failed_here(tmp_path):
    write_run(tmp_path, "0_a", "started")
    with resume.hold_run(tmp_path / "0_a"):
        outcomes = collect_outcomes(plan(tmp_path, ["0_a"]))
    assert "is being trained by another process" in outcomes["0_a"].error


def test_a_finished_job_with_a_broken_record_is_not_compared(tmp_path):
    write_run(tmp_path, "0_a", "finished")
    (tmp_path / "0_a" / "data.json").write_text('{"name": ')
    launches.Ticket(tmp_path, "launch-x", "0_a").leave("finished")
    (tmp_path / ".launch" / "launch-x" / ".partial-7-1_b.json").write_text("{")  # of a process that was killed
    (outcome,) = collect_outcomes(plan(tmp_path, ["0_a"])).values()
    assert outcome.state == "damaged"
    assert "data.json is not valid JSON" in outcome.error


@pytest.mark.parametrize(("state", "kept"), [("refused", True), ("failed", False), ("finished", False)])
def test_the_folder_is_given_back_only_where_nothing_was_done(tmp_path, make_predictions, state, kept):
    save_json(tmp_path / "launch.json", {"overrides": ["new"]})
    launches.Ticket(tmp_path, "launch-x", "0_a").leave(state, "why")
    outcomes = collect_outcomes(plan(tmp_path, ["0_a"], before=[("launch.json", b"{}"), ("multirun.yaml", b"old")]))
    assert outcomes["0_a"].error == ("why" if state != "finished" else outcomes["0_a"].error)
    assert ((tmp_path / "launch.json").read_bytes() == b"{}") == kept
    assert (tmp_path / "multirun.yaml").exists() == kept
    assert not (tmp_path / ".launch").exists()


def make_sweep(base, name, started=None, compared=True, multirun=True, begun="2026-01-02T03:04:05+00:00"):
    """A folder below ``multirun/NAME`` with one run."""
    folder = base / name
    run = RunDir(folder / "0_a")
    run.save_config({"variant": "a", "seed": 1})
    run.save_info(RunInfo("a", 1, "finished", begun))
    if started is not None:
        save_json(folder / "launch.json", {"multirun": multirun, "started": started})
    if compared:
        save_json(folder / "comparison.json", {})
    return folder


def test_the_newest_sweep_is_the_one_launched_last_and_compared(tmp_path):
    """Names are local time: the clock was put back, or the command came from another time zone."""
    make_sweep(tmp_path, "2026-11-21_10-00-00-000000", "2026-11-21T10:00:00+00:00")
    wanted = make_sweep(tmp_path, "2026-11-21_09-30-00-000000", "2026-11-21T10:30:00.5+00:00")
    make_sweep(tmp_path, "2026-11-22_10-00-00-000000", "2026-11-22T10:00:00+00:00", compared=False)
    make_sweep(tmp_path, "2026-11-23_10-00-00-000000", "2026-11-23T10:00:00+00:00", multirun=False)
    (tmp_path / "zzz" / "notes").mkdir(parents=True)
    (tmp_path / "report.txt").write_text("")
    assert newest_sweep(tmp_path) == wanted


def test_a_sweep_that_only_began_is_the_newest_where_none_was_compared(tmp_path):
    make_sweep(tmp_path, "a", "2026-11-21T10:00:00+00:00", compared=False)
    wanted = make_sweep(tmp_path, "A", "2026-11-21T12:00:00+01:30", compared=False)
    assert newest_sweep(tmp_path) == wanted
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "A")
    make_sweep(tmp_path, "single", "2026-11-23T10:00:00+00:00", multirun=False)
    with pytest.raises(RunError, match="has no sweep"):
        newest_sweep(tmp_path)


def test_the_moment_of_a_launch_is_read_from_the_best_record_there_is(tmp_path):
    new = make_sweep(tmp_path, "2026-11-21_10-00-00", "2026-11-21T10:00:00+02:00")
    assert when_launched(new) == 1795248000.0
    old = make_sweep(tmp_path, "2020-11-21_10-00-00", begun="1970-01-01T00:00:10+00:00")  # of an older version
    assert when_launched(old) == 10.0
    (old / "launch.json").write_text(json.dumps({"started": "yesterday"}))
    assert when_launched(old) == 10.0
    bare = tmp_path / "2020-11-21_11-00-00"  # whose name says nothing
    bare.mkdir()
    os.utime(bare, (20.0, 20.0))
    assert when_launched(bare) == 20.0


def test_a_command_goes_on_in_the_folder_that_it_wrote_last(tmp_path):
    described = {"multirun": True, "overrides": [], "code": "x", "versions": {}}
    for name, started in (("2026-11-21_11-00-00", "2026-11-21T09:00:00+00:00"), ("2026-11-21_10-00-00", None)):
        folder = tmp_path / name
        folder.mkdir()
        save_json(folder / "launch.json", {**described, **({"started": started} if started else {})})
        os.utime(folder, (0, 0))
    last = make_sweep(tmp_path, "2026-11-20_10-00-00", "2027-01-01T00:00:00+00:00")
    save_json(last / "launch.json", {**load_json(last / "launch.json"), **described, "id": "launch-y"})
    assert resume.find_launch(tmp_path, described) == last
    assert resume.find_launch(tmp_path, {**described, "code": "y"}) is None


def launch_into(base, name, started, number=None):
    """A folder as a launch leaves it."""
    (base / name).mkdir(parents=True)
    record = {"started": started} | ({} if number is None else {"number": number})
    save_json(base / name / "launch.json", record)
    return base / name


CLOCKS = {
    "as usual": ("2026-11-21T10:00:00+00:00", "2026-11-21T10:00:01+00:00"),
    "set back a year": ("2026-11-21T10:00:00+00:00", "2025-11-21T10:00:01+00:00"),
    "in 1970": ("2026-11-21T10:00:00+00:00", "1970-01-01T00:00:00+00:00"),
    "in the future first": ("2126-11-21T10:00:00+00:00", "2026-11-21T10:00:00+00:00"),
    "an hour twice": ("2026-10-25T00:30:00+00:00", "2026-10-25T00:30:00+00:00"),
    "another zone": ("2026-11-21T23:00:00+00:00", "2026-11-21T14:00:00-10:00"),
}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("names", [("b", "a"), ("a", "b")])
def test_launches_are_ordered_whatever_the_clock_says(tmp_path, clock, names):
    assert launches.next_number(tmp_path) == 1
    for name, started in zip(names, CLOCKS[clock], strict=True):
        launch_into(tmp_path, name, started, launches.next_number(tmp_path))
    assert max(tmp_path.iterdir(), key=launch_order) == tmp_path / names[1]
    assert launches.next_number(tmp_path) == 3
    launch_into(tmp_path, "of an older version", "2030-01-01T00:00:00+00:00")
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "launch.json").write_text('{"number": "x"', encoding="utf-8")
    assert max((path for path in tmp_path.iterdir() if path.is_dir()), key=launch_order) == tmp_path / names[1]
    assert launches.next_number(tmp_path) == 3


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin"])
def test_the_order_does_not_depend_on_the_time_zone(tmp_path, monkeypatch, zone):
    older = launch_into(tmp_path, "2026-10-25_02-30-00", "2026-10-25T00:45:00+00:00")  # 02:45 in Berlin, the first one
    newer = launch_into(tmp_path, "2026-10-25_02-15-00", "2026-10-25T01:15:00")  # 02:15, the second; no zone is UTC
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert [launch_order(path)[1] for path in (older, newer)] == [1792889100.0, 1792890900.0]
        assert max(newer, older, key=launch_order) == newer
    finally:
        monkeypatch.undo()
        time.tzset()


def test_commands_of_one_moment_have_folders_of_their_own(tmp_path, monkeypatch):
    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(1970, 1, 1, tzinfo=tz)

    monkeypatch.setattr(resume, "datetime", Frozen)
    names = {resume.name_folder("demo", False) for _ in range(200)}
    assert len(names) == 200
    assert {name[:20] for name in names} == {"1970-01-01_00-00-00-"}
