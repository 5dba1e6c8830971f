"""Cards and confusion matrix: what they say against the runs' predictions, and what keys and links do."""

import json
import re

import numpy as np
import pytest

from stress_lab.comparison.chosen import CHANGES, _share, choose_images
from stress_lab.comparison.confusions import list_changes
from stress_lab.comparison.loading import load_finished
from stress_lab.evaluation import count_confusions
from stress_lab.files import load_json, save_json
from stress_lab.records import Predictions
from stress_lab.report.failures import cut_gallery, list_failures, list_matrices
from stress_lab.report.page import write_report
from stress_lab.runs.folder import RunDir
from tests.comparison.planted import planted
from tests.report.browser import CLASSES, HOSTILE, fitting

VARIANTS = ("baseline", HOSTILE)


def count(page):
    return int(page.locator("#count").inner_text().replace(",", ""))


def visible_cards(page):
    return page.locator("#cards > :visible").evaluate_all("all => all.map(x => Number(x.dataset.card))")


def outcomes(folder):
    """Of every test image: confident failures and wrong answers of each variant's runs, straight from predictions."""
    found = {}
    for number, variant in enumerate(VARIANTS):
        runs = [RunDir(folder / f"{number}_{seed}").load_predictions("test") for seed in (1, 2)]
        failed = np.array([~run.correct & (run.confidence > 0.7) for run in runs])
        found[variant] = failed, np.array([~run.correct for run in runs]), np.array([run.pred for run in runs])
    return found, runs[0].label


def slow_tag(failed_a, wrong_a, failed_b, wrong_b):
    """The tag of one image."""
    if all(failed_a) and all(failed_b):
        return "hard core"
    if all(failed_a) and not any(failed_b):
        return "no longer confident" if any(wrong_b) else "fixed"
    if all(failed_b) and not any(failed_a):
        return "newly confident" if any(wrong_a) else "broken"
    return "flicker" if any(failed_a) or any(failed_b) else "never"


def test_tags_count_what_the_predictions_say(make_page, look):
    folder = make_page(limit=40)
    ((failed_a, wrong_a, _), (failed_b, wrong_b, _)), _ = outcomes(folder)[0].values(), None
    tags = [slow_tag(*one) for one in zip(failed_a.T, wrong_a.T, failed_b.T, wrong_b.T, strict=True)]
    page = look(folder)
    assert page.locator("#total").inner_text() == str(sum(tag != "never" for tag in tags))
    options = page.locator("select[name=tags] option").all_inner_texts()[1:]
    assert set(options) == set(tags) - {"never"}
    for tag in options:
        page.locator("select[name=tags]").select_option(tag)
        assert page.locator("#total").inner_text() == str(tags.count(tag))
        assert 0 < count(page) <= tags.count(tag)
    counts = load_json(folder / "comparison.json")["comparisons"][0]["stability"]["counts"]
    assert {tag: number for tag, number in counts.items() if number} == {tag: tags.count(tag) for tag in set(tags)}


def test_the_first_cards_changed_and_the_next_are_the_hard_core(make_page, look):
    folder = make_page()
    cards = load_json(folder / "gallery.json")["cards"]
    rank = {**dict.fromkeys(CHANGES, 0), "hard core": 1, "flicker": 2}

    def ranks(numbers):
        return [min(rank[tag] for tag in cards[number]["tags"].values()) for number in numbers]

    page = look(folder)
    assert {0, 2} <= set(ranks(visible_cards(page)))
    assert ranks(visible_cards(page)) == sorted(ranks(visible_cards(page)))
    page.locator("select[name=sort]").select_option("index")
    indices = [cards[number]["index"] for number in visible_cards(page)]
    assert indices == sorted(indices)
    page.locator("select[name=sort]").select_option("confidence")
    sure = [max(m["failed_confidence"] or 0 for m in cards[n]["models"].values()) for n in visible_cards(page)]
    assert sure == sorted(sure, reverse=True)
    page.locator("select[name=sort]").select_option("true")
    labels = [CLASSES.index(cards[number]["label"]) for number in visible_cards(page)]
    assert labels == sorted(labels)


@pytest.mark.parametrize(
    ("sizes", "limit", "taken"),
    [([9, 9, 9], 8, [4, 2, 2]), ([9, 0, 9], 8, [6, 0, 2]), ([1, 1, 20], 8, [1, 1, 6]), ([2, 3, 1], 400, [2, 3, 1])],
)
def test_no_group_hides_another(sizes, limit, taken):
    assert _share(np.array(sizes), limit) == taken


