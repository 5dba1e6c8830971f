"""A comparison is whole or absent, never mixed; a run that is lost is a finding."""

import copy
import csv
import hashlib
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from stress_lab.cli import compare, earlier
from stress_lab.comparison.cards import arrange_pictures, load_pictures, make_gallery
from stress_lab.comparison.codec import to_record
from stress_lab.comparison.comparable import find_pairs, match_runs
from stress_lab.comparison.identity import identify, load_set
from stress_lab.comparison.loading import load_finished, load_readable
from stress_lab.comparison.options import Options
from stress_lab.comparison.pairs import compare_gaps
from stress_lab.comparison.patterns import describe_patterns
from stress_lab.errors import DataError, PairingError, RunError
from stress_lab.files import load_json, save_json
from stress_lab.preflight.comparison_rules import make_options
from stress_lab.publishing import explained, write
from stress_lab.publishing import maps as gallery
from stress_lab.publishing.compare import compare_sweep, find_unfinished
from stress_lab.publishing.explained import Explainer
from stress_lab.publishing.settings import Settings
from stress_lab.publishing.write import load_properties, write_comparison
from stress_lab.records import Predictions, RunInfo
from stress_lab.report.page import write_report
from stress_lab.runs.find import find_runs, load_runs, newest_sweep
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.locks import COMPARISON_LOCK, LOCK, hold
from stress_lab.stats.agreement import select_cases
from stress_lab.stats.pairing import rows_of
from stress_lab.storage.filesets import stage
from stress_lab.storage.launches import Outcome
from stress_lab.sweeps import resume
from stress_lab.training.code import pick_groups
from tests.blank import blank_exports
from tests.comparison.planted import planted
from tests.dying import Killed, killed_at

QUICK = {"resamples": 100, "report": False, "gallery": 20, "cases_per_outcome": 0}


def options(**chosen):
    made = make_options()
    for key, value in {**QUICK, **chosen}.items():
        made[key] = value
    return made


@pytest.fixture(autouse=True)
def _cheap_pictures(monkeypatch):
    """What needs nets, and a figure that takes a second, is no matter here."""
    blank_exports(monkeypatch)
    monkeypatch.setattr(write, "_explain_runs", lambda *arguments: False)


@pytest.fixture
def swept(write_run, tmp_path):
    """Two variants with three seeds each, side by side; returns their folder."""
    for number, variant in enumerate("ab"):
        for seed in (1, 2, 3):
            made = planted(n=120, seed=10 * number + seed, rate=0.7 + 0.1 * number)
            write_run(f"sweep/{3 * number + seed - 1}_{variant}_seed{seed}", variant, made, seed=seed)
    return tmp_path / "sweep"


# Absence


WITHOUT = [
    (["config.yaml"], "it lacks config.yaml"),
    (["status.json"], "it lacks status.json"),
    (["config.yaml", "status.json"], "it lacks config.yaml and status.json"),
    (["data.json"], "data.json is missing"),
    (["evaluation.json"], "evaluation.json is missing"),
    (["predictions/test.parquet"], "test.parquet is missing"),
    (["predictions"], "test.parquet is missing"),
    (["config.yaml", "status.json", "data.json", "evaluation.json", "history.json"], "it lacks config.yaml and status"),
    (["config.yaml", "status.json", "evaluation.json", "predictions", "history.json"], "it lacks config.yaml and stat"),
    (["status.json", "data.json", "evaluation.json", "predictions", "history.json"], "it lacks status.json"),
]


def take(run, names):
    for name in names:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()


@pytest.mark.parametrize(
    ("names", "said", "listed"),
    [*((*row, False) for row in WITHOUT), *((*row, True) for row in WITHOUT[2:5])],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "listed" if value is True else "",
)
def test_a_run_that_lost_a_record_is_named_and_fails_every_gate(swept, names, said, listed):
    if listed:
        jobs = {path.name: {"state": "finished", "error": ""} for path in swept.iterdir()}
        save_json(swept / "launch.json", {"jobs": jobs, "id": "launch-x"})
    take(swept / "4_b_seed2", names)
    comparison = compare_sweep(swept, options(**{"gates": {**make_options().gates, "min_accuracy": 0.0}}))
    (sentence,) = comparison.left_out
    assert sentence.startswith("4_b_seed2 is left out: ")
    assert said in sentence
    assert sentence in comparison.notes
    assert comparison.lost == (sentence,)
    assert {run.folder for run in comparison.runs} == {p.name for p in swept.glob("*_seed*")} - {"4_b_seed2"}
    assert [gate["gate"] for gate in load_json(swept / "gates.json")["gates"] if not gate["passed"]] == ["all_runs"]
    assert load_json(swept / "comparison.json")["left_out"] == [sentence]


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
@pytest.mark.parametrize("name", ["status.json", "config.yaml", "data.json", "evaluation.json"])
def test_a_run_with_a_broken_record_is_named(swept, name, content):
    (swept / "0_a_seed1" / name).write_text(content)
    comparison = compare_sweep(swept, options())
    (sentence,) = comparison.lost
    assert sentence.startswith("0_a_seed1 is left out: ")
    assert name in sentence
    assert comparison.title == "planted"


