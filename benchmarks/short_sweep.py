"""A small sweep and the commands that write its folders, for benchmarks/kills.py and benchmarks/together.py."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from stress_lab.comparison.identity import load_set
from stress_lab.files import load_json
from stress_lab.runs.find import find_runs
from stress_lab.runs.folder import RunDir

ARGUMENTS = ["-m", "experiment=demo", "trainer=smoke", "trainer.max_epochs=1", "trainer.limit_train_batches=4"]
ARGUMENTS += ["threshold=0.15"]  # so that a net of a few steps has confident failures
ARGUMENTS += ["model.width=4", "threads=1", "callbacks.gradcam.limit=2", "callbacks.predictions.train_examples=100"]
ARGUMENTS += ["launcher=basic", "logger=csv", "callbacks.board=null", "+comparison.resamples=200"]
ARGUMENTS += ["+comparison.gallery=4", "+comparison.cases_per_outcome=1"]
SMALL = ["resamples=200", "gallery=4", "cases_per_outcome=1"]
FOLDER = Path("multirun") / "demo" / "sweep"
PATIENCE = 600  # seconds


def command(name: str, sweep: Path, **more: str) -> list[str]:
    """What is typed for ``train``, ``evaluate`` (of the first run) or ``compare``."""
    if name == "train":
        typed = [*ARGUMENTS, f"hydra.sweep.dir={sweep}"]
    elif name == "evaluate":
        typed = [f"run={first_run(sweep)}", "limit=2", "threads=1"]
    else:
        typed = [f"sweep={sweep}", *SMALL]
    return [sys.executable, "-m", "stress_lab", name, *typed, *(f"{key}={value}" for key, value in more.items())]


def first_run(sweep: Path) -> Path:
    """The run that is evaluated."""
    return min(path for path in sweep.iterdir() if path.name.startswith("0_"))


def start(typed: list[str], place: Path, screen: Path) -> "subprocess.Popen[bytes]":
    """Begin a command in a folder, as a process group of its own."""
    with screen.open("ab") as file:
        return subprocess.Popen(
            typed,
            cwd=place,
            env={**os.environ, "GOMP_SPINCOUNT": "0"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(typed: list[str], place: Path, screen: Path) -> float:
    """Run a command to its end; returns the seconds."""
    begun = time.monotonic()
    if start(typed, place, screen).wait(PATIENCE) != 0:
        raise SystemExit(f"{' '.join(typed[2:])} failed:\n{screen.read_text()[-2000:]}")
    return time.monotonic() - begun


def train_sweep(place: Path) -> Path:
    """Train it once; returns its folder."""
    place.mkdir(parents=True)
    finish(command("train", FOLDER), place, place / "screen.log")
    return place / FOLDER


def copy(sweep: Path, place: Path) -> Path:
    """A copy of a sweep below a place of its own."""
    shutil.copytree(sweep, place / FOLDER)
    return place / FOLDER


def bits(sweep: Path) -> dict[str, str]:
    """Digest of each file in a set, without times, locks and logs."""
    skipped = (".lock", "launch.json", "multirun.yaml", "train.log")
    found = {}
    for path in sorted(sweep.rglob("*")):
        name = path.relative_to(sweep).as_posix()
        quiet = path.name.startswith(".lock") or path.name in skipped or "/.hydra/" in f"/{name}" or "tfevents" in name
        if path.is_file() and not quiet:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def find_mixture(sweep: Path) -> list[str]:
    """What does not fit together in a sweep's folder, recomputed from the predictions; nothing where all does.

    Checked are, of each run, accuracy, failures and their maps against the predictions; of the comparison the ids of
    its files, accuracies and answers against the predictions, and the images of the gallery against its cards.
    """
    found, lost = find_runs(sweep)
    wrong = [*lost.values()]
    for run in found:
        wrong += _check_run(run)
    if (sweep / "comparison.json").is_file():
        wrong += _check_comparison(sweep, found)
    wrong += [f"{path} is left" for path in sweep.rglob(".next-*")]
    return wrong


def _check_run(run: RunDir) -> list[str]:
    """What contradicts the predictions of a run that finished."""
    if run.load_info().state != "finished":
        return []
    test, wrong = run.load_predictions("test"), []
    if run.load_evaluation()["test"]["errors"] != int((~test.correct).sum()):
        wrong.append(f"{run.evaluation_file}: errors")
    confident = ~test.correct & (test.confidence > run.config["threshold"])
    failures = run.load_failures()
    if {one.index for one in failures} != set(test.index[confident].tolist()):
        wrong.append(f"{run.failures_file}: failures")
    maps = run.gradcam / "maps.npz"
    if maps.is_file():
        with np.load(maps) as arrays:
            index = arrays["index"].tolist()
        if index != [one.index for one in failures[: len(index)]]:
            wrong.append(f"{maps}: images")
    return wrong


def _check_comparison(sweep: Path, runs: list[RunDir]) -> list[str]:
    """What contradicts the predictions, or another file, in a comparison."""
    comparison, gallery = load_set(sweep)
    wrong = [
        f"id of {name}" for name in ("gallery.json", "gates.json") if load_json(sweep / name)["id"] != comparison["id"]
    ]
    if comparison["id"] not in (sweep / "report.html").read_text(encoding="utf-8"):
        wrong.append("id of report.html")
    tables = [*sweep.glob("*.csv"), *sweep.glob("disagreements/*.csv")]
    wrong += [f"id of {path.name}" for path in tables if not _carries(path, comparison["id"])]
    answers = {run.path.name: run.load_predictions("test") for run in runs}
    for one in comparison["runs"]:
        if one["errors"] != int((~answers[one["folder"]].correct).sum()):
            wrong.append(f"errors of {one['name']}")
    return wrong + (_check_gallery(sweep, gallery, comparison, answers) if gallery else [])


def _carries(table: Path, number: str) -> bool:
    """Whether each row of a table ends with an id."""
    rows = table.read_text(encoding="utf-8").splitlines()[1:]
    return all(row.endswith(f",{number}") for row in rows)


def _check_gallery(sweep: Path, gallery: dict[str, Any], comparison: dict[str, Any], answers: Any) -> list[str]:
    """Cards against predictions, pictures against cards."""
    wrong, folders = [], dict(zip(gallery["runs"], gallery["folders"], strict=True))
    for card in gallery["cards"]:
        for variant, told in card["models"].items():
            test = answers[folders[variant]]
            (row,) = np.flatnonzero(test.index == card["index"])
            if comparison["data"]["classes"][test.pred[row]] != told["pred"]:
                wrong.append(f"answer of {variant} for image {card['index']}")
    if gallery["cards"] and (sweep / "gallery.npz").is_file():
        with np.load(sweep / "gallery.npz") as arrays:
            same = str(arrays["comparison"]) == comparison["id"]
            if not same or arrays["index"].tolist() != [card["index"] for card in gallery["cards"]]:
                wrong.append("gallery.npz")
    return wrong


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
