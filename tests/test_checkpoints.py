"""After a save the checkpoint is there, whole and the run's own, or the run ends with a sentence; so does a load."""

import errno
import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO
from omegaconf import OmegaConf
from torch.optim.swa_utils import get_ema_multi_avg_fn

from stress_lab.callbacks import checkpoint as writing
from stress_lab.callbacks.checkpoint import RunCheckpoint, VerifiedCheckpointIO, verify_checkpoints
from stress_lab.errors import RunError
from stress_lab.models.resnet import ResNet18
from stress_lab.preflight.finished_run import describe_owner, open_checkpoint
from stress_lab.preflight.messages import explain
from stress_lab.records import DatasetSpec, RunInfo
from stress_lab.runs.checkpoints import find_checkpoint, find_loss, recover_id, refuse_others
from stress_lab.runs.folder import RunDir
from stress_lab.storage.checkpoint_files import check_checkpoint
from stress_lab.training import build

pytestmark = pytest.mark.filterwarnings("ignore:.*exists and is not empty")

ID, OTHER = "a" * 32, "b" * 32
SPEC = DatasetSpec("x", tuple("abc"), 1, 28, 28, (0.5,), (0.2,), {}, "here", "order", {})


class Batch:
    """An epoch of one step."""

    def __len__(self):
        return 1

    def __iter__(self):
        yield torch.ones(2, 1)


