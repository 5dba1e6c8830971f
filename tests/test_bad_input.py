"""Mistakes end in one sentence on stderr, status 2, no traceback, and leave no run behind."""

import json
import shutil
import sys

import pytest
import torch

from stress_lab import compare, evaluate, train
from stress_lab.runs import RunDir
from tests.test_sweep_end_to_end import run_command

TREE = {"train": {"cat": 20, "dog": 20}, "test": {"cat": 4, "dog": 4}}
QUICK = ["trainer=smoke", "model.width=4", "logger=csv", "threads=1"]


@pytest.fixture
def refuse(monkeypatch, capsys, tmp_path):
    """Run a command that must be refused; returns its sentence."""

    def run(main, *arguments):
        monkeypatch.chdir(tmp_path)
        status = run_command(monkeypatch, main, *arguments)
        captured = capsys.readouterr()
        assert status == 2, captured
        assert "Traceback" not in captured.err + captured.out
        sentence = captured.err.strip()
        assert sentence.startswith("error: ")
        return sentence

    return run


@pytest.mark.parametrize("multirun", [[], ["-m"]], ids=["run", "sweep"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data=cifar10", "data.root=/nowhere"], "data.root=/nowhere is not a folder"),
        (["optm.lr=0.1"], "there is no config key optm.lr: did you mean optim.lr?"),
        (["augment=cutot"], "Could not find 'augment/cutot'; available options in 'augment': baseline cutout plain"),
        (["augment=cutout", "augment.cutout.length=64"], "augment.cutout.length=64 does not fit images of 28×28"),
        (["data.val_size=60000"], "data.val_size=60000 does not work with 7,000 training images"),
        (["callbacks.gradcam.layer=layer9"], "layer9 is no part of the net"),
        (["model._target_=no.such.Net"], "model._target_=no.such.Net cannot be imported"),
        (["model=custom", "model._target_=torch.nn.Identity"], "10 classes"),
        (["model=custom"], "model._target_"),
        (["model._target_=torch.nn.Identity"], "takes no width: say model=custom"),
        (["callbacks.gradcam.layer=fc"], "callbacks.gradcam.layer gives no feature map"),
        (["data=image_folder"], "data.root=None is not a folder"),
        (["optim.args.momentun=0.9"], "optim.args.momentum"),
        (["+optim.args.momentun=0.9"], "momentun"),
        (["data._target_=torch.nn.Identity"], "data._target_"),
        (["experiment=demo2"], "experiment/demo2"),
        (["seed=x"], "seed=x does not work"),
        (["augment=cutout", "augment.cutout=99"], "augment.cutout=99 does not work: it is a group of keys"),
        (["optim.args=3"], "optim.args=3 does not work"),
        (["augment=cutout", "augment.cutout.size=9"], "no config key augment.cutout.size: see the keys with --cfg job"),
        (["trainer.precision=fp8"], "trainer.precision=fp8 does not work: use one of auto, 32-true, bf16-mixed"),
        (["trainer.accelerator=tpu"], "trainer.accelerator=tpu, but this machine has: cpu"),
    ],
)
def test_mistakes_in_the_config(refuse, tmp_path, multirun, arguments, message):
    sentence = refuse(train.main, *multirun, *arguments)
    assert message in sentence
    assert "\n" not in sentence
    assert not list(tmp_path.rglob("status.json")) or multirun == []


def test_a_wrong_config_leaves_no_folder(refuse, tmp_path):
    refuse(train.main, "seed=-1")
    assert list(tmp_path.iterdir()) == []


def test_the_same_job_twice(refuse):
    assert "jobs 0 and 1 of the sweep are the same" in refuse(train.main, "-m", "seed=0,0", *QUICK)


def test_a_mistake_in_the_last_job_stops_the_first(refuse, tmp_path):
    sentence = refuse(train.main, "-m", "+augment.cutout.length=5,99", "augment=cutout", *QUICK)
    assert "augment" in sentence
    assert not (tmp_path / "multirun").exists()


def test_corrupt_image(refuse, make_tree):
    root = make_tree(TREE)
    (root / "train" / "cat" / "003.png").write_bytes(b"not an image")
    assert "003.png cannot be read as an image" in refuse(train.main, "data=image_folder", f"data.root={root}", *QUICK)


def test_a_class_in_test_that_train_lacks(refuse, make_tree):
    root = make_tree({**TREE, "test": {"cat": 4, "zebra": 4}})
    assert "'zebra'" in refuse(train.main, "data=image_folder", f"data.root={root}", *QUICK)


