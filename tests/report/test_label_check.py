"""The page for checking labels in a real browser: keys answer, the file that it saves is read as corrections."""

import csv

import numpy as np
import pytest

import stress_lab as sl
from stress_lab.prediction_files.label_files import read_corrections

CLASSES = ["cat", 'a "dog", <b>big</b>', "owl"]


@pytest.fixture
def made(tmp_path):
    """A page about 40 images, 8 of which have a wrong label; the true classes, the labels, the path."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 40)
    label = true.copy()
    label[:8] = (true[:8] + 1) % 3
    probs = np.full((40, 3), 0.05)
    probs[np.arange(40), true] = 0.9
    issues = sl.find_label_issues(sl.Predictions.from_probs(probs, labels=label))
    assert issues.ranked.tolist() == list(range(8))
    names = [f"=img {number}.png" for number in range(40)]
    images = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    path = sl.write_label_check(tmp_path / "check.html", issues, images=images, ids=names, classes=CLASSES, count=16)
    return true, label, names, path


def test_keys_answer_and_the_saved_file_holds_the_corrections(made, browser, tmp_path):
    true, label, names, path = made
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
    page.goto(path.as_uri())
    assert page.locator("#picture img").count() == 1
    for _ in range(15):  # the sixteenth stays open
        row = names.index(page.locator("#name").inner_text().removeprefix("#"))
        assert page.locator("#question").inner_text() == f"Is this “{CLASSES[label[row]]}”?"
        if true[row] == label[row]:
            page.keyboard.press("y")
        else:
            page.keyboard.press("n")
            page.keyboard.press("1")  # the guess comes first
    page.keyboard.press("b")
    page.keyboard.press("u")
    page.reload()  # answers are kept
    assert "14 checked, " in page.locator("#progress").inner_text()
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "corrections.csv")
    assert not errors
    rows, right = read_corrections(tmp_path / "corrections.csv", np.array(names, dtype=object), CLASSES)
    assert len(rows) == 14
    assert (right == true[rows]).all()
    with (tmp_path / "corrections.csv").open(newline="", encoding="utf-8") as file:
        assert {one["given"] for one in csv.DictReader(file)} <= set(CLASSES)
    page.close()


@pytest.mark.parametrize("wrong", [{"ids": [1]}, {"classes": ["a"]}, {"images": np.zeros((40, 8, 8, 2), np.uint8)}])
def test_arrays_that_do_not_fit_are_named(made, wrong, tmp_path):
    _, label, _, _ = made
    issues = sl.find_label_issues(sl.Predictions.from_probs(np.eye(3)[label], labels=label))
    with pytest.raises(sl.InputError, match=r"pass "):
        sl.write_label_check(tmp_path / "x.html", issues, **wrong)


def test_runs_that_do_not_fit_are_named():
    one = sl.Predictions.from_probs(np.eye(3), labels=[0, 1, 2])
    for other, words in (
        (sl.Predictions.from_probs(np.eye(3), labels=[0, 1, 1]), "other images or labels"),
        (sl.Predictions.from_labels([0, 1, 2], labels=[0, 1, 2]), "no probabilities"),
    ):
        with pytest.raises(sl.InputError, match=words):
            sl.find_label_issues([one, other])
    with pytest.raises(sl.InputError, match="empty"):
        sl.find_label_issues([])