class Line(LightningModule):
    """One weight, which each epoch moves by the same step."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, number):
        loss = (self.weight * batch).mean()
        self.log("val/acc", float(self.current_epoch % 2), on_epoch=True, on_step=False)  # the best is of epoch 2
        return loss

    def train_dataloader(self):
        return Batch()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1.0)


def fit(place, epochs=3, callbacks=(), resume=None, writer=None, **options):
    """Train with the callbacks that every run has; returns the folder of checkpoints."""
    own = [RunCheckpoint("best", "val/acc", mode="max", save_weights_only=True, save_on_train_epoch_end=True)]
    own += [RunCheckpoint("last", keep="previous", save_on_train_epoch_end=True), *callbacks]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=epochs, callbacks=own, default_root_dir=place, accelerator="cpu", **quiet, **options)
    if writer is None:
        verify_checkpoints(trainer, ID)
    trainer.fit(Line(), ckpt_path=resume, weights_only=True)
    return RunDir(place).checkpoints


def read(folder, name):
    """What torch loads: epoch and run in the mark, and the weight."""
    saved = torch.load(folder / f"{name}.ckpt", weights_only=True)
    return saved["stress_lab"]["epoch"], saved["stress_lab"]["run"], float(saved["state_dict"]["weight"])


EMA = {"multi_avg_fn": get_ema_multi_avg_fn(0.5), "device": "cpu"}


@pytest.mark.parametrize("ways", ["plain", "averaged", "in a thread", "in a thread around another"])
def test_every_way_of_saving_leaves_marked_and_whole_checkpoints(tmp_path, ways):
    plugin = {
        "in a thread": lambda: [AsyncCheckpointIO()],
        "in a thread around another": lambda: [AsyncCheckpointIO(TorchCheckpointIO())],
    }.get(ways, lambda: None)()
    callbacks = [WeightAveraging(**EMA)] if ways == "averaged" else []
    folder = fit(tmp_path, callbacks=callbacks, plugins=plugin)
    weights = [-1.0, -2.0, -3.0]
    if ways == "averaged":
        weights = [-1.0, -1.5, -2.25]
    assert read(folder, "last") == (3, ID, weights[2])
    assert read(folder, "previous") == (2, ID, weights[1])
    assert read(folder, "best") == (2, ID, weights[1])
    found = {path.stem: check_checkpoint(path) for path in folder.iterdir()}
    assert {name: (one.run, one.epoch) for name, one in found.items()} == {
        "last": (ID, 3),
        "previous": (ID, 2),
        "best": (ID, 2),
    }
    assert found["last"].resumable
    assert found["best"].resumable == (ways == "averaged")


def test_any_other_callback_of_lightnings_is_marked_too(tmp_path):
    every = ModelCheckpoint(dirpath=tmp_path / "mine", filename="{epoch}", save_top_k=-1, save_last=True)
    fit(tmp_path, callbacks=[every])
    marks = {path.name: check_checkpoint(path) for path in (tmp_path / "mine").iterdir()}
    assert {name: one.epoch for name, one in marks.items()} == {
        "epoch=0.ckpt": 1,
        "epoch=1.ckpt": 2,
        "epoch=2.ckpt": 3,
        "last.ckpt": 3,
    }
    assert {one.run for one in marks.values()} == {ID}


def test_a_writer_of_the_users_is_left_alone(tmp_path):
    class Mine(TorchCheckpointIO):
        pass

    trainer = Trainer(plugins=[Mine()], logger=False, default_root_dir=tmp_path, accelerator="cpu")
    verify_checkpoints(trainer, ID)
    assert type(trainer.strategy.checkpoint_io) is Mine


def test_training_goes_on_from_a_marked_checkpoint(tmp_path):
    folder = fit(tmp_path, epochs=2)
    fit(tmp_path, epochs=4, resume=folder / "last.ckpt")
    assert [read(folder, name)[::2] for name in ("previous", "last")] == [(3, -3.0), (4, -4.0)]


@pytest.fixture
def plain_mode(monkeypatch):
    """A writer that can be made to fail within a save."""

    def fail(with_error, at):
        calls, original = [], writing._save

        def save(checkpoint, path):
            calls.append(path)
            original(checkpoint, path)
            if len(calls) >= at:
                with_error(path)

        monkeypatch.setattr(writing, "_save", save)

    return fail


def raising(number):
    """Raise as a write does."""

    def fail(path):
        raise OSError(number, os.strerror(number))

    return fail


def cut(path):
    """A disk that keeps half, and says nothing."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """A disk that keeps something else."""
    content = bytearray(path.read_bytes())
    content[content.index(b"state_dict") + 3] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES])
def test_a_save_that_fails_ends_the_run_and_changes_nothing(tmp_path, plain_mode, number):
    plain_mode(raising(number), at=6)  # best, last, best, last; then last of epoch 3, since best was epoch 2
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        fit(tmp_path, epochs=9, callbacks=[])
    folder = RunDir(tmp_path).checkpoints
    assert str(folder / "last.ckpt") in explain(raised.value)
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt", "previous.ckpt"]
    assert [read(folder, name)[0] for name in ("previous", "last")] == [2, 3]


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_checkpoint_that_is_damaged_while_it_is_written_replaces_nothing(tmp_path, plain_mode, damage):
    plain_mode(damage, at=6)
    with pytest.raises(
        RunError, match=r"last\.ckpt was written but cannot be read back .*the checkpoint before it is still"
    ):
        fit(tmp_path, epochs=9)
    folder = RunDir(tmp_path).checkpoints
    assert [read(folder, name)[0] for name in ("previous", "last")] == [2, 3]
    assert not list(folder.glob(".partial-*"))


@pytest.mark.parametrize("plugins", [None, [AsyncCheckpointIO()]], ids=["plain", "in a thread"])
def test_a_save_in_a_thread_fails_the_run_as_well(tmp_path, plain_mode, plugins):
    plain_mode(raising(errno.ENOSPC), at=5)
    with pytest.raises(OSError, match="No space left"):
        fit(tmp_path, epochs=4, plugins=plugins)
    assert read(RunDir(tmp_path).checkpoints, "last")[0] == 2


def test_a_file_that_may_not_grow_so_large(tmp_path):
    """The limit of the process, as a quota of the file system would act: the write itself fails, in the midst."""
    folder = fit(tmp_path, epochs=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            fit(tmp_path, epochs=2, resume=folder / "last.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "ulimit -f" in explain(raised.value)
    assert read(folder, "last")[0] == 1
    assert not (folder / "previous.ckpt").exists()


def test_a_folder_that_cannot_be_written_is_found_before_training(tmp_path, monkeypatch):
    """As root may write everywhere, a file in its place stands for it, and an error of the system's."""
    trained = []
    monkeypatch.setattr(Line, "training_step", lambda *_: trained.append(1))
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(FileExistsError) as raised:
        fit(tmp_path)
    assert f"{tmp_path / 'checkpoints'}: File exists; choose another folder" in explain(raised.value)

    def refuse(*_, dir, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(dir))

    monkeypatch.setattr(writing.tempfile, "TemporaryFile", refuse)
    with pytest.raises(PermissionError) as raised:
        fit(tmp_path / "other")
    assert explain(raised.value).startswith(f"{tmp_path / 'other' / 'checkpoints'}: Permission denied")
    assert not trained


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_what_is_damaged_between_two_saves_never_replaces_the_one_before(tmp_path, damage, caplog):
    folder = fit(tmp_path, epochs=3)
    damage(folder / "last.ckpt")
    fit(tmp_path, epochs=3, resume=folder / "previous.ckpt")
    assert [read(folder, name)[0] for name in ("previous", "last")] == [2, 3]
    assert ("last.ckpt is damaged" in caplog.text) == (damage is not Path.unlink)


