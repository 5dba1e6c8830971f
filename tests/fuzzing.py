"""What fuzzing draws, and the two doors it knocks at; used by ``test_fuzz`` and ``benchmarks/fuzz.py``."""

import gzip
import os
import string
import sys
import tempfile
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from hypothesis import strategies as st

from stress_lab.cli import train
from stress_lab.errors import StressLabError
from stress_lab.prediction_files import read_prediction_files
from stress_lab.preflight.configs import config_folder
from stress_lab.preflight.messages import _known_keys
from stress_lab.records import RunInfo
from stress_lab.sweeps import callback, plan

known_keys = cache(_known_keys)  # by composing configs, which takes a while
GROUPS = {
    path.name: sorted(one.stem for one in path.glob("*.yaml")) for path in config_folder().iterdir() if path.is_dir()
}
ENDLESS = ("data=", "data._target_=", "experiment=", "hydra", "--")  # may download, or is Hydra's own business
VALUES = ["0", "1", "-1", "0.5", "1e400", "nan", "null", "true", "''", "[]", "{}", "[1,2]", "{a:1}", "???", "x", "1,2"]
VALUES += [
    "${seed}",
    "${nowhere}",
    "${oc.env:HOME}",
    "../x",
    "é\u202e",
    "9" * 30,
    "range(3)",
    "choice(1,2)",
    "Adam",
    "/",
]


def config_values():
    """Values of every kind, right and wrong."""
    return st.one_of(
        st.sampled_from(VALUES), st.integers().map(str), st.floats().map(repr), st.text(string.printable, max_size=12)
    )


@st.composite
def misspelt(draw, words):
    """A word of a list, as it is or with one letter dropped, doubled or replaced."""
    word = draw(st.sampled_from(words))
    kind, place = draw(st.integers(0, 4)), draw(st.integers(0, max(0, len(word) - 1)))
    if kind == 0:
        return word[:place] + word[place + 1 :]
    if kind == 1:
        return word[: place + 1] + word[place:]
    if kind == 2:
        return word[:place] + draw(st.sampled_from("._=/-~+x")) + word[place + 1 :]
    return word


@st.composite
def arguments(draw):
    """One to three arguments of ``stress-lab``: keys, groups and garbage, perhaps a sweep."""
    drawn = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.integers(0, 9))
        if kind <= 5:
            sign = draw(st.sampled_from(["", "", "", "+", "++", "~"]))
            drawn.append(
                sign + draw(misspelt(known_keys("train"))) + ("" if sign == "~" else f"={draw(config_values())}")
            )
        elif kind <= 7:
            group = draw(st.sampled_from(sorted(GROUPS)))
            drawn.append(f"{draw(misspelt([group]))}={draw(misspelt(GROUPS[group]))}")
        else:
            drawn.append(draw(st.text(string.printable, max_size=20)))
    kept = [one for one in drawn if not one.lstrip("+~").startswith(ENDLESS)]
    return kept + (["-m"] if draw(st.integers(0, 3)) == 0 else [])


def knock_at_the_config(typed):
    """Give arguments to ``stress-lab``, all but building nets and training; returns exit status and what it printed."""
    printed, status = StringIO(), 0
    info = RunInfo("x", 0, "finished", "now")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.callback(os.chdir, Path.cwd())
        os.chdir(folder)
        stack.enter_context(patch.object(sys, "argv", ["stress-lab", *typed]))
        stack.enter_context(patch.object(train, "train", lambda cfg, run_dir: info))
        stack.enter_context(patch.object(plan, "_build", lambda *arguments: 0))
        stack.enter_context(patch.object(callback, "spread_runs", lambda *arguments: None))
        stack.enter_context(patch.object(callback.SweepCallback, "on_multirun_end", lambda *args, **kwargs: None))
        stack.enter_context(redirect_stdout(printed))
        stack.enter_context(redirect_stderr(printed))
        try:
            train.main()
        except SystemExit as stop:
            status = stop.code or 0
    return status, printed.getvalue()


