#!/usr/bin/env python3
"""What benchmarks/README.md and README.md say of a GPU, from results/gpu/gpu.json and results/speed/cuda.json."""

from typing import Any

from speed_rows import RESULTS as SPEED
from speed_rows import ratios, spread

from stress_lab.files import load_json

STEPS = SPEED.parent / "gpu" / "gpu.json"
Record = dict[str, Any]
IN_ROUNDS = ("loop", "users", "compile", "gradcam", "augmentation")  # parts of speed.py


def gpu_paragraphs() -> list[str]:
    """What README.md says, from the kept records."""
    steps, speed = load_json(STEPS), load_json(SPEED / "cuda.json")
    return [" ".join([*_describe_machine(steps), *_describe_cifar10(steps), *_describe_users(speed)])]


def gpu_lines(steps: Record, speed: Record) -> list[str]:
    """What benchmarks/README.md says beside the table of speed: sentences, then a table of options."""
    said = [
        make(steps)
        for make in (
            _describe_machine,
            _describe_demo,
            _describe_cifar10,
            _describe_repeats,
            _describe_waits,
            _describe_busy,
        )
    ]
    said += [make(speed) for make in (_describe_loop, _describe_users, _describe_compiled, _describe_rounds)]
    options = _found(steps, "options")
    heading = ["| whole run, width 64 | images a second | waiting | of the peak |", "|---|---|---|---|"]
    rows = [
        f"| {name} | {row['images_per_s']:,.0f} | {100 * row['waiting_share']:.1f} % | {_percent(row['peak_share'])} |"
        for name, row in options.items()
    ]
    return [
        *(f"- {sentence}" for sentences in said for sentence in sentences),
        *(["", *heading, *rows] if rows else []),
    ]


def _found(steps: Record, step: str) -> dict[str, Any]:
    found: dict[str, Any] = steps.get(step, {}).get("found") or {}
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _describe_machine(steps: Record) -> list[str]:
    on = _found(steps, "environment")
    if "product_flops_per_s" not in on:
        return []
    versions = ", ".join(f"{name} {on['versions'][name]}" for name in ("torch", "lightning", "numpy"))
    return [
        f"Measured on one {on['device']} with {on['machine']['cores']} cores ({versions}, CUDA {on['cuda']}, "
        f"commit {str(on['code']['commit'])[:7]}, {on['date'][:10]}): a large product of matrices runs at "
        f"{on['product_flops_per_s'] / 1e12:,.0f} TFLOP/s ({on['precision']}), a copy at "
        f"{on['copied_bytes_per_s'] / 1e12:.1f} TB/s."
    ]


def _describe_demo(steps: Record) -> list[str]:
    found = _found(steps, "demo")
    if "runs" not in found:
        return []
    runs = "; ".join(f"{run['run']} {100 * run['metrics']['test/acc']:.2f} %" for run in found["runs"])
    return [f"The demo, both runs and the comparison, takes {found['seconds']:.0f} s there ({runs})."]


def _describe_cifar10(steps: Record) -> list[str]:
    found = _found(steps, "cifar10")
    if not all(run["state"] == "finished" for run in found.get("runs", [{"state": "none"}])):
        return []
    runs = "; ".join(
        f"{run['run']} {100 * run['metrics']['test/acc']:.2f} %, {run['metrics']['failures/count']:.0f} wrong "
        f"at > 70 %, {run['seconds']:.0f} s, {run['epoch']['images_per_s']:,.0f} images a second"
        for run in found["runs"]
    )
    beside = "side by side" if found["jobs"] > 1 else "one after the other"
    return [
        f"CIFAR-10's study, {found['planned_epochs']} epochs of both variants {beside} and the comparison, takes "
        f"{found['seconds']:.0f} s ({runs})."
    ]


def _cases(speed: Record, part: str) -> dict[str, Any]:
    return {case: times for case, times in speed.get(part, {}).items() if case != "on"}


def _describe_loop(speed: Record) -> list[str]:
    shares = [f"{spread(ratios(times, 'bare'))} at {case}" for case, times in _cases(speed, "loop").items()]
    return [f"A step of the bare net takes, of a whole training step, {', '.join(shares)}."] if shares else []


def _describe_users(speed: Record) -> list[str]:
    return [
        f"At {case} the whole step is {spread(ratios(times, 'scripts_way'))} times as fast as the loop of the "
        f"scripts this began with and {spread(ratios(times, 'plain_lightning'))} times as fast as a plain "
        f"LightningModule with their loader (medians, lowest and highest round)."
        for case, times in _cases(speed, "users").items()
    ]


def _describe_compiled(speed: Record) -> list[str]:
    shares = [f"{spread(ratios(times, 'compiled'))} at {case}" for case, times in _cases(speed, "compile").items()]
    return (
        [f"Compiled, a bare step takes {', '.join(shares)} of the time of one that is not, compiling aside."]
        if shares
        else []
    )


def _describe_rounds(speed: Record) -> list[str]:
    rounds = {part: {len(times["ours"]) for times in _cases(speed, part).values()} for part in IN_ROUNDS}
    counts = [f"{count} of {part}" for part, counts in rounds.items() for count in counts]
    return [f"Rounds: {', '.join(counts)}."] if counts else []


def _describe_repeats(steps: Record) -> list[str]:
    found = _found(steps, "evaluate")
    said = []
    for key, where in (("again", "there"), ("on_cpu", "on the CPU")):
        if key in found:
            said.append(
                f"{where} from the checkpoint, logits differ by at most {found[key]['largest_difference']:.1e} "
                f"(the largest is {found[key]['largest_logit']:.0f}), classes in {found[key]['other_class']} of "
                f"{found[key]['images']:,} images"
            )
    return [f"Made again {'; '.join(said)}."] if said else []


def _describe_waits(steps: Record) -> list[str]:
    found = _found(steps, "waits")
    if not found:
        return []
    places = ", ".join(f"{place} {count}" for place, count in found["places"].items()) or "nothing"
    return [f"In {found['steps']} steps of a run these lines wait for the GPU: {places}."]


def _describe_busy(steps: Record) -> list[str]:
    return [
        f"Of a bare step at width 64 and {case}, {1e3 * one['step']:.1f} ms, kernels run for "
        f"{_percent(one['kernels'] / one['step'])}."
        for case, one in _found(steps, "profile").items()
    ]


if __name__ == "__main__":
    print("\n".join(gpu_lines(load_json(STEPS), load_json(SPEED / "cuda.json"))))