def test_what_another_run_left_is_not_kept_as_the_one_before(tmp_path, caplog):
    folder = fit(tmp_path, epochs=2)
    foreign = torch.load(folder / "last.ckpt", weights_only=True)
    VerifiedCheckpointIO(OTHER).save_checkpoint(foreign, folder / "last.ckpt")
    fit(tmp_path, epochs=3, resume=folder / "previous.ckpt")
    assert [read(folder, name)[:2] for name in ("previous", "last")] == [(2, ID), (3, ID)]


def test_the_mark_is_written_last(tmp_path):
    class Mine(ModelCheckpoint):
        def on_save_checkpoint(self, trainer, module, checkpoint):
            checkpoint["stress_lab"] = "mine"

    folder = fit(tmp_path, epochs=1, callbacks=[Mine(dirpath=tmp_path / "mine")])
    assert read(folder, "last")[:2] == (1, ID)


def test_a_state_that_is_never_loaded_is_reported_when_it_is_saved(tmp_path, caplog):
    class Stateful(ModelCheckpoint):
        def state_dict(self):
            return {"place": Path("x")}

    fit(tmp_path, callbacks=[Stateful(dirpath=tmp_path / "mine")])
    assert caplog.text.count("checkpoints of this run hold pathlib.") == 1


# a run's folder, without training


def make_run(place, epochs=3, id=ID, trained=True, **changes):
    """A finished run of a tiny net, with its checkpoints."""
    run = RunDir(place)
    run.save_info(RunInfo("baseline", 1, "finished", "now", epochs=epochs, max_epochs=epochs, trained=trained, id=id))
    callbacks = {
        "checkpoint_last": {"filename": "last", "monitor": None},
        "checkpoint_best": {"filename": "best", "monitor": "val/acc"},
    }
    run.save_config({"variant": "baseline", "seed": 1, "callbacks": {**callbacks, **changes}})
    run.save_history([{"epoch": epoch + 1, "val/acc": 0.5} for epoch in range(epochs)])
    for name, epoch in (("last", epochs), ("previous", epochs - 1), ("best", 1)):
        put(run, name, epoch, id)
    return run


def put(run, name, epoch, id, **more):
    """A checkpoint that says what it is of."""
    content = {"epoch": epoch - 1, "state_dict": {"a": torch.ones(3)}, "optimizer_states": [], **more}
    VerifiedCheckpointIO(id).save_checkpoint(content, run.checkpoints / f"{name}.ckpt")


def put_old(run, name, epoch):
    """One of an older version, which says less."""
    content = {"epoch": epoch - 1, "state_dict": {"a": torch.ones(3)}, "optimizer_states": []}
    torch.save(content, run.checkpoints / f"{name}.ckpt")


def test_own_checkpoints_are_taken(tmp_path):
    run = make_run(tmp_path)
    assert find_checkpoint(run).epoch == 3
    assert [open_checkpoint(run, name).epoch for name in ("last", "best")] == [3, 1]
    assert find_loss(run) is None


def test_checkpoints_of_older_versions_are_taken(tmp_path):
    for number, id in enumerate(("", ID)):
        run = make_run(tmp_path / str(number), id=id)
        for name, epoch in (("last", 3), ("best", 2)):
            put_old(run, name, epoch)
        assert find_checkpoint(run).epoch == 3
        assert [open_checkpoint(run, name).epoch for name in ("last", "best")] == [3, 2]
        assert find_loss(run) is None


