"""Run folders that somebody prepared, as a table: what each tries, and what may be seen of it.

:func:`make_run` makes a run without training; each row of ``ROWS`` changes a copy of it. ``test_trust.py`` compares and
evaluates every one of them. A row that succeeds in executing anything leaves ``executed`` in the current folder.
"""

import json
import os
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from stress_lab.evaluation import evaluate_predictions
from stress_lab.failures import count_failures, mine_failures
from stress_lab.records import DatasetSpec, Predictions, RunInfo
from stress_lab.runs.folder import RunDir

CLASSES = ("ant", "bee", "cat", "dog")
N = 60
EVIL = "evil_module_of_a_run"  # importing it leaves a mark
CONFIG = {
    "name": "demo",
    "variant": "baseline",
    "seed": 1,
    "threshold": 0.7,
    "channels_last": True,
    "data": {"_target_": "stress_lab.data.datamodules.FashionSampleDataModule", "val_size": 10, "split_seed": 0},
    "augment": {"_target_": "stress_lab.transforms.pipeline.AugmentConfig", "name": "baseline", "extra": []},
    "model": {"_target_": "stress_lab.models.resnet.ResNet18", "width": 8},
    "optim": {"optimizer": "SGD", "lr": 0.1, "batch_size": 8, "args": {}},
    "trainer": {"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "max_epochs": 1},
    "callbacks": {
        "gradcam": {"_target_": "stress_lab.callbacks.gradcam.GradCamGallery", "layer": "layer3", "limit": 5}
    },
    "logger": {"csv": {"_target_": "lightning.pytorch.loggers.CSVLogger"}},
}


def make_run(folder, variant="baseline", seed=1, run_id="0" * 32):
    """A finished run of four classes and sixty images, about a third of them wrong; not sealed."""
    run, rng = RunDir(folder), np.random.default_rng([seed, len(variant)])
    run.save_config({**CONFIG, "variant": variant, "seed": seed})
    run.save_hydra("overrides", yaml.safe_dump(["experiment=demo", f"seed={seed}"]))
    run.save_spec(
        DatasetSpec("x", CLASSES, 1, 8, 8, (0.5,), (0.2,), {"test": N}, "here", "order", {"test": "same", "val": "v"})
    )
    run.save_split({"train": np.arange(20), "val": np.arange(20, 30)})
    run.save_fingerprint(
        {"weights": str(seed), "order": [str(seed)], "augmentation": [str(seed)], "batch": [str(seed)]}
    )
    run.save_history([{"epoch": epoch, "val/acc": 0.2 * epoch, "lr": 0.1, "seconds": 1.0} for epoch in (1, 2, 3)])
    for split in ("test", "val"):
        label = rng.integers(0, len(CLASSES), N)
        said = np.where(rng.random(N) < 0.35, (label + 1) % len(CLASSES), label)
        logits = (
            rng.normal(size=(N, len(CLASSES))).astype(np.float32) + 4 * np.eye(len(CLASSES), dtype=np.float32)[said]
        )
        run.save_predictions(split, Predictions(np.arange(N), np.arange(N) % len(CLASSES), logits))
        predictions = run.load_predictions(split)
        run.save_evaluation(split, {**evaluate_predictions(predictions, CLASSES, 0.7), "preprocessing": "plain"})
    predictions = run.load_predictions("test")
    run.save_properties("test", np.arange(N), {"brightness": rng.random(N)})
    failures = mine_failures(predictions, 0.7, CLASSES)
    run.save_failures(failures, {"split": "test", **count_failures(predictions, 0.7)})
    for path in (run.failure_grid, run.figures / "test_reliability.png", run.checkpoints / "last.ckpt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    facts = {"hardware": {"device": "CPU", "precision": "32-true", "threads": 1}, "versions": {"torch": "2"}}
    run.save_info(RunInfo(variant, seed, "finished", "2026-01-01T00:00:00+00:00", 3.0, id=run_id, **facts))
    return run


@dataclass(frozen=True)
class Row:
    """A hostile folder.

    Attributes:
        name: what it tries.
        change: of a copy of the run's folder.
        said: a part of the sentence that comparing ends in; None where the records are compared all the same.
    """

    name: str
    change: object
    said: str | None = None


def with_config(**changed):
    """Set groups or keys of the config."""

    def change(folder):
        run = RunDir(folder)
        run.save_config({**run.config, **changed})

    return change


def with_text(text, name="config.yaml"):
    """Replace a file by text, in which COPY stands for the config as it was."""

    def change(folder):
        content = text
        if isinstance(text, str):
            content = text.replace("COPY", (folder / "config.yaml").read_text()).encode()
        (folder / name).write_bytes(content)

    return change


def with_json(name, edit):
    """Edit a record in place, or replace it by what ``edit`` returns."""

    def change(folder):
        record = json.loads((folder / name).read_text())
        found = edit(record)
        (folder / name).write_text(json.dumps(record if found is None else found))

    return change


def with_huge(name, size=1 << 40):
    """Make a file of many zeros that takes no room on the disk."""

    def change(folder):
        with (folder / name).open("wb") as file:
            file.truncate(size)

    return change


def with_link(name, target):
    """Replace a file or folder by a link."""

    def change(folder):
        path = folder / name
        if path.is_file():
            path.unlink()
        os.symlink(target, path)

    return change


def with_table(columns, name="predictions/test.parquet", times=1):
    """Replace a table, written ``times`` times over."""

    def change(folder):
        table = pa.table(columns)
        with pq.ParquetWriter(folder / name, table.schema) as writer:
            for _ in range(times):
                writer.write_table(table)

    return change


def call(target, **arguments):
    """A node that calls something."""
    return {"_target_": target, **arguments}


def _bomb(head, start, step, levels=12):
    """Lines that each hold the one before nine times."""
    lines = [start] + [step(number) for number in range(1, levels)]
    return head + "\n" + "\n".join(lines) + "\n"


LAUGHS = _bomb("COPY", "l0: &l0 [ha]", lambda k: f"l{k}: &l{k} [{', '.join([f'*l{k - 1}'] * 9)}]")
MERGES = _bomb("COPY", "m0: &m0 {a: 1}", lambda k: f"m{k}: &m{k} {{<<: [{', '.join([f'*m{k - 1}'] * 9)}]}}")
MKDIR = call("os.mkdir", path="executed")
READ = "cannot be read"
EDITED = "was edited"


def _numbers(n):
    return {"index": np.arange(n), "label": np.arange(n) % 4, "logits": [[0.0, 1.0, 2.0, 3.0]] * n}


def with_endless_rows(folder):
    """Predictions of few bytes and many rows, all of them alike."""
    n = 1_000_000
    zeros = {name: np.zeros(n, np.int64) for name in ("index", "label")}
    logits = pa.FixedSizeListArray.from_arrays(np.zeros(4 * n, np.float32), 4)
    with_table({**zeros, "logits": logits}, times=12)(folder)


CALLS = [  # compared as records alone: what the config names is never looked at
    Row("model: os.system", with_config(model=call("os.system", command="mkdir executed"))),
    Row("model: sympify", with_config(model=call("sympy.sympify", a="__import__('os').mkdir('executed')"))),
    Row("model: through a module", with_config(model=call("PIL.Image.os.system", command="mkdir executed"))),
    Row("model: cloudpickle", with_config(model=call("cloudpickle.loads", data="cos\nmkdir\n(S'executed'\ntR."))),
    Row(
        "model: unsafe yaml",
        with_config(model=call("yaml.unsafe_load", stream="!!python/object/apply:os.mkdir [executed]")),
    ),
    Row("model: exec", with_config(model=call("builtins.exec", _args_=["import os; os.mkdir('executed')"]))),
    Row(
        "model: hydra calls", with_config(model=call("hydra.utils.call", config=call("hydra.utils.call", config=MKDIR)))
    ),
    Row("model: partial", with_config(model={**MKDIR, "_partial_": True})),
    Row("model: a module beside", with_config(model=call(f"{EVIL}.Net"))),
    Row("model: no text", with_config(model={"_target_": MKDIR})),
    Row("model: a list", with_config(model=[MKDIR])),
    Row("model: nested", with_config(model={**CONFIG["model"], "width": MKDIR})),
    Row("data: a call", with_config(data=call("subprocess.run", args=["mkdir", "executed"]))),
    Row("data: a module beside", with_config(data=call(f"{EVIL}.Data"))),
    Row("data: root is a call", with_config(data={**CONFIG["data"], "root": MKDIR})),
    Row("data: root climbs", with_config(data={**CONFIG["data"], "root": "../../../../etc"})),
    Row("augment: extra", with_config(augment={**CONFIG["augment"], "extra": [MKDIR]})),
    Row("augment: itself", with_config(augment=MKDIR)),
    Row("callbacks: a call", with_config(callbacks={"evil": MKDIR})),
    Row("callbacks: a list", with_config(callbacks=[MKDIR])),
    Row("callbacks: layer is a call", with_config(callbacks={"gradcam": {"layer": MKDIR}})),
    Row("optim: a module beside", with_config(optim={**CONFIG["optim"], "optimizer": f"{EVIL}.SGD"})),
    Row("optim: a call", with_config(optim={**CONFIG["optim"], "args": MKDIR})),
    Row("trainer: a call", with_config(trainer=MKDIR)),
    Row("trainer: nothing", with_config(trainer=None)),
    Row("logger: a call", with_config(logger={"evil": MKDIR})),
    Row("hydra: a callback", with_config(hydra={"callbacks": {"evil": MKDIR}})),
    Row("resolver: environment", with_config(model={"_target_": "${oc.env:SECRET}"}, name="${oc.env:SECRET}")),
    Row("resolver: ours", with_config(name="${launch:${name},true}", optim={"lr": "${times:2,3}"})),
    Row("resolver: created", with_config(name="${oc.create:{a:1}}", model="${oc.decode:'{a:1}'}")),
    Row("resolver: of itself", with_config(name="${name}", model="${model}")),
    Row("resolver: in the variant", with_config(variant="${oc.env:SECRET}")),
    Row("checkpoint: another file", with_config(checkpoint="/etc/passwd")),
    Row("checkpoint: climbs", with_config(checkpoint="../../../x.ckpt")),
    Row("variant: climbs", with_config(variant="../../escape")),
]
TEXTS = [
    Row("yaml: apply", with_text("COPY\nx: !!python/object/apply:os.mkdir [executed]\n"), READ),
    Row("yaml: new", with_text("COPY\nx: !!python/object/new:os.mkdir [executed]\n"), READ),
    Row("yaml: name", with_text("COPY\nx: !!python/name:os.mkdir\n"), READ),
    Row("yaml: module", with_text(f"COPY\nx: !!python/module:{EVIL}\n"), READ),
    Row("yaml: aliases that multiply", with_text(LAUGHS), "larger or nested more deeply than any config"),
    Row("yaml: merged keys that multiply", with_text(MERGES), READ),
    Row("yaml: an alias of itself", with_text("COPY\nx: &x [*x]\n"), "nested more deeply"),
    Row("yaml: deep lists", with_text("COPY\nx: " + "[" * 20_000), READ),
    Row("yaml: deep groups", with_text("COPY\nx: " + "{a: " * 100 + "1" + "}" * 100), "nested more deeply"),
    Row("yaml: a long number", with_text("COPY\nx: " + "9" * 5_000), READ),
    Row("yaml: a long hexadecimal number", with_text("COPY\nx: 0x" + "f" * 50_000), "number larger"),
    Row("yaml: a number of base 60", with_text("COPY\nx: 1" + ":59" * 2_000), "number larger"),
    Row("yaml: a date", with_text("COPY\nx: 2020-01-01\n"), "holds a date"),
    Row("yaml: a date that is none", with_text("COPY\nx: 2020-99-99\n"), READ),
    Row("yaml: a set", with_text("COPY\nx: !!set {a, b}\n"), "holds a set"),
    Row("yaml: bytes", with_text("COPY\nx: !!binary aGE=\n"), "holds a bytes"),
    Row("yaml: an odd scalar", with_text("COPY\nx: !!int ''\n"), READ),
    Row("yaml: NUL bytes", with_text("COPY\nx: \0\n"), READ),
    Row("yaml: no UTF-8", with_text(b"variant: \xff\xfe\nseed: 1\n"), READ),
    Row("yaml: a list", with_text("- 1\n"), "names no variant and seed"),
    Row("yaml: huge", with_huge("config.yaml"), "more than any record"),
    Row("yaml: a seed that is a path", with_config(seed="../../x"), "seed a whole number"),
    Row("yaml: a seed without end", with_text("variant: a\nthreshold: 0.7\nseed: 1" + "0" * 30), "number larger"),
    Row("yaml: a threshold that is none", with_config(threshold="0.7"), "threshold must be a fraction"),
    Row("yaml: an infinite threshold", with_text("COPY\nthreshold: .inf\n"), "threshold must be a fraction"),
    Row("overrides: apply", with_text("- !!python/object/apply:os.mkdir [executed]\n", ".hydra/overrides.yaml"), READ),
    Row("overrides: aliases", with_text(LAUGHS.replace("COPY", ""), ".hydra/overrides.yaml"), READ),
    Row("overrides: a command", with_text("- seed=1; mkdir executed\n- $(mkdir executed)\n", ".hydra/overrides.yaml")),
]
RECORDS = [
    Row(
        "status: NaN",
        with_text('{"variant": "a", "seed": 1, "state": "finished", "started": NaN}', "status.json"),
        "NaN",
    ),
    Row("status: infinity", with_json("status.json", lambda r: r.update(seconds=float("inf"))), "Infinity"),
    Row("status: a number too large", with_text('{"seconds": 1e999}', "status.json"), "1e999"),
    Row("status: a long number", with_text('{"seconds": ' + "9" * 5_000 + "}", "status.json"), "not valid JSON"),
    Row("status: a whole number too large", with_json("status.json", lambda r: r.update(seconds=10**300)), EDITED),
    Row("status: huge", with_huge("status.json"), "more than any record"),
    Row("status: deep", with_text("[" * 100_000, "status.json"), "not valid JSON"),
    Row("status: a list", with_json("status.json", lambda r: []), "has no fields"),
    Row("status: hardware is a list", with_json("status.json", lambda r: r.update(hardware=[])), EDITED),
    Row("status: no device", with_json("status.json", lambda r: r.update(hardware={}))),
    Row("status: versions are numbers", with_json("status.json", lambda r: r.update(versions={"torch": 2})), EDITED),
    Row("status: a state that is none", with_json("status.json", lambda r: r.update(state=["finished"])), EDITED),
    Row("data: classes are a number", with_json("data.json", lambda r: r.update(classes=4)), EDITED),
    Row("data: other classes", with_json("data.json", lambda r: r.update(classes=["a"])), "contradict each other"),
    Row("data: no fingerprint", with_json("data.json", lambda r: r.update(fingerprint={})), EDITED),
    Row("data: duplicates", with_json("data.json", lambda r: r.update(duplicates={"n": 1})), EDITED),
    Row("evaluation: a split that climbs", with_json("evaluation.json", lambda r: {"../../x": r["test"]}), EDITED),
    Row("evaluation: text", with_json("evaluation.json", lambda r: r["test"].update(n="60")), EDITED),
    Row(
        "evaluation: other numbers",
        with_json("evaluation.json", lambda r: r["test"].update(errors=0)),
        "reports 0 errors",
    ),
    Row("evaluation: a list", with_json("evaluation.json", lambda r: [r]), EDITED),
    Row(
        "evaluation: odd preprocessing",
        with_json("evaluation.json", lambda r: r["val"].update(preprocessing=[])),
        "ways",
    ),
    Row("history: text", with_json("history.json", lambda r: [{"epoch": "1", "val/acc": "0.5"}]), EDITED),
    Row("history: a group", with_json("history.json", lambda r: {"epoch": 1}), EDITED),
    Row(
        "failures: fields of another class",
        with_json("failures/failures.json", lambda r: {"failures": [{"a": 1}]}),
        "lacks",
    ),
    Row("failures: a number", with_json("failures/failures.json", lambda r: 3), EDITED),
    Row("fingerprint: a list", with_json("fingerprint.json", lambda r: [1]), EDITED),
    Row("predictions: rows without end", with_endless_rows, "numbers, more than predictions can"),
    Row("predictions: lists of two lengths", with_table({**_numbers(2), "logits": [[0.0] * 3, [0.0] * 5]}), EDITED),
    Row("predictions: text", with_table({**_numbers(2), "index": ["a", "b"]}), EDITED),
    Row("predictions: no numbers", with_table({**_numbers(2), "logits": [["a"] * 4, ["b"] * 4]}), EDITED),
    Row("predictions: other classes", with_table({**_numbers(2), "logits": [[0.0] * 9] * 2}), "contradict"),
    Row(
        "predictions: none",
        with_table({name: pa.array([], pa.int64()) for name in ("index", "label", "logits")}),
        EDITED,
    ),
    Row("predictions: no table", with_text(b"PAR1" + bytes(200) + b"PAR1", "predictions/test.parquet"), READ),
    Row("properties: text", with_table({"index": [0], "a": ["x"]}, "properties/test.parquet"), EDITED),
    Row("properties: no index", with_table({"a": [0.5]}, "properties/test.parquet"), EDITED),
]
SEALS = [
    Row(
        "seal: an absolute path",
        with_text('{"format": 1, "run": "", "files": {"/etc/passwd": ""}, "signature": ""}', "seal.json"),
        EDITED,
    ),
    Row(
        "seal: climbs",
        with_text('{"format": 1, "run": "", "files": {"../../x": ""}, "signature": ""}', "seal.json"),
        EDITED,
    ),
    Row("seal: huge", with_huge("seal.json"), "more than any record"),
    Row("seal: a list", with_text("[]", "seal.json"), EDITED),
    Row(
        "seal: of another run",
        with_text('{"format": 1, "run": "1", "files": {}, "signature": "1"}', "seal.json"),
        "another run",
    ),
    Row(
        "seal: lists nothing",
        with_text('{"format": 1, "run": "' + "0" * 32 + '", "files": {}, "signature": "1"}', "seal.json"),
        "interrupted as it finished",
    ),
    Row("seal: a link", with_link("seal.json", "/dev/zero"), "missing"),
    Row("link: a record elsewhere", with_link("train.log", "../../outside.txt")),
    Row("link: a device", with_link("status.json", "/dev/zero"), "missing"),
    Row("link: itself", with_link("data.json", "data.json"), "missing"),
]
ROWS = [*CALLS, *TEXTS, *RECORDS, *SEALS]
FEW = list({row.name.split(":")[0]: row for row in reversed(ROWS)}.values())  # the first of each kind