def test_a_run_whose_folder_is_gone_is_missed_where_it_is_listed(swept):
    jobs = {path.name: {"state": "finished", "error": ""} for path in swept.iterdir()}
    save_json(swept / "launch.json", {"jobs": jobs, "id": "launch-x"})
    shutil.rmtree(swept / "2_a_seed3")
    assert list(compare_sweep(swept, options()).lost) == ["2_a_seed3 is left out: it did not run"]


def test_what_never_was_a_run_is_not_mentioned(swept, caplog):
    (swept / "empty").mkdir()
    for name in (
        "notes/config.yaml",
        "notes/data.json",
        "cases/x/case_1.png",
        "tensorboard/a/events",
        ".git/status.json",
    ):
        (swept / name).parent.mkdir(parents=True, exist_ok=True)
        (swept / name).write_text("title: mine")
    with caplog.at_level(logging.WARNING):
        assert len(load_runs(swept)) == 6
    assert caplog.text == ""
    comparison = compare_sweep(swept, options())
    assert comparison.lost == comparison.left_out == ()
    assert not [note for note in comparison.notes if "left out" in note]


def test_a_damaged_run_of_an_earlier_command_is_a_note(swept):
    jobs = {path.name: {"state": "finished", "error": ""} for path in swept.iterdir() if path.name[0] != "5"}
    save_json(swept / "launch.json", {"jobs": jobs, "id": "launch-x"})
    (swept / "5_b_seed3" / "status.json").unlink()
    comparison = compare_sweep(swept, options())
    assert comparison.lost == comparison.left_out == ()
    assert any(note.startswith("5_b_seed3 is left out: it lacks status.json") for note in comparison.notes)


def test_loading_runs_by_hand_warns_of_what_is_lost(swept, caplog):
    (swept / "1_a_seed2" / "config.yaml").unlink()
    assert [run.path.name[0] for run in load_runs(swept)] == ["0", "2", "3", "4", "5"]
    assert "1_a_seed2 is left out: it lacks config.yaml" in caplog.text
    assert list(find_runs(swept)[1]) == ["1_a_seed2"]
    for path in swept.iterdir():
        (path / "status.json").unlink()
    with pytest.raises(RunError, match=r"has no complete run: 0_a_seed1 is left out: it lacks status\.json"):
        load_runs(swept)
    assert newest_sweep(swept.parent) == swept  # and not an older one


def test_runs_that_failed_or_were_interrupted_are_lost_and_one_in_training_is_not(swept):
    for name, state in (("0_a_seed1", "failed"), ("1_a_seed2", "started"), ("5_b_seed3", "started")):
        RunDir(swept / name).save_info(RunInfo("a", 1, state, "now"))
    with hold(swept / "5_b_seed3" / LOCK, 1, ""):
        comparison = compare_sweep(swept, options())
    assert comparison.lost == ("0_a_seed1 is left out: failed", "1_a_seed2 is left out: interrupted")
    assert comparison.left_out == (*comparison.lost, "5_b_seed3 is left out: still being trained")
    with hold(swept / LOCK, 1, ""):  # its sweep goes on
        save_json(swept / "launch.json", {"jobs": {"0_a_seed1": {"state": "waiting"}, "2_a_seed3": {"state": "x"}}})
        shutil.rmtree(swept / "0_a_seed1")
        assert list(compare_sweep(swept, options()).lost) == []


