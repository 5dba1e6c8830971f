"""Every row of the table of hostile files: one sentence, nothing executed, hardly any memory."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stress_lab.errors import RunError, StressLabError
from stress_lab.prediction_files import read_prediction_files
from stress_lab.records import Predictions
from stress_lab.runs.folder import RunDir
from stress_lab.storage import limits
from stress_lab.storage.limits import count_available, refuse_too_large
from tests.hostile_files import ROWS

BOUND = 512 * 2**20  # bytes that reading or refusing any of them may take; most of it is for parts of text


def read_status(name):
    """A field of the kernel's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def forget_peak():
    """Let the highest resident memory begin anew; skips where the kernel does not offer that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the kernel keeps no account of peaks here")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # such images are refused
@pytest.mark.parametrize("name", ROWS)
def test_hostile_files_are_refused_in_a_sentence_and_take_no_memory(tmp_path, monkeypatch, name):
    row = ROWS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRESS_LAB_CACHE", str(tmp_path / "cache"))
    path = row.make(tmp_path)
    if row.available is not None:
        monkeypatch.setattr(limits, "count_available", lambda: row.available)
    pa.default_memory_pool().release_unused()
    forget_peak()
    before = read_status("VmRSS")
    try:
        row.read(path)
        said = ""
    except StressLabError as error:
        said = str(error)
    taken = read_status("VmHWM") - before
    assert row.words in said
    assert bool(said) == bool(row.words)
    assert not said or path.name in said
    assert len(said.splitlines()) <= 1
    assert len(said) < 1500
    assert not (tmp_path / "executed").exists()
    assert taken < BOUND, f"{taken / 2**20:.0f} MB"


def test_there_are_rows_of_every_kind():
    assert len(ROWS) >= 40
    assert {name.partition(":")[0] for name in ROWS} == {"npz", "parquet", "csv", "image", "file"}


# what is large and right is read


def test_a_million_images_are_read_part_by_part(tmp_path):
    """Fewer here; ``benchmarks/compare_large.py`` reads a million of a thousand classes."""
    n, k = 60_000, 20
    label = np.arange(n) % k
    probs = np.full((n, k), 0.5 / (k - 1), np.float32)
    probs[np.arange(n), label] = 0.5
    lists = pa.FixedSizeListArray.from_arrays(pa.array(probs.ravel()), k)
    pq.write_table(pa.table({"id": np.arange(n), "label": label, "probs": lists}), tmp_path / "a.parquet")
    np.savez_compressed(tmp_path / "a.npz", id=np.arange(n), label=label, probs=probs)
    for name in ("a.parquet", "a.npz"):
        [file] = read_prediction_files([tmp_path / name], None)
        assert file.scores.correct.all()
        np.testing.assert_allclose(file.scores.confidence, 0.5)


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_text_in_any_encoding_of_parquet(tmp_path, compression, dictionary, encoding):
    n = 3000
    ids, label = [f"image {k}" for k in range(n)], np.array(["cat", "dog", "emu"])[np.arange(n) % 3]
    told = {"use_dictionary": ["label", "pred"]} if dictionary else {"use_dictionary": False}
    told["column_encoding"] = {"id": encoding} if dictionary else dict.fromkeys(("id", "label", "pred"), encoding)
    table = pa.table({"id": ids, "label": label, "pred": label[::-1].copy()})
    pq.write_table(table, tmp_path / "a.parquet", compression=compression, row_group_size=1000, **told)
    [file] = read_prediction_files([tmp_path / "a.parquet"], None)
    assert file.ids.tolist() == ids
    np.testing.assert_array_equal(np.array(file.classes)[file.scores.pred], label[::-1])


def test_values_of_a_dictionary_that_no_row_has_are_no_classes(tmp_path):
    """As of a subset of a table of categories."""
    column = pa.DictionaryArray.from_arrays(pa.array([2, 0, None], pa.int8()), pa.array(["cat", "unused", "dog"]))
    whole = pa.table({"id": [1, 2], "label": column[:2], "pred": column[:2]})
    pq.write_table(whole, tmp_path / "a.parquet")
    [file] = read_prediction_files([tmp_path / "a.parquet"], None)
    assert (file.classes, file.scores.correct.all()) == (("cat", "dog"), True)
    pq.write_table(pa.table({"id": [1, 2, 3], "label": column, "pred": ["cat"] * 3}), tmp_path / "a.parquet")
    with pytest.raises(RunError, match="label is missing in 1 of 3 rows, first in row 3"):
        read_prediction_files([tmp_path / "a.parquet"], None)


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "run")
    run.save_config({"variant": "a", "seed": 1})
    logits = np.random.default_rng(0).normal(size=(500, 7)).astype(np.float32)
    run.save_predictions("test", Predictions(np.arange(500), np.arange(500) % 7, logits))
    run.save_properties("test", np.arange(500), {"contrast": np.random.default_rng(1).random(500)})
    return run


def test_a_runs_tables_hold_checksums_of_their_pages(run):
    """A flipped bit anywhere in the pages is found; without them, most bits of a float are not."""
    whole = run.load_predictions("test"), run.load_properties("test")
    for path, load in (
        (run.predictions_file("test"), run.load_predictions),
        (run.properties_file("test"), run.load_properties),
    ):
        content = path.read_bytes()
        footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        rng = np.random.default_rng(0)
        for place in rng.integers(4, footer, 60):
            damaged = bytearray(content)
            damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            try:
                found = load("test")
            except RunError as error:
                assert "rewrites it" in str(error)  # noqa: PT017
            else:  # in the head of a page, in what only describes it
                expected = whole[0].logits if path == run.predictions_file("test") else whole[1][1]["contrast"]
                got = found.logits if path == run.predictions_file("test") else found[1]["contrast"]
                np.testing.assert_array_equal(got, expected)
        path.write_bytes(content)


def test_tables_of_earlier_versions_are_read(run):
    """They have no checksums."""
    path, before = run.predictions_file("test"), run.load_predictions("test")
    pq.write_table(pq.read_table(path), path)
    np.testing.assert_array_equal(run.load_predictions("test").logits, before.logits)


# the memory there is


def write(root, **files):
    for name, content in files.items():
        (root / "proc" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "proc" / name).write_text(content)


def test_what_is_available_includes_swap_and_ends_at_the_limits_of_the_process(tmp_path, monkeypatch):
    assert count_available(tmp_path) is None
    write(tmp_path, meminfo="MemAvailable: 2000000 kB\nSwapFree: 500000 kB\n")
    assert count_available(tmp_path) == 2_500_000 * 1024
    (tmp_path / "proc" / "self").mkdir()
    (tmp_path / "proc" / "self" / "statm").write_text("1000 500 200 1 0 300 0")
    page = os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (5000 * page, -1))
    assert count_available(tmp_path) == 4000 * page
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (500 * page, -1))
    assert count_available(tmp_path) == 0


@pytest.mark.parametrize(
    ("need", "free", "words"),
    [
        (2 * 10**9, 10**9, "2.0 GB of memory or more, but only 1.0 GB is"),
        (3 * 10**6, 10**6, "0.003 GB of memory or more, but only 0.001"),
    ],
)
def test_both_numbers_are_said(need, free, words):
    with pytest.raises(RunError, match=f"^it would take {words}"):
        refuse_too_large("it", need, "write less", RunError, free)
    refuse_too_large("it", free, "write less", RunError, free)
