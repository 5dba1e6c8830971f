#!/usr/bin/env python3
"""Refill the marked tables and paragraphs of docs/results.md and benchmarks/README.md from the records.

    python benchmarks/fill_tables.py

A marked part stands between <!-- NAME --> and <!-- /NAME -->. Of a table the two heading lines stay.
"""

import re
import textwrap
from pathlib import Path

from gpu_rows import STEPS, gpu_lines, gpu_paragraphs
from keep_result import RESULTS, change_notes, readme_rows
from speed_rows import RESULTS as SPEED
from speed_rows import ablation_rows, make_rows, run_rows, summaries
from targets import target_rows

from stress_lab.files import load_json

ROOT = Path(__file__).parents[1]


def fill(path: Path, name: str, lines: list[str]) -> None:
    """Put lines in place of a marked part; a part that opens with a table keeps its heading."""
    text = path.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, flags=re.DOTALL)
    if found is None:
        raise SystemExit(f"{path} has no part marked <!-- {name} -->.")
    heading = found[1].splitlines()[:2] if found[1].startswith("|") else []
    body = "\n".join([*heading, *lines]) + "\n"
    path.write_text(text[: found.start(1)] + body + text[found.end(1) :], encoding="utf-8")


def main() -> None:
    """Every marked part of both documents."""
    results, detail = ROOT / "docs" / "results.md", ROOT / "benchmarks" / "README.md"
    kept = sorted(path.parent for path in RESULTS.glob("*/comparison.json"))
    paragraphs = [textwrap.fill(text, 120, break_on_hyphens=False) for text in summaries()]
    fill(results, "results", [*(row for result in kept for row in readme_rows(result)), *change_notes(kept)])
    fill(results, "speed", paragraphs[:1])
    for path in sorted(path for path in SPEED.glob("*.json") if not path.stem.startswith("profile")):
        fill(detail, f"speed_{path.stem}", make_rows(load_json(path)))
    if STEPS.is_file():
        fill(results, "gpu", [textwrap.fill(text, 120, break_on_hyphens=False) for text in gpu_paragraphs()])
        fill(detail, "gpu", gpu_lines(load_json(STEPS), load_json(SPEED / "cuda.json")))
    fill(detail, "targets", target_rows())
    fill(detail, "sentences", ["\n\n".join(paragraphs)])
    fill(detail, "runs", run_rows())
    for plan in ("narrow_net", "small_images"):
        fill(detail, plan, ablation_rows(plan))


if __name__ == "__main__":
    main()
