"""Bad inputs, each a command and what its answer must say; ``run_rows`` runs them in one light process.

A row: command (train, evaluate or compare), arguments, words that the sentence must hold, and perhaps a function that
puts files into the empty folder where the command runs, and variables of the environment. Started as a script it runs
the rows whose names it reads as a list in JSON, and prints what happened as JSON: each in a fork of a process that
imported the commands, and nothing heavy.
"""

import gc
import json
import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

HEAVY = ("torch", "lightning", "torchvision", "sklearn", "scipy", "matplotlib")
HANGS = 120  # seconds after which a row is ended; a busy machine alone takes many
FOLDER = ["data=image_folder", "data.root=tree"]
MKDIR = {"_target_": "os.mkdir", "path": "executed"}


def make_tree(place, counts=None, size=(12, 12)):
    """A class-folder tree of random images."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, classes in (counts or {"train": {"cat": 6, "dog": 6}, "test": {"cat": 2, "dog": 2}}).items():
        for label, count in classes.items():
            folder = place / "tree" / split / label
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")


@cache
def default_config():
    """What ``stress-lab`` composes when nothing is typed."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    from stress_lab.preflight.configs import config_folder

    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        config = OmegaConf.to_container(compose("train"), resolve=True)
    GlobalHydra.instance().clear()
    return config


def make_run(place, name="run", seed=1, right=0.8, fingerprint="0" * 64, **changes):
    """A finished run of the sample with planted answers, and a checkpoint that is none."""
    from stress_lab.records import DatasetSpec, Predictions, RunInfo
    from stress_lab.runs.folder import RunDir

    run = RunDir(place / name)
    run.save_config(json.loads(json.dumps({**default_config(), "seed": seed, **changes})))
    run.save_info(RunInfo("baseline", seed, "finished", "now", seconds=1.0))
    prints = dict.fromkeys(("train", "test"), fingerprint)
    run.save_spec(DatasetSpec("x", tuple("abcdefghij"), 1, 28, 28, (0.5,), (0.2,), {}, "here", "order", prints))
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 10, 50)
    pred = np.where(rng.random(50) < right, label, (label + 1) % 10)
    run.save_predictions("test", Predictions(np.arange(50), label, np.eye(10, dtype=np.float32)[pred] * 4))
    errors = int((pred != label).sum())
    run.save_evaluation("test", {"n": 50, "errors": errors, "accuracy": 1 - errors / 50})
    write_checkpoint(place / name / "checkpoints" / "last.ckpt")


def write_checkpoint(path, content=b"\x80\x02}q\x00.", member="archive/data.pkl"):
    """A zip file as torch writes checkpoints, with any pickle in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)


class Evil:
    """Makes the file ``executed`` when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("executed",))


def write_csv(place, name="a.csv", text="id,pred,label\n1,cat,cat\n2,dog,cat\n3,dog,dog\n"):
    """A file of predictions."""
    (place / name).write_text(text)


def files(**named):
    """Files of predictions by their stems, a good one and a file of labels beside them."""

    def prepare(place):
        write_csv(place, "good.csv")
        write_csv(place, "labels.csv", "id,label\n1,cat\n2,cat\n3,dog\n")
        for name, text in named.items():
            write_csv(place, f"{name}.csv", text)

    return prepare


def tree(damage):
    """A tree of images that is then damaged."""

    def prepare(place):
        make_tree(place)
        damage(place / "tree")

    return prepare


def run(damage=lambda place: None, **changes):
    """A run of this user's own that is then damaged."""

    def prepare(place):
        from stress_lab.runs.folder import RunDir

        make_run(place, **changes)
        RunDir(place / "run").write_seal("")
        damage(place)

    return prepare


def two_runs(damage=lambda place: None, **changes):
    """A folder ``sweep`` with two runs of different variants, the second changed."""

    def prepare(place):
        make_run(place, "sweep/0_a")
        make_run(place, "sweep/1_b", **{"seed": 2, "variant": "b", **changes})
        damage(place / "sweep")

    return prepare


