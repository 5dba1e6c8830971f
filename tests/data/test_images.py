import numpy as np
import pytest

from stress_lab.data.images import ImageSplit, fingerprint, pixel_statistics
from stress_lab.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (5000, 3, 6, 7), dtype=np.uint8)


def test_statistics_equal_numpy_in_double_precision():
    mean, std = pixel_statistics(IMAGES)
    scaled = IMAGES.astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std(axis=(0, 2, 3)), rtol=1e-12)


def test_statistics_do_not_depend_on_order():
    assert pixel_statistics(IMAGES) == pixel_statistics(IMAGES[::-1])


def test_constant_images_are_refused():
    with pytest.raises(DataError, match="the same colour"):
        pixel_statistics(np.full((4, 1, 3, 3), 9, dtype=np.uint8))


def test_an_empty_channel_is_only_centred():
    """As in fluorescence images of two dyes."""
    images = IMAGES.copy()
    images[:, 0] = 51
    mean, std = pixel_statistics(images)
    assert (mean[0], std[0]) == (0.2, 1.0)
    assert (mean[1:], std[1:]) == tuple(both[1:] for both in pixel_statistics(IMAGES))


def test_fingerprint_notices_pixel_label_and_order():
    labels = np.arange(5000)
    known = fingerprint(ImageSplit(IMAGES, labels))
    assert known == fingerprint(ImageSplit(IMAGES.copy(), labels.copy()))
    changed = IMAGES.copy()
    changed[4999, 2, 5, 6] ^= 1
    swapped = labels[::-1].copy()
    others = {fingerprint(ImageSplit(changed, labels)), fingerprint(ImageSplit(IMAGES, swapped))}
    others.add(fingerprint(ImageSplit(IMAGES[::-1].copy(), labels)))
    assert len(others | {known}) == 4
