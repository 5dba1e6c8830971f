"""What each step of gpu.py measures. With GPU_SMALL set, the same at a size for two cores without a GPU."""

import collections
import functools
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
import warnings
from pathlib import Path
from typing import Any

from gpu_device import measure_copy, profile_bare
from gpu_places import MOSAICS, OUT, WORK
from machine import describe

from stress_lab.files import load_json, save_json
from stress_lab.runs.find import load_runs
from stress_lab.runs.folder import RunDir

SMALL = bool(os.environ.get("GPU_SMALL"))
EPOCHS = 1 if SMALL else 50
SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=4", "model.width=4", "callbacks.gradcam.limit=4"]
SHORT += ["callbacks.predictions.train_examples=64", "+comparison.resamples=200"]
STEPS_AN_EPOCH = 352  # of CIFAR-10 less 5,000 images, in batches of 128
VALIDATION = 14  # steps of training that take as long as a validation
STARTING, RECORDING, COMPARING = 35, 25, 25  # seconds of a sweep, a run, a sweep
BESIDE = 0.75  # time of two runs side by side on one GPU, by one after the other: an assumption
ROUNDS = {"loop": 6, "users": 3, "compile": 4}
PARTS = {  # of speed.py, by step
    "loop": ["loop"],
    "users": ["users"],
    "others": ["logging", "gradcam", "augmentation"],
    "compile": ["compile"],
}
OPTIONS = {  # of a run, each beside the defaults
    "as it is": ["trainer.deterministic=warn"],
    "trainer.deterministic=false": [],
    "+trainer.benchmark=true": ["+trainer.benchmark=true"],
    "batches of 512": ["trainer.deterministic=warn", "optim.batch_size=512"],
    "compile=true": ["trainer.deterministic=warn", "compile=true"],
}


def run_step(name: str) -> None:
    """Run one step by its name; what it finds is kept as it finds it."""
    if name in PARTS:
        measure_parts(PARTS[name])
    else:
        MEASURES[name]()


def report(step: str, **found: Any) -> None:
    """Add to what a step has found."""
    path = WORK / "found" / f"{step}.json"
    save_json(path, {**(load_json(path) if path.is_file() else {}), **found})


def command(module: str, *arguments: str, folder: Path | None = None) -> tuple[int, float]:
    """A command of the product as a user runs it, in a folder; its exit status and seconds."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "stress_lab", module, *arguments], cwd=folder)
    return done.returncode, round(time.perf_counter() - began, 1)


# first call


def environment() -> None:
    """Device, driver, versions, commit, and the two ceilings: a large product, and a large copy."""
    import torch
    from steps import ACCELERATOR, DEVICE, TYPE

    from stress_lab.callbacks.throughput import measure_matmul
    from stress_lab.runtime import hardware

    code = WORK / "code.json"
    report("environment", **describe("matplotlib", "pyarrow", "scipy", "pillow"))
    if code.is_file():
        report("environment", code=load_json(code))
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True).stdout.strip() if shutil.which(query[0]) else ""
    report(
        "environment",
        device=hardware.describe_device(ACCELERATOR),
        precision=hardware.choose_precision("auto", ACCELERATOR),
        driver=driver,
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        product_flops_per_s=measure_matmul(DEVICE, TYPE or torch.float32),
        copied_bytes_per_s=measure_copy(2**22 if SMALL else 2**30),
    )


def demo() -> None:
    """The README's sweep."""
    folder = WORK / "demo"
    folder.mkdir(exist_ok=True)
    status, seconds = command("train", "-m", "experiment=demo", *(SHORT if SMALL else []), folder=folder)
    report("demo", status=status, seconds=seconds)
    report("demo", runs=[describe_run(run) for run in load_runs(find_sweep("demo"))])


def find_sweep(name: str) -> Path:
    """The one sweep of an experiment."""
    (sweep,) = (WORK / name.partition("_")[0] / "multirun" / name).iterdir()
    return sweep