def a_png_that_claims(width, height):
    """A few bytes that promise a huge picture."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def spoil(name, content):
    """Overwrite a file, below the folder that a function is given."""
    return lambda place: (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def spoil_all(**files):
    """Write several files, below the folder that a function is given."""

    def write(place):
        for name, text in files.items():
            (place / name).write_text(text)

    return write


def edit_json(name, **changes):
    """Change values in a record; None drops one."""

    def change(place):
        record = {**json.loads((place / name).read_text()), **changes}
        (place / name).write_text(json.dumps({key: value for key, value in record.items() if value is not None}))

    return change


def make_link_loop(root):
    """A class folder that leads to itself."""
    shutil.rmtree(root / "test" / "dog")
    (root / "test" / "dog").symlink_to(root / "test" / "dog")


def save_npz(**arrays):
    """Predictions as NPZ beside a good file."""

    def prepare(place):
        files()(place)
        np.savez(place / "a.npz", **arrays)

    return prepare


@dataclass(frozen=True)
class Row:
    """One bad input."""

    command: str
    arguments: list
    words: str
    prepare: object = None
    environment: dict = field(default_factory=dict)

    @property
    def name(self):
        given = " ".join(f"{k}={v}" for k, v in self.environment.items())
        return f"{self.command} {given} {' '.join(self.arguments)}: {self.words}"


def T(arguments, words, prepare=None, **environment):
    """A row of stress-lab."""
    return Row("train", arguments.split(" ") if isinstance(arguments, str) else arguments, words, prepare, environment)


def C(arguments, words, prepare=None, **environment):
    """A row of stress-lab compare."""
    return Row("compare", arguments.split(" ") if arguments else [], words, prepare, environment)


def E(arguments, words, prepare=None, **environment):
    """A row of stress-lab evaluate."""
    return Row("evaluate", arguments.split(" ") if arguments else [], words, prepare, environment)


def A(arguments, words, prepare=None, **environment):
    """A row of stress-lab audit."""
    return Row("audit", arguments.split(" ") if arguments else [], words, prepare, environment)


COMMAND_LINE = [
    T("--seed=3", "unrecognized arguments: --seed=3: write seed=3 without dashes"),
    T("seed 3", "seed has no value: write KEY=VALUE"),
    T("seed=1,2", "seed=1,2 names several values: add -m to run each"),
    T(["name=a b(c"], "name=a b(c cannot be read: put a value with spaces, commas or brackets in quotes"),
    T("--config-name=tran", "Cannot find primary config 'tran'"),
    T("--config-dir=/nowhere", "Additional config directory '/nowhere' not found"),
    T("hydra/launcher=slurm", "there is no hydra/launcher=slurm"),
    T("-m seed=0,0", "jobs 0 and 1 of the sweep are the same"),
]
KEYS = [
    T("optm.lr=0.1", "there is no config key optm.lr: did you mean optim.lr?"),
    T("optim.learning_rate=0.1", "there is no config key optim.learning_rate: it is optim.lr here"),
    T("epochs=3", "there is no config key epochs: it is trainer.max_epochs here"),
    T("data.vall_size=3", "did you mean data.val_size?"),
    T("augment=cutout augment.cutout.lenght=9", "there is no config key augment.cutout.lenght"),
    T("comparison.level=0.9", "add one of the keys of stress-lab compare with +comparison.level"),
    T("+comparison.levl=0.9", "there is no config key comparison.levl: did you mean comparison.level?"),
    T("+comparison.out=here", "comparison.out does not work in training"),
    T("+seed=3", "+seed adds nothing, since the key already exists: write seed=VALUE"),
    T("~seed", "the config lacks seed: leave out ~seed"),
    T("~callbacks.gradcm", "did you mean ~callbacks.gradcam?"),
    T("seed=???", "seed has no value yet: write seed=VALUE"),
    T(["name=${nowhere}"], "nowhere"),
    T("+trainer.max_epoch=3", "does not take max_epoch: did you mean trainer.max_epochs?"),
    T("+optim.args.momentun=0.9", "SGD does not take momentun: did you mean optim.args.momentum?"),
    T("+callbacks.history.every=3", "callbacks.history.every does not work"),
]
CHOICES = [
    T("augment=cutot", "there is no augment=cutot: did you mean augment=cutout? (there are baseline, cutout, plain)"),
    T("-m augment=baseline,cutot", "did you mean augment=cutout?"),
    T("experiment=dmo", "did you mean experiment=demo?"),
    T("logger=comet", "there is no logger=comet: use one of (both, csv, mlflow, none, tensorboard, wandb)"),
    T("callbacks=null", "callbacks=null does not work: a group takes the name of a choice"),
    T("+experiment=demo", "experiment is chosen twice"),
    T("augmnt=cutout", "did you mean augment?"),
]
VALUES = [
    T("seed=-1", "seed=-1 does not work: use a whole number from 0"),
    T('optim.lr="0.1"', "leave out the quotes"),
    T("optim.lr=inf", "optim.lr=inf does not work"),
    T("optim.milestones=[25,40]", "fractions of the run"),
    T("optim.args.momentum=high", "optim.args.momentum=high does not work: use a number from 0"),
    T("optim.optimizer=adam", "optim.optimizer=adam is not a class of torch.optim: did you mean Adam?"),
    T("optim.optimizer=torch.optim.Adm", "optim.optimizer=torch.optim.Adm cannot be imported: torch.optim has no Adm"),
    T("optim.optimizer=os.abort", "optim.optimizer=os.abort is not an optimiser, and is not imported"),
    T("optim.schedule=cosine", "optim.schedule=cosine does not work: use step or one_cycle"),
    T("optim.warm_up=5", "optim.warm_up=5 does not work: use a fraction of the run between 0 and 1"),
    T("augment.flip=both", "augment.flip=both does not work: use true, false or alternate"),
    T("+trainer.max_steps=100", "trainer.max_steps=100 does not work: use trainer.max_epochs"),
    T("+trainer.fast_dev_run=true", "trainer.fast_dev_run=True does not work: use trainer=smoke"),
    T("+trainer.val_check_interval=1", "trainer.val_check_interval=1 does not work: use 1.0: once per epoch"),
    T("augment.initial_scale=16", "augment.initial_scale=16 does not work: use null or a fraction such as 0.5"),
    T("name=../elsewhere", "name=../elsewhere does not work"),
    T(f"variant={'long' * 60}", "of at most 150 characters"),
    T("trainer.precision=fp8", "trainer.precision=fp8 does not work: use one of auto, 32-true"),
    T("trainer.limit_train_batches=1.5", "trainer.limit_train_batches=1.5 does not work"),
    T("+logger.mine.a=1", "logger.mine does not name a class"),
    T("model=custom", "model._target_ has no value yet"),
    T("model._target_=no.such.Net", "there is no module no"),
    T("model._target_=stress_lab.models.resnet.ResNet81", "did you mean stress_lab.models.resnet.ResNet18?"),
    T(
        "model._target_=torch.nn.Linear",
        "torch.nn.Linear does not take width (set model=custom model._target_=torch.nn.Linear",
    ),
    T("callbacks.history._target_=stress_lab.callbacks.history.Histroy", "did you mean"),
]
CROSS_GROUP = [
    T("data.val_size=0", "leaves no validation images, but callbacks.checkpoint_best selects on val/acc"),
    T("callbacks.checkpoint_best.monitor=test/acc", "selects on the test split: use val/acc"),
    T(
        "callbacks.checkpoint_best.monitor=val/loss",
        "takes the worst val/loss for the best: set callbacks.checkpoint_best.mode=min",
    ),
    T(
        "callbacks.checkpoint_best.mode=min",
        "takes the worst val/acc for the best: set callbacks.checkpoint_best.mode=max",
    ),
    T("callbacks.checkpoint_best.monitor=val/accuracy", "is never logged: use one of val/acc"),
    T("~callbacks.predictions", "callbacks.failures reads what callbacks.predictions writes"),
    T("augment=cutout augment.cutout.length=64", "augment.cutout.length=64 does not fit images of 28×28"),
    T("data=cifar10 augment=cutout augment.cutout.length=33", "does not fit images of 32×32"),
    T("augment.crop_padding=99", "augment.crop_padding=99 does not fit images of 28×28"),
    T("-m augment=cutout +augment.cutout.lengt=5,99", "did you mean augment.cutout.length?"),
    T("-m augment=cutout augment.cutout.length=5,99", "augment.cutout.length=99 does not fit"),
    T("data.val_size=60000", "data.val_size=60000 does not work with 7,000 training images"),
    T("model=three_block callbacks.gradcam.layer=layer4", "layer4 is not a part of the net: its parts are conv1"),
    T("callbacks.gradcam.layer=fc", "callbacks.gradcam.layer=fc gives no feature map"),
    T([*FOLDER, "augment=cutout", "augment.cutout.length=20"], "does not fit images of 12×12", make_tree),
    T([*FOLDER, "data.val_size=99"], "data.val_size=99 does not work with 12 training images", make_tree),
]
IDLE = [
    T("optim=sgd_one_cycle optim.milestones=[0.5]", "optim.milestones has no effect: optim.schedule=one_cycle has no"),
    T("optim=sgd_one_cycle optim.gamma=0.5", "optim.gamma has no effect: optim.schedule=one_cycle has no milestones"),
    T("optim=sgd_constant optim.gamma=0.5", "optim.gamma has no effect: there is no milestone"),
    T("optim=sgd_constant optim.milestones=[0.5]", "optim.milestones has no effect: optim.gamma=1 leaves the rate"),
    T("optim.warm_up=0.3", "optim.warm_up has no effect: only optim.schedule=one_cycle warms up"),
    T("-m optim.warm_up=0.2,0.3", "optim.warm_up has no effect: only optim.schedule=one_cycle warms up"),
    T("-m optim=adam_step,sgd_constant optim.warm_up=0.3", "optim.warm_up has no effect"),
    T("augment.finetune_fraction=0.3", "augment.finetune_fraction has no effect: images do not grow"),
    T("data.val_size=0 ~callbacks.checkpoint_best data.split_seed=3", "data.split_seed has no effect: data.val_size=0"),
    T(
        "data.val_size=0 ~callbacks.checkpoint_best trainer.limit_val_batches=3",
        "trainer.limit_val_batches has no effect",
    ),
    T("logger=csv callbacks.board.embedded=9", "callbacks.board.embedded has no effect: no TensorBoard is written"),
    T(
        "callbacks.board.embedded=9 ~callbacks.board",
        "callbacks.board.embedded has no effect: callbacks.board is dropped",
    ),
    T(
        "augment=cutout augment.cutout.holes=2 augment.cutout=null",
        "augment.cutout.holes has no effect: augment.cutout is",
    ),
    T(
        "+comparison.margins.accuracy=0.01 +comparison.primary=[confident_failures]",
        "comparison.margins.accuracy has no",
    ),
    T(
        "-m augment=plain,cutout +comparison.reference=baseline",
        "+comparison.reference=baseline does not name a variant: write one of plain, cutout",
    ),
    T(
        "-m augment=plain,cutout +comparison.gallery=0 +comparison.cases_per_outcome=0 +comparison.layer=layer2",
        "comparison.layer has no effect",
    ),
    C("predictions=[good.csv] +label=l.csv", "+label=l.csv would be ignored: stress-lab compare has no key", files()),
    C("predictions=[good.csv] ++gates.min=1", "++gates.min=1 would be ignored: stress-lab compare has no key", files()),
    C("predictions=[good.csv] label=l.csv", "there is no config key label: did you mean labels?", files()),
    C("predictions=[good.csv] root=photos", "root has no effect: prediction files come without images", files()),
    C("predictions=[good.csv] layer=layer3", "layer has no effect: prediction files come without a net", files()),
    C("sweep=sweep labels=labels.csv", "labels has no effect: runs hold their own labels", two_runs()),
    C("sweep=sweep threshold=0.9", "threshold has no effect: runs have their own", two_runs()),
    C("runs=[sweep/0_a,sweep/1_b] threshold=0.9", "threshold has no effect: runs have their own", two_runs()),
    C("sweep=sweep gallery=0 cases_per_outcome=0 root=.", "root has no effect: gallery=0 and", two_runs()),
    C("sweep=sweep primary=[accuracy] margins.confident_failures=0.1", "margins.confident_failures has no", two_runs()),
]
PLACES = [
    T("data=cifar10 data.root=/nowhere", "data.root=/nowhere is not a folder"),
    T("data=cifar10 data.download=false", "CIFAR-10 was not found: put cifar-10-batches-py"),
    T("data=image_folder", "data.root=None is not a folder"),
    T("data=image_folder data.root=.", "train is missing: the layout is"),
    T(
        [*FOLDER, "~data.image_size"],
        "~data.image_size drops nothing, since there is no such key or it is null",
        make_tree,
    ),
    T(FOLDER, "test is missing", tree(lambda root: shutil.rmtree(root / "test"))),
    T(FOLDER, "has no class folders with images", tree(lambda root: [p.unlink() for p in root.glob("test/*/*.png")])),
    T(FOLDER, "'zebra', which", tree(lambda root: (root / "test/dog").rename(root / "test/zebra"))),
    T(FOLDER, "0.png cannot be read as an image", tree(spoil("train/cat/0.png", "not an image"))),
    T(FOLDER, "train/dog/0.png cannot be read", tree(spoil("train/dog/0.png", b""))),
    T(FOLDER, "0.png", tree(spoil("train/cat/0.png", a_png_that_claims(100_000, 100_000)))),
    T(
        FOLDER,
        "has 9x9".replace("x", "×"),
        lambda place: (make_tree(place), make_tree(place, {"test": {"cat": 1}}, (9, 9))),
    ),
    T(FOLDER, "has only one class", tree(lambda root: [shutil.rmtree(root / s / "dog") for s in ("train", "test")])),
    T(FOLDER, "cannot be printed", tree(lambda root: (root / "train/dog").rename(root / "train/d\ng"))),
    T(FOLDER, "cannot be opened", tree(make_link_loop)),
    T(FOLDER, "train/dog is an empty class folder", tree(lambda root: [p.unlink() for p in root.glob("train/dog/*")])),
    T(
        FOLDER,
        "train/dog has no usable image (6 .raw (camera raw: export it))",
        tree(lambda root: [p.rename(p.with_suffix(".raw")) for p in root.glob("train/dog/*")]),
    ),
    T("data=cifar10 data.root=.", "does not have its published checksum", lambda place: make_cifar(place)),
    T("data=fashion_mnist data.root=.", "is missing: put all four files", spoil("train-images-idx3-ubyte", "x")),
    T(
        "data=image_folder data.root=images.zip",
        "is not a folder",
        lambda place: write_checkpoint(place / "images.zip"),
    ),
    T("hydra.run.dir=blocked/run", "blocked is not a folder", spoil("blocked", "a file")),
    T("-m hydra.sweep.dir=blocked/sweep", "blocked is not a folder", spoil("blocked", "a file")),
    T("hydra.run.dir=/proc/none", "nothing can be written into /proc"),
    T("hydra.run.dir=run", "holds a run of another config (seed=", make_run),
    T("", "STRESS_LAB_CACHE=a_file does not work", spoil("a_file", ""), STRESS_LAB_CACHE="a_file"),
    T("data=cifar10", "STRESS_LAB_DATA=a_file does not work", spoil("a_file", ""), STRESS_LAB_DATA="a_file"),
    C("sweep=x", "STRESS_LAB_CACHE=/proc/x does not work", STRESS_LAB_CACHE="/proc/x"),
]
EVALUATE = [
    E("", "say which run: run=FOLDER"),
    E("run=/nowhere", "run=/nowhere is not a run folder"),
    E("run=run spilt=val", "did you mean split?", run()),
    E("run=run split=tset", "split=tset does not work: use train, val or test", run()),
    E("run=run layer=layer9", "layer=layer9 is not a part of the net", run()),
    E("run=run root=/nowhere", "root=/nowhere does not apply", run()),
    E("run=run accelerator=tpu", "accelerator=tpu, but this machine has", run()),
    E("run=run split=val out=run", "out=run is a run, whose records these would replace", run()),
    E("run=run out=a_file", "out=a_file does not work", run(spoil("a_file", ""))),
    E("run=run checkpoint=nowhere.ckpt", "nowhere.ckpt is not a checkpoint", run()),
    E("run=run checkpoint=a.safetensors", "is not a torch file: torch.save(", run(spoil("a.safetensors", b"x"))),
    E("run=run checkpoint=best", "best.ckpt is missing; checkpoints of this run: last", run()),
    E("run=run", "last.ckpt cannot be read as a checkpoint", run(spoil("run/checkpoints/last.ckpt", b""))),
    E("run=run", "it has no data.pkl", run(lambda p: write_checkpoint(p / "run/checkpoints/last.ckpt", b"", "x"))),
    E(
        "run=run",
        "it would call posix.mkdir",
        run(lambda p: write_checkpoint(p / "run/checkpoints/last.ckpt", pickle.dumps(Evil(), 2))),
    ),
    E(
        "run=run",
        "it would call posix.mkdir, which is never done",
        run(lambda p: write_checkpoint(p / "run/checkpoints/last.ckpt", pickle.dumps(Evil(), 4))),
    ),
    E("run=run", "are not those of run: set root=FOLDER", run()),
    E("run=run", "is not the config of a run", run(spoil("run/config.yaml", "[]"))),
    E("run=run", "config.yaml cannot be read", run(spoil("run/config.yaml", "a: [1"))),
    E("run=run", "has no group model", run(model=None)),
    E("run=run", "has no seal.json, like runs of older versions: evaluating it would run the code", make_run),
    E("run=run", "set trust=true if you trust whoever made it", lambda place: make_run(place, model=MKDIR)),
    E("run=run split=val", "config.yaml was changed after the run was signed", run(make_run, threshold=0.9)),
    E("run=run trust=perhaps", "trust=perhaps does not work: use true or false", run()),
    E("run=run", "data.json is not the file that the run left", run(edit_json("run/data.json", source="there"))),
    E("run=run limit=1", "status.json is not the file that the run left", run(edit_json("run/status.json", seed=2))),
]
COMPARE = [
    C("", "give one of sweep=FOLDER"),
    C("sweep=/nowhere", "/nowhere is not a folder: give sweep=FOLDER"),
    C("sweep=sweep/0_a", "has no runs", two_runs()),
    C("sweep=.", "has no runs, but sweep does: set sweep=sweep", two_runs()),
    C("runs=[sweep/0_a,sweep/none]", "sweep/none is not a run folder", two_runs()),
    C("runs=[sweep/0_a,sweep/1_b]", "different test images", two_runs(fingerprint="1" * 64)),
    C("runs=[sweep/0_a,sweep/1_b]", "use one for both", two_runs(threshold=0.9)),
    C(
        "runs=[sweep/0_a,sweep/1_b]",
        "only finished runs can be compared: 1_b is left out: failed (the cat)",
        two_runs(edit_json("1_b/status.json", state="failed", error="the cat")),
    ),
    C(
        "runs=[sweep/0_a,sweep/1_b]",
        "evaluation.json is not valid JSON",
        two_runs(spoil("1_b/evaluation.json", '{"test": ')),
    ),
    C("runs=[sweep/0_a,sweep/1_b]", "data.json lacks classes", two_runs(edit_json("1_b/data.json", classes=None))),
    C(
        "runs=[sweep/0_a,sweep/1_b]",
        "test.parquet cannot be read",
        two_runs(spoil("1_b/predictions/test.parquet", b"PAR1 cut")),
    ),
    C(
        "runs=[sweep/0_a,sweep/1_b]",
        "seed a whole number",
        two_runs(lambda p: spoil("1_b/config.yaml", "{variant: b, seed: ../../x}")(p)),
    ),
    C("sweep=sweep layer=layer7", "layer=layer7 is not a part of the net", two_runs()),
    C("sweep=sweep gates.min_acuracy=0.9", "did you mean gates.min_accuracy?", two_runs()),
    C("sweep=sweep trust=1", "trust=1 does not work: use true or false", two_runs()),
]
PREDICTIONS = [
    C("predictions=a.csv", "write it as a list, 'predictions=[a.csv]'", files()),
    C("predictions=[good.csv,a.csv]", "a.csv is missing", files()),
    C("predictions=[good.csv,good.csv]", "names good.csv twice", files()),
    C("predictions=[good.csv,.]", ". is a folder", files()),
    C(
        "predictions=[good.csv,a.xlsx]",
        "a.xlsx ends in .xlsx: only .csv (or .tsv, or compressed as .csv.gz), .parquet",
        lambda place: (files()(place), spoil("a.xlsx", "")(place)),
    ),
    C("predictions=[a.csv]", "a.csv is empty: write a header", files(a="")),
    Row("compare", ["predictions=[good.csv]", "reference=best"], "does not name a variant: write one of good", files()),
    Row("compare", ['predictions={"my model": [good.csv]}'], "leave out the quotes around my model, as in", files()),
    Row("compare", ['predictions={"modèle": [good.csv]}'], '\'predictions=[{name: "modèle", files: [', files()),
    Row("compare", ["predictions=[é.csv]"], 'put each path in quotes, as in \'predictions=["a b.csv"', files()),
    C("predictions=[good.csv,./good.csv]", "names good.csv twice", files()),
    C("predictions=[a.csv]", "has no column id", files(a="image,pred\n1,cat\n")),
    C("predictions=[a.csv]", "has no predictions", files(a="id,label\n1,cat\n")),
    C("predictions=[a.csv]", "has no column label", files(a="id,pred\n1,cat\n")),
    C("predictions=[a.csv] labels=b.csv", "b.csv has no column label", files(a="id,pred\n1,x\n", b="id,truth\n1,x\n")),
    C("predictions=[a.csv]", "repeat the id of another, first 1", files(a="id,pred,label\n1,x,x\n1,x,y\n")),
    C("predictions=[a.csv]", "id is missing in 1 of 2 rows", files(a="id,pred,label\n,x,x\n2,x,y\n")),
    C("predictions=[a.csv]", "prob_x is missing, NaN or infinite", files(a="id,label,prob_x,prob_y\n1,x,nan,1\n")),
    C("predictions=[a.csv]", "the probabilities sum to", files(a="id,label,prob_x,prob_y\n1,x,0.9,0.9\n")),
    C("predictions=[a.csv]", "confidence is 93", files(a="id,label,pred,confidence\n1,x,x,93\n")),
    C("predictions=[good.csv,a.csv]", "lacks 1 of the 3 ids of good.csv", files(a="id,pred\n1,cat\n2,dog\n")),
    C(
        "predictions=[good.csv,a.csv]",
        "has other labels than good.csv",
        files(a="id,pred,label\n1,cat,dog\n2,cat,cat\n3,cat,dog\n"),
    ),
    C("predictions=[a.csv] labels=labels.csv", "shares no class", files(a="id,pred\n1,x\n2,x\n3,y\n")),
    C(
        "predictions=[good.csv,a.npz]",
        "pickled Python objects, which are never loaded",
        save_npz(id=np.arange(3), pred=np.array([Evil()] * 3, dtype=object)),
    ),
    C("predictions=[good.csv,a.npz]", "pred has 1 rows, id has 3", save_npz(id=np.arange(1, 4), pred=np.array(["x"]))),
    C("predictions=[a.npz]", "a.npz cannot be read", spoil("a.npz", b"PK\x03\x04 cut")),
    C("predictions={a:[],b:[good.csv]}", "a names no files", files()),
    C("predictions=[good.csv] out=a_file", "out=a_file does not work: a_file is not a folder", spoil("a_file", "")),
]
NET = "net=resnet18 weights=w.pth"
AUDIT = [
    A("", "give one of net=NAME and 'nets={old: {net: resnet18"),
    A("net=resnet18", "net=resnet18 has random weights: say weights=FILE, or weights=pretrained"),
    A("net=resnet18 weights=nowhere.pth", "weights=nowhere.pth is not a file"),
    A(f"{NET} out=folder", "out=folder does not work: use logits, probs or sigmoid", spoil("w.pth", b"")),
    A(NET, "no data given: say where the images are by one of data.root", spoil("w.pth", b"")),
    A(f"{NET} data.root=nowhere", "data.root=nowhere is not a folder", spoil("w.pth", b"")),
    A(f"{NET} +data.rot=tree", "stress-lab audit has no key data.rot", spoil("w.pth", b"")),
    A(f"{NET} expect_accuracy=71.2", "expect_accuracy=71.2 does not work: use null or a fraction", spoil("w.pth", b"")),
    A("nets={a:{net:resnet18,weight:w.pth}}", "nets.a.weight is not a key: did you mean weights?", spoil("w.pth", b"")),
    A(
        f"{NET} data.csv=t.csv",
        "t.csv has no column label: it has file, class",
        spoil_all(**{"w.pth": "", "t.csv": "file,class\na.png,1\n"}),
    ),
    A(
        f"{NET} data.csv=t.csv",
        "2 of the 2 files in t.csv are not below .: a.png, b.png; set data.root",
        spoil_all(**{"w.pth": "", "t.csv": "file,label\na.png,x\nb.png,y\n"}),
    ),
]
GROUPS = {
    "audit": AUDIT,
    "command line": COMMAND_LINE,
    "keys": KEYS,
    "choices": CHOICES,
    "values": VALUES,
    "cross-group rules": CROSS_GROUP,
    "keys without effect": IDLE,
    "places": PLACES,
    "evaluate": EVALUATE,
    "compare": COMPARE,
    "predictions": PREDICTIONS,
}
ROWS = [row for rows in GROUPS.values() for row in rows]


def make_cifar(place):
    """CIFAR-10's batches by name, each an untrusted pickle."""
    names = ["batches.meta", "test_batch", *(f"data_batch_{number}" for number in range(1, 6))]
    for name in names:
        path = place / "cifar-10-batches-py" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps(Evil()))