def check_config_door(typed):
    """Assert that arguments end in success or in one sentence."""
    status, printed = knock_at_the_config(typed)
    assert status in (0, 2), (typed, status, printed)
    assert "Traceback" not in printed, (typed, printed)
    if status == 2:
        errors = [line for line in printed.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, (typed, printed)


CELLS = st.one_of(
    st.integers(-2, 5),
    st.floats(width=32),
    st.text(max_size=6),
    st.none(),
    st.booleans(),
    st.sampled_from(["", "cat", "dog", "1.0", "nan", "1e999", "0x1", "\0", "a,b", '"', "é"]),
    st.sampled_from(["Cat", "[0, 1]", "01", "1e0", "True", "e\u0301"]),
)
NAMES = ["id", "index", "label", "pred", "confidence", "probs", "logits", "prob_a", "prob_b", "prob_0", "prob_1"]
NAMES += ["logit_a", "logit_b", "prob_", "", " id", "Label", "x"]
NAMES += ["prob_1.0", "prob_01", "prob_True", "prob_False", "prob_ a"]
LABELS = b"id,label\n0,0\n1,1\n2,0\n"


@st.composite
def tables(draw):
    """Columns by name: often an id, a label and something said of it, sometimes anything."""
    rows = draw(st.integers(0, 5))
    names = ["id", "label", *draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))]
    names = [name for name in dict.fromkeys(names) if draw(st.integers(0, 5))]
    columns = {}
    for name in names:
        kind = draw(st.integers(0, 4))
        cells = {
            0: st.integers(0, 2),
            1: st.floats(0, 1, width=32),
            2: st.lists(st.floats(0, 1, width=32), min_size=0, max_size=3),
        }.get(kind, CELLS)
        plain = list(range(rows)) if name == "id" and kind < 3 else draw(st.lists(cells, min_size=rows, max_size=rows))
        columns[name] = plain
    return columns


REWRITTEN = [  # what other programs make of a CSV file
    *([lambda content: content] * 5),
    lambda content: content.replace(b",", b"\t"),
    lambda content: content.replace(b",", b";").replace(b".", b","),
    lambda content: content.decode(errors="replace").encode("utf-16"),
    lambda content: content.decode(errors="replace").encode("utf-16-le"),
    lambda content: content.decode(errors="replace").encode("latin-1", errors="replace"),
    lambda content: b"\xef\xbb\xbf" + content,
    lambda content: b"sep=;\n" + content.replace(b",", b";"),
    gzip.compress,
]


@st.composite
def prediction_files(draw):
    """A suffix and the bytes of a file: a table as it is, cut, or with bytes changed; or anything."""
    suffix = draw(st.sampled_from(["csv", "parquet", "npz"]))
    if draw(st.integers(0, 9)) == 0:
        return suffix, draw(st.binary(max_size=300))
    content = write_table(draw(tables()), suffix)
    if suffix == "csv":
        content = draw(st.sampled_from(REWRITTEN))(content)
    damage = draw(st.integers(0, 3))
    if damage == 1 and content:
        content = content[: draw(st.integers(0, len(content)))]
    if damage == 2 and content:
        changed = bytearray(content)
        for place in draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
            changed[place] = draw(st.integers(0, 255))
        content = bytes(changed)
    return suffix, content


def write_table(columns, suffix):
    """A table as bytes; values that the format cannot hold become text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        if suffix == "npz":
            arrays = {name or "nameless": _as_array(values) for name, values in columns.items()}
            np.savez(path, **{name.replace("/", ""): array for name, array in arrays.items()})
        else:
            table = pa.table({name: _as_column(values, suffix) for name, values in columns.items()})
            pacsv.write_csv(table, path) if suffix == "csv" else pq.write_table(table, path)
        return path.read_bytes()


def _as_array(values):
    """An array of numbers, else of text."""
    try:
        array = np.array(values)
        return array if array.dtype != object else np.array(list(map(str, values)))
    except ValueError:  # lists of different lengths
        return np.array(list(map(str, values)))


def _as_column(values, suffix):
    """A column of what the values are, else of text."""
    try:
        column = pa.array(values)
    except (pa.ArrowException, OverflowError):
        column = pa.array([None if one is None else str(one) for one in values])
    nested = suffix == "csv" and (pa.types.is_nested(column.type) or pa.types.is_null(column.type))
    return pa.array(list(map(str, values))) if nested else column


def check_prediction_reader(files, with_labels):
    """Assert that files are read, or refused in one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, (suffix, content) in enumerate(files):
            paths.append(Path(folder) / f"{number}.{suffix}")
            paths[-1].write_bytes(content)
        labels = Path(folder) / "labels.csv"
        labels.write_bytes(LABELS)
        try:
            read = read_prediction_files(paths, labels if with_labels else None)
        except StressLabError as error:
            assert str(error)  # noqa: PT017
        else:
            for one in read:
                assert len(one.scores) == len(one.ids) > 0
