"""Planted wrong labels: found alike in runs and files, left out, corrected and counted; soft labels and corrections."""

import csv

import numpy as np
import pytest

import stress_lab
from stress_lab.calibration.scores import score_predictions
from stress_lab.comparison.assemble import compare_matched
from stress_lab.comparison.codec import from_record, to_record
from stress_lab.comparison.comparable import match_runs
from stress_lab.comparison.corrections import correct_labels
from stress_lab.comparison.label_findings import PEOPLE, SUSPECT, TWIN
from stress_lab.comparison.loading import LoadedRun, from_files
from stress_lab.comparison.options import Options
from stress_lab.comparison.triage import LabelEvidence, read_evidence
from stress_lab.errors import RunError
from stress_lab.prediction_files import read_prediction_files
from stress_lab.records import Predictions
from stress_lab.report.label_words import describe_labels
from stress_lab.report.numbers import Speaker
from stress_lab.report.table import describe_verdicts

CLASSES = ("cat", "dog", "owl", "pig")
N = 400
WRONG = np.arange(0, 40)  # images whose label is wrong
OPTIONS = Options(resamples=200)


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(3)
    true = rng.integers(0, 4, N)
    label = true.copy()
    label[WRONG] = (true[WRONG] + 1) % 4
    return true, label


def answer(true, errors, seed, strength=4.0):
    """Logits that are right but for ``errors`` images, which the other runs get right."""
    rng = np.random.default_rng(seed)
    said = true.copy()
    missed = rng.choice(np.arange(40, N), errors, replace=False)
    said[missed] = (said[missed] + 2) % 4
    logits = rng.normal(size=(N, 4)).astype(np.float32) * 0.2
    logits[np.arange(N), said] += strength
    return logits


@pytest.fixture(scope="module")
def models(truth):
    true, _ = truth
    return {"old": [answer(true, 30, s) for s in (1, 2)], "new": [answer(true, 4, s) for s in (3, 4)]}


def load(models, label):
    """Models as runs in memory, with their logits."""
    return [
        LoadedRun(
            f"{name}, seed {seed}", name, seed, 0.7, CLASSES, score_predictions(made), f"{name}{seed}",
            predictions={"test": made},
        )
        for name, runs in models.items()
        for seed, logits in enumerate(runs, 1)
        for made in [Predictions(np.arange(N), label, logits)]
    ]  # fmt: skip


def find(runs, evidence=None):
    return compare_matched(match_runs(runs, strict=True), "t", OPTIONS, evidence=evidence)


@pytest.fixture(scope="module")
def found(models, truth):
    return find(load(models, truth[1]))


def test_planted_labels_are_the_suspects_and_the_suggestions_are_right(found, truth):
    true, label = truth
    suspects = [one for one in found.labels.issues if SUSPECT in one.found]
    named = {one.index: one for one in suspects}
    assert set(WRONG) <= set(named)
    assert len(named) <= len(WRONG) + 3
    assert all(named[i].suggestion == CLASSES[true[i]] and named[i].label == CLASSES[label[i]] for i in WRONG)
    assert set(WRONG) == {one.index for one in suspects[: len(WRONG)]}  # failures with the lowest margins first


def test_counts_are_those_of_the_runs(found, models, truth):
    runs = load(models, truth[1])
    failed = np.any([run.failed for run in runs], axis=0)
    named = [one.index for one in found.labels.issues if SUSPECT in one.found]
    suspect = np.isin(np.arange(N), named)
    assert found.labels.failures == failed.sum()
    assert found.labels.suspect_failures == (failed & suspect).sum()
    assert found.labels.estimated_error_rate == pytest.approx(len(WRONG) / N, abs=0.02)
    for effect, rows in zip(found.labels.effects, (runs[:2], runs[2:]), strict=True):
        assert effect.accuracy.value == pytest.approx(np.mean([run.scores.correct for run in rows]))
        without = np.mean([run.scores.correct[~suspect] for run in rows])
        assert effect.accuracy_without.value == pytest.approx(without)
        assert effect.accuracy_without.low < without < effect.accuracy_without.high
        assert effect.failures_without == pytest.approx(np.mean([(run.failed & ~suspect).sum() for run in rows]))


def test_files_give_what_runs_give(found, models, truth, tmp_path):
    """The same logits from files whose rows are in another order."""
    order = np.random.default_rng(0).permutation(N)
    groups = {}
    np.savez(tmp_path / "labels.npz", id=np.arange(N), label=truth[1])
    for name, runs in models.items():
        groups[name] = [tmp_path / f"{name}{k}.npz" for k in range(len(runs))]
        for path, logits in zip(groups[name], runs, strict=True):
            np.savez(path, id=order, logits=logits[order])
    every = [path for paths in groups.values() for path in paths]
    read = iter(read_prediction_files(every, tmp_path / "labels.npz"))
    loaded = from_files({name: [next(read) for _ in paths] for name, paths in groups.items()}, 0.7)
    named = tuple(CLASSES.index(one.label) for one in found.labels.issues)
    again = find(loaded)
    assert [one.index for one in again.labels.issues] == [one.index for one in found.labels.issues]
    assert tuple(int(one.label) for one in again.labels.issues) == named
    assert again.labels.effects == found.labels.effects
    assert again.labels.verdicts == found.labels.verdicts