def run_row(row, place):
    """Run a row in a fork, in a folder of its own; returns status, output, seconds and what heavy it imported."""
    place.mkdir()
    out, err = place.parent / f"{place.name}.out", place.parent / f"{place.name}.err"
    child = os.fork()
    if child == 0:
        try:
            _be_the_command(row, place, out, err)
        finally:
            os._exit(1)  # never go on as a second parent
    begun = time.perf_counter()
    _, status, usage = os.wait4(child, 0)
    told = err.read_text(errors="replace").split("\nREPORT")
    return {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": time.perf_counter() - begun,
        "cpu": usage.ru_utime + usage.ru_stime,
        "out": out.read_text(errors="replace"),
        "err": told[0],
        "heavy": json.loads(told[1])["heavy"] if len(told) > 1 else ["it ended early"],
        "executed": any(place.rglob("executed")),
        "runs": sorted(str(path.relative_to(place)) for path in place.rglob("status.json")),
        "before": json.loads(told[1])["runs"] if len(told) > 1 else [],
    }


def _be_the_command(row, place, out, err):
    """What the fork does: never returns."""
    from stress_lab.cli import audit, compare, evaluate, train

    os.chdir(place)
    for target, number in ((out, 1), (err, 2)):
        os.dup2(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600), number)
    signal.alarm(HANGS)
    if row.prepare is not None:
        row.prepare(place)
    there = sorted(str(path.relative_to(place)) for path in place.rglob("status.json"))
    os.environ.update(row.environment)
    sys.argv = ["stress-lab", *filter(None, row.arguments)]
    status = 0
    try:
        {"train": train, "evaluate": evaluate, "compare": compare, "audit": audit}[row.command].main()
    except SystemExit as stop:
        status = stop.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    report = {"heavy": [name for name in HEAVY if name in sys.modules], "runs": there}
    print("\nREPORT", json.dumps(report), file=sys.stderr, flush=True)
    os._exit(status)


def warm_up(folder):
    """Let the forks share what is the same for all: Hydra's parser, and the records of a run."""
    default_config()
    make_run(folder / "warm")
    make_tree(folder / "warm")
    gc.freeze()
    gc.disable()


def main():
    """Run the rows that are asked for; print start-up and results as JSON."""
    asked = set(json.load(sys.stdin))
    from stress_lab.cli import audit, compare, evaluate, train  # noqa: F401

    startup = time.process_time()
    import pandas  # noqa: F401  (which pyarrow imports as soon as it converts a column)

    converting = time.process_time() - startup
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STRESS_LAB_CACHE"] = f"{folder}/cache"
        os.environ["STRESS_LAB_KEY"] = f"{folder}/key"
        os.environ.pop("STRESS_LAB_DATA", None)
        warm_up(Path(folder))
        rows = [row for row in ROWS if row.name in asked]
        results = {row.name: run_row(row, Path(folder) / f"row_{number}") for number, row in enumerate(rows)}
    json.dump({"startup": startup, "converting": converting, "rows": results}, sys.stdout)


if __name__ == "__main__":
    main()
