"""How a comparison shows itself."""

import copy
import pickle
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

import stress_lab as sl
from stress_lab.files import load_json
from tests.api.conftest import answer


class Reader(HTMLParser):
    """Text and tags of a page; fails on tags that are not closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], set(), ""

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(html):
    reader = Reader()
    reader.feed(html)
    assert not reader.open
    return reader


def test_a_verdict_says_what_an_independent_test_does(result, old, new, labels):
    one = result.verdicts["accuracy"]
    a, b = old.argmax(1) == labels, new.argmax(1) == labels
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    assert one.p < 2 * mcnemar(table, exact=True).pvalue
    assert (one.rate_a, one.rate_b, one.n) == (a.mean(), b.mean(), len(labels))
    assert one.verdict == "helped"
    low, high = one.interval
    assert low < one.difference < high
    assert str(one).startswith(
        f"new is more accurate than old: {100 * b.mean():.2f} % against {100 * a.mean():.2f} %, "
        f"{100 * (b.mean() - a.mean()):+.2f} points (95 % interval {100 * low:+.2f} to {100 * high:+.2f})"
    )


def test_text_and_card_say_the_same(result):
    text, page = str(result), read(result._repr_html_())
    assert repr(result) == text
    assert len(result.questions) == 2
    for one in result.questions:
        for part in (one.headline, one.numbers, one.evidence):
            assert part in text
            assert part in page.text
    assert page.tags <= {"div", "b"}
    assert "two nets" in page.text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a & b", '" onload="x', "{b}", "\u202eevil", "%s"])
def test_names_are_escaped(old, new, labels, name):
    found = sl.compare({"old": old, name: new}, labels, resamples=100)
    page = read(found._repr_html_())
    assert page.tags <= {"div", "b"}
    assert "\u202e" not in page.text + str(found)
    if name.isprintable():
        assert name in page.text
        assert name in str(found)


def test_every_verdict_has_words_and_a_sign(labels):
    cases = {"helped": (1.0, 3.0), "hurt": (3.0, 1.0), "cannot tell": (1.0, 1.1)}
    for verdict, (a, b) in cases.items():
        found = sl.compare({"a": answer(labels, a, 1), "b": answer(labels, b, 2)}, labels, resamples=100)
        assert found.verdicts["accuracy"].verdict == verdict
        assert found.verdicts["accuracy"].headline in read(found._repr_html_()).text
    same = answer(labels, 1.0, 1)
    found = sl.compare({"a": same, "b": same + 1}, labels, resamples=100, margins=0.05)
    assert found.verdicts["accuracy"].headline == "b is as accurate as a, within ±5.00 points"
    assert found.verdicts["confident_failures"].headline.startswith("b has as many confident failures as a")


def test_verdicts_are_of_the_first_two_and_questions_of_all(old, new, labels):
    found = sl.compare({"a": old, "b": new, "c": answer(labels, 2.0, 5)}, labels, resamples=100)
    assert {one.b for one in found.verdicts.values()} == {"b"}
    assert [(one.a, one.b, one.question) for one in found.questions] == [
        (*("a", other), question) for other in "bc" for question in ("accuracy", "confident_failures")
    ]
    assert "over 4 questions" in str(found)


def test_the_table_has_each_measure_of_each_model(result, old, new, labels):
    from scipy.special import softmax
    from sklearn.metrics import log_loss

    table = result.table().set_index(["measure", "model"])
    assert table.loc[("accuracy", "old"), "value"] == (old.argmax(1) == labels).mean()
    assert table.loc[("nll", "new"), "value"] == pytest.approx(log_loss(labels, softmax(new, axis=1)), rel=1e-5)
    gap = table.loc[("nll", "new"), "value"] - table.loc[("nll", "old"), "value"]
    assert table.loc[("nll", "new"), "difference"] == pytest.approx(gap)
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    assert table.loc[("accuracy", "old"), ["difference", "p"]].isna().all()


def test_results_can_be_pickled_copied_and_saved_again(result, tmp_path):
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert other.questions == result.questions
        assert str(other) == str(result)
    result.to_dict()["questions"].clear()
    assert len(result.questions) == 2
    folder = result.save(tmp_path / "made" / "here")
    assert {"comparison.json", "comparison.csv", "runs.csv", "gallery.json", "report.html"} <= {
        path.name for path in folder.iterdir()
    }
    loaded = sl.load_comparison(folder)
    assert loaded.questions == result.questions
    assert loaded._repr_html_() == result._repr_html_()
    before = (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    assert sl.write_report(folder).read_text() == before
    with pytest.raises(sl.InputError, match="copy its folder"):
        loaded.save(tmp_path / "again")
    (tmp_path / "file").write_text("")
    with pytest.raises(sl.InputError, match="file is a file: pass a folder"):
        result.save(tmp_path / "file")


def test_saving_prints_nothing(result, tmp_path, capsys):
    result.save(tmp_path, report=False)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "report.html").exists()


def test_paths_name_the_images(old, new, labels, tmp_path):
    paths = [f"images/{number:04d}.png" for number in range(len(labels))]
    found = sl.compare({"old": old, "new": new}, labels, image_paths=paths, resamples=100)
    saved = load_json(found.save(tmp_path, report=False) / "comparison.json")
    fixed = np.flatnonzero((old.argmax(1) != labels) & (new.argmax(1) == labels))
    assert saved["pairs"][0]["fixed"] == [paths[row] for row in fixed]


def test_planted_groups_are_found(labels):
    rng = np.random.default_rng(4)
    n = 4000
    y, camera = rng.integers(0, 4, n), rng.choice(["blurred", "sharp"], n)
    right = rng.random(n) > np.where(camera == "blurred", 0.4, 0.05)
    pred = np.where(right, y, (y + 1) % 4)
    found = sl.find_patterns(sl.Predictions.from_labels(pred, y), {"camera": camera, "size": rng.random(n)})
    confirmed = [one for one in found.found if one.confirmed]
    assert confirmed[0].key == "camera=blurred"
    assert confirmed[0].ratio == pytest.approx(8, rel=0.3)
    assert not [one for one in confirmed if "size" in one.key]
    model = sl.compare({"a": pred, "b": pred}, y, kind="labels", groups=camera, resamples=100, primary=["accuracy"])
    assert model.patterns[0]["words"] == "group=blurred"


def test_groups_by_numbers_and_by_few_values():
    from stress_lab.api.metadata import as_properties

    n = 300
    whole, many = np.arange(n) % 3, np.arange(n)
    found = as_properties({"site": whole, "age": many, "flash": whole == 0, "rare": ["a"] * 290 + ["b"] * 10}, n)
    assert sorted(found) == ["age", "flash", "rare=a", "site=0", "site=1", "site=2"]
    np.testing.assert_array_equal(found["site=2"], whole == 2)
    np.testing.assert_array_equal(found["age"], many)


def test_one_model_has_its_numbers_with_intervals(old, labels):
    from sklearn.metrics import brier_score_loss, confusion_matrix
    from statsmodels.stats.proportion import proportion_confint

    made = sl.Predictions.from_logits(old, labels)
    found = sl.evaluate(made, threshold=0.5, resamples=300)
    right = old.argmax(1) == labels
    assert found["accuracy_interval"] == pytest.approx(proportion_confint(right.sum(), len(right), method="wilson"))
    assert found["brier"] == pytest.approx(brier_score_loss(labels, made.probs, scale_by_half=False), rel=1e-5)
    np.testing.assert_array_equal(found["confusion"], confusion_matrix(labels, old.argmax(1)))
    assert found["confident_failures"] == len(sl.mine_failures(made, 0.5)) == (~right & (made.confidence > 0.5)).sum()
    low, high = found["nll_interval"]
    assert low < found["nll"] < high


def test_headlines_name_both_models_and_no_number(result):
    for one in result.questions:
        assert not re.search(r"\d", one.headline)
        assert one.a in one.headline
        assert one.b in one.headline
