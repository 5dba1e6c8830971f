import time

import cv2
import numpy as np
import pytest
from scipy import ndimage

from stress_lab.errors import DataError
from stress_lab.slices.properties import PROPERTIES, luminance, measure_properties, otsu_thresholds

RNG = np.random.default_rng(0)


def square(top, left, side, size=20, ground=0, item=255):
    image = np.full((1, 1, size, size), ground, np.uint8)
    image[..., top : top + side, left : left + side] = item
    return image


def test_every_property_has_words_and_one_number_an_image():
    measured = measure_properties(RNG.integers(0, 256, (7, 3, 9, 12), dtype=np.uint8))
    assert list(measured) == list(PROPERTIES)
    for values in measured.values():
        assert values.shape == (7,)
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (values <= 1).all()


def test_white_square_on_black():
    found = measure_properties(square(top=5, left=6, side=8))
    share = 64 / 400
    assert found["foreground"][0] == share
    assert found["border_contact"][0] == 0
    assert abs(found["brightness"][0] - share) < 1e-12
    assert abs(found["contrast"][0] - np.sqrt(share * (1 - share))) < 1e-12


def test_black_square_on_white_is_foreground_as_well():
    found = measure_properties(square(top=5, left=6, side=8, ground=255, item=0))
    assert found["foreground"][0] == 64 / 400
    assert abs(found["brightness"][0] - 336 / 400) < 1e-12


def test_contact_counts_the_border_pixels_of_the_item():
    found = measure_properties(square(top=0, left=0, side=8))  # 8 + 8 - 1 of the 76 outermost pixels
    assert found["border_contact"][0] == 15 / 76
    assert found["foreground"][0] == 64 / 400


def test_constant_images_have_no_contrast_no_edge_and_no_foreground():
    images = np.stack([np.full((1, 6, 6), value, np.uint8) for value in (0, 51, 255)])
    found = measure_properties(images)
    np.testing.assert_allclose(found["brightness"], [0, 0.2, 1])
    for name in ("contrast", "edge_energy", "foreground", "border_contact"):
        np.testing.assert_allclose(found[name], 0, atol=1e-12)


def test_constant_colour_has_no_foreground_either():
    image = np.empty((1, 3, 8, 8), np.uint8)
    image[0] = np.array([200, 30, 77], np.uint8)[:, None, None]
    found = measure_properties(image)
    assert abs(found["brightness"][0] - (0.299 * 200 + 0.587 * 30 + 0.114 * 77) / 255) < 1e-12
    assert found["foreground"][0] == 0


def test_luminance_equals_opencv():
    images = RNG.integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    for image, light in zip(images, luminance(images), strict=True):
        theirs = cv2.cvtColor(image.transpose(1, 2, 0).astype(np.float32) / 255, cv2.COLOR_RGB2GRAY)
        np.testing.assert_allclose(light, theirs, atol=1e-6)


def test_edge_energy_equals_scipys_sobel_and_a_ramp_gives_its_slope():
    images = RNG.integers(0, 256, (6, 1, 11, 13), dtype=np.uint8)
    ours = measure_properties(images)["edge_energy"]
    for image, value in zip(images[:, 0] / 255, ours, strict=True):
        theirs = np.hypot(ndimage.sobel(image, axis=0), ndimage.sobel(image, axis=1)).mean() / 8
        assert abs(value - theirs) < 1e-12
    ramp = np.tile(np.arange(0, 250, 5, dtype=np.uint8), (10, 1))[None, None]  # slope 5/255, half of it at both ends
    assert abs(measure_properties(ramp)["edge_energy"][0] - 5 / 255 * 49 / 50) < 1e-12


def test_otsu_equals_opencv():
    pictures = [ndimage.gaussian_filter(RNG.random((24, 24)), sigma) for sigma in (0.5, 1, 2, 3)]
    pictures += [np.where(RNG.random((24, 24)) < 0.3, RNG.normal(0.7, 0.05, (24, 24)), RNG.normal(0.2, 0.1, (24, 24)))]
    level = np.stack([np.clip((p - p.min()) / np.ptp(p) * 255, 0, 255).astype(np.uint8) for p in pictures])
    theirs = [cv2.threshold(one, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0] for one in level]
    assert otsu_thresholds(level.astype(np.int64)).tolist() == theirs


def test_otsu_has_the_least_variance_within_the_two_classes():
    for _ in range(5):
        level = RNG.choice([3, 10, 11, 40, 200], (1, 6, 6), p=[0.3, 0.2, 0.2, 0.2, 0.1])
        within = {}
        for t in range(level.min(), level.max()):
            low, high = level[level <= t], level[level > t]
            within[t] = low.size * low.var() + high.size * high.var()
        found = int(otsu_thresholds(level)[0])
        assert abs(within[found] - min(within.values())) < 1e-9


def test_chunks_do_not_change_the_numbers(monkeypatch):
    images = RNG.integers(0, 256, (10, 3, 8, 8), dtype=np.uint8)
    whole = measure_properties(images)
    monkeypatch.setattr("stress_lab.slices.properties.PIXELS_AT_ONCE", 3 * 64)
    for name, values in measure_properties(images).items():
        np.testing.assert_array_equal(values, whole[name])


def test_no_images_give_empty_arrays():
    assert measure_properties(np.empty((0, 3, 8, 8), np.uint8))["contrast"].shape == (0,)


def test_two_thousand_colour_images_take_less_than_two_seconds():
    images = RNG.integers(0, 256, (2000, 3, 32, 32), dtype=np.uint8)
    start = time.process_time()
    measure_properties(images)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "images", [np.zeros((2, 8, 8), np.uint8), np.zeros((2, 3, 8, 8)), np.zeros((2, 4, 8, 8), np.uint8)]
)
def test_other_shapes_and_types_are_refused(images):
    with pytest.raises(DataError, match="uint8 of shape"):
        measure_properties(images)
