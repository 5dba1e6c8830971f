"""A run that was interrupted goes on to the same bits; what finished is not done again."""

import errno
import json
import os
import re
import shutil
import signal
from dataclasses import replace
from importlib import metadata

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from stress_lab import files
from stress_lab.callbacks.gradcam import GradCamGallery
from stress_lab.callbacks.history import HistoryWriter
from stress_lab.cli import train
from stress_lab.cli.earlier import sum_seconds
from stress_lab.data.datamodules import FashionSampleDataModule
from stress_lab.errors import RunError
from stress_lab.models.classifier import Classifier
from stress_lab.models.resnet import ResNet18
from stress_lab.preflight.configs import config_folder
from stress_lab.records import RunInfo
from stress_lab.runs.checkpoints import find_checkpoint
from stress_lab.runs.find import load_runs
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.process_group import ALONE
from stress_lab.storage.checkpoint_files import check_checkpoint
from stress_lab.sweeps import resume
from stress_lab.training import code, fit
from stress_lab.training.fingerprints import fingerprint_start, refuse_equal_starts
from tests.test_sweep_end_to_end import run_command

pytestmark = pytest.mark.usefixtures("blank_figures")
SHORT = ["experiment=demo", "trainer.max_epochs=3", "trainer.limit_train_batches=4", "model.width=4", "threads=1"]
SHORT += ["callbacks.gradcam.limit=1", "callbacks.predictions.train_examples=50", "callbacks.board.embedded=0"]
SHORT += ["+comparison.report=false", "logger=csv"]
SHORT += ["optim=sgd_one_cycle", "optim.batch_size=64"]  # whose rate moves at every step
SHORT += ["augment.flip=alternate", "augment.initial_scale=0.5"]  # what depends on the epoch
SHORT += ["optim.ema_decay=0.8"]  # a second set of weights
SHORT += ["model.whiten=true"]  # a stem that is set once and never trained


def groups():
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        return code.pick_groups(compose("train", []))


def describe(typed):
    return resume.describe_launch(typed, *groups())


def only_run(place):
    (folder,) = (place / "multirun" / "demo").iterdir()
    (run,) = load_runs(folder)
    return run


def weights(run):
    return torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]


def die_in(monkeypatch, method, at):
    """The process is killed in a hook: nothing after it happens."""
    calls = []
    original = getattr(*method)

    def hook(self, *arguments):
        calls.append(1)
        if len(calls) == at:
            raise SystemExit(137)
        return original(self, *arguments)

    monkeypatch.setattr(*method, hook)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run without interruption."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(place)
        assert run_command(monkeypatch, train.main, *SHORT) == 0
    return only_run(place)


@pytest.mark.parametrize(
    ("method", "at", "said"),
    [
        pytest.param((HistoryWriter, "on_train_epoch_start"), 2, "after epoch 1", marks=pytest.mark.slow),
        pytest.param((GradCamGallery, "record"), 1, "after epoch 3", marks=pytest.mark.slow),
    ],
    ids=["in the second epoch", "while recording"],
)
def test_an_interrupted_run_ends_in_the_same_bits(whole, tmp_path, monkeypatch, method, at, said):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as once:
        die_in(once, method, at)
        assert run_command(once, train.main, *SHORT) == 137
    run = only_run(tmp_path)
    assert run.load_info().state == "failed"
    first_id = run.load_info().id
    run.save_info(replace(run.load_info(), seconds=1000.0))
    assert run_command(monkeypatch, train.main, *SHORT) == 0
    again = only_run(tmp_path)
    assert said in (again.path / "train.log").read_text()
    assert again.load_info().state == "finished"
    assert again.load_info().resumed == 1
    assert re.fullmatch("[0-9a-f]{32}", first_id)
    assert (
        {again.load_info().id, check_checkpoint(again.checkpoint("last")).run} == {first_id} != {whole.load_info().id}
    )
    assert again.load_info().seconds > 1000
    first, second = weights(whole), weights(again)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert again.predictions_file("test").read_bytes() == whole.predictions_file("test").read_bytes()
    plain = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.load_history()] for run in (whole, again)]
    assert plain[0] == plain[1]
    assert json.loads(again.failures_file.read_text()) == json.loads(whole.failures_file.read_text())


def test_the_seconds_of_a_killed_process_are_those_of_its_epochs(tmp_path):
    run = RunDir(tmp_path)
    earlier = RunInfo("baseline", 42, "started", "")
    assert sum_seconds(run, replace(earlier, seconds=300.0)) == 300
    run.save_history([{"epoch": 1, "seconds": 100.0}, {"epoch": 2, "seconds": 120.0}])
    assert sum_seconds(run, earlier) == 220
    assert sum_seconds(run, replace(earlier, seconds=300.0)) == 300


