#!/usr/bin/env python3
"""Print what benchmarks/README.md says of kills, repeats, memory and fuzzing, from their records.

python benchmarks/survival_rows.py
"""

from pathlib import Path

from stress_lab.files import load_json

RESULTS = Path(__file__).parent / "results"


def kill_rows() -> list[str]:
    """One row a kill."""
    rows = load_json(RESULTS / "kills" / "kills.json")["kills"]
    return [
        f"| {row['killed_after_s']:.1f} | {row['phase']} | {row['runs_taken_up']} | "
        f"{'the same bits' if row['identical'] else 'DIFFERENT'} |"
        for row in sorted(rows, key=lambda row: float(row["killed_after_s"]))
    ]


def cache_rows() -> list[str]:
    """One row a kind of file in the cache in which bits were flipped."""
    flips = load_json(RESULTS / "cache" / "cache_kills.json")["flips"]
    return [f"| {name} | {one['found']} | {one['harmless']} | {one['wrong']} |" for name, one in flips.items()]


def evaluation_sentence() -> str:
    """What killed evaluations left."""
    kills = load_json(RESULTS / "kills" / "evaluate.json")["kills"]
    old, identical = sum(row["left"] == "old" for row in kills), all(row["identical"] for row in kills)
    end = "all ended in the same bits" if identical else "NOT all ended in the same bits"
    left = f"{old} left the old files and {len(kills) - old} the new ones"
    return f"Of {len(kills)} evaluations {left}, none a mixture, and {end}."


def together_sentence() -> str:
    """What two commands at once on one folder left."""
    found = load_json(RESULTS / "together" / "together.json")
    refused = sum(len(pair["refused"]) for pair in found["pairs"])
    return (
        f"{found['clean']} of {len(found['pairs'])} pairs left nothing mixed or mislabelled; {refused} commands were "
        "refused, each with a sentence that says why."
    )


def repeat_rows() -> list[str]:
    """One row a precision and value of ``trainer.deterministic``."""
    return [
        f"| {row['run']} | {'the same bits' if row['identical'] else 'DIFFERENT'} | {row['median_epoch_s']:.2f} "
        f"| {row['lowest_s']:.2f} to {row['highest_s']:.2f} | {row['ratio']:.2f} |"
        for row in load_json(RESULTS / "repeatability" / "repeatability.json")["rows"]
    ]


def memory_rows() -> list[str]:
    """Resident memory, and what is held of it, after some of the runs."""
    found = load_json(RESULTS / "memory" / "memory.json")
    rows = []
    for name, heading in (("resident", "resident"), ("held", "held after malloc_trim")):
        values = found[f"{name}_mib"]
        chosen = " | ".join(f"{values[place]:,.0f}" for place in (0, 2, 4, 9, 14, 19))
        rows.append(f"| {heading}: MiB | {chosen} | {found['growth_mib'][name]:+.1f} |")
    return rows


def fuzz_rows() -> list[str]:
    """One row a door."""
    doors = load_json(RESULTS / "fuzz" / "result.json")["doors"]
    return [
        f"| {name} | {door['cases']:,} | {door['failures']} | {door['longest']:.2f} |" for name, door in doors.items()
    ]


def summaries() -> list[str]:
    """Sentences that the README holds."""
    kills = load_json(RESULTS / "kills" / "kills.json")
    rows = {row["run"]: row for row in load_json(RESULTS / "repeatability" / "repeatability.json")["rows"]}
    ratios = [rows[f"{precision}, deterministic=true"]["ratio"] for precision in ("32-true", "bf16-mixed")]
    times = f"{ratios[0]:.2f} (fp32) and {ratios[1]:.2f} (bf16) times as long"
    return [
        f"{kills['identical']} of {len(kills['kills'])} sweeps killed at a random moment ended in the same bits",
        f"`trainer.deterministic=true` took {times} on two cores",
    ]


def launcher_rows() -> list[str]:
    """One row a launcher and number of processes a run."""
    rows = load_json(RESULTS / "launchers" / "launchers.json")["rows"]
    return [
        f"| {row['launcher']} | {row['processes']} | "
        + " | ".join(
            f"{100 * run['accuracy']:.2f} % | {run['confident_failures']:.0f} | `{run['predictions'][:8]}`"
            for run in (row["runs"]["baseline"], row["runs"]["cutout"])
        )
        + " |"
        for row in rows
        if row["runs"].keys() == {"baseline", "cutout"}
    ]


if __name__ == "__main__":
    print(
        "\n".join(
            [
                "",
                *kill_rows(),
                "",
                *repeat_rows(),
                "",
                *memory_rows(),
                "",
                *launcher_rows(),
                "",
                *fuzz_rows(),
                "",
                *cache_rows(),
                "",
                evaluation_sentence(),
                "",
                *summaries(),
            ]
        )
    )