@pytest.mark.parametrize("name", ["last", "best"])
@pytest.mark.parametrize(
    ("epoch", "id", "said"),
    [
        (3, OTHER, f"is of another run than .* .epoch 3 of run {OTHER}"),
        (9, ID, "holds epoch 9, but status.json counts 3 trained epochs"),
    ],
)
def test_a_checkpoint_that_is_not_of_the_run_is_refused_by_name(tmp_path, name, epoch, id, said):
    run = make_run(tmp_path)
    put(run, name, epoch, id)
    path = run.checkpoints / f"{name}.ckpt"
    with pytest.raises(
        RunError, match=rf"{name}\.ckpt {said}.*put the run's own back, use checkpoint=.*or set checkpoint={path}"
    ):
        open_checkpoint(run, name)
    assert open_checkpoint(run, str(path)).epoch == epoch  # as the sentence says
    assert f"{name}.ckpt" in find_loss(run)


def test_an_earlier_epoch_in_the_place_of_the_last_is_refused(tmp_path):
    run = make_run(tmp_path)
    put(run, "last", 2, ID)
    with pytest.raises(RunError, match=r"last\.ckpt holds epoch 2, but status\.json counts 3 trained epochs"):
        open_checkpoint(run, "last")
    assert find_checkpoint(run).epoch == 2  # training can go on from it
    seldom = make_run(tmp_path / "seldom", checkpoint_last={"filename": "last", "monitor": None, "every_n_epochs": 2})
    put(seldom, "last", 2, ID)
    assert open_checkpoint(seldom, "last").epoch == 2
    early = make_run(tmp_path / "early", trained=False)
    put(early, "last", 2, ID)
    assert open_checkpoint(early, "last").epoch == 2


def test_a_file_of_any_run_is_used_where_its_path_is_given(tmp_path):
    run, other = make_run(tmp_path / "run"), make_run(tmp_path / "other", id=OTHER)
    path = str(other.checkpoint("best"))
    found = open_checkpoint(run, path)
    assert describe_owner(found, run, path) == (
        f"{path} holds epoch 1 of another run ({OTHER}): its weights are used as they are"
    )
    torch.save({"a": torch.ones(3)}, tmp_path / "plain.pt")
    assert describe_owner(open_checkpoint(run, str(tmp_path / "plain.pt")), run, str(tmp_path / "plain.pt")) is None
    own = str(run.checkpoints / "previous.ckpt")
    assert describe_owner(open_checkpoint(run, own), run, own) is None


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_training_goes_on_from_the_one_before_a_damaged_one(tmp_path, damage, caplog):
    run = make_run(tmp_path)
    damage(run.checkpoints / "last.ckpt")
    assert find_checkpoint(run).path.name == "previous.ckpt"
    assert ("last.ckpt cannot be read" in caplog.text) == (damage is not Path.unlink)
    damage(run.checkpoints / "previous.ckpt")
    assert find_checkpoint(run) is None


def test_training_never_goes_on_from_another_run_nor_over_it(tmp_path):
    run = make_run(tmp_path)
    put(run, "last", 3, OTHER)
    with pytest.raises(RunError, match=r"is of another run.*move it to another folder and run the same command again"):
        find_checkpoint(run)
    with pytest.raises(RunError, match="is of another run"):
        refuse_others(run)
    (run.checkpoints / "last.ckpt").rename(tmp_path / "elsewhere.ckpt")
    refuse_others(run)
    assert find_checkpoint(run).epoch == 2
    put(run, "last", 7, ID)
    with pytest.raises(RunError, match=r"holds epoch 7, and .* trained 3"):
        find_checkpoint(run)


def test_the_id_of_a_run_whose_status_is_gone_is_in_its_checkpoints(tmp_path):
    run = make_run(tmp_path)
    run.status_file.write_text("{")
    assert recover_id(run) == ID
    cut(run.checkpoints / "last.ckpt")
    assert recover_id(run) == ID
    cut(run.checkpoints / "previous.ckpt")
    assert recover_id(run) == ""
    assert find_checkpoint(run) is None