def test_the_command_ends_with_status_1_or_that_of_the_gates(swept, monkeypatch, capsys):
    from tests.test_sweep_end_to_end import run_command

    typed = [f"sweep={swept}", "resamples=100", "report=false", "gallery=0", "cases_per_outcome=0"]
    assert run_command(monkeypatch, compare.main, *typed) == 0
    (swept / "0_a_seed1" / "status.json").unlink()
    assert run_command(monkeypatch, compare.main, *typed) == 1
    assert "a run is missing: 0_a_seed1 is left out: it lacks status.json" in capsys.readouterr().err
    assert run_command(monkeypatch, compare.main, *typed, "gates.min_accuracy=0") == 3
    assert "gate failed: 0_a_seed1 is left out" in capsys.readouterr().err
    named = ",".join(str(path) for path in sorted(swept.glob("*_seed*")))  # as a shell makes it of *
    assert run_command(monkeypatch, compare.main, f"runs=[{named}]", *typed[1:], f"out={swept / 'by_hand'}") == 2
    assert "0_a_seed1 is not a run folder: it lacks status.json" in capsys.readouterr().err


# One set


FILES = ("comparison.json", "gallery.json", "gates.json", "comparison.csv", "runs.csv", "failure_rates.csv")


def ids_of(folder):
    """The comparison's id in each of its files."""
    found = {name: load_json(folder / name)["id"] for name in FILES if name.endswith(".json")}
    tables = [path for path in folder.rglob("*.csv") if path.parent.name in (folder.name, "disagreements")]
    for path in tables:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found[path.name] = row["comparison"]
    return found


def test_all_files_carry_one_id_that_tells_comparisons_apart(swept, tmp_path):
    out = tmp_path / "out"
    first = compare_sweep(swept, options(out=str(out)))
    found = ids_of(out)
    assert set(found) >= {*FILES, "b_vs_a_seed1.csv"}
    assert set(found.values()) == {first.id}
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != COMPARISON_LOCK}
    assert compare_sweep(swept, options(out=str(out))).id == first.id
    assert {path: path.read_bytes() for path in before} == before
    second = compare_sweep(swept, options(out=str(out), level=0.9))
    assert second.id != first.id
    assert set(ids_of(out).values()) == {second.id}


def test_the_page_carries_the_id(swept):
    comparison = compare_sweep(swept, options(report=True))
    assert f'<meta name="comparison" content="{comparison.id}">' in (swept / "report.html").read_text()


@pytest.mark.parametrize("name", ["gallery.json", "gates.json"])
@pytest.mark.parametrize("other", ["another", None])
def test_files_of_two_comparisons_are_refused_by_name(swept, name, other):
    compare_sweep(swept, options())
    record = load_json(swept / name)
    save_json(swept / name, {**record, "id": other})
    with pytest.raises(
        RunError, match=rf"{name} belongs to another comparison than comparison\.json beside it: compare again"
    ):
        write_report(swept)
    compare_sweep(swept, options())  # as the sentence says
    assert load_set(swept)[0]["id"]


def test_files_of_older_versions_have_no_id_and_are_read(swept):
    compare_sweep(swept, options())
    for name in ("comparison.json", "gallery.json", "gates.json"):
        save_json(swept / name, {key: value for key, value in load_json(swept / name).items() if key != "id"})
    assert load_set(swept)[1]["cards"]
    write_report(swept)


def test_an_id_is_of_the_content():
    assert identify({"a": 1, "b": [2.5]}) == identify({"b": [2.5], "a": 1})
    assert len({identify({"a": 1}), identify({"a": 2}), identify({"a": 1}, {})}) == 3


def state_of(folder):
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".lock", "events"))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def remember(monkeypatch, name, title):
    """Let a pure function of ``write`` compute once for each title: what is tested is how its results are written."""
    made, known = getattr(write, name), {}

    def recall(*arguments):
        key = title(*arguments)
        if key not in known:
            known[key] = made(*arguments)
        return copy.deepcopy(known[key])

    monkeypatch.setattr(write, name, recall)


@pytest.mark.slow
def test_a_comparison_killed_at_any_step_leaves_the_old_one_or_the_new_one(swept, tmp_path, monkeypatch):
    """And the same command then ends as if nothing had happened."""
    remember(monkeypatch, "compare_matched", lambda matched, title, *rest: title)
    remember(monkeypatch, "_describe_gallery", lambda comparison, *rest: comparison.title)
    out, kept = tmp_path / "out", tmp_path / "kept"
    runs = load_finished(load_runs(swept))
    old, new = runs[:4], runs  # of which the first has one pair only
    write_comparison(match_runs(new, strict=False), out, "new", Settings.from_config(options()))
    wanted = state_of(out)
    shutil.rmtree(out)
    write_comparison(match_runs(old, strict=False), out, "old", Settings.from_config(options()))
    before, seen = state_of(out), []
    shutil.copytree(out, kept)
    assert set(before) < set(wanted)
    step = 0
    while True:
        shutil.rmtree(out)
        shutil.copytree(kept, out)
        try:
            with killed_at(step):
                write_comparison(match_runs(new, strict=False), out, "new", Settings.from_config(options()))
        except Killed:
            load_set(out)  # a reader
            seen.append(state_of(out))
            assert seen[-1] in (before, wanted)
            write_comparison(match_runs(new, strict=False), out, "new", Settings.from_config(options()))
            assert state_of(out) == wanted
            step += 3
        else:
            break
    assert before in seen
    assert wanted in seen
    assert step > 30


