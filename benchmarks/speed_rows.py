#!/usr/bin/env python3
"""The rows of benchmarks/README.md on speed, from the records in results/speed."""

import statistics
from pathlib import Path
from typing import Any

from stress_lab.files import load_json

RESULTS = Path(__file__).parent / "results" / "speed"
ABLATIONS = RESULTS.parent / "ablations"
NAMES = {
    "loop": "whole training step / bare step on ready tensors",
    "users": "our training step / theirs",
    "compile": "bare step as it is / compiled",
    "gradcam": "Grad-CAM / grad-cam package, image by image",
    "augmentation": "crop, flip, normalise / torchvision v2, image by image",
}

EPOCH_STEPS = 352  # of 128 images in CIFAR-10 less 5,000
OTHERS = {
    "scripts_way": "original scripts",
    "plain_lightning": "plain LightningModule",
    "one_by_one": "one by one",
    "v2_one_by_one": "v2 one by one",
}


def make_rows(record: dict[str, Any]) -> list[str]:
    """One Markdown row a ratio: what, case, ours, the other, how many times faster (lowest to highest round)."""
    rows = []
    for part, name in NAMES.items():
        for case, seconds in _cases(record, part):
            mine = seconds["ours"]
            for other, theirs in seconds.items():
                if other == "ours":
                    continue
                rows.append(
                    f"| {name} | {case}, {OTHERS.get(other, other)} | {_time(mine)} | {_time(theirs)} "
                    f"| {spread(ratios(seconds, other))} |"
                )
    more = [row for make in (_logging_rows, _analysis_rows, _growth_rows, _start_rows) for row in make(record)]
    heading = ["", "| what | case | median (lowest to highest round) |", "|---|---|---|"] if more else []
    return [*rows, *heading, *more, "", *_conditions(record)]


def _cases(record: dict[str, Any], part: str) -> list[tuple[str, dict[str, list[float]]]]:
    return [(case, seconds) for case, seconds in record.get(part, {}).items() if case != "on"]


def _time(seconds: list[float]) -> str:
    """A median, formatted for people."""
    value = statistics.median(seconds)
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.3g} ms" if value >= 1e-3 else f"{1e6 * value:.3g} µs"


def fit_line(record: dict[str, Any]) -> tuple[float, float, float]:
    """Least squares through the medians of an epoch's seconds: a thousand images, the rest, and R²."""
    points = [(int(n) / 1000, statistics.median(s)) for n, s in record["growth"]["images"].items()]
    images, seconds = zip(*points, strict=True)
    slope, rest = statistics.linear_regression(images, seconds)
    return slope, rest, statistics.correlation(images, seconds) ** 2


def _logging_rows(record: dict[str, Any]) -> list[str]:
    return [
        f"| between the steps of two epochs: loggers, history, checkpoint | {case}; "
        f"{100 * logging_share(one):.2g} % of an epoch of {EPOCH_STEPS} steps | {_range(one['between'])} |"
        for case, one in _cases(record, "logging")
    ]


def logging_share(one: dict[str, list[float]]) -> float:
    """Of an epoch of CIFAR-10, what is not its steps."""
    between, step = (statistics.median(one[name]) for name in ("between", "step"))
    return between / (between + EPOCH_STEPS * step)


def _analysis_rows(record: dict[str, Any]) -> list[str]:
    if "analysis" not in record:
        return []
    measured = record["analysis"]
    stages = [f"{stage} {statistics.median(seconds):.1f}" for stage, seconds in measured["seconds"].items()]
    return [
        f"| all that follows the last epoch, with a net that costs nothing | {measured['images']:,} test images, "
        f"{measured['failures']} failures; s: {', '.join(stages)} | {_range(analysis_seconds(measured))} |"
    ]


def analysis_seconds(measured: dict[str, Any]) -> list[float]:
    """Of all stages together, round by round."""
    return [sum(stages) for stages in zip(*measured["seconds"].values(), strict=True)]


def _growth_rows(record: dict[str, Any]) -> list[str]:
    if "growth" not in record:
        return []
    slope, rest, fit = fit_line(record)
    sizes, sweep = list(record["growth"]["images"]), record["growth"]["sweep"]
    two, four = (statistics.median(sweep[size]) for size in ("two", "four"))
    return [
        f"| an epoch at width 16 | a line through {int(sizes[0]):,} to {int(sizes[-1]):,} images, R² {fit:.4f} "
        f"| {slope:.3g} s a thousand, {rest:+.2g} s besides |",
        f"| a sweep of two runs, ten steps each | | {_range(sweep['two'])} |",
        f"| a sweep of four | by the medians {(four - two) / 2:.1f} s a run, {2 * two - four:.1f} s besides "
        f"| {_range(sweep['four'])} |",
    ]


def _start_rows(record: dict[str, Any]) -> list[str]:
    if "start" not in record:
        return []
    seconds = record["start"]["seconds"]
    return [
        f"| start | `stress-lab --help` | {_range(seconds['help'])} |",
        f"| start | to the end of a run's first step | {_range(seconds['first_step'])} |",
        f"| start | importing Lightning, no more | {_range(seconds['import_lightning'])} |",
    ]