@pytest.mark.parametrize("multirun", [["hydra.run.dir=blocked/run"], ["-m", "hydra.sweep.dir=blocked/sweep"]])
def test_an_output_folder_that_cannot_be_written(refuse, tmp_path, multirun):
    (tmp_path / "blocked").write_text("a file where a folder should be")
    assert "blocked" in refuse(train.main, *multirun, *QUICK)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two quick runs: the sample, and other data."""
    from tests import conftest

    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("STRESS_LAB_CACHE", str(place / "cache"))
        monkeypatch.chdir(place)
        for name, extra in (("a", []), ("b", ["data.val_size=500", "augment=cutout"])):
            arguments = [
                *QUICK,
                "callbacks.gradcam.limit=0",
                f"hydra.run.dir={place / name}",
                "+comparison.report=false",
                *extra,
            ]
            assert run_command(monkeypatch, train.main, *arguments) == 0
    assert conftest.torch.get_num_threads() == 1
    data = json.loads((place / "b" / "data.json").read_text())
    data["fingerprint"]["test"] = "0" * 64  # as if it had been made with other images
    (place / "b" / "data.json").write_text(json.dumps(data))
    return place


def test_comparing_runs_of_different_data(refuse, trained):
    sentence = refuse(compare.main, f"runs=[{trained / 'a'},{trained / 'b'}]")
    assert "different test images" in sentence


def test_evaluating_on_other_images_than_recorded(refuse, trained):
    assert "are not those of" in refuse(evaluate.main, f"run={trained / 'b'}", "threads=1")


def test_a_checkpoint_of_another_net(refuse, trained, tmp_path):
    from stress_lab.models.resnet import ResNet18

    state = {f"net.{key}": value for key, value in ResNet18(1, 10, width=8).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "other.ckpt")
    arguments = [f"run={trained / 'a'}", f"checkpoint={tmp_path / 'other.ckpt'}", "threads=1"]
    assert "is a checkpoint of another net" in refuse(evaluate.main, *arguments)


@pytest.mark.parametrize("content", [b"", b"half a checkpoint", None], ids=["empty", "text", "cut"])
def test_a_broken_checkpoint(refuse, trained, tmp_path, content):
    whole = (trained / "a" / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "broken.ckpt").write_bytes(whole[: len(whole) // 2] if content is None else content)
    arguments = [f"run={trained / 'a'}", f"checkpoint={tmp_path / 'broken.ckpt'}", "threads=1"]
    assert "broken.ckpt cannot be read as a checkpoint" in refuse(evaluate.main, *arguments)


def test_a_checkpoint_is_never_executed(refuse, trained, tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "evil.ckpt", weights_only=True)
    arguments = [f"run={trained / 'a'}", f"checkpoint={tmp_path / 'evil.ckpt'}", "threads=1"]
    assert "cannot be read as a checkpoint" in refuse(evaluate.main, *arguments)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (evaluate.main, [], "say which run"),
        (evaluate.main, ["run=/nowhere"], "run=/nowhere is not a run folder"),
        (evaluate.main, ["run={a}", "split=tset"], "split=tset does not work: use train, val or test"),
        (evaluate.main, ["run={a}", "checkpoint=nowhere.ckpt"], "nowhere.ckpt is no checkpoint"),
        (evaluate.main, ["run={a}", "layer=layer9"], "layer9 is no part of the net"),
        (compare.main, [], "say one of sweep=FOLDER"),
        (compare.main, ["sweep=/nowhere"], "/nowhere is not a folder"),
        (compare.main, ["sweep={a}"], "holds no runs"),
        (compare.main, ["runs={a}"], "write it as a list"),
        (compare.main, ["predictions=a.csv"], "write it as a list"),
        (compare.main, ["predictions=[/nowhere/a.csv]"], "/nowhere/a.csv"),
        (compare.main, ["sweep={a}", "margins.accuracy=0"], "margins.accuracy=0 does not work"),
        (compare.main, ["sweep={a}", "primary=[ece]"], "accuracy,confident_failures"),
        (compare.main, ["sweep={a}", "gates.min_accuracy=93"], "gates.min_accuracy=93 does not work"),
        (compare.main, ["sweep={a}", "gates.min_acuracy=0.9"], "did you mean gates.min_accuracy"),
        (train.main, ["+comparison.levl=0.9"], "there is no config key comparison.levl"),
        (train.main, ["+comparison.level=95"], "level=95 does not work"),
        (train.main, ["+comparison.margins=null"], "margins=None does not work"),
        (train.main, ["+comparison.out=here"], "comparison.out does not work in training"),
        (compare.main, ["sweep={a}", "gates=null"], "gates=None does not work"),
        (compare.main, ["predictions=[3,4]"], "it takes paths of files"),
        (compare.main, ["predictions=[x.csv,x.csv]"], "names x.csv twice"),
        (compare.main, ["predictions={{x: [], y: [a.csv]}}"], "x names no files"),
        (compare.main, ["predictions=[{a}]"], "is a folder"),
        (compare.main, ["runs=[{a},/nowhere]"], "/nowhere is not a run folder"),
        (compare.main, ["sweep={a}", "level=95"], "level=95 does not work"),
    ],
)
def test_mistakes_at_the_other_doors(refuse, trained, main, arguments, message):
    assert message in refuse(main, *[argument.format(a=trained / "a") for argument in arguments])


def test_a_cut_record_is_named(refuse, trained, tmp_path):
    shutil.copytree(trained / "a", tmp_path / "sweep" / "0_a")
    run = RunDir(tmp_path / "sweep" / "0_a")
    run.evaluation_file.write_text(run.evaluation_file.read_text()[:50])
    assert "evaluation.json is not valid JSON" in refuse(compare.main, f"sweep={tmp_path / 'sweep'}")


def test_a_folder_that_holds_a_run_is_not_written_into(refuse, trained):
    before = (trained / "a" / "status.json").read_bytes()
    assert "holds a run already" in refuse(train.main, *QUICK, f"hydra.run.dir={trained / 'a'}")
    assert (trained / "a" / "status.json").read_bytes() == before


def test_an_unfinished_run_is_not_compared(refuse, trained, tmp_path):
    shutil.copytree(trained / "a", tmp_path / "c")
    run = RunDir(tmp_path / "c")
    status = json.loads(run.status_file.read_text())
    run.status_file.write_text(json.dumps({**status, "state": "failed", "error": "the cat"}))
    sentence = refuse(compare.main, f"runs=[{trained / 'a'},{tmp_path / 'c'}]")
    assert "only finished runs can be compared: c is left out: failed (the cat)" in sentence


def test_full_errors_on_request(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["stress-lab", "seed=-1"])
    with pytest.raises(Exception, match="seed=-1 does not work"):
        train.main()
