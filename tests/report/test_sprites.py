"""Pictures of the page: what the browser shows of a sheet is the tile, and how many bytes they take."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from stress_lab.figures.tiles import as_rgb, overlay
from stress_lab.report.fitting import fit_page
from stress_lab.report.sprites import SHOWN, _make_sheet, make_sprites
from stress_lab.saliency.maps import Cam

RNG = np.random.default_rng(0)


def picture(sprite):
    return Image.open(io.BytesIO(base64.b64decode(sprite.uri.partition(",")[2])))


def make_pictures(n, shape, cells=(4, 4), variants=2):
    names = [f"{kind}_{v}" for v in range(variants) for kind in ("predicted", "true")]
    maps = {name: RNG.normal(size=(n, *cells)).astype(np.float32) for name in names}
    return {"images": RNG.integers(0, 256, (n, *shape), dtype=np.uint8), **maps}


def test_a_sheet_of_many_tiles_grows_in_both_directions():
    """WebP takes 16,383 pixels a side."""
    tiles = [Image.new("RGB", (8, 8), (number // 16 * 2 % 256, number % 16 * 16, 0)) for number in range(900)]
    sheet = _make_sheet("image", tiles, 101, crisp=True, shown=160)
    assert 20 < sheet.columns < 40
    assert (sheet.rows - 1) * sheet.columns < 900 <= sheet.rows * sheet.columns
    down, across = divmod(577, sheet.columns)
    assert picture(sheet).getpixel((8 * across + 4, 8 * down + 4)) == tiles[577].getpixel((4, 4))


def test_small_images_keep_every_pixel_and_are_large_on_screen():
    pictures = make_pictures(30, (1, 28, 28))
    image, *heats = make_sprites(pictures, 2)[0]
    assert image.crisp
    assert image.shown == 168 >= SHOWN
    shown = np.asarray(picture(image))[28 : 2 * 28, 3 * 28 : 4 * 28, 0]
    assert (shown == pictures["images"][image.columns + 3, 0]).all()
    assert [sheet.name for sheet in heats] == ["predicted_0", "true_0", "predicted_1", "true_1"]


def test_heat_over_an_image_is_what_the_figures_draw():
    pictures = make_pictures(6, (3, 16, 16), variants=1)
    pictures["true_0"][2] = -1
    (_, predicted, true), empty = make_sprites(pictures, 1)
    assert [one["true_0"] for one in empty] == [False, False, True, False, False, False]
    cam = Cam(pictures["predicted_0"])
    heats = cam.heat((16, 16), np.maximum(cam.peak, Cam(pictures["true_0"]).peak))
    sheet = picture(predicted)
    for place in range(6):
        left = place * 18 + 1  # a border of a pixel on each side
        heat = sheet.crop((left, 1, left + 16, 17))
        plain = as_rgb(pictures["images"][place])
        blended = Image.alpha_composite(plain.convert("RGBA"), heat).convert("RGB")
        difference = np.abs(np.asarray(blended, int) - np.asarray(overlay(plain, heats[place]), int))
        assert difference.mean() < 4  # of 255; the sheet is compressed
    clear = picture(true).crop((2 * 18 + 1, 1, 3 * 18 - 1, 17))
    assert np.asarray(clear)[..., 3].max() == 0


@pytest.mark.parametrize("budget", [2_000_000, 300_000])
def test_photographs_become_smaller_until_they_fit(budget):
    image, *heats = make_sprites(make_pictures(40, (3, 256, 256)), 2, budget)[0]
    assert len(image.uri) + sum(len(heat.uri) for heat in heats) <= 1.1 * budget
    assert image.shown >= SHOWN
    assert not image.crisp


def test_fewer_failures_are_shown_where_even_small_pictures_take_too_much():
    model = {"failure_rate": 1.0, "failed_preds": ["a"], "failed_confidence": 0.9}
    card = {"label": "b", "tags": {}, "patterns": [], "models": {"x": model}}
    cards = [{**card, "index": number} for number in range(400)]
    gallery = {"cards": cards, "order": list(range(400)), "cases": [], "failures_found": 400, "elsewhere": []}
    shown = fit_page(gallery, make_pictures(400, (3, 32, 32), variants=1), 1, size=2_200_000)
    assert shown.cut == 2
    assert 24 <= len(shown.gallery["order"]) < 400
    assert len(shown.gallery["elsewhere"]) == 400 - len(shown.gallery["order"])
    assert set(shown.spots) == set(shown.gallery["order"])