def test_what_a_finished_run_has_lost_is_said_with_what_is_left(tmp_path):
    run = make_run(tmp_path)
    cut(run.checkpoints / "last.ckpt")
    said = find_loss(run)
    assert "last.ckpt is damaged" in said
    assert "can be compared" in said
    assert (
        f"stress-lab evaluate run={tmp_path} takes checkpoint={run.checkpoints / 'previous.ckpt'} (epoch 2) or "
        "checkpoint=best (epoch 1)" in said
    )
    (run.checkpoints / "last.ckpt").unlink()
    assert "last.ckpt is missing" in find_loss(run)
    shutil.rmtree(run.checkpoints)
    said = find_loss(run)
    assert "last.ckpt is missing" in said
    assert "best.ckpt is missing" in said
    assert "no other one is intact; resume=false trains the run again" in said


def test_a_run_that_was_told_to_keep_none_lacks_none(tmp_path):
    run = make_run(tmp_path, checkpoint_last=None, checkpoint_best=None)
    shutil.rmtree(run.checkpoints)
    assert find_loss(run) is None
    blind = make_run(tmp_path / "blind")
    blind.save_history([{"epoch": 1}])  # nothing to choose the best by
    (blind.checkpoints / "best.ckpt").unlink()
    assert find_loss(blind) is None
    blind.history_file.unlink()
    assert find_loss(blind) is None


def test_weights_are_loaded_only_where_they_are_whole_and_the_runs_own(tmp_path, compose_config):
    torch.manual_seed(1)
    net, run = ResNet18(1, 3, width=4), RunDir(tmp_path)
    cfg = compose_config("model.width=4", "callbacks.gradcam.layer=layer3")
    run.save_config(OmegaConf.to_container(cfg, resolve=True))
    run.save_info(RunInfo("baseline", 1, "finished", "now", epochs=2, trained=True, id=ID))
    content = {"epoch": 1, "state_dict": {f"net.{key}": value for key, value in net.state_dict().items()}}
    VerifiedCheckpointIO(ID).save_checkpoint(content, run.checkpoints / "last.ckpt")
    loaded = build.load_classifier(run, "last", SPEC, trust=True).net.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in net.state_dict().items())
    flip(run.checkpoints / "last.ckpt")
    with pytest.raises(RunError, match="cannot be read as a checkpoint"):
        build.load_classifier(run, "last", SPEC, trust=True)
    VerifiedCheckpointIO(OTHER).save_checkpoint(content, run.checkpoints / "last.ckpt")
    with pytest.raises(RunError, match="is of another run"):
        build.load_classifier(run, "last", SPEC, trust=True)


def test_weights_that_do_not_fit_into_memory_are_refused(tmp_path, monkeypatch):
    run = make_run(tmp_path)
    monkeypatch.setattr("stress_lab.storage.limits.count_available", lambda: 100)
    with pytest.raises(RunError, match=r"GB of memory or more, but only 1e-07 GB is available: close other programs"):
        open_checkpoint(run, "last")


@pytest.mark.parametrize("state", ["started", "failed"])
def test_a_run_that_was_killed_twice_goes_on_from_its_newest_epoch(tmp_path, state):
    """Its status has the epochs of the first process only: nothing counts them while training goes on."""
    run = make_run(tmp_path, trained=False)
    run.save_info(replace(run.load_info(), state=state, epochs=3))
    put(run, "last", 5, ID)
    refuse_others(run)
    assert find_checkpoint(run).epoch == 5
    assert open_checkpoint(run, "last").epoch == 5


def test_a_checkpoint_that_holds_more_than_weights_need_ends_no_training(tmp_path, caplog):
    entangled = []
    entangled.append(entangled)
    path = tmp_path / "last.ckpt"
    writer = VerifiedCheckpointIO(ID)
    for epoch in (0, 1):
        writer.save_checkpoint({"epoch": epoch, "state_dict": {}, "callbacks": {"mine": entangled}}, path)
    assert caplog.text.count("a value that contains itself") == 1
    with pytest.raises(RunError, match="a value that contains itself"):
        check_checkpoint(path)