def test_every_failure_is_shown_or_counted(write_run):
    hard = range(20)  # wrong in both
    runs = load_finished([write_run(v, v, planted(300, wrong=hard, rate=0.7, seed=s)) for s, v in enumerate("ab")])
    rows, others = choose_images(runs, 10)
    failed = np.flatnonzero(np.any([run.failed for run in runs], axis=0))
    assert len(rows) == 10
    assert sorted([*rows, *others]) == failed.tolist()
    both = np.all([run.failed for run in runs], axis=0)
    assert not both[rows[:8]].any()  # two of the ten are kept for the hard core
    assert both[rows[8:]].all()


def test_a_link_keeps_what_was_chosen(make_page, look):
    folder = make_page()
    page = look(folder)
    page.locator("select[name=true]").select_option(HOSTILE)
    page.locator("select[name=sort]").select_option("index")
    before = visible_cards(page)
    assert 0 < len(before) == count(page)
    page.locator("#cards .open:visible").nth(1).click()
    address = page.url
    assert f"card={before[1]}" in address
    again = look(folder)
    again.goto(address)
    again.reload()
    assert again.locator("select[name=true]").input_value() == HOSTILE
    assert visible_cards(again) == before
    assert again.locator("#enlarged .card").get_attribute("data-card") == str(before[1])
    again.keyboard.press("Escape")
    again.locator("#everything").click()
    assert again.url.endswith("#gallery")
    nonsense = look(folder)
    nonsense.goto(re.sub("#.*", "", address) + "#gallery?true=nothing&card=99999&sort=x")
    nonsense.reload()
    assert count(nonsense) == fitting(folder, lambda card: True)
    assert page.complaints == again.complaints == nonsense.complaints == []


def test_the_cards_are_one_stop_and_enter_enlarges(make_page, look):
    page = look(make_page())
    stops = page.locator("#cards .open:visible").evaluate_all("all => all.filter(x => x.tabIndex === 0).length")
    assert stops == 1
    first = page.locator("#cards .open:visible").first
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.closest('.card').dataset.card")
    assert int(focused) == visible_cards(page)[3]  # two columns
    page.keyboard.press("Enter")
    dialog = page.locator("#enlarged")
    assert dialog.is_visible()
    assert dialog.locator(".card").get_attribute("data-card") == focused
    sizes = [
        page.locator(f"{place} .tile").first.bounding_box()["width"]
        for place in ("#enlarged", f"[data-card='{focused}']")
    ]
    assert sizes[0] > 2 * sizes[1] / 1.5 >= 144 / 1.5
    page.keyboard.press("ArrowRight")
    following = dialog.locator(".card").get_attribute("data-card")
    assert int(following) == visible_cards(page)[4]
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.closest('.card').dataset.card") == following


def test_few_stops_of_the_tab_key(make_page, look):
    page = look(make_page())
    stops = page.evaluate(
        "[...document.querySelectorAll('a[href], button, select, input, summary, [tabindex]')]"
        ".filter(x => x.tabIndex >= 0 && !x.disabled && x.offsetParent).length"
    )
    assert stops <= 30


def test_cells_state_the_counts_and_what_they_open(make_page, look):
    folder = make_page(limit=40)
    found, label = outcomes(folder)
    page = look(folder)
    cells = page.locator(".confusion button")
    assert cells.count() > 3
    means = [
        np.mean([count_confusions(label, pred, len(CLASSES)) for pred in preds], axis=0)
        for _, _, preds in found.values()
    ]
    for cell in cells.all()[:4]:
        true, pred = cell.get_attribute("data-true"), cell.get_attribute("data-pred")
        i, j = CLASSES.index(true), CLASSES.index(pred)
        words = cell.get_attribute("aria-label")
        before, after = re.search(r": ([\d.,]+) images a run under .*, ([\d.,]+) under ", words, re.DOTALL).groups()
        assert (float(before), float(after)) == pytest.approx((means[0][i, j], means[1][i, j]), abs=0.05)
        asked = [np.any(failed & (preds == j), axis=0) for failed, _, preds in found.values()]
        total = int((np.any(asked, axis=0) & (label == i)).sum())
        cell.click()
        assert page.locator("#total").inner_text() == str(total)
        assert f"; {count(page)} of {total} that fail with confidence are on this page" in words


