#!/usr/bin/env python3
"""Keep the light records of a finished sweep under benchmarks/results, and print the README's rows from them.

    python benchmarks/keep_result.py multirun/demo/<date>_<time> demo
    python benchmarks/keep_result.py            # print the rows of every kept result again

Kept: comparison.json, runs.csv, comparison_summary.png; of each run config, data, status, history, throughput; a case.
Checkpoints and predictions stay where they are. Images of CIFAR-10 are not kept: it has no licence of its own.
"""

import csv
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stress_lab.comparison.identity import load_set
from stress_lab.files import load_json
from stress_lab.runs.find import find_runs

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]
MARK = "†"
TRAINED = [f"training/{name}" for name in ("build", "distributed", "fit")]
TRAINING = (  # what decides the numbers of a row
    *(f"stress_lab/{name}.py" for name in ("evaluation", "failures", "inference", "records", "runtime/hardware")),
    *(f"stress_lab/{name}.py" for name in ("runtime/process_group", *TRAINED)),
    *(f"stress_lab/{name}" for name in ("calibration", "data", "models", "stats/rates.py", "transforms")),
    *(f"conf/{name}" for name in ("augment", "data", "experiment", "model", "optim", "train.yaml", "trainer")),
)
SWEEP_FILES = ("comparison.json", "runs.csv", "comparison_summary.png")


def keep(sweep: Path, name: str, results: Path | None = None) -> Path:
    """Copy the records of a sweep without lost runs."""
    comparison, _ = load_set(sweep)
    source = comparison["data"]["source"]
    found, lost = find_runs(sweep)
    runs = [run for run in found if run.load_info().state == "finished"]
    absent = {run["folder"] for run in comparison["runs"]} - {run.path.name for run in runs}
    if lost or absent:
        raise SystemExit("; ".join([*lost.values(), *(f"{name} is compared and not there" for name in sorted(absent))]))
    places = {source, *(str(run.config["data"].get("root")) for run in runs)}
    final, target = (results or RESULTS) / name, (results or RESULTS) / f".partial-{name}"
    shutil.rmtree(target, ignore_errors=True)  # of a call that was stopped
    target.mkdir(parents=True)
    for file in SWEEP_FILES:
        _copy(sweep / file, target / file, places)
    for run in runs:
        (target / run.path.name).mkdir()
        light = (run.status_file, run.data_file, run.history_file.with_suffix(".csv"), run.config_file)
        for path in [*light, *([run.throughput_file] if run.throughput_file.is_file() else [])]:
            _copy(path, target / run.path.name / path.name, places)
    if "cifar" not in comparison["data"]["name"]:
        for case in sorted((sweep / "cases").rglob("case_1_*.png"))[:1]:
            shutil.copy(case, target / "case.png")
    for page in final.glob("page*.png"):  # photographed by hand, so that nothing here can make them again
        shutil.copy(page, target / page.name)
        print(f"{page} stays as it is: photograph the page again", file=sys.stderr)
    shutil.rmtree(final, ignore_errors=True)
    return target.rename(final)


def _copy(path: Path, target: Path, places: set[str]) -> None:
    """Copy a file; where the images lay on this machine is nobody's business."""
    if path.suffix == ".png":
        shutil.copy(path, target)
    else:
        text = path.read_text(encoding="utf-8")
        for place in sorted((place for place in places if Path(place).is_absolute()), key=len, reverse=True):
            text = text.replace(place, "DIR")
        target.write_text(text, encoding="utf-8")


def made_at(result: Path) -> dict[str, Any]:
    """Commit at which a kept sweep was trained, and whether its checkout had changes of its own."""
    code: dict[str, Any] = load_json(next(result.glob("*/status.json")))["code"]
    return code


def is_of_changed_code(code: dict[str, Any]) -> bool:
    """Whether the sources that decide a row's numbers differ now from those it was made with, or may differ.

    They may where the record names no commit, one that this checkout does not know, or one with changes on top.
    """
    if code["commit"] is None or code["changed"]:
        return True
    compare = ["git", "diff", "--quiet", code["commit"], "--", *TRAINING]
    return subprocess.run(compare, cwd=ROOT, capture_output=True).returncode != 0


def change_notes(results: Sequence[Path]) -> list[str]:
    """The footnote for rows whose code has changed since; empty if none has."""
    codes = {result.name: made_at(result) for result in results}
    marked = {name: code for name, code in codes.items() if is_of_changed_code(code)}
    if not marked:
        return []
    made = ", ".join(
        f"{name} at {str(code['commit'])[:8]}{' with changes of its own' if code['changed'] else ''}"
        for name, code in marked.items()
    )
    return ["", f"{MARK} The code that trains has changed since these were made: {made}."]


def readme_rows(result: Path) -> list[str]:
    """Markdown rows, one a run: experiment, run, epochs, accuracy, interval, confident failures, device, minutes.

    With several seeds one row a variant: means, and the lowest and the highest seed in place of the interval.
    """
    comparison = load_json(result / "comparison.json")
    comparison["title"] += f" {MARK}" if is_of_changed_code(made_at(result)) else ""
    if any(variant["k"] > 1 for variant in comparison.get("variants", [])):
        return [_variant_row(result, comparison, variant) for variant in comparison["variants"]]
    rows = []
    for run in comparison["runs"]:
        status = load_json(result / run["folder"] / "status.json")
        low, high = run["accuracy_interval"]
        hardware = status["hardware"]
        rows.append(
            f"| {comparison['title']} | {run['name']} | {run['epochs']} | {100 * run['accuracy']:.2f} % "
            f"| {100 * low:.2f} to {100 * high:.2f} | {run['failures']} of {run['n']:,} "
            f"| {hardware['device']}, {hardware['threads']} threads | {_minutes(result, run):.1f} |"
        )
    return rows


def _minutes(result: Path, run: dict[str, Any]) -> float:
    """Minutes of a run; of its epochs only, if it was resumed before runs counted all their processes."""
    with (result / run["folder"] / "history.csv").open(encoding="utf-8", newline="") as file:
        epochs = sum(float(row["seconds"]) for row in csv.DictReader(file))
    return max(float(run["seconds"]), epochs) / 60


def _variant_row(result: Path, comparison: dict[str, Any], variant: dict[str, Any]) -> str:
    """One variant over its seeds."""
    runs = [run for run in comparison["runs"] if run["variant"] == variant["variant"]]
    hardware = load_json(result / runs[0]["folder"] / "status.json")["hardware"]
    accuracy = variant["metrics"]["accuracy"]
    low, high = min(accuracy["values"]), max(accuracy["values"])
    failures = sum(run["failures"] for run in runs) / len(runs)
    return (
        f"| {comparison['title']} | {variant['variant']}, {len(runs)} seeds | {runs[0]['epochs']} "
        f"| {100 * accuracy['mean']:.2f} % | seeds {100 * low:.2f} to {100 * high:.2f} "
        f"| {failures:.1f} of {runs[0]['n']:,} | {hardware['device']}, {hardware['threads']} threads "
        f"| {sum(_minutes(result, run) for run in runs):.1f} |"
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        keep(Path(sys.argv[1]), sys.argv[2])
    elif len(sys.argv) != 1:
        sys.exit(__doc__)
    for kept in sorted(RESULTS.iterdir()):
        if (kept / "comparison.json").is_file():
            print("\n".join(readme_rows(kept)))
