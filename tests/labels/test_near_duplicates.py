"""Planted near-duplicates among textured images: all found, none invented, for any size and channels."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from stress_lab.errors import DataError
from stress_lab.labels.near_duplicates import _areas, _reduce, find_near_duplicates


def draw(n, height, width, channels, seed=0):
    """Textures with structure at several scales, as photographs have."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, height, width, channels))
    layers = [gaussian_filter(noise, (0, s, s, 0)) * s for s in (1, 2, 5)]
    pixels = sum(layers) + rng.normal(size=(n, 1, 1, channels)) * 0.3
    low, high = pixels.min(axis=(1, 2, 3), keepdims=True), pixels.max(axis=(1, 2, 3), keepdims=True)
    return (255 * (pixels - low) / (high - low)).astype(np.uint8)


def compress(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=60)
    return np.asarray(Image.open(buffer))


CHANGES = {
    "copy": lambda image: image,
    "jpeg": compress,
    "brighter": lambda image: (0.7 * image.astype(float) + 60).astype(np.uint8),
    "noise": lambda image: (image + np.random.default_rng(0).normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8),
    "shift": lambda image: np.roll(image, (1, -1), axis=(0, 1)),
    "scaled": lambda image: np.stack(
        [zoom(image[1:-1, 1:-1, c], (32 / 30, 32 / 30), order=1, mode="nearest") for c in range(3)], axis=2
    ),
    "tinted": lambda image: (image * np.array([1, 0.85, 0.7])).astype(np.uint8),
}


def test_changed_copies_are_found_and_others_are_not():
    train, test = draw(400, 32, 32, 3), draw(60, 32, 32, 3, seed=1)
    for place, change in enumerate(CHANGES.values()):
        test[place] = change(train[100 + place])
    test[len(CHANGES)] = train[50][:, ::-1]
    found = find_near_duplicates(test, train)
    planted = len(CHANGES)
    assert found.is_duplicate.nonzero()[0].tolist() == [*range(planted + 1)], dict(
        zip([*CHANGES, "mirrored"], found.similarity, strict=False)
    )
    assert found.nearest[: planted + 1].tolist() == [*range(100, 100 + planted), 50]
    assert found.mirrored[: planted + 1].tolist() == [False] * planted + [True]
    assert found.similarity[0] == pytest.approx(1, abs=1e-5)
    assert found.ranked[0] in (0, planted)
    assert set(found.ranked) == {*range(planted + 1)}


@pytest.mark.parametrize(("height", "width", "channels"), [(28, 28, 1), (48, 64, 3), (20, 33, 3)])
def test_within_one_set_and_for_other_sizes(height, width, channels):
    images = draw(80, height, width, channels)
    images[70] = images[3]
    images[71] = (images[9] * 0.8).astype(np.uint8)
    found = find_near_duplicates(images if channels == 3 else images[..., 0])
    assert found.is_duplicate.nonzero()[0].tolist() == [3, 9, 70, 71]
    assert found.nearest[[3, 9, 70, 71]].tolist() == [70, 71, 3, 9]


def test_areas_are_means():
    image = draw(2, 6, 9, 1)
    assert _reduce(image, 3)[..., 0] == pytest.approx(image.reshape(2, 3, 2, 3, 3).mean(axis=(2, 4)), abs=1e-3)
    assert _areas(5, 3).sum(axis=1) == pytest.approx(1)
    assert _areas(5, 3)[0] == pytest.approx([0.6, 0.4, 0, 0, 0])


@pytest.mark.parametrize(
    "images", [np.zeros((1, 8, 8), np.uint8), np.zeros((4, 8, 8)), np.zeros((4, 8, 8, 2), np.uint8)]
)
def test_images_that_do_not_fit_are_refused(images):
    with pytest.raises(DataError, match="give"):
        find_near_duplicates(images)


def test_blank_images_have_no_detail_to_agree_in():
    found = find_near_duplicates(np.full((5, 32, 32), 200, np.uint8))
    assert not found.is_duplicate.any()