def test_a_run_begins_from_the_data_and_leaves_that_stem_as_it_is(whole):
    """Of four filters the second two are the negatives of the first, which are orthonormal."""
    (stem,) = (value for key, value in weights(whole).items() if key.endswith("net.conv1.weight"))
    torch.testing.assert_close(stem[2:], -stem[:2])
    directions = stem[:2].flatten(1)
    torch.testing.assert_close(directions @ directions.T, torch.eye(2))


def test_what_finished_is_skipped_and_another_command_gets_a_folder_of_its_own(whole, monkeypatch):
    place = whole.path.parents[3]
    monkeypatch.chdir(place)
    before = whole.checkpoint("last").stat().st_mtime_ns
    assert run_command(monkeypatch, train.main, *reversed(SHORT)) == 0  # in any order
    assert whole.checkpoint("last").stat().st_mtime_ns == before
    assert "finished before: skipped" in (whole.path / "train.log").read_text()
    assert len(list((place / "multirun" / "demo").iterdir())) == 1
    assert resume.find_launch(place / "multirun" / "demo", describe(SHORT)) == whole.path.parent
    assert resume.find_launch(place / "multirun" / "demo", describe([*SHORT, "seed=1"])) is None
    other_code = {**describe(SHORT), "code": "0"}
    assert resume.find_launch(place / "multirun" / "demo", other_code) is None


