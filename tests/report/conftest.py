"""A page with every section, and a browser that looks at it."""

import os

import numpy as np
import pytest

from stress_lab.comparison.cards import make_gallery
from stress_lab.comparison.codec import to_record
from stress_lab.comparison.comparable import match_runs
from stress_lab.comparison.loading import load_finished
from stress_lab.comparison.options import Options
from stress_lab.comparison.shown import narrow_runs
from stress_lab.files import save_json
from stress_lab.report.page import write_report
from tests.comparison.planted import compare_runs, planted
from tests.report.browser import CLASSES, HOSTILE, find_browser


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What a browser looks at takes seconds."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def browser():
    """Chromium; without one the tests are skipped, or fail where STRESS_LAB_NEEDS_BROWSER is set."""
    path = find_browser()
    if path is None:
        if os.environ.get("STRESS_LAB_NEEDS_BROWSER"):
            pytest.fail("there is no Chromium: apt-get install chromium")
        pytest.skip("there is no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


MADE = {}  # pages by what was asked for; no test changes one


@pytest.fixture
def make_page(tmp_path, write_run):
    """Write a comparison of planted runs with its gallery, and the page; returns the folder."""

    def make(
        variants=("baseline", HOSTILE), seeds=(1, 2), shape=(1, 12, 12), n=400, rate=0.8, limit=400, pictures=True
    ):
        asked = (variants, seeds, shape, n, rate, limit, pictures)
        if asked in MADE:
            return MADE[asked]
        runs = [
            write_run(
                f"{number}_{seed}",
                variant,
                planted(n, rate=rate + 0.05 * number, seed=10 * number + seed),
                seed=seed,
                val=planted(n, rate=rate, seed=99),
                classes=CLASSES,
            )
            for number, variant in enumerate(variants)
            for seed in seeds
        ]
        loaded = load_finished(runs)
        rng = np.random.default_rng(0)
        properties = {"contrast": rng.random(n), "brightness": rng.random(n)}
        comparison = compare_runs(loaded, f"planted {HOSTILE}", Options(resamples=200), True, [HOSTILE], properties)
        save_json(tmp_path / "comparison.json", to_record(comparison))
        shown = narrow_runs(match_runs(loaded, strict=True), comparison.shown).comparable
        gallery = make_gallery(shown, comparison.patterns, properties, limit, 1, "layer3")
        save_json(tmp_path / "gallery.json", gallery)
        every = [card["index"] for card in gallery["cards"]]
        maps = {
            f"{kind}_{v}": rng.normal(size=(len(every), 4, 4)).astype(np.float32)
            for v in range(len({run.variant for run in shown}))
            for kind in ("predicted", "true")
        }
        maps["true_0"][0] = -1  # no evidence anywhere
        images = rng.integers(0, 256, (len(every), *shape), dtype=np.uint8)
        if pictures:
            np.savez(tmp_path / "gallery.npz", index=every, images=images, **maps)
        write_report(tmp_path)
        MADE[asked] = tmp_path
        return tmp_path

    return make


@pytest.fixture
def look(browser):
    """Open a page; complaints of the browser and requests are kept."""
    pages = []

    def open_page(folder, width=1280, **context):
        page = browser.new_context(viewport={"width": width, "height": 900}, **context).new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (page.complaints.append("a dialog opened"), dialog.dismiss()))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(f"file://{folder / 'report.html'}")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