def test_one_writer_a_folder_and_the_other_is_told_what_to_type(swept, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "PATIENCE", 0.1)
    with hold(swept / COMPARISON_LOCK, 1, "", doing="compared"):
        with pytest.raises(
            RunError, match=r"is being compared by another process \(\d+ on .*\): wait for it, or .*out="
        ):
            compare_sweep(swept, options())
        assert not (swept / "comparison.json").exists()
        compare_sweep(swept, options(out=str(tmp_path / "out")))
    compare_sweep(swept, options())
    with hold(swept / LOCK, 1, ""), hold(swept / "0_a_seed1" / LOCK, 1, ""):  # while others of the sweep train
        compare_sweep(swept, options())


def test_a_run_is_read_whole_where_its_evaluation_was_killed(swept, make_predictions):
    """A committed set that was not moved counts; one that was not committed does not."""
    run = RunDir(swept / "0_a_seed1")
    for step in range(0, 60, 2):
        right = planted(n=120, seed=100 + step, rate=0.5)
        try:
            with killed_at(step), stage(run.path) as files:
                staged = RunDir(run.path, files.path)
                staged.save_predictions("test", make_predictions(right))
                staged.save_evaluation(
                    "test", {"n": 120, "errors": int((~right).sum()), "accuracy": float(right.mean())}
                )
        except Killed:
            pass
        (loaded,) = load_finished([run])
        assert loaded.evaluation["test"]["accuracy"] == loaded.scores.correct.mean()
    assert loaded.evaluation["test"]["accuracy"] == right.mean()


# Joins


def test_rows_are_found_by_index_in_any_order():
    rng = np.random.default_rng(0)
    index = rng.permutation(1000)[:300] * 7
    wanted = rng.choice(index, 50)
    np.testing.assert_array_equal(index[rows_of(index, wanted)], wanted)
    for absent in (-1, 1, 10**6):
        with pytest.raises(PairingError, match=f"first index {absent}"):
            rows_of(index, np.array([wanted[0], absent]))


def shuffled(predictions, seed=0):
    order = np.random.default_rng(seed).permutation(len(predictions))
    return Predictions(predictions.index[order], predictions.label[order], predictions.logits[order])


def test_predictions_in_another_order_give_the_same_comparison(write_run, make_predictions, tmp_path):
    def compared(place, order):
        made = [make_predictions(planted(200, seed=seed), seed=9) for seed in (1, 2)]
        runs = [write_run(f"{place}/{n}", v, None, predictions=None) for n, v in enumerate("ab")]
        for run, one in zip(runs, made, strict=True):
            for split in ("test", "train"):
                run.save_predictions(split, order(one))
                right = one.correct
                record = {"n": 200, "errors": int((~right).sum()), "accuracy": float(right.mean())}
                run.save_evaluation(split, record)
            run.save_properties("test", order(one).index, {"contrast": order(one).index / 200})
            spec = load_json(run.data_file)
            save_json(run.data_file, {**spec, "fingerprint": {"test": "x", "train": "y"}})
        return write_comparison(
            match_runs(load_finished(runs), strict=True), tmp_path / place / "out", "t", Settings.from_config(options())
        )

    plain, mixed = compared("plain", lambda one: one), compared("mixed", shuffled)
    plain, mixed = to_record(plain), to_record(mixed)
    differing = {key for key in plain if mixed[key] != plain[key]}
    assert differing == {"id"}  # of other files
    assert mixed["pairs"][0]["train_test_gap_change"] is not None
    assert mixed["patterns"]["properties"] == ["contrast"]


def test_properties_of_other_images_are_said_and_not_used(write_run, caplog):
    run = write_run("0", "a", planted(50))
    run.save_properties("test", np.arange(50)[::-1] * 1, {"contrast": np.arange(50)[::-1] / 50.0})
    (loaded,) = load_finished([run])
    np.testing.assert_array_equal(load_properties(loaded)["contrast"], np.arange(50) / 50)
    run.save_properties("test", np.arange(1, 51), {"contrast": np.zeros(50)})
    assert load_properties(loaded) is None
    assert "its properties are of other images" in caplog.text


