"""What the documents claim."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def documented_files(heading):
    """Glob patterns in a table of multirun/README.md."""
    section = (ROOT / "multirun" / "README.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)


def test_the_tables_are_found():
    assert len(documented_files("A run")) > 20
    assert len(documented_files("A sweep")) >= 6
