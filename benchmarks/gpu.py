"""The calls of gpu.sh: pack what travels, run the steps one after the other, keep what came back.

    python benchmarks/gpu.py prepare MOSAICS | first | second | step NAME | keep [--to RESULTS] FOLDER …

Nothing heavy is imported here: a step is a process of its own, which may die without the others.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_places import MOSAICS, OUT, WORK

from stress_lab.files import load_json, save_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TRAVEL = ROOT / ".gpu"

LIMIT = 64 * 2**20  # bytes of one call, the checkout included
SPARE = 2 * 2**20  # of them for what changes after prepare, and for names and dates
SECONDS = {"first": 320, "second": 420}  # of a call
GRACE = 20  # seconds for a process to end that was asked to
SHORTEST = 20  # seconds below which no step is begun
PATIENCE = 8 if os.environ.get("GPU_SMALL") else 1  # how many times as long a rehearsal may take


@dataclass(frozen=True)
class Step:
    """Name, call, and seconds until it is ended; ``always`` even where the call's time is over."""

    name: str
    call: str
    seconds: int
    always: bool = False


STEPS = (  # the most important first
    Step("environment", "first", 60),
    Step("demo", "first", 150),
    Step("evaluate", "first", 90),
    Step("compare", "first", 60),
    Step("loop", "first", 150),
    Step("users", "first", 150),
    Step("waits", "first", 60),
    Step("others", "first", 120),
    Step("unpack", "second", 60),
    Step("cifar10", "second", 600),
    Step("pack", "second", 60, always=True),
    Step("options", "second", 150),
    Step("profile", "second", 60),
    Step("compile", "second", 180),
)


def main(arguments: list[str]) -> None:
    """One of the calls."""
    match arguments:
        case ["prepare", mosaics]:
            prepare(Path(mosaics))
        case ["first" | "second" as call]:
            run_steps(call)
        case ["step", name]:
            import gpu_steps

            gpu_steps.run_step(name)
        case ["keep", "--to", results, *folders]:
            keep([Path(folder) for folder in folders], Path(results))
        case ["keep", *folders] if folders:
            keep([Path(folder) for folder in folders], RESULTS)
        case _:
            sys.exit(__doc__)


# what travels