def test_failures_of_another_split_name_no_files(write_run):
    run = write_run("0", "a", planted(50))
    for split, found in (("test", 1), ("val", 0)):
        row = {"rank": 1, "index": 3, "label": 0, "pred": 1, "label_name": "a", "pred_name": "b"}
        row |= {"confidence": 0.9, "true_confidence": 0.1, "file": "test/3.png"}
        save_json(run.failures_file, {"split": split, "failures": [row]})
        assert len(run.load_failures("test")) == found
        assert len(run.load_failures()) == 1


@pytest.fixture
def two(write_run):
    return load_finished([write_run("0", "a", planted(wrong=[3], right=[7])), write_run("1", "b", planted(seed=3))])


def make_arrays(shown):
    index = np.array([card["index"] for card in shown["cards"]])
    maps = {
        f"{kind}_{v}": index[:, None, None] + v * np.ones((1, 2, 2)) for v in (0, 1) for kind in ("predicted", "true")
    }
    arrays = {"index": index, "images": (index[:, None, None, None] * np.ones((1, 1, 2, 2))).astype(np.uint8), **maps}
    names = {"runs": "folders", "layers": "layers", "predictions": "predictions"}
    return arrays | {key: np.array(shown[name]) for key, name in names.items()}


def test_pictures_are_joined_to_cards_by_index(two):
    shown = make_gallery(two, describe_patterns(two, None, Options(resamples=100)), None, 8, 0, "l", ["l", "l"])
    good = make_arrays(shown)
    index, n = good["index"], len(good["index"])
    rows = ("index", "images", "predicted_0", "true_0", "predicted_1", "true_1")
    order = np.random.default_rng(0).permutation(n)
    other = {key: value[order] if key in rows else value for key, value in good.items()}
    more = {key: np.concatenate([value[order], value[:1]]) if key in rows else value for key, value in good.items()}
    more["index"][-1] = 100_000
    for arrays in (good, other, more):
        found = arrange_pictures(arrays, shown)
        for name in rows:
            np.testing.assert_array_equal(found[name], good[name])
    assert "file" not in arrange_pictures({**good, "file": index}, shown)  # numpy's own argument
    fewer = {key: value[1:] if key in rows else value for key, value in good.items()}
    torn = {**good, "images": good["images"][1:]}
    wrong = [{key: np.array(["x", "y"])} for key in ("runs", "layers", "predictions")]
    odd = [{"index": np.array(3)}, {"index": index.astype(float)}, {"images": good["images"].astype(float)}]
    for arrays in (fewer, torn, *(good | one for one in [*wrong, *odd]), {"index": index}, {}):
        assert arrange_pictures(arrays, shown) is None


def test_answers_tell_a_run_from_one_that_was_trained_again_under_its_name(write_run):
    first = load_finished([write_run("0", "a", planted(100))])
    patterns = describe_patterns(first, None, Options(resamples=100))
    before = make_gallery(first, patterns, None, 5, 0, "l")
    again = load_finished([write_run("0", "a", planted(100, seed=5))])
    assert make_gallery(again, patterns, None, 5, 0, "l")["predictions"] != before["predictions"]
    assert make_gallery(first, patterns, None, 5, 0, "l")["predictions"] == before["predictions"]


def test_a_truncated_gallery_is_not_shown(two, tmp_path):
    shown = make_gallery(two, describe_patterns(two, None, Options(resamples=100)), None, 8, 0, "l", ["l", "l"])
    path = tmp_path / "gallery.npz"
    np.savez(path, **make_arrays(shown))
    assert load_pictures(path, shown) is not None
    content = path.read_bytes()
    for keep in (0, 10, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:keep])
        assert load_pictures(path, shown) is None


def test_pictures_that_are_kept_become_part_of_the_comparison_that_they_fit(two, tmp_path, monkeypatch):
    def gone(*arguments):
        raise DataError("the images are not where they were")

    monkeypatch.setattr(explained, "load_datamodule", gone)
    patterns = describe_patterns(two, None, Options(resamples=100))
    shown = {**make_gallery(two, patterns, None, 8, 0, "l", ["l", "l"]), "id": "new"}
    path = tmp_path / "gallery.npz"
    np.savez(path, **make_arrays(shown), comparison="old")
    assert load_pictures(path, shown) is None
    with stage(tmp_path) as files:
        gallery.record_pictures(two, shown, files, Explainer(None))
    found = load_pictures(path, shown)
    np.testing.assert_array_equal(found["true_1"], make_arrays(shown)["true_1"])


