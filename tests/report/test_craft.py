"""The page as a whole: accessibility by axe-core, print, weight."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from stress_lab.files import load_json

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "zoom"), [(1280, 1), (390, 1), (640, 2)])
def test_axe_finds_nothing(make_page, look, scheme, width, zoom):
    """A window of 640 pixels at two device pixels each is what zooming 1280 to 200 % gives."""
    page = look(make_page(), width, color_scheme=scheme, device_scale_factor=zoom)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []
    page.locator("#cards .open:visible").first.click()
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_axe_finds_nothing_without_images(make_page, look):
    page = look(make_page(variants=("baseline", "b"), pictures=False))
    assert Axe().run(page).response["violations"] == []


def test_print_tears_no_figure(make_page, look):
    page = look(make_page())
    page.emulate_media(media="print")
    inside = "all => all.map(x => getComputedStyle(x).breakInside)"
    for kind in (".chart", ".card", "article", "tr"):
        assert set(page.locator(kind).evaluate_all(inside)) == {"avoid"}
    assert page.locator(".save:visible").count() == 0
    assert page.locator(".card:visible").count() >= 24
    assert len(page.pdf()) > 10_000


@pytest.mark.parametrize("reduced", ["reduce", "no-preference"])
def test_nothing_moves_where_the_reader_wants_no_motion(make_page, look, reduced):
    page = look(make_page(), reduced_motion=reduced)
    behaviour = page.evaluate("getComputedStyle(document.documentElement).scrollBehavior")
    assert behaviour == ("auto" if reduced == "reduce" else "smooth")


@pytest.mark.parametrize("variants", [("baseline", "b"), ("a", "b", "c", "d")])
def test_four_hundred_failures_stay_light(make_page, variants):
    """Noise is the worst case: no picture compresses less. Cards show four variants at most, of however many."""
    folder = make_page(variants=variants, seeds=(1,), shape=(3, 64, 64), n=1500, rate=0.6)
    assert len(load_json(folder / "gallery.json")["order"]) == 400
    assert (folder / "report.html").stat().st_size < 15e6
