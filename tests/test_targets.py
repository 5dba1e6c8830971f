"""Each test is run by exactly one target of the Makefile, and CI runs them all."""

import itertools
import re
import tomllib
from pathlib import Path

from _pytest.mark.expression import Expression

ROOT = Path(__file__).parents[1]
TARGETS = dict(re.findall(r'^(test[\w-]*):.*\n\t\$\(PYTEST\) -m "?([\w ]+)"?$', (ROOT / "Makefile").read_text(), re.M))


def test_a_test_is_in_one_target_whatever_its_markers():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    markers = [line.partition(":")[0] for line in settings["markers"]]
    assert len(TARGETS) == 3
    for has in itertools.product([False, True], repeat=len(markers)):
        marked = dict(zip(markers, has, strict=True))
        chosen = [one for one, rule in TARGETS.items() if Expression.compile(rule).evaluate(marked.__getitem__)]
        assert len(chosen) == 1, (marked, chosen)


def test_ci_runs_every_target():
    called = re.findall(r"^make (\S+)$", (ROOT / ".ci" / "run").read_text(), re.M)
    assert sorted(called) == sorted(["lint", "docs", *TARGETS])
