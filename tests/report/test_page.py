"""The page in a real browser: what a reader clicks works, nothing leaves the machine, every number is the record's."""

import itertools
import json

import numpy as np
import pytest

from stress_lab.comparison.codec import to_record
from stress_lab.comparison.loading import load_finished
from stress_lab.comparison.options import Options
from stress_lab.errors import RunError
from stress_lab.files import load_json, save_json
from stress_lab.records import Predictions
from stress_lab.report.failures import group_tags
from stress_lab.report.numbers import KINDS, look_up
from stress_lab.report.page import draw_charts, render, write_report
from stress_lab.runs.folder import RunDir
from tests.comparison.planted import compare_runs, planted
from tests.report.browser import CLASSES, HOSTILE, fitting, outside


def test_charts_are_drawn_without_scripts_and_nothing_leaves_the_machine(make_page, look):
    folder = make_page()
    page = look(folder)
    charts = page.locator("figure.chart svg")
    assert charts.count() == 8
    boxes = charts.evaluate_all("all => all.map(x => x.getBoundingClientRect()).map(x => [x.width, x.height])")
    assert all(width > 300 and height > 80 for width, height in boxes)
    assert all(charts.evaluate_all("all => all.map(x => x.getAttribute('aria-label').length > 20)"))
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(x => x.id)")
    assert len(ids) == len(set(ids))
    assert page.complaints == []
    assert outside(page) == []
    assert page.locator("script:text('alert')").count() == 0
    assert page.locator("img").count() == 0
    plain = look(folder, java_script_enabled=False)
    assert plain.locator("figure.chart svg:visible").count() == 8
    said = plain.locator("figure.chart svg title").evaluate_all("all => all.map(x => x.textContent)")
    assert any(HOSTILE in words for words in said)


def test_a_mark_says_its_value_and_a_chart_is_saved(make_page, look, tmp_path):
    folder = make_page()
    page = look(folder)
    mark = page.locator("#chart-seeds-accuracy [data-tip^='baseline, seed 1:']").last
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    run = next(one for one in load_json(folder / "comparison.json")["runs"] if one["name"] == "baseline, seed 1")
    assert page.locator(".tip").inner_text().startswith(f"baseline, seed 1: {100 * run['accuracy']:.2f}%, interval ")
    for format, start in (("svg", b"<svg"), ("png", b"\x89PNG")):
        with page.expect_download() as download:
            page.locator(f"#chart-seeds-accuracy [data-save={format}]").click()
        assert download.value.suggested_filename == f"chart-seeds-accuracy.{format}"
        saved = tmp_path / format
        download.value.save_as(saved)
        assert saved.read_bytes().startswith(start)
    assert "var(" not in (tmp_path / "svg").read_text(encoding="utf-8")
    assert page.complaints == []


def test_every_number_is_the_records(make_page, look):
    folder = make_page()
    page = look(folder)
    records = {name: load_json(folder / f"{name}.json") for name in ("comparison", "gallery")}
    shown = page.locator("data").evaluate_all(
        "all => all.map(x => [x.dataset.path, x.value, x.dataset.kind, x.textContent])"
    )
    assert len(shown) > 300
    for path, value, kind, text in shown:
        recorded = look_up(records, json.loads(path))
        assert json.loads(value) == recorded, path
        assert text == KINDS[kind](recorded), path
    named = {tuple(json.loads(path)[:2]) for path, *_ in shown}
    assert {
        ("comparison", "questions"),
        ("comparison", "runs"),
        ("comparison", "comparisons"),
        ("gallery", "cards"),
    } <= named


def test_filters_show_what_the_record_says(make_page, look):
    folder = make_page()
    page = look(folder)

    def count():
        return int(page.locator("#count").inner_text())

    everything = count()
    assert everything == fitting(folder, lambda card: True) > 30
    assert page.locator("#cards .card:visible").count() == 24
    page.locator("#further").click()
    assert page.locator("#cards .card:visible").count() == min(72, everything)
    for name in ("T-shirt", HOSTILE, "big  dog", " x", "a|b", "a"):
        page.locator("select[name=true]").select_option(name)
        assert 0 < count() == fitting(folder, lambda card, name=name: card["label"] == name) < everything
    page.locator("#everything").click()
    assert count() == everything
    for tag in page.locator("select[name=tags] option").all_inner_texts()[1:]:
        page.locator("select[name=tags]").select_option(tag)
        assert 0 < count() == fitting(folder, lambda card, tag=tag: tag in card["tags"].values())
    page.locator("select[name=tags]").select_option("")
    page.locator("select[name=fails]").select_option("baseline")
    assert 0 < count() == fitting(folder, lambda card: card["models"]["baseline"]["failure_rate"] > 0) < everything
    page.locator("#everything").click()
    page.locator("input[name=confidence]").fill("0.8")
    sure = fitting(folder, lambda card: max(m["failed_confidence"] or 0 for m in card["models"].values()) >= 0.8)
    assert 0 < count() == sure < everything
    page.locator("select[name=fails]").select_option(HOSTILE)
    page.locator("select[name=pred]").select_option("a")
    one = lambda m: (m["failed_confidence"] or 0) >= 0.8 and "a" in m["failed_preds"]  # noqa: E731
    assert 0 < count() == fitting(folder, lambda card: one(card["models"][HOSTILE]))
    assert count() < fitting(folder, lambda card: any(one(model) for model in card["models"].values()))
    assert page.complaints == []


