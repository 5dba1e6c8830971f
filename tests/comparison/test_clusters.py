"""A comparison of images that come in clusters, from arrays and from files."""

import numpy as np
import pandas as pd
import pytest

import stress_lab as sl
from stress_lab.errors import RunError
from stress_lab.prediction_files import read_clusters


@pytest.fixture(scope="module")
def clustered():
    """Two models that find each of 60 patients easy or hard on their own: pred (N,) of both, label, patient."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(60), rng.integers(2, 41, 60))
    label = rng.integers(0, 2, len(patient))
    right = [rng.normal(size=60)[patient] + rng.normal(size=len(patient)) < 1.1 for _ in range(2)]
    old, new = (np.where(one, label, 1 - label) for one in right)
    return old, new, label, np.array([f"p{one}" for one in patient])


def test_every_number_counts_patients(clustered):
    old, new, label, patient = clustered
    plain = sl.compare({"old": old, "new": new}, label, kind="labels", primary=["accuracy"], resamples=500)
    found = sl.compare(
        {"old": old, "new": new}, label, kind="labels", primary=["accuracy"], resamples=500, clusters=patient
    )
    change = (new == label).astype(int) - (old == label)
    evidence = found._found.questions[0].evidence
    assert evidence.p == sl.paired_permutation_p(change, patient)
    assert evidence.clusters == 60
    assert evidence.difference == plain._found.questions[0].evidence.difference == pytest.approx(change.mean())
    widths = [float(np.diff(one._found.questions[0].evidence.interval)[0]) for one in (found, plain)]
    assert widths[0] > 1.5 * widths[1]
    assert found._found.runs[0].accuracy_interval == sl.clustered_wilson_interval(old == label, patient)
    pair = found._found.pairs[0].accuracy
    assert (pair.clustered_p, pair.interval) == (evidence.p, evidence.interval)
    assert plain._found.pairs[0].accuracy.clustered_p is None
    metric = next(one for one in found._found.comparisons[0].metrics if one.metric == "accuracy")
    assert (metric.p, metric.interval) == (evidence.p, evidence.interval)
    assert any("in 60 clusters" in note for note in found._found.notes)


def test_several_seeds_draw_whole_patients(clustered):
    old, new, label, patient = clustered
    models = {"old": [old, np.where(np.arange(len(old)) % 50 == 0, new, old)], "new": [new, new]}
    options = {"kind": "labels", "primary": ["accuracy"], "resamples": 500}
    plain, found = sl.compare(models, label, **options), sl.compare(models, label, **options, clusters=patient)
    widths = [float(np.diff(one._found.questions[0].evidence.interval)[0]) for one in (found, plain)]
    assert widths[0] > 1.5 * widths[1]


def test_too_few_patients_are_said(clustered):
    old, new, label, patient = clustered
    five = [f"p{int(one[1:]) % 5}" for one in patient]
    found = sl.compare({"old": old, "new": new}, label, kind="labels", primary=["accuracy"], clusters=five)
    assert found._found.questions[0].evidence.p >= 2 / 2**5
    assert any("fewer than 10 clusters" in note for note in found._found.notes)


def test_one_value_per_image(clustered):
    old, new, label, patient = clustered
    with pytest.raises(sl.InputError, match="clusters"):
        sl.compare({"old": old, "new": new}, label, kind="labels", clusters=patient[:-1])


def test_a_column_of_the_labels_is_read(tmp_path):
    table = pd.DataFrame({"id": [3, 1, 2], "label": [0, 1, 0], "patient": ["b", "a ", "b"]})
    table.to_csv(tmp_path / "labels.csv", index=False)
    table.astype({"patient": "category"}).to_parquet(tmp_path / "labels.parquet")
    assert read_clusters(tmp_path / "labels.csv", "patient").tolist() == [0, 1, 0]
    assert read_clusters(tmp_path / "labels.parquet", "patient").tolist() == [0, 1, 0]
    with pytest.raises(RunError, match=r"has no column 'site' \(it has id, label, patient\)"):
        read_clusters(tmp_path / "labels.csv", "site")
    table["patient"] = ["b", None, "b"]
    table.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(RunError, match="patient is missing in 1 of 3 rows, first in row 2"):
        read_clusters(tmp_path / "labels.csv", "patient")


def test_the_command_reads_them_in_the_order_of_the_labels(clustered, tmp_path, compose_config, monkeypatch):
    from stress_lab.cli.compare import compare_files

    old, new, label, patient = clustered
    rng, ids = np.random.default_rng(1), np.arange(len(old))
    for name, pred in (("old", old), ("new", new)):
        rows = rng.permutation(len(old))
        pd.DataFrame({"id": ids[rows], "pred": pred[rows]}).to_csv(tmp_path / f"{name}.csv", index=False)
    pd.DataFrame({"id": ids, "label": label, "patient": patient}).sample(frac=1, random_state=3).to_csv(
        tmp_path / "labels.csv", index=False
    )
    monkeypatch.chdir(tmp_path)
    options = ("predictions=[old.csv,new.csv]", "labels=labels.csv", "primary=[accuracy]", "report=false", "gallery=0")
    cfg = compose_config(*options, "clusters=patient", "resamples=200", name="compare")
    change = (new == label).astype(int) - (old == label)
    assert compare_files(cfg).questions[0].evidence.p == sl.paired_permutation_p(change, patient)
