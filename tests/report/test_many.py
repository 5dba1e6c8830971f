"""The page of many variants and of crossed choices, from arrays."""

import json
import re
from html import unescape

import numpy as np
import pytest

import stress_lab as sl
from stress_lab.comparison.codec import from_record
from stress_lab.figures.leaderboard import draw_leaderboard
from stress_lab.files import load_json
from stress_lab.report.leaderboard import headline, spell
from stress_lab.report.numbers import KINDS, look_up
from stress_lab.report.page import render
from stress_lab.report.table import describe_verdicts, make_table

HOSTILE = "<script>alert(1)</script>"
RATES = {HOSTILE: 0.93, "b": 0.92, "c": 0.90, "d": 0.80, "e": 0.60, "f": 0.91}


def draw_logits(rates, n=600, seed=0):
    """Logits of models that find the same images hard."""
    rng = np.random.default_rng(seed)
    label, hard = rng.integers(0, 4, n), rng.normal(size=n)
    models = {}
    for name, rate in rates.items():
        score = hard + 0.6 * rng.normal(size=n)
        logits = rng.normal(size=(n, 4))
        logits[np.arange(n), label] += 4
        logits[np.arange(n), (label + 1) % 4] += 4 - 3 * (np.quantile(score, rate) - score)
        models[name] = logits.astype(np.float32)
    return models, label


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    models, label = draw_logits(RATES)
    sl.compare(models, label, resamples=200, title="six").save(folder)
    return folder


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossed")
    rates = {("none", "sgd"): 0.80, ("none", "adam"): 0.84, ("cutout", "sgd"): 0.95, ("cutout", "adam"): 0.84}
    models, label = draw_logits({f"augment={a}, optim={o}": rate for (a, o), rate in rates.items()}, n=1500)
    sl.compare(models, label, resamples=200, title="crossed").save(folder)
    return folder


def read_numbers(folder):
    """Path, value, kind and text of every number on a page."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    found = re.findall(r'<data value="([^"]*)" data-kind="(\w+)" data-path="([^"]*)">([^<]*)</data>', text)
    return [
        (json.loads(unescape(path)), json.loads(unescape(value)), kind, shown) for value, kind, path, shown in found
    ]


@pytest.mark.parametrize("which", ["many", "crossed"])
def test_every_number_is_the_records(which, request):
    folder = request.getfixturevalue(which)
    records = {name: load_json(folder / f"{name}.json") for name in ("comparison", "gallery")}
    numbers = read_numbers(folder)
    parts = {path[1] for path, *_ in numbers}
    assert {"many": {"leaderboard", "variants"}, "crossed": {"factors", "questions"}}[which] <= parts
    for path, value, kind, shown in numbers:
        assert value == look_up(records, path)
        assert unescape(shown) == KINDS[kind](value)


def test_one_board_instead_of_a_card_a_model(many):
    text = (many / "report.html").read_text(encoding="utf-8")
    record = load_json(many / "comparison.json")
    assert headline(record["leaderboard"]).replace("'", "&#39;") in text
    assert text.count("<article") == 0
    assert text.count("data-pair=") == len(record["leaderboard"]["pairs"]) == 15
    assert HOSTILE not in text
    assert sorted(path.name for path in many.glob("*.csv")) == [
        *("comparison.csv", "failure_rates.csv", "label_check.csv", "label_issues.csv"),
        *("leaderboard.csv", "pairs.csv", "runs.csv"),
    ]
    assert len(list((many / "disagreements").glob("*.csv"))) == 6  # pairs of the four that are shown
    assert record["patterns"]["variant"] == record["shown"][0]
    cards = load_json(many / "gallery.json")["cards"]
    assert all(list(card["models"]) == record["shown"] for card in cards)


def test_a_smaller_comparison_leaves_no_tables_of_a_larger_one(tmp_path):
    models, label = draw_logits(RATES, n=100)
    sl.compare(models, label, resamples=100).save(tmp_path, report=False)
    assert (tmp_path / "pairs.csv").is_file()
    sl.compare(dict(list(models.items())[:2]), label, resamples=100).save(tmp_path, report=False)
    assert not any((tmp_path / name).exists() for name in ("pairs.csv", "leaderboard.csv"))


def test_older_records_have_neither(crossed):
    record = load_json(crossed / "comparison.json")
    for name in ("leaderboard", "shown", "factors", "reference"):
        del record[name]
    text = render(record, None, None, {})
    assert text.count("<article") == len(record["comparisons"]) == 3
    assert 'id="factors"' not in text


def test_terminal_and_picture_follow(many):
    found = from_record(load_json(many / "comparison.json"))
    assert make_table(found).row_count == 6
    lines = describe_verdicts(found)
    assert any(headline(load_json(many / "comparison.json")["leaderboard"]) == line for line in lines)
    assert not any("McNemar's test alone" in line for line in lines)  # of single verdicts
    assert len(lines) < 30
    values, ties = draw_leaderboard("six", found.leaderboard).axes
    assert len(values.get_yticklabels()) == 6
    bars = [line for line in ties.lines if len(line.get_xdata()) == 2]
    assert len(bars) == sum(last > first for first, last in found.leaderboard.ties)


def test_crossed_choices_have_a_section(crossed):
    text = (crossed / "report.html").read_text(encoding="utf-8")
    assert "<h2>The effect of augment depends on optim</h2>" in text
    assert text.count("<article") == 3  # findings stay
    assert "optim=adam" in text
    assert (crossed / "effects.csv").read_text(encoding="utf-8").count("\n") == 1 + 2 * 7


def board(ties, count=30, apart=1, measure="accuracy"):
    standings = [{"variant": f"net {place}"} for place in range(count)]
    return {"standings": standings, "ties": ties, "apart": apart, "measure": measure}


def test_the_headline_states_the_finding():
    assert headline(board([(0, 6), (7, 29)])) == "The first seven of thirty can't be told apart"
    assert headline(board([(0, 29)], apart=0)) == "None of the thirty can be told apart"
    assert headline(board([(0, 0), (1, 29)])) == "net 0 is the most accurate of thirty"
    failures = board([(0, 0)], measure="confident_failures_matched")
    assert headline(failures) == "net 0 makes the fewest confident mistakes of thirty"
    assert [spell(number) for number in (0, 13, 20, 21, 99, 100)] == [
        *("zero", "thirteen", "twenty", "twenty-one", "ninety-nine", "100")
    ]


def test_a_cell_shows_its_pair_and_the_phone_does_not_scroll_sideways(many, browser):
    page = browser.new_context(viewport={"width": 390, "height": 800}).new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"file://{many / 'report.html'}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("td[data-pair][tabindex='0']").count() == 1  # one stop for the keyboard
    pairs = load_json(many / "comparison.json")["leaderboard"]["pairs"]
    page.locator("td[data-pair='1']").click()
    page.keyboard.press("ArrowLeft")
    said = page.locator("#pair").inner_text()
    assert f"{100 * pairs[0]['lead']:.2f} points ahead" in said
    assert ("not told apart" in said) == (not pairs[0]["apart"])
    assert page.locator("td[aria-selected]").get_attribute("data-pair") == "0"
    assert page.locator("script:text('alert')").count() == 0
    assert complaints == []
    page.context.close()