def test_the_answers_of_every_failing_run_can_be_filtered(make_page):
    """Independently of the cards: from the runs' predictions, seed by seed."""
    folder = make_page()
    cards = {card["index"]: card for card in load_json(folder / "gallery.json")["cards"]}
    expected = {}
    for number, variant in enumerate(("baseline", HOSTILE)):
        for seed in (1, 2):
            run = RunDir(folder / f"{number}_{seed}")
            predictions = run.load_predictions("test")
            for row in np.flatnonzero(~predictions.correct & (predictions.confidence > 0.7)):
                answers = expected.setdefault((int(predictions.index[row]), variant), set())
                answers.add(CLASSES[predictions.pred[row]])
    shown = {
        (index, name): set(model["failed_preds"])
        for index, card in cards.items()
        for name, model in card["models"].items()
    }
    assert {key: answers for key, answers in shown.items() if answers} == expected


def test_photographs_keep_their_shape(make_page, look):
    page = look(make_page(variants=("baseline", "b"), seeds=(1,), shape=(3, 50, 100), limit=20))
    for tile in page.locator("#cards .card:visible .tile").all()[:6]:
        box = tile.bounding_box()
        assert box["width"] / box["height"] == pytest.approx(2, rel=0.05)
    box = page.locator("#cards .open .tile").first.bounding_box()
    assert box["height"] >= 144
    assert page.locator(".s-image").first.evaluate("x => getComputedStyle(x).imageRendering") == "auto"


def test_tags_are_grouped():
    assert group_tags({"tags": {"b": "fixed", "c": "flicker", "d": "flicker"}}) == ["fixed by b", "flicker (c, d)"]
    assert group_tags({"tags": {"b": "never", "c": "broken"}}) == ["broken by c"]
    assert group_tags({"tags": {"b": "no longer confident"}}) == ["no longer confident"]


def test_a_cell_of_the_confusion_matrix_opens_its_failures_by_keyboard(make_page, look):
    folder = make_page()
    page = look(folder)
    cell = page.get_by_role("button", name="T-shirt predicted as coat")
    cell.focus()
    page.keyboard.press("Enter")
    expected = fitting(
        folder,
        lambda card: (
            card["label"] == "T-shirt" and any(CLASSES[1] in model["failed_preds"] for model in card["models"].values())
        ),
    )
    assert int(page.locator("#count").inner_text()) == expected > 0
    assert page.evaluate("document.activeElement.name") == "true"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "pred"


def test_it_fits_a_phone_and_paper_and_follows_the_readers_setting(make_page, look):
    folder = make_page()
    page = look(folder, width=360)
    beyond = "x => x.getBoundingClientRect().right > 361 && !x.closest('.scroll, svg')"
    wide = f"[...document.querySelectorAll('body *')].filter({beyond}).map(x => x.outerHTML.slice(0, 90))"
    assert page.evaluate(wide) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    colours = "['--good', '--bad', '--variant-0'].map(x => getComputedStyle(document.body).getPropertyValue(x))"
    in_light = page.evaluate(colours)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) != light
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(background) == light
    assert page.evaluate(colours) == in_light
    assert page.locator("#gallery summary").first.is_visible()
    assert not page.locator("#filters").is_visible()
    assert page.locator("#verdict").is_visible()


def test_without_scripts_every_card_is_readable(make_page, look):
    folder = make_page()
    page = look(folder, java_script_enabled=False)
    assert page.locator("#cards .card:visible").count() == fitting(folder, lambda card: True)
    assert page.locator("#verdict h2").first.is_visible()
    assert page.locator("#verdict svg.plotted").count() == 3
    assert page.locator("#verdict svg.flow").is_visible()


def test_a_single_run_has_the_same_page(make_page, look):
    folder = make_page(variants=("baseline",), seeds=(1,))
    page = look(folder)
    assert "% accurate; " in page.locator("#verdict h2").inner_text()
    assert int(page.locator("#count").inner_text()) == fitting(folder, lambda card: True) > 10
    assert page.complaints == []


def test_made_again_it_is_the_same_file(make_page):
    folder = make_page()
    before = (folder / "report.html").read_bytes()
    write_report(folder)
    assert (folder / "report.html").read_bytes() == before


def test_a_folder_without_comparison_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"comparison\.json is missing"):
        write_report(tmp_path)