def test_a_damaged_checkpoint_gives_way_to_the_one_before(whole, tmp_path, caplog):
    copy = RunDir(tmp_path / "run")
    copy.checkpoints.mkdir(parents=True)
    for name in ("last", "previous"):
        (copy.checkpoints / f"{name}.ckpt").write_bytes((whole.checkpoints / f"{name}.ckpt").read_bytes())
    assert find_checkpoint(copy).epoch == 3
    content = (copy.checkpoints / "last.ckpt").read_bytes()
    (copy.checkpoints / "last.ckpt").write_bytes(content[: len(content) // 2])
    found = find_checkpoint(copy)
    assert (found.path.name, found.epoch) == ("previous.ckpt", 2)
    assert "cannot be read" in caplog.text
    (copy.checkpoints / "previous.ckpt").unlink()
    assert find_checkpoint(copy) is None


def test_a_finished_run_that_lost_its_checkpoint_is_skipped_with_a_sentence(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy = RunDir(tmp_path / "copy" / "0_baseline_seed42")
    shutil.copytree(whole.path, copy.path)
    copy.checkpoint("last").unlink()
    assert run_command(monkeypatch, train.main, *SHORT, f"hydra.run.dir={copy.path}") == 0
    said = (copy.path / "train.log").read_text()
    assert "finished before: skipped" in said
    assert re.search(
        rf"last\.ckpt is missing\. Its records .*stress-lab evaluate run={copy.path} takes checkpoint=\S+", said
    )
    assert not copy.checkpoints.joinpath("last.ckpt").exists()


def test_a_run_is_not_taken_up_from_another_ones_checkpoint(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    copy = RunDir(tmp_path / "copy" / "0_baseline_seed42")
    shutil.copytree(whole.path, copy.path)
    copy.save_info(replace(copy.load_info(), state="failed", id="0" * 32))
    before = copy.status_file.read_bytes()
    assert run_command(monkeypatch, train.main, *SHORT, f"hydra.run.dir={copy.path}") == 2
    assert (
        f"last.ckpt is of another run than {copy.path} (epoch 3 of run {whole.load_info().id})"
        in capsys.readouterr().err
    )
    assert copy.status_file.read_bytes() == before
    assert copy.checkpoint("last").read_bytes() == whole.checkpoint("last").read_bytes()


def test_one_folder_has_one_writer(tmp_path, compose_config):
    cfg = compose_config()
    resume.claim_folder(tmp_path / "sweep", cfg)
    try:
        with pytest.raises(RunError, match="another process"):
            resume.claim_folder(tmp_path / "sweep", cfg)
    finally:
        resume.release_folders()
    resume.claim_folder(tmp_path / "sweep", cfg)
    resume.release_folders()
    assert set(os.listdir(tmp_path / "sweep")) == {"launch.json", ".lock"}


def test_the_code_is_described(compose_config):
    found = code.describe_code(compose_config())
    assert len(found["hash"]) == 16
    assert found["commit"] is None or len(found["commit"]) == 40


def test_a_changed_net_of_the_users_is_other_code(tmp_path, monkeypatch, compose_config):
    monkeypatch.syspath_prepend(tmp_path)
    cfg = compose_config("model=custom", "model._target_=some_net_of_mine.Net")
    without = code.hash_code(*code.list_own_sources(*code.pick_groups(cfg)))
    (tmp_path / "some_net_of_mine.py").write_text("import layers")
    (tmp_path / "layers.py").write_text("width = 8")
    assert [path.name for path in code.list_own_sources(cfg.model)] == ["layers.py", "some_net_of_mine.py"]
    assert code.list_own_sources(compose_config().model) == []  # ours is hashed anyway
    first = code.describe_code(cfg)["hash"]
    code.hash_code.cache_clear()
    (tmp_path / "layers.py").write_text("width = 9")
    assert len({without, first, code.describe_code(cfg)["hash"]}) == 3


def test_a_changed_optimiser_of_the_users_is_other_code(tmp_path, monkeypatch, compose_config):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "some_steps_of_mine.py").write_text("rate = 1")
    cfg = compose_config("optim.optimizer=some_steps_of_mine.Steps")
    (found,) = code.list_own_sources(cfg.optim)
    assert found == tmp_path / "some_steps_of_mine.py"
    assert found in code.list_own_sources(*code.pick_groups(cfg))


def test_another_version_of_a_named_package_is_another_launch(compose_config, monkeypatch):
    groups = code.pick_groups(compose_config("optim=muon_one_cycle"))
    assert code.list_named_versions(*groups) == {"timm": metadata.version("timm")}
    assert code.list_named_versions(*code.pick_groups(compose_config())) == {}
    before = resume.describe_launch([], *groups)
    monkeypatch.setattr(resume.metadata, "version", lambda name: "0.0")
    assert resume.describe_launch([], *groups)["versions"]["timm"] != before["versions"]["timm"]


def test_the_folder_is_looked_for_and_claimed_by_the_same_groups(compose_config):
    """The resolver in conf/train.yaml and the claim must hash the same sources, or no folder is found again."""
    cfg = compose_config()
    text = (config_folder() / "train.yaml").read_text()
    given = re.findall(r"\$\{launch:\$\{name\},\$\{resume\},([^}]*\}(?:,\$\{\w+\})*)\}", text)
    assert len(given) == 2
    for groups_of_resolver in given:
        names = re.findall(r"\$\{(\w+)\}", groups_of_resolver)
        assert [cfg[name] for name in names] == code.pick_groups(cfg)


def test_resume_false_starts_anew(whole, monkeypatch):
    place = whole.path.parents[3]
    monkeypatch.chdir(place)
    monkeypatch.setattr("sys.argv", ["stress-lab", *SHORT])
    assert resume.name_folder("demo", True, *groups()) == whole.path.parent.name
    assert resume.name_folder("demo", False, *groups()) != whole.path.parent.name


def test_commands_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len({resume.name_folder("demo", True, *groups()) for _ in range(3)}) == 3


def test_no_two_processes_train_in_one_folder(tmp_path):
    run = tmp_path / "run"
    refused = pytest.raises(RunError, match="is being trained by another process")
    with resume.hold_run(run), refused, resume.hold_run(run, patience=0.1):
        pass
    with resume.hold_run(run):
        pass


def test_other_images_are_not_taken_for_those_of_the_run(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy" / "0_baseline_seed42"
    shutil.copytree(whole.path, copy)
    data = json.loads((copy / "data.json").read_text())
    data["fingerprint"]["train"] = "0" * 64
    (copy / "data.json").write_text(json.dumps(data))
    assert run_command(monkeypatch, train.main, *SHORT, f"hydra.run.dir={copy}") == 2
    assert "the train images in" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "record", ["predictions/test.parquet", "evaluation.json", "status.json", "failures/failures.json"]
)
def test_a_record_cut_in_half_is_made_again(whole, tmp_path, monkeypatch, record, caplog):
    monkeypatch.chdir(tmp_path)
    copy = RunDir(tmp_path / "copy" / "0_baseline_seed42")
    shutil.copytree(whole.path, copy.path)
    content = (copy.path / record).read_bytes()
    (copy.path / record).write_bytes(content[: len(content) // 2])
    assert run_command(monkeypatch, train.main, *SHORT, f"hydra.run.dir={copy.path}") == 0
    assert record.rpartition("/")[2] in (copy.path / "train.log").read_text()
    assert copy.load_info().state == "finished"
    if not record.endswith("status.json"):
        assert (copy.path / record).read_bytes() == content
    first, second = weights(whole), weights(copy)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "rate"),
    [
        (["optim.schedule=step"], "0.1"),
        # 12 steps, the sixth at the full rate and the twelfth at a thousandth: the seventh has 1 - 0.999 / 6 of it
        (["optim.warm_up=0.5"], "0.08335"),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_epoch(
    tmp_path, monkeypatch, capsys, schedule, rate
):
    monkeypatch.chdir(tmp_path)
    original = Classifier.training_step

    def step(self, batch, number):
        loss = original(self, batch, number)
        return loss * float("nan") if self.current_epoch == 1 and number >= 2 else loss

    monkeypatch.setattr(Classifier, "training_step", step)
    assert run_command(monkeypatch, train.main, *SHORT, *schedule, "optim.lr=0.1") == 2
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"the loss is not finite at step 3 of epoch 2, at learning rate {rate}: lower optim.lr" in sentence
    run = only_run(tmp_path)
    assert run.load_info().state == "failed"
    assert "at step 3 of epoch 2" in run.load_info().error
    assert find_checkpoint(run).epoch == 1
    assert all(bool(torch.isfinite(value.float()).all()) for value in weights(run).values())


@pytest.mark.slow
def test_a_full_disk_is_said_and_loses_nothing(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as once:
        original = files.os.replace

        def replace(source, target):
            if str(target).endswith("test.parquet"):
                raise OSError(errno.ENOSPC, "No space left on device", str(target))
            return original(source, target)

        once.setattr(files.os, "replace", replace)
        assert run_command(once, train.main, *SHORT) == 2
    assert "the disk is full at" in capsys.readouterr().err
    run = only_run(tmp_path)
    assert run.load_info().state == "failed"
    assert not list(run.path.rglob(".partial-*"))
    assert run_command(monkeypatch, train.main, *SHORT) == 0
    assert run.predictions_file("test").read_bytes() == whole.predictions_file("test").read_bytes()


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def hook(self, *arguments):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)  # a job in the background may ignore it
    with monkeypatch.context() as once:
        once.setattr(HistoryWriter, "on_train_epoch_end", hook)
        assert run_command(once, train.main, *SHORT) == 130
    said = capsys.readouterr()
    assert (
        said.err.strip().splitlines()[-1] == "interrupted: run the same command to resume from the last complete epoch"
    )
    assert "Traceback" not in said.err
    assert only_run(tmp_path).load_info().error == "interrupted"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_transform_that_draws_nothing_at_random_is_no_broken_seed():
    class Blur:
        def draw(self, count, height, width, generator):
            return torch.full((count,), 3)

        def apply(self, images, parameters):
            return images

    plain = {"crop_padding": 0, "flip": False, "cutout": None, "extra": [Blur()]}
    source = FashionSampleDataModule(val_size=1000, batch_size=64, augment=plain, seed=1)
    assert fingerprint_start(ResNet18(1, 10, width=4), source)["augmentation"] == [None, None]
    source = FashionSampleDataModule(val_size=1000, batch_size=64, augment={**plain, "flip": True}, seed=1)
    first, second = fingerprint_start(ResNet18(1, 10, width=4), source)["augmentation"]
    assert None is not first != second


def test_why_a_run_among_several_processes_failed_is_kept(tmp_path):
    run, info = RunDir(tmp_path), RunInfo("a", 1, "started", "now")
    with pytest.raises(SystemExit), train._status(run, info):
        raise SystemExit(1) from RunError("the loss is not finite")
    assert run.load_info().error == "the loss is not finite"
    with pytest.raises(KeyboardInterrupt), train._status(run, info):
        raise KeyboardInterrupt
    assert run.load_info().error == "interrupted"


def test_sigterm_is_left_to_whoever_handled_it_before(tmp_path, compose_config):
    cfg, run = compose_config("trainer=cpu"), RunDir(tmp_path)
    trainer = fit._build_trainer(cfg, run, "32-true", ALONE, True, None)
    before = signal.getsignal(signal.SIGTERM)
    trainer._signal_connector.register_signal_handlers()
    assert signal.getsignal(signal.SIGTERM) is before


def test_seeds_that_reach_nothing_end_the_sweep_before_training(tmp_path, monkeypatch, compose_config):
    def made(name, seed, **changed):
        run = RunDir(tmp_path / name)
        run.save_config({"variant": "a", "seed": seed})
        run.save_info(RunInfo("a", seed, "started", "now"))
        source = FashionSampleDataModule(val_size=1000, batch_size=64, seed=changed.get("data_seed", seed))
        torch.manual_seed(changed.get("net_seed", seed))
        run.save_fingerprint(fingerprint_start(ResNet18(1, 10, width=4), source))
        return run

    made("0", 1)
    refuse_equal_starts(made("1", 2))
    with pytest.raises(RunError, match="seeds 1 and 3 have the same order of images"):
        refuse_equal_starts(made("2", 3, data_seed=1))
    shutil.rmtree(tmp_path / "2")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "status.json").touch()
    (tmp_path / "broken" / "config.yaml").write_text("half: [a")  # beside the runs, and none of them
    same_weights = made("3", 4, net_seed=1)
    refuse_equal_starts(same_weights)  # a pretrained net may ignore the seed: said, not refused
    assert same_weights.load_fingerprint()["weights"] == RunDir(tmp_path / "0").load_fingerprint()["weights"]
