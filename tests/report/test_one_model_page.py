"""The page for one model: it states the finding, every number is the record's, its table can be sorted."""

import json
import re

import numpy as np
import pytest

import stress_lab as sl
from stress_lab.comparison.codec import to_record
from stress_lab.files import load_json
from stress_lab.report.numbers import KINDS, look_up
from stress_lab.report.one_model import find_next_step
from stress_lab.report.page import render

FORBIDDEN = ("variant", "equivalent", "A/A", "helped", "nothing to compare")
HOSTILE = "</script><b>x"


def answer(labels, classes, seed=0):
    logits = np.random.default_rng(seed).normal(size=(len(labels), classes)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += np.where(labels % 3 == 0, 0.5, 2.5)
    return 2 * logits


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A hundred unequal classes, without images."""
    sizes = np.maximum(3, 60 * 0.95 ** np.arange(100)).astype(int)
    labels = np.repeat(np.arange(100), sizes)
    names = [f"species {k} {HOSTILE if k == 5 else ''}".strip() for k in range(100)]
    found = sl.compare({"net": answer(labels, 100)}, labels, classes=names, resamples=100, title="a hundred")
    return found.save(tmp_path_factory.mktemp("many"))


def read_text(page):
    """What a reader sees: no scripts, styles and tags."""
    bare = re.sub(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>", " ", page)
    return " ".join(bare.split())


def test_it_states_the_finding_and_mentions_no_comparison(many):
    text = read_text((many / "report.html").read_text())
    record = load_json(many / "comparison.json")["one_model"]
    assert f"{100 * record['accuracy']['value']:.1f} % accurate" in text
    assert not [word for word in FORBIDDEN if word in text]
    assert "The most frequent confusions" in text
    assert "When can its confidence be believed" in text


def test_every_number_is_the_records(many):
    page = (many / "report.html").read_text()
    records = {name: load_json(many / f"{name}.json") for name in ("comparison", "gallery")}
    shown = re.findall(r'<data value="([^"]*)" data-kind="(\w+)" data-path="([^"]*)">([^<]*)</data>', page)
    assert len(shown) > 600
    for value, kind, path, text in shown:
        recorded = look_up(records, json.loads(path.replace("&#34;", '"')))
        assert json.loads(value) == recorded
        assert text == KINDS[kind](recorded)


def test_its_table_sorts_and_it_fits_a_phone(many, browser):
    for width in (1280, 390):
        page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))  # noqa: B023
        page.goto(f"file://{many / 'report.html'}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        column = "#classes table.sortable >> nth=0"
        recall = f"{column} >> css=tbody tr td:nth-child(3) data:first-of-type"
        images = page.locator(f"{column} >> css=thead button").nth(1)
        images.click()
        sizes = page.locator(f"{column} >> css=tbody tr td:nth-child(2)").all_inner_texts()
        assert sizes == sorted(sizes, key=int)
        page.locator(f"{column} >> css=thead button").nth(2).focus()
        page.keyboard.press("Enter")
        values = page.locator(recall).evaluate_all("all => all.map((x) => Number(x.value))")
        assert values[:50] == sorted(values)[:50]
        assert complaints == []
        page.context.close()


def test_the_next_step_is_a_command_that_fits_the_source(many):
    record = load_json(many / "comparison.json")
    assert find_next_step(record)[1].startswith("stress_lab.compare(")
    first = record["runs"][0]
    first["folder"] = "my net.csv"
    assert find_next_step(record)[1] == "stress-lab compare 'predictions=[\"my net.csv\",OTHER.csv]'"
    first |= {"epochs": 8, "overrides": ["experiment=demo", "augment=baseline", "seed=1", "threads=1"]}
    assert find_next_step(record)[1] == "stress-lab -m experiment=demo augment=baseline,cutout seed=1,2,3"
    record["data"]["test_fingerprint"], first["epochs"], first["folder"] = "abc", 0, "0_net_seed1"
    assert find_next_step(record)[1] == "stress-lab compare 'runs=[0_net_seed1,OTHER_RUN]'"


def test_few_classes_have_a_matrix_with_shares():
    labels = np.arange(300) % 3
    record = to_record(sl.compare({"net": answer(labels, 3)}, labels, resamples=100)._found)
    page = render(record, None, None, {})
    for i, row in enumerate(record["variants"][0]["confusion"]):
        assert sum(row) == 100
        assert f"{i} predicted as {(i + 1) % 3}: {row[(i + 1) % 3]:.1f} % of the class" in page