def describe_run(run: RunDir) -> dict[str, Any]:
    """The figures of a run, and how fast its epochs were after the first."""
    info = run.load_info()
    described = {"run": run.path.name, "state": info.state, "error": info.error, "seconds": info.seconds}
    described |= {"hardware": info.hardware, "metrics": info.metrics, "epochs": info.epochs}
    if run.throughput_file.is_file():
        throughput = load_json(run.throughput_file)
        epochs = throughput["epochs"][1:] or throughput["epochs"]
        keys = ("seconds", "images_per_s", "waiting_share", "peak_share")
        described["epoch"] = {key: statistics.median(epoch[key] for epoch in epochs) for key in keys}
        described["peak_memory_bytes"] = throughput["peak_memory_bytes"]
    return described


def evaluate() -> None:
    """Predictions made again from a checkpoint: on the same device, and on the CPU."""
    run = load_runs(find_sweep("demo"))[0]
    first = run.load_predictions("test")
    status, seconds = command("evaluate", f"run={run.path}")
    report("evaluate", status=status, seconds=seconds, again=differ(first, run.load_predictions("test")))
    other = RunDir(WORK / "demo" / "on_cpu")
    status, seconds = command("evaluate", f"run={run.path}", f"out={other.path}", "accelerator=cpu", "limit=0")
    report("evaluate", cpu_status=status, cpu_seconds=seconds, on_cpu=differ(first, other.load_predictions("test")))


def differ(first: Any, second: Any) -> dict[str, float]:
    """How far two predictions of the same images are apart."""
    assert (first.index == second.index).all()
    return {
        "images": len(first),
        "largest_logit": float(abs(first.logits).max()),
        "largest_difference": float(abs(first.logits - second.logits).max()),
        "other_class": int((first.pred != second.pred).sum()),
    }


def compare() -> None:
    """The comparison made again."""
    status, seconds = command("compare", f"sweep={find_sweep('demo')}")
    questions = load_json(find_sweep("demo") / "comparison.json")["questions"]
    report("compare", status=status, seconds=seconds, verdicts={one["question"]: one["verdict"] for one in questions})


def shrink(speed: Any) -> None:
    """Make speed.py measure fewer rounds, or next to nothing."""
    if SMALL:
        speed.STEPS, speed.LARGE = {"cpu": {16: 2}}, {"cpu": {16: 1}}  # narrower bare nets may crash on a CPU
    for part, rounds in ROUNDS.items():
        speed.PARTS[part] = functools.partial(speed.PARTS[part], rounds=1 if SMALL else rounds)


def measure_parts(parts: list[str]) -> None:
    """Parts of speed.py, each kept when it is done, in one file with the others."""
    import speed

    shrink(speed)
    speed.main(parts, WORK / "speed.json")


