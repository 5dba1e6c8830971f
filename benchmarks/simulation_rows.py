#!/usr/bin/env python3
"""Print the tables of benchmarks/README.md from what the simulations and timings wrote.

python benchmarks/simulation_rows.py
"""

import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def rate_rows() -> list[str]:
    """Rejections, coverage and power: measured, promised, the band of chance about the promise, and the word for it."""
    found = json.loads((RESULTS / "simulation" / "statistics.json").read_text(encoding="utf-8"))
    named = {f"rejects: {name}": one for name, one in found["tests"].items()}
    named |= {f"covers: {name}": one for name, one in found["coverage"].items()}
    for regime, sizes in found["hierarchical"].items():
        named |= {f"covers: over seeds, {regime}, {k}": one for k, one in sizes.items()}
    for one in found["power"]:
        named[f"power: n {one['n']:,}, {one['discordant']:g} discordant, difference {one['difference']:g}"] = one
    metrics = json.loads((RESULTS / "simulation" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    for name, one in metrics.items():
        low, high = one["band"]
        verdict = "low" if one["rate"] < low else "high" if one["rate"] > high else "within"
        named[f"covers: {name} of one run"] = {**one, "verdict": verdict}
    return [
        f"| {name.replace('_', ' ')} | {100 * one['rate']:.1f} % | {100 * one['promised']:.1f} % "
        f"| {100 * one['band'][0]:.1f} to {100 * one['band'][1]:.1f} | {one['verdict']} |"
        for name, one in named.items()
    ]


def family_rows() -> list[str]:
    """Leaderboards and crossed designs that find anything where there is nothing."""
    found = json.loads((RESULTS / "simulation" / "leaderboard.json").read_text(encoding="utf-8"))
    return [
        f"| {name} | {100 * one['rate']:.1f} % | {100 * one['promised']:.1f} % "
        f"| {100 * one['band'][0]:.1f} to {100 * one['band'][1]:.1f} | {one['verdict']} |"
        for name, one in found["families"].items()
    ]


def many_row() -> str:
    """Seconds and sizes of comparing many models."""
    one = json.loads((RESULTS / "prediction_files" / "many.json").read_text(encoding="utf-8"))
    return (
        f"| {one['models']} × {one['images']:,} | {one['pairs']} | {one['pair_seconds']:.2f} "
        f"| {one['command_seconds']:.0f} | {one['page_mb']:.1f} | {one['record_mb']:.1f} |"
    )


def pattern_rows() -> list[str]:
    """Runs that confirm anything where there is no pattern."""
    found = json.loads((RESULTS / "simulation" / "patterns.json").read_text(encoding="utf-8"))
    return [
        f"| {one['n']:,} images, {100 * one['failure_rate']:g} % fail | {100 * one['share']:.1f} % "
        f"| {100 * one['low']:.1f} to {100 * one['high']:.1f} | {one['repeats']:,} |"
        for one in found["without_pattern"]
    ]


def cluster_rows() -> list[str]:
    """Rejections and coverage where images come in clusters."""
    found = json.loads((RESULTS / "simulation" / "clusters.json").read_text(encoding="utf-8"))
    rows = []
    for one in found["rows"]:
        rates = [f"{100 * value['rate']:.1f} %" for value in one.values() if isinstance(value, dict)]
        low, high = one["images_a_cluster"]
        rows.append(
            f"| {one['clusters']} of {low} to {high} images | {one['mean_design_effect']:.1f} | "
            + " | ".join(rates)
            + " |"
        )
    return rows


def cost_rows() -> list[str]:
    """Seconds and peak memory of reading two files, and of the whole command where it was measured."""
    found = json.loads((RESULTS / "prediction_files" / "large.json").read_text(encoding="utf-8"))
    rows = []
    for case in found["cases"]:
        command = "– | –"
        if "command_seconds" in case:
            command = f"{case['command_seconds']:.1f} | {case['command_peak_mb']:,.0f}"
        rows.append(
            f"| {case['n']:,} × {case['classes']:,}, {case['format']} | {case['read_seconds']:.1f} "
            f"| {case['read_peak_mb']:,.0f} | {command} |"
        )
    return rows


if __name__ == "__main__":
    tables = [rate_rows(), family_rows(), pattern_rows(), cluster_rows(), cost_rows(), [many_row()]]
    print("\n\n".join("\n".join(rows) for rows in tables))