def test_corrected_labels_rescore_everything_and_estimate_the_error_rate(models, truth, tmp_path):
    true, label = truth
    checked = [*WRONG, *range(100, 160)]
    with (tmp_path / "c.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *((i, CLASSES[true[i]]) for i in checked)])
    runs = correct_labels(load(models, label), tmp_path / "c.csv")
    expected, fixed = load(models, true), find(runs)
    for run, other in zip(runs, expected, strict=True):
        assert (run.scores.label == true).all()
        assert (run.scores.nll == other.scores.nll).all()
    assert to_record(fixed.questions) == to_record(find(expected).questions)
    labels = fixed.labels
    assert (labels.corrected, labels.checked) == (len(WRONG), len(checked))
    assert labels.strata[0].wrong == len(WRONG)
    assert labels.error_rate.low <= len(WRONG) / N <= labels.error_rate.high
    assert not {one.index for one in labels.issues if SUSPECT in one.found} & set(checked)
    said = describe_labels(Speaker({"comparison": to_record(fixed)}, ("comparison", "labels")))
    assert "100 checked labels 40 were corrected" in said[-1]


@pytest.mark.parametrize(
    ("rows", "words"),
    [("9999,cat", "not in the test set (first 9999)"), ("1,cow", "'cow', which is not a class"), ("1,", "is missing")],
)
def test_corrections_that_do_not_fit_are_named(models, truth, tmp_path, rows, words):
    (tmp_path / "c.csv").write_text(f"id,label\n{rows}\n")
    with pytest.raises(RunError) as caught:
        correct_labels(load(models, truth[1]), tmp_path / "c.csv")
    assert words in str(caught.value)


def test_people_and_near_duplicates_are_findings_of_their_own(models, truth, tmp_path):
    true, label = truth
    shares = np.full((N, 4), 0.0)
    shares[np.arange(N), label] = 1
    shares[:2] = 0
    shares[[0, 1], true[:2]] = [1, 0.9]
    shares[1, label[1]] = 0.1
    columns = {f"prob_{name}": shares[::-1, k] for k, name in enumerate(CLASSES)}
    np.savez(tmp_path / "soft.npz", id=np.arange(N)[::-1], **columns)
    runs = load(models, label)
    evidence = read_evidence(runs[0], tmp_path / "soft.npz")
    assert evidence.people[:3] == pytest.approx([0, 0.1, 1], abs=1e-6)
    twin = np.full(N, -1)
    twin[2] = true[2]
    whole = find(runs, LabelEvidence(evidence.people, evidence.majority, np.arange(N) < 5, twin))
    found = whole.labels
    assert "5 of 400 test images (1.2 %) have a near-duplicate in train" in whole.alarms[0].sentence
    named = {one.index: one for one in found.issues}
    assert {i for i, one in named.items() if PEOPLE in one.found} == {0, 1}
    assert {i for i, one in named.items() if TWIN in one.found} == {2}
    assert (found.disagreed_failures, found.twin_failures) == (2, 1)
    assert named[1].people == pytest.approx(0.1)
    assert found.twins == 5
    without = np.mean([run.scores.correct[5:] for run in runs[2:]])
    assert found.twin_effects[1].accuracy_without.value == pytest.approx(without)


def test_the_verdict_without_suspects_is_that_of_the_other_images(found, models, truth):
    keep = ~np.isin(np.arange(N), [one.index for one in found.labels.issues if SUSPECT in one.found])
    runs = {name: [logits[keep] for logits in some] for name, some in models.items()}
    again = stress_lab.compare(runs, truth[1][keep], resamples=200)
    after = {one.question: one.verdict for one in again.questions}
    assert again.label_issues == again.to_dict()["labels"]["issues"]
    assert {one.question: one.without for one in found.labels.verdicts} == after


def test_the_record_is_read_again_and_older_ones_lack_it(found):
    record = to_record(found)
    assert from_record(record).labels == found.labels
    del record["labels"]
    assert from_record(record).labels is None


def test_sentences_say_the_finding_first(found):
    labels = found.labels
    said = describe_labels(Speaker({"comparison": to_record(found)}, ("comparison", "labels")))
    first = f"{labels.suspect_failures} of the {labels.failures} images that a run gets wrong with confidence"
    assert said[0].startswith(first)
    assert " ".join(said) in describe_verdicts(found)  # without near-duplicates both say the same


def test_hard_labels_have_no_triage(truth):
    true, label = truth
    found = stress_lab.compare({"old": true, "new": label}, label, kind="labels", resamples=100)
    assert found._found.labels is None
