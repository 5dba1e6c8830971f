"""What a comparison leaves about labels: tables that carry its id, and a page only where there is something to see."""

import csv
from pathlib import Path

import numpy as np
import pytest

from stress_lab.comparison.comparable import match_runs
from stress_lab.comparison.loading import from_files
from stress_lab.files import load_json
from stress_lab.prediction_files.arrays import ArrayTable
from stress_lab.prediction_files.label_files import read_corrections
from stress_lab.prediction_files.reading import read_tables
from stress_lab.preflight.comparison_rules import make_options
from stress_lab.publishing.settings import Settings
from stress_lab.publishing.write import write_comparison

N, CLASSES = 120, ("cat", "dog", "owl")


def load(ids, label, probs):
    """Two models as files whose images have these names."""
    columns = [{f"prob_{name}": one[:, k] for k, name in enumerate(CLASSES)} for one in probs]
    tables = [ArrayTable(Path(f"{k}.npz"), {"id": ids, **one}) for k, one in enumerate(columns)]
    truth = ArrayTable(Path("labels.npz"), {"id": ids, "label": np.array(CLASSES, dtype=object)[label]})
    read = read_tables(tables, truth)
    return match_runs(from_files({"a": [read[0]], "b": [read[1]]}, 0.7), strict=True)


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, N)
    label = true.copy()
    label[:10] = (true[:10] + 1) % 3
    probs = []
    for errors in (12, 4):
        said = true.copy()
        said[20 : 20 + errors] = (said[20 : 20 + errors] + 1) % 3
        one = np.full((N, 3), 0.05, np.float32)
        one[np.arange(N), said] = 0.9
        probs.append(one)
    return label, probs


def write(out, ids, models, **chosen):
    options = make_options()
    options.resamples, options.report = 200, False
    for key, value in chosen.items():
        options[key] = value
    write_comparison(load(ids, *models), out, "t", Settings.from_config(options))


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tables_hold_the_suspects_and_the_images_to_check(models, tmp_path):
    ids = np.array([f"photo {number}.jpg" for number in range(N)], dtype=object)
    write(tmp_path, ids, models, label_check=40)
    record, issues = load_json(tmp_path / "comparison.json"), read(tmp_path / "label_issues.csv")
    assert [row["index"] for row in issues] == [one["index"] for one in record["labels"]["issues"]]
    assert {row["comparison"] for row in issues} == {record["id"]}
    assert {f"photo {k}.jpg" for k in range(10)} <= {row["index"] for row in issues}
    asked, page = read(tmp_path / "label_check.csv"), tmp_path / "label_check.html"
    assert len(asked) == 40
    assert {row["label"] for row in asked} == {""}
    text = page.read_text(encoding="utf-8")
    assert all(row["id"] in text for row in asked)
    with (tmp_path / "filled.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asked[0]))
        writer.writeheader()
        writer.writerows({**row, "label": row["may_be"] or row["given"]} for row in asked)
    rows, _ = read_corrections(tmp_path / "filled.csv", ids, CLASSES)
    assert ids[rows].tolist() == [row["id"] for row in asked]
    before = page.stat()
    write(tmp_path, ids, models, label_check=40)
    assert page.stat().st_mtime_ns == before.st_mtime_ns  # it asks the same


def test_numbered_images_without_pixels_have_no_page(models, tmp_path):
    (tmp_path / "label_check.html").write_text("of another comparison")
    write(tmp_path, np.arange(N), models)
    assert read(tmp_path / "label_check.csv")
    assert not (tmp_path / "label_check.html").exists()
    write(tmp_path, np.arange(N), models, label_check=0)
    assert read(tmp_path / "label_check.csv") == []