def test_cases_are_chosen_of_the_same_images_only(two, make_predictions):
    a, b = two
    with pytest.raises(PairingError):
        select_cases(a.scores, shuffled(b.predictions["test"]), 2)
    assert find_pairs(two, strict=True)[0] == [(a, b)]


def save_again(run, split, predictions):
    """Predictions with the evaluation of them, as a run writes both."""
    run.save_predictions(split, predictions)
    run.save_evaluation(split, run.load_evaluation()[split])


def test_a_gap_needs_the_same_training_images(write_run):
    others = [("train", "t")]
    a, b = (write_run(v, v, planted(60), train=planted(80, seed=n), others=others) for n, v in enumerate("ab"))
    first, second = load_finished([a, b])
    found = compare_gaps(first, second, 0.95)
    save_again(b, "train", shuffled(second.predictions["train"]))
    assert compare_gaps(first, load_finished([b])[0], 0.95) == found
    kept = second.predictions["train"]
    save_again(b, "train", Predictions(kept.index + 1, kept.label, kept.logits))
    assert compare_gaps(first, load_finished([b])[0], 0.95) is None


# Commands


@pytest.fixture
def typed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["stress-lab", "-m", "experiment=demo"])
    yield
    resume.release_folders()


@pytest.mark.parametrize(
    "second", ["2026-11-21_10-00-00-000000", "2026-11-21_10-00-00-000001", "2026-11-20_10-00-00-9"]
)
def test_of_two_equal_commands_of_one_moment_one_goes_on(typed, compose_config, tmp_path, second):
    """Each looked for a folder before the other had one."""
    cfg = compose_config()
    base = Path("multirun") / str(cfg.name)
    resume.claim_folder(base / "2026-11-21_10-00-00-000000", cfg, [])
    with pytest.raises(
        RunError, match=r"is being written by another process.*same command, so wait for it, or .*resume="
    ):
        resume.claim_folder(base / second, cfg, [])
    assert [path.name for path in base.iterdir()] == ["2026-11-21_10-00-00-000000"]
    anew = compose_config("resume=false")
    if second.endswith("1"):
        resume.claim_folder(base / second, anew, [])
        assert len(list(base.iterdir())) == 2


def test_an_equal_command_that_is_over_is_gone_on_with(typed, compose_config):
    cfg = compose_config()
    base = Path("multirun") / str(cfg.name)
    resume.claim_folder(base / "1", cfg, [])
    resume.release_folders()
    with pytest.raises(RunError, match=r"the same command made multirun.*1 a moment ago: run it again"):
        resume.claim_folder(base / "2", cfg, [])
    assert resume.name_folder(str(cfg.name), True, *pick_groups(cfg)) == "1"
    resume.claim_folder(base / "1", cfg, [])


def test_a_folder_that_was_left_for_a_record_is_cleared_away(tmp_path):
    run = RunDir(tmp_path)
    for name in (".partial-abc/deeper/x", "predictions/.partial-1-test.parquet", "figures/.partial-z/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("half")
    earlier.set_aside(run)
    assert not list(tmp_path.rglob(".partial-*"))


def test_readable_runs_are_loaded_and_the_others_named(swept):
    (swept / "3_b_seed1" / "predictions" / "test.parquet").write_bytes(b"PAR1")
    loaded, left_out, lost = load_readable(load_runs(swept))
    assert [run.folder[0] for run in loaded] == ["0", "1", "2", "4", "5"]
    assert left_out == lost
    assert "test.parquet cannot be read" in lost[0]
    assert find_unfinished(swept, {"9_x": Outcome("waiting")}) == {"9_x": "9_x is left out: it did not run"}


def test_every_run_has_a_name_of_its_own(write_run):
    runs = [write_run(f"{place}/0", "a", planted(40, seed=n)) for n, place in enumerate("xyz")]
    assert [run.name for run in load_finished(runs)] == ["a, seed 1", "a, seed 1 (0)", "a, seed 1 (2)"]


def test_names_that_are_not_utf8_have_an_id():
    assert identify({"folder": "caf\udce9"}) != identify({"folder": "caf"})
    assert identify({"a": "é"}) == hashlib.sha256('[{"a": "é"}]'.encode()).hexdigest()[:16]
