"""``import stress_lab`` is instant, and every public name is there, typed and documented."""

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import stress_lab

PACKAGE = Path(stress_lab.__file__).parent
HEAVY = ("torch", "lightning", "hydra", "omegaconf", "sklearn", "matplotlib", "altair", "torchvision", "seaborn")


@pytest.mark.parametrize("name", stress_lab.__all__)
def test_every_public_name_is_documented_and_listed(name):
    found = getattr(stress_lab, name)
    assert inspect.getdoc(found)
    assert name in dir(stress_lab)
    if inspect.isfunction(found):
        assert "return" in found.__annotations__
        assert len(inspect.getdoc(found)) > 60


def test_type_checkers_see_the_names_that_are_loaded():
    """The imports that only type checkers read, and the table that names are loaded by, say the same."""
    import ast

    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    written = {alias.asname: node.module for node in guarded.body for alias in node.names}
    assert written == stress_lab._FOUND_IN
    assert (PACKAGE / "py.typed").is_file()


def test_no_part_of_the_package_hides_a_public_name():
    parts = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    assert not parts & set(stress_lab.__all__)
    for part in parts - {"__main__"}:
        importlib.import_module(f"stress_lab.{part}")
    assert all(callable(getattr(stress_lab, name)) for name in stress_lab.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'compair'"):
        _ = stress_lab.compair
    with pytest.raises(ImportError):
        exec("from stress_lab import compair")


def test_the_example_in_the_docstring_holds():
    assert doctest.testmod(importlib.import_module("stress_lab")).attempted >= 3


CODE = """
import sys
import stress_lab as sl
assert not {"numpy", "scipy", "pandas"} & set(sys.modules), "the import is not lazy"
import numpy as np
rng = np.random.default_rng(0)
labels = rng.integers(0, 3, 200)
old, new = rng.normal(size=(2, 200, 3))
found = sl.compare({"old": old, "new": new}, labels, resamples=200)
str(found), found._repr_html_(), sl.evaluate(sl.Predictions.from_logits(old, labels), resamples=200)
print("compared", sorted(set(HEAVY) & set(sys.modules)))
found.save(FOLDER), sl.write_report(FOLDER), sl.load_comparison(FOLDER)
never = {"torch", "lightning", "hydra", "omegaconf", "torchvision"}
print("saved", sorted(never & set(sys.modules)))
"""


@pytest.mark.processes
def test_neither_torch_nor_hydra_is_imported(tmp_path):
    code = CODE.replace("FOLDER", repr(str(tmp_path))).replace("HEAVY", repr(HEAVY))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["compared []", "saved []"]
