import numpy as np
import pytest

from stress_lab.comparison.naming import name_variants
from stress_lab.errors import RunError
from stress_lab.failures import mine_failures
from stress_lab.files import flatten, write_atomic
from stress_lab.records import RunInfo
from stress_lab.runs.find import load_runs
from stress_lab.runs.folder import RunDir


def make_run(path, variant="baseline", seed=1, **config):
    run = RunDir(path)
    run.save_config({"variant": variant, "seed": seed, **config})
    run.save_info(RunInfo(variant, seed, "finished", "now"))
    return run


def test_predictions_read_back_bit_for_bit(tmp_path, make_predictions):
    run, written = RunDir(tmp_path), make_predictions([True, False] * 50)
    run.save_predictions("test", written)
    read = run.load_predictions("test")
    for name in ("index", "label", "logits"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))


def test_parquet_has_the_documented_columns(tmp_path, make_predictions):
    import pandas as pd

    record = make_predictions([True, False, True])
    RunDir(tmp_path).save_predictions("val", record)
    table = pd.read_parquet(tmp_path / "predictions" / "val.parquet")
    assert list(table) == ["index", "label", "pred", "confidence", "correct", "logits"]
    assert table["correct"].tolist() == [True, False, True]
    np.testing.assert_array_equal(np.stack(table["logits"]), record.logits)


def test_failures_read_back_equal(tmp_path, make_predictions):
    failures = mine_failures(make_predictions([False] * 5), 0.5, list("abcdefghij"))
    run = RunDir(tmp_path)
    run.save_failures(failures, {"count": len(failures)})
    assert run.load_failures() == failures
    assert len((tmp_path / "failures" / "failures.csv").read_text().splitlines()) == 1 + len(failures)


def test_a_broken_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "record.json"
    target.write_text("old")

    def fail(partial):
        partial.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomic(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_cut_record_is_named(tmp_path):
    run = make_run(tmp_path)
    run.status_file.write_text('{"variant": "base')
    with pytest.raises(RunError, match=r"status\.json is not valid JSON"):
        run.load_info()
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "test.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(RunError, match=r"test\.parquet cannot be read .*stress-lab evaluate run="):
        run.load_predictions("test")
    with pytest.raises(
        RunError,
        match=r"val\.parquet is missing: the command in .*status\.json, run again with the same code, rewrites",
    ):
        run.load_predictions("val")


def test_runs_come_in_launch_order(tmp_path):
    for number in (10, 2, 0):
        make_run(tmp_path / f"{number}_x")
    (tmp_path / "cases").mkdir()
    assert [run.path.name for run in load_runs(tmp_path)] == ["0_x", "2_x", "10_x"]


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(RunError, match="has no runs"):
        load_runs(tmp_path)
    with pytest.raises(RunError, match="is not a folder"):
        load_runs(tmp_path / "nowhere")


def test_variants_that_differ_in_any_key_get_names_that_tell_them_apart(tmp_path):
    runs = [
        make_run(tmp_path / "0", seed=1, optim={"lr": 0.1}),
        make_run(tmp_path / "1", seed=2, optim={"lr": 0.1}),
        make_run(tmp_path / "2", seed=1, optim={"lr": 0.01}),
        make_run(tmp_path / "3", variant="cutout", optim={"lr": 0.1}),
    ]
    slow, fast = "baseline (optim.lr=0.1)", "baseline (optim.lr=0.01)"
    assert name_variants(runs) == [slow, slow, fast, "cutout"]


def test_callbacks_that_were_swept_make_variants_and_others_do_not(tmp_path):
    runs = [make_run(tmp_path / str(alpha), seed=1, callbacks={"mine": {"alpha": alpha}}) for alpha in (0, 1)]
    assert name_variants(runs) == ["baseline (callbacks.mine.alpha=0)", "baseline (callbacks.mine.alpha=1)"]
    other = make_run(tmp_path / "2", seed=2, callbacks={"mine": {"alpha": 2}})
    assert name_variants([runs[0], other]) == ["baseline", "baseline"]


def test_a_swept_group_is_named_by_its_choice(tmp_path):
    optims = {"sgd": {"name": "sgd", "lr": 0.1, "gamma": 1}, "adam": {"name": "adam", "lr": 0.001, "gamma": 0.1}}
    runs = [make_run(tmp_path / f"{o}{s}", seed=s, optim=optims[o]) for s in (1, 2) for o in optims]
    assert name_variants(runs) == ["baseline (optim=sgd)", "baseline (optim=adam)"] * 2
    odd = make_run(tmp_path / "odd", seed=1, optim={**optims["sgd"], "lr": 0.5})
    assert name_variants([*runs, odd])[-1] == "baseline (optim.gamma=1, optim.lr=0.5, optim.name=sgd)".replace(
        "optim.name", "optim"
    )


@pytest.mark.parametrize(
    ("optims", "names"),
    [
        ([{"milestones": [0.5, 0.8]}, {"milestones": [0.5]}], ["milestones=[0.5, 0.8]", "milestones=[0.5]"]),
        ([{"milestones": []}, {"milestones": [0.5]}], ["milestones=[]", "milestones=[0.5]"]),
        ([{"ema_decay": None}, {"ema_decay": 0.99}], ["ema_decay=null", "ema_decay=0.99"]),
        ([{"decay_norms": True}, {"decay_norms": False}], ["decay_norms=true", "decay_norms=false"]),
        ([{"args": {}}, {"args": {"momentum": 0.9}}], ["args={}", "args.momentum=0.9"]),
        ([{"extra": [{"p": 0.1}]}, {"extra": [{"p": 0.2}]}], ["extra=[{p: 0.1}]", "extra=[{p: 0.2}]"]),
    ],
)
def test_values_of_swept_keys_are_named_as_they_are_typed(tmp_path, optims, names):
    runs = [make_run(tmp_path / str(number), seed=1, optim=optim) for number, optim in enumerate(optims)]
    assert name_variants(runs) == [f"baseline (optim.{name})" for name in names]


def test_a_key_that_a_run_lacks_is_not_in_its_name(tmp_path):
    models = [{"_target_": "a.A", "width": 4}, {"_target_": "b.B"}]
    runs = [make_run(tmp_path / str(number), seed=1, model=model) for number, model in enumerate(models)]
    assert name_variants(runs) == ["baseline (model._target_=a.A, model.width=4)", "baseline (model._target_=b.B)"]


def test_flatten_keeps_empty_containers_and_numbers_lists():
    assert flatten({"a": {"b": [1, {"c": 2}]}, "d": {}}) == {"a.b.0": 1, "a.b.1.c": 2, "d": {}}


@pytest.mark.parametrize("there", [None, "file", "empty folder"])
def test_a_notebook_says_in_one_sentence_that_there_is_no_sweep(tmp_path, monkeypatch, there):
    import nbformat

    from tests.notebook_runner import NOTEBOOKS

    monkeypatch.chdir(tmp_path)
    if there is not None:
        (tmp_path / "multirun").mkdir()
    if there == "file":
        (tmp_path / "multirun" / "demo").write_text("")
    if there == "empty folder":
        (tmp_path / "multirun" / "demo").mkdir()
    source = nbformat.read(NOTEBOOKS / "open_a_sweep.ipynb", as_version=4).cells[1].source
    assert "%xmode Minimal\n" in source  # the notebook shows the sentence without a traceback
    with pytest.raises(RunError, match=r"demo has no sweep: run stress-lab -m experiment=demo first"):
        exec(source.replace("%xmode Minimal\n", ""), {})