def prepare(mosaics: Path) -> None:
    """Complete ``.gpu/``: commit, the page's scripts, and CIFAR-10 in two parts that make both calls equally large."""
    import vl_convert

    from stress_lab.training.code import describe_checkout

    save_json(TRAVEL / "one" / "code.json", describe_checkout())
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    stub = (
        f'"""What vl_convert gives a page."""\n\nBUNDLE = {json.dumps(bundle)}\n\n\ndef javascript_bundle(snippet):\n'
    )
    (TRAVEL / "one" / "vl_convert.py").write_text(f"{stub}    return BUNDLE\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "cifar10.tar"
        with tarfile.open(archive, "w") as tar:
            for name in MOSAICS:
                tar.add(mosaics / name, name)
        content = archive.read_bytes()
    tree, wheels = measure_tree(), sum(path.stat().st_size for path in (TRAVEL / "one").iterdir())
    cut = split_at(tree, wheels, len(content))
    (TRAVEL / "one" / "cifar10.tar.part").write_bytes(content[:cut])
    (TRAVEL / "two" / "cifar10.tar.part").write_bytes(content[cut:])
    print(
        f"the checkout {tree:,} bytes, wheels and scripts {wheels:,}, CIFAR-10 {len(content):,}; limit {LIMIT:,} a call"
    )
    for call, carried in (("one", wheels + cut), ("two", len(content) - cut)):
        print(f"call {call}: {tree + carried:,} bytes, {LIMIT - tree - carried:,} to spare, carry .gpu/{call}")
    print("call one: benchmarks/gpu.sh first\ncall two, while that machine is warm: benchmarks/gpu.sh second")


def measure_tree() -> int:
    """Bytes of the files that travel unasked: tracked ones, and those that git neither tracks nor ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return sum((ROOT / name).lstat().st_size for name in set(listed.split("\0")) - {""} if (ROOT / name).exists())


def split_at(tree: int, wheels: int, data: int) -> int:
    """How many of ``data`` bytes go with the wheels, so that both calls are equally large.

    Raises:
        SystemExit: they do not fit.
    """
    cut = max(0, (data - wheels) // 2)
    largest = tree + max(wheels + cut, data - cut)
    if largest > LIMIT - SPARE:
        sys.exit(
            f"a call would carry {largest:,} bytes of {LIMIT:,}, less {SPARE:,} to spare: make the checkout smaller"
        )
    return cut


# the steps, one process each


def run_steps(call: str) -> None:
    """Run a call's steps; each leaves a line in ``$OUT/<call>.jsonl`` at once, and what it printed in a log."""
    OUT.mkdir(parents=True, exist_ok=True)
    chosen = os.environ.get("GPU_STEPS", "").split()
    deadline = time.monotonic() + float(os.environ.get("GPU_SECONDS", SECONDS[call]))
    for step in STEPS:
        if step.call != call or (chosen and step.name not in chosen):
            continue
        left = deadline - time.monotonic() - GRACE
        allowed = PATIENCE * step.seconds if step.always else min(PATIENCE * step.seconds, left)
        line = {"step": step.name, **(run_one(step.name, allowed) if allowed >= SHORTEST else {"outcome": "no time"})}
        with (OUT / f"{call}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if (WORK / "speed.json").is_file():
            shutil.copy(WORK / "speed.json", OUT / "speed.json")
        print(json.dumps(line, ensure_ascii=False)[:1000], flush=True)


def run_one(name: str, seconds: float) -> dict[str, Any]:
    """One step: how it ended, how long it took, and what it found, all that it found before it failed."""
    result, began = WORK / "found" / f"{name}.json", time.monotonic()
    result.unlink(missing_ok=True)
    environment = {**os.environ, "GPU_STEP_SECONDS": str(seconds)}
    with (OUT / "log.txt").open("a", encoding="utf-8") as log:
        print(f"\n==== {name}, at most {seconds:.0f} s", file=log, flush=True)
        process = subprocess.Popen(
            [sys.executable, __file__, "step", name],
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment,
        )  # fmt: skip
        try:
            status = process.wait(seconds)
            outcome = "done" if status == 0 else f"status {status}"
        except subprocess.TimeoutExpired:
            outcome = "out of time"
        end_group(process)
    found = load_json(result) if result.is_file() else None
    return {"outcome": outcome, "seconds": round(time.monotonic() - began, 1), "found": found}


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End what a step left running, first by asking."""
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 2)):
        until = time.monotonic() + patience
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < until:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.2)
        except ProcessLookupError:
            return


# what came back


def keep(folders: list[Path], results: Path) -> None:
    """Write ``gpu/gpu.json`` and ``speed/cuda.json`` from what the calls left, ``cifar10_cutout`` from their sweep."""
    from keep_result import keep as keep_sweep

    steps: dict[str, Any] = {}
    speed: dict[str, Any] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.jsonl")):
            lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
            steps.update({line.pop("step"): line for line in lines})
        speed.update(load_json(folder / "speed.json") if (folder / "speed.json").is_file() else {})
        for archive in folder.glob("cifar10.tar.gz"):
            with tempfile.TemporaryDirectory() as place, tarfile.open(archive) as tar:
                tar.extractall(place, filter="data")
                if (Path(place) / "sweep" / "comparison.json").is_file():
                    correct_code(keep_sweep(Path(place) / "sweep", "cifar10_cutout", results), find_code(steps))
    for part in speed.values():  # a copy of the checkout without its history does not know its commit
        part["on"]["code"] = find_code(steps) or part["on"]["code"]
    save_json(results / "gpu" / "gpu.json", steps)
    save_json(results / "speed" / "cuda.json", speed)
    from gpu_rows import gpu_lines

    print("\n".join(gpu_lines(steps, speed)))


def correct_code(result: Path, code: dict[str, Any]) -> None:
    """Write into each kept status the commit that travelled, which a copy of the checkout does not know."""
    for path in result.glob("*/status.json"):
        status = load_json(path)
        save_json(path, {**status, "code": {**status["code"], **code}})


def find_code(steps: dict[str, Any]) -> dict[str, Any]:
    """The commit that was measured, as the first step noted it."""
    return (steps.get("environment", {}).get("found") or {}).get("code") or {}


if __name__ == "__main__":
    main(sys.argv[1:])