def test_colours_of_the_matrix_mean_better_and_worse():
    matrices = [[[10, 4], [1, 20]], [[12, 2], [3, 20]]]
    comparison = {
        "data": {"classes": ["a", "b"]},
        "variants": [{"variant": name, "confusion": one} for name, one in zip("xy", matrices, strict=True)],
        "comparisons": [{"a": "x", "b": "y"}],
    }
    (matrix,) = list_matrices(comparison, None)
    tones = [[cell["tone"] for cell in row] for row in matrix["cells"]]
    assert tones == [["better", "better"], ["worse", "same"]]
    assert matrix["cells"][0][0]["strength"] == 1  # of its own scale, and so is what lies beside the diagonal
    assert matrix["cells"][0][1]["strength"] == 1


def test_with_many_classes_the_confusions_that_changed_most_are_listed(write_run, look, tmp_path):
    from stress_lab.comparison.cards import make_gallery
    from stress_lab.comparison.codec import to_record
    from stress_lab.comparison.options import Options
    from tests.comparison.planted import compare_runs

    rng, classes = np.random.default_rng(0), tuple(f"class {number}" for number in range(60))
    label = rng.integers(0, 60, 900)
    runs = []
    for name, rate in (("a", 0.5), ("b", 0.7)):
        logits = rng.normal(size=(900, 60)).astype(np.float32)
        logits[np.arange(900), np.where(rng.random(900) < rate, label, (label + 1) % 60)] += 8
        predictions = Predictions(np.arange(900), label, logits)
        runs.append(write_run(name, name, np.ones(900, bool), predictions=predictions, classes=classes))
    loaded = load_finished(runs)
    matrices = [count_confusions(run.scores.label, run.scores.pred, 60) for run in loaded]
    change = matrices[1] - matrices[0]
    wrong, right = list_changes(loaded, "a", "b")
    for listed, diagonal in ((wrong, False), (right, True)):
        some = np.abs(change[np.eye(60, dtype=bool) == diagonal])
        assert [abs(one.after - one.before) for one in listed] == sorted(some, reverse=True)[: len(listed)]
        for one in listed:
            i, j = classes.index(one.true), classes.index(one.predicted)
            assert (one.before, one.after) == (matrices[0][i, j], matrices[1][i, j])
    comparison = compare_runs(loaded, "t", Options(resamples=100), True)
    save_json(tmp_path / "comparison.json", to_record(comparison))
    save_json(tmp_path / "gallery.json", make_gallery(loaded, comparison.patterns, None, 400, 1, None))
    write_report(tmp_path)
    page = look(tmp_path)
    assert "With 60 classes, only what changed most is listed" in page.locator(".confusions").inner_text()
    opened = page.locator(".changes button").first
    opened.click()
    assert f"{count(page)} of {page.locator('#total').inner_text()}" == opened.inner_text()
    assert page.complaints == []


def test_without_images_the_gallery_is_a_table(make_page, look):
    folder = make_page(variants=("baseline", "b"), pictures=False)
    page = look(folder)
    assert page.locator("#cards .tile").count() == 0
    assert page.locator("tbody#cards tr:visible").count() == 24
    gallery = load_json(folder / "gallery.json")
    first = gallery["cards"][gallery["order"][0]]
    row = page.locator("tbody#cards tr").first.inner_text()
    assert f"#{first['index']}" in row
    assert all(f"{model['confidence']:.2f}" in row for model in first["models"].values())
    page.locator("select[name=true]").select_option("coat & <b>tie</b>")
    assert 0 < count(page) == fitting(folder, lambda card: card["label"] == CLASSES[1])
    assert page.complaints == []


def test_files_of_the_users_own_folder_are_named(make_page, look, tmp_path):
    folder = make_page(variants=("baseline", "b"), seeds=(1,))
    gallery = load_json(folder / "gallery.json")
    gallery["cards"][gallery["order"][0]]["file"] = "test/coat/IMG_0042.jpg"
    for name in ("comparison.json", "gallery.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    save_json(tmp_path / "gallery.json", gallery)
    write_report(tmp_path)
    assert "test/coat/IMG_0042.jpg" in look(tmp_path).locator("#cards .card figcaption").first.inner_text()


def test_fewer_cards_are_still_counted(make_page):
    gallery = load_json(make_page() / "gallery.json")
    every, cut = list_failures(gallery), list_failures(cut_gallery(gallery, 10))
    assert len(cut["shown"]) == 10
    assert json.dumps(cut["shown"]) == json.dumps(every["shown"][:10])
    others = [{key: one[key] for key in ("true", "tags", "patterns", "fails")} for one in every["shown"][10:]]
    assert cut["elsewhere"] == others