def _range(seconds: list[float]) -> str:
    """The median with the lowest and the highest."""
    return f"{_time(seconds)} ({_time([min(seconds)])} to {_time([max(seconds)])})"


def _conditions(record: dict[str, Any]) -> list[str]:
    """A sentence for the parts of each commit: device, versions, dates."""
    groups: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for name, part in record.items():
        on = part["on"]
        versions = (f"{name} {on['versions'][name]}" for name in ("torch", "lightning", "numpy"))
        where = (f"{on['device']}, {on['machine']['cores']} cores", *versions, f"commit {_commit(on['code'])}")
        groups.setdefault(where, []).append((on["date"][:16].replace("T", " "), name))
    return [
        f"{', '.join(name for _, name in parts)}: {'; '.join(where)}; from {min(parts)[0]} to {max(parts)[0]} UTC."
        for where, parts in groups.items()
    ]


def _commit(code: dict[str, Any]) -> str:
    """Of a checkout, or of none."""
    return f"{str(code['commit'])[:7]}{' with changes' if code['changed'] else ''}"


def summaries() -> list[str]:
    """What README.md and benchmarks/README.md say of the CPU, from its records."""
    record, profile = load_json(RESULTS / "cpu.json"), load_json(RESULTS / "profile_cpu.json")
    loop = {case: spread(ratios(seconds, "bare")) for case, seconds in _cases(record, "loop")}
    compiled = {case: spread(ratios(seconds, "compiled")) for case, seconds in _cases(record, "compile")}
    ((_, users),), cores = _cases(record, "users"), record["loop"]["on"]["machine"]["cores"]
    total = {(way["way"], way["batch"]): sum(way["ms"].values()) for way in profile["ways"]}
    return [
        f"On {cores} cores a step of the bare net takes {loop['width 64']} of a whole training step at width 64 and "
        f"{loop['width 16']} at width 16. At width 64 the whole step is {spread(ratios(users, 'scripts_way'))} "
        f"times as fast as the loop of the scripts this began with and "
        f"{spread(ratios(users, 'plain_lightning'))} times as fast as a plain LightningModule with their loader "
        f"(medians, lowest and highest round).",
        f"Compiled, a bare step takes {compiled['width 64']} of the time of one that is not at width 64, and "
        f"{compiled['width 16']} at width 16, compiling aside.",
        f"An image of a batch of 128 takes {total['scripts', 128]:.1f} ms in those scripts' way, "
        f"{total['before', 128]:.1f} ms in bf16 with batch augmentation, {total['kept', 128]:.1f} ms with freed memory "
        f"kept, and {total['after', 128]:.1f} ms with a fused optimiser too; of a batch of 512, "
        f"{total['before', 512]:.1f}, {total['kept', 512]:.1f} and {total['after', 512]:.1f} ms.",
    ]


def ratios(seconds: dict[str, list[float]], other: str) -> list[float]:
    """How many times as long the other takes, round by round."""
    return [theirs / mine for mine, theirs in zip(seconds["ours"], seconds[other], strict=True)]


def spread(ratios: list[float]) -> str:
    """The median, with the lowest and the highest round."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def ablation_rows(plan: str) -> list[str]:
    """One Markdown row a trick of a plan of ablations.py: accuracy on val, difference with its interval, minutes."""
    return [
        f"| {row['name']} | {100 * row['accuracy']:.2f} % | {_difference(row) if row['overrides'] else ''} "
        f"| {row['seconds'] / 60:.1f} |"
        for row in load_json(ABLATIONS / f"{plan}.json")["rows"]
    ]


def _difference(row: dict[str, Any]) -> str:
    """In points, with its interval."""
    low, high = row["interval"]
    return f"{100 * row['difference']:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def run_rows() -> list[str]:
    """One Markdown row a kept run: images a second, shares of waiting and of the peak, medians of epochs; memory."""
    rows = []
    for path in sorted(RESULTS.parent.glob("*/*/throughput.json")):
        record = load_json(path)
        rate, waiting, peak = (
            statistics.median(epoch[key] for epoch in record["epochs"])
            for key in ("images_per_s", "waiting_share", "peak_share")
        )
        rows.append(
            f"| {path.parts[-3]} | {path.parts[-2]} | {rate:,.0f} | {100 * waiting:.1f} % "
            f"| {f'{100 * peak:.0f} %' if peak <= 1 else 'not known'} "
            f"| {record['peak_memory_bytes'] / 1e9:.1f} |"
        )
    return rows


def print_rows(record: dict[str, Any]) -> None:
    """The table."""
    print("| what | case | ours | other | other / ours (rounds) |\n|---|---|---|---|---|")
    print("\n".join(make_rows(record)))


if __name__ == "__main__":
    for path in sorted(path for path in RESULTS.glob("*.json") if not path.stem.startswith("profile")):
        print(f"\n{path.stem}")
        print_rows(load_json(path))
    print("\nkept runs")
    print("\n".join(run_rows()))