def test_a_run_that_was_left_out_takes_no_chart_from_the_others(write_run):
    runs = [write_run(f"{seed}", "a", planted(seed=seed), seed=seed) for seed in (1, 2)]
    runs.append(write_run("other", "b", planted(seed=3), threshold=0.8))
    comparison = to_record(compare_runs(load_finished(runs), "t", Options(resamples=100), strict=False))
    assert [bool(run["metrics"]) for run in comparison["runs"]] == [True, True, False]
    histories = {run["name"]: runs[place].load_history() for place, run in enumerate(comparison["runs"])}
    charts = draw_charts(comparison, histories)
    assert {"seeds-accuracy", "seeds-failures", "training-val-acc"} <= charts.keys()
    assert "b, seed" not in json.dumps(charts)


@pytest.mark.slow
def test_ten_variants_are_told_apart(write_run):
    names = [f"baseline (optim.lr={rate})" for rate in range(10)]
    runs = [write_run(f"{n}", name, planted(seed=n)) for n, name in enumerate(names)]
    comparison = to_record(compare_runs(load_finished(runs), "t", Options(resamples=100), strict=False))
    charts = draw_charts(
        comparison, {run["name"]: runs[place].load_history() for place, run in enumerate(comparison["runs"])}
    )
    *lines, labels = charts["training-val-acc"]["layer"]
    values = charts["training-val-acc"]["datasets"]
    assert {line["encoding"]["color"]["value"] for line in lines} == {"currentColor"}
    placed = sorted((row["height"], row["name"]) for row in values[labels["data"]["name"]])
    assert len(placed) == 10
    last = [row["value"] for row in values[charts["training-val-acc"].get("data", lines[0].get("data"))["name"]]]
    apart = 0.99 * 11 * (max(last) - min(last)) / 230
    assert all(above - below >= apart for (below, _), (above, _) in itertools.pairwise(placed))


def test_unequal_seeds_say_over_how_many_runs_and_fixed_images_may_be_wrong(write_run, make_predictions):
    """The second variant is wrong on half of them, and never sure."""
    failing = np.arange(0, 800, 10)  # class 0
    runs = [write_run(f"a{s}", "a", planted(800, wrong=failing, rate=0.95, seed=s), seed=s) for s in (1, 2)]
    right = planted(800, wrong=failing[:40], right=failing[40:], rate=0.95, seed=9)
    runs.append(write_run("b", "b", right, predictions=make_predictions(right, sharpness=1.0)))
    comparison = to_record(compare_runs(load_finished(runs), "t", Options(resamples=100), strict=False))
    assert comparison["patterns"]["fix_runs"] == {"b": 1}
    assert "first run of each" in render(comparison, None, None, {})
    (one,) = comparison["comparisons"]
    said = [run.load_predictions("test") for run in runs]
    first, second, other = (~run.correct & (run.confidence > 0.7) for run in said)
    still = first & second & ~other & ~said[2].correct
    right = first & second & said[2].correct
    assert one["stability"]["counts"]["no longer confident"] == int(still.sum()) >= 15
    assert one["stability"]["counts"]["fixed"] == int(right.sum()) >= 15


def test_the_page_says_alarms_first_and_what_was_asked_and_not_found(write_run, make_predictions, look, tmp_path):
    """One net answers the same for every image; contrast has nothing to do with it."""
    rng = np.random.default_rng(5)
    label = np.repeat([0, 1, 2], [500, 100, 12])
    logits = np.zeros((612, 3), np.float32)
    logits[:, 0] = 3
    better = logits.copy()
    better[np.arange(612), label] += 4 * (rng.random(612) < 0.8)
    runs = []
    for name, made in (("plain", logits), ("fixed", better)):
        predictions = Predictions(np.arange(612), label, made)
        runs.append(
            write_run(name, name, np.ones(612, bool), predictions=predictions, classes=("cat", "dog", "<b>bird</b>"))
        )
    properties = {"contrast": rng.random(612), "border_contact": np.zeros(612)}
    comparison = compare_runs(load_finished(runs), "t", Options(resamples=100), True, properties=properties)
    save_json(tmp_path / "comparison.json", to_record(comparison))
    write_report(tmp_path)
    page = look(tmp_path)
    alarm = page.locator(".alarm")
    assert (
        "Plain, seed 1 predicts only cat and never predicts dog (100 images) and <b>bird</b> (12)" in alarm.inner_text()
    )
    assert "that is not above the 81.70 % of always answering cat" in alarm.inner_text()
    assert alarm.bounding_box()["y"] < page.locator("#verdict").bounding_box()["y"]
    assert "always answering cat would be right on 81.70 %" in page.locator(".about").inner_text()
    page.get_by_text("Tested and not found").click()
    asked = page.locator("#patterns details").inner_text()
    assert "low contrast" in asked
    assert "item touching the border" in asked
    assert "look-alikes" not in page.locator("#patterns").inner_text()
    assert "dog mistaken for cat" in page.locator("#patterns").inner_text()