def waits() -> None:
    """What in a hundred steps of a run waits for the GPU, by the line of Python that asked for it."""
    import speed

    shrink(speed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        steps = 4 if SMALL else 100
        watch = ["+callbacks.watch._target_=steps.WatchWaits", f"+callbacks.watch.steps={steps}"]
        speed.train(16, (steps + 20) * speed.BATCH, "optim.batch_size=128", "trainer.max_epochs=1", *watch)
    places = (f"{Path(one.filename).name}:{one.lineno}" for one in caught if "synchroniz" in str(one.message))
    report("waits", steps=steps, places=dict(collections.Counter(places)))


# second call


def unpack() -> None:
    """CIFAR-10 as a tree of pictures, each mosaic in a process of its own."""
    began = time.perf_counter()
    processes = []
    for mosaic in (name for name in MOSAICS if name.endswith(".webp")):
        alone = WORK / "alone" / mosaic
        alone.mkdir(parents=True, exist_ok=True)
        for name in ("unpack.py", "index.json", mosaic):
            shutil.copyfile(WORK / "mosaics" / name, alone / name)
        processes.append(subprocess.Popen([sys.executable, str(alone / "unpack.py"), str(WORK / "tree")]))
    status = [process.wait() for process in processes]
    images = sum(1 for _ in (WORK / "tree").rglob("*.png"))
    report("unpack", status=status, images=images, seconds=round(time.perf_counter() - began, 1))


def cifar10() -> None:
    """``cifar10_cutout``: as long as it is meant to be if that fits, both runs side by side if only that does."""
    left = float(os.environ["GPU_STEP_SECONDS"])
    epochs, jobs = (EPOCHS, 1) if SMALL else plan(*step_and_between(), left)
    report("cifar10", planned_epochs=epochs, jobs=jobs, seconds_left=left)
    arguments = [f"data.root={WORK / 'tree'}", "data.download=false", *(SHORT if SMALL else [])]
    if epochs != EPOCHS:
        arguments.append(f"trainer.max_epochs={epochs}")
    if jobs > 1:
        arguments += ["launcher=joblib", f"jobs={jobs}"]
    folder = WORK / "cifar10"
    folder.mkdir(exist_ok=True)
    status, seconds = command("train", "-m", "experiment=cifar10_cutout", *arguments, folder=folder)
    report("cifar10", status=status, seconds=seconds)
    report("cifar10", runs=[describe_run(run) for run in load_runs(find_sweep("cifar10_cutout"))])


def step_and_between() -> tuple[float, float]:
    """Seconds of a training step and of the work between two epochs, as measured by the first call, or measured now."""
    record = load_json(WORK / "speed.json") if (WORK / "speed.json").is_file() else {}
    between = statistics.median(record["logging"]["width 64"]["between"]) if "logging" in record else 0.3
    if "loop" in record:
        return statistics.median(record["loop"]["width 64"]["ours"]), between
    from steps import make_bare_step, time_steps

    return 1.3 * time_steps(make_bare_step(64), 100), between


def plan(step: float, between: float, left: float) -> tuple[int, int]:
    """Epochs, and runs at a time, of the two runs of CIFAR-10 that fit into the seconds left; the whole if it does.

    >>> plan(0.005, 0.2, 400), plan(0.005, 0.2, 300), plan(0.02, 0.2, 300)
    ((50, 1), (50, 2), (19, 2))
    """
    epoch = (STEPS_AN_EPOCH + VALIDATION) * step + between
    in_turn = left - STARTING - COMPARING - 2 * RECORDING
    beside = (in_turn + RECORDING) / BESIDE
    if 2 * EPOCHS * epoch <= in_turn:
        return EPOCHS, 1
    return max(1, min(EPOCHS, int(beside / (2 * epoch)))), 2


def pack() -> None:
    """The sweep without weights, TensorBoard and single pictures; its page apart."""
    sweep = find_sweep("cifar10_cutout")
    with tarfile.open(OUT / "cifar10.tar.gz", "w:gz") as tar:
        tar.add(sweep, "sweep", filter=leave_out)
    if (sweep / "report.html").is_file():
        with tarfile.open(OUT / "report.tar.gz", "w:gz") as tar:
            tar.add(sweep / "report.html", "report.html")
    report("pack", bytes={path.name: path.stat().st_size for path in OUT.glob("*.tar.gz")})


def leave_out(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """None for what does not travel back."""
    parts = Path(member.name).parts
    heavy = {"checkpoints", "tensorboard", "cases", "report.html"} & set(parts)
    picture = "gradcam" in parts and Path(member.name).name.startswith("failure_")
    return None if heavy or picture else member


def options() -> None:
    """Images a second of whole runs under other options, of a warm epoch each."""
    import speed
    import torch

    shrink(speed)
    for name, overrides in OPTIONS.items():
        report("options", **{name: measure_option(speed, overrides)})
    torch.utils.deterministic.fill_uninitialized_memory = False
    report("options", **{"memory left as it is": measure_option(speed, OPTIONS["as it is"])})


def measure_option(speed: Any, overrides: list[str]) -> dict[str, float]:
    """The second epoch of a run."""
    width, images = (4, 4 * 128) if SMALL else (64, 40_960)
    with speed._quiet():
        record = speed.train(width, images, "optim.batch_size=128", *overrides)
    epoch = record["epochs"][1]
    return {**{key: epoch[key] for key in ("images_per_s", "waiting_share", "peak_share")}, "seconds": epoch["seconds"]}


def profile() -> None:
    """The GPU's computing time in a bare step, by operation."""
    for batch in (128, 512):
        report("profile", **{f"batch {batch}": profile_bare(16 if SMALL else 64, 8 if SMALL else batch)})


MEASURES = {
    step.__name__: step
    for step in (environment, demo, evaluate, compare, waits, unpack, cifar10, pack, options, profile)
}
