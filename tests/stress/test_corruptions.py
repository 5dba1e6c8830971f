"""Corruptions against slow plain versions, constant by constant; and the same bytes whatever the batch."""

import numpy as np
import pytest
import torch
from PIL import Image

from stress_lab.errors import InputError
from stress_lab.stress.constants import CORRUPTIONS, EXTRA, TABLES, find_constants, list_corruptions
from stress_lab.stress.corruptions import apply, corrupt, count_draws
from stress_lab.stress.frost import FILES, draw_frost, load_frost
from stress_lab.stress.streams import draw
from tests.stress import plain_corruptions as plain
from tests.stress.published_constants import CIFAR, IMAGENET

NEAR = 3e-3  # of a grey level: this near a whole number, floats may be rounded down to either side
FLIPPED = 0.008  # share of values that may differ all the same, where a step before was rounded so


@pytest.fixture(scope="module")
def photo():
    """A picture with edges, plains and noise, (3, 224, 224)."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:224, :224] / 224
    picture = np.stack([120 + 90 * np.sin(9 * x + 4 * y), 255 * (np.hypot(x - 0.5, y - 0.5) < 0.3), 200 * y])
    picture[:, 20:60, 30:90] = np.array([0, 0, 0])[:, None, None]
    return np.clip(picture + rng.normal(size=picture.shape) * 8, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def small(photo):
    """Three pictures, (3, 3, 32, 32)."""
    return np.stack([photo[:, ::7, ::7], photo[:, 40:72, 40:72], photo[:, 100:196:3, 100:196:3]])


def in_pixels(constants, corruption, side):
    """Constants as the scripts write them: those of elastic_transform in pixels, a single one without its tuple."""
    constants = tuple(value * side for value in constants) if corruption == "elastic_transform" else constants
    return constants[0] if len(constants) == 1 else constants


@pytest.mark.parametrize("corruption", TABLES)
def test_the_constants_are_those_of_the_published_scripts(corruption):
    for severity in range(1, 6):
        for side, table in ((32, CIFAR), (224, IMAGENET)):
            found = in_pixels(find_constants(corruption, severity, side), corruption, side)
            assert found == pytest.approx(table[corruption][severity - 1], rel=1e-12)


def check_equal(images, corruption, severity, constants, index, **more):
    """Compare each image with the plain version: floats just around a whole number may be rounded either way."""
    height, width = images.shape[-2:]
    found = corrupt(images, corruption, severity, seed=11, index=index)
    own = find_constants(corruption, severity, min(height, width))
    draws = draw(11, corruption, severity, index, count_draws(corruption, own, *images.shape[1:]))
    for image, made, numbers in zip(images, found, draws.astype(np.int64), strict=True):
        wanted = plain.corrupt(image.transpose(1, 2, 0), corruption, constants, numbers, **more).transpose(2, 0, 1)
        off = np.abs(made[None] - np.floor(wanted + np.array([NEAR, -NEAR])[:, None, None, None])).min(axis=0)
        assert (off > 0).mean() <= FLIPPED, f"{(off > 0).mean():.4f} differ, by {off.max()} at most"
        assert np.abs(off).mean() <= 0.008


@pytest.mark.parametrize("corruption", TABLES)
@pytest.mark.parametrize("severity", range(1, 6))
def test_small_images_are_those_of_the_plain_version(corruption, severity, small):
    more = {"sheets": [sheet.transpose(1, 2, 0) for sheet in load_frost(None, 0.2, 3)]} if corruption == "frost" else {}
    check_equal(small, corruption, severity, CIFAR[corruption][severity - 1], np.array([7, 3, 4]), **more)


@pytest.mark.slow
@pytest.mark.parametrize("corruption", TABLES)
@pytest.mark.parametrize("severity", [1, 5])
def test_photographs_are_those_of_the_plain_version(corruption, severity, photo):
    more = {"sheets": [sheet.transpose(1, 2, 0) for sheet in load_frost(None, 1, 3)]} if corruption == "frost" else {}
    check_equal(photo[None], corruption, severity, IMAGENET[corruption][severity - 1], np.array([2]), **more)


@pytest.mark.parametrize("corruption", list_corruptions(channels=1))
def test_grey_images_of_28_pixels_have_lengths_scaled(corruption, small):
    grey = small[:, :1, 2:30, 2:30]
    constants = in_pixels(find_constants(corruption, 4, 28), corruption, 28)
    lengths = {"motion_blur": (7.0, 1.75), "gaussian_blur": 0.7, "defocus_blur": (0.875, 0.175)}
    assert constants == pytest.approx(lengths.get(corruption, constants))
    more = {"sheets": [sheet.transpose(1, 2, 0) for sheet in load_frost(None, 0.175, 1)]}
    check_equal(grey, corruption, 4, constants, np.array([0, 1, 9]), **(more if corruption == "frost" else {}))


@pytest.mark.parametrize("corruption", TABLES)
def test_an_image_does_not_depend_on_batch_order_or_threads(corruption, small, monkeypatch):
    images = np.tile(small, (40, 1, 1, 1))
    together = corrupt(images, corruption, 3, seed=1)
    order = np.random.default_rng(0).permutation(len(images))
    monkeypatch.setattr("stress_lab.stress.corruptions.AT_ONCE", 7 * images[0].size)
    torch.set_num_threads(4)
    try:
        shuffled = corrupt(torch.from_numpy(images[order]), corruption, 3, seed=1, index=order)
    finally:
        torch.set_num_threads(1)
    assert np.array_equal(shuffled.numpy(), together[order])
    assert np.array_equal(corrupt(images[50:51], corruption, 3, seed=1, index=np.array([50])), together[50:51])
    fixed = count_draws(corruption, find_constants(corruption, 3, 32), 3, 32, 32) == 0
    assert np.array_equal(corrupt(images, corruption, 3, seed=2), together) == fixed
    assert np.array_equal(together[0], together[3]) == fixed  # the same picture at another index


def test_photographs_of_any_shape_keep_it(photo):
    for shape in ((1, 1), (2, 5), (31, 90), (130, 96)):
        image = photo[None, :, : shape[0], : shape[1]]
        for corruption in TABLES:
            assert corrupt(image, corruption, 5).shape == image.shape


def test_noise_has_its_spread():
    flat = np.full((8, 3, 64, 64), 128, dtype=np.uint8)
    for severity, spread in enumerate(CIFAR["gaussian_noise"], start=1):
        noise = corrupt(flat, "gaussian_noise", severity).astype(float) - 128
        assert noise.std() == pytest.approx(255 * spread, rel=0.01)
        assert noise.mean() == pytest.approx(-0.5, abs=0.2)
    for severity, rate in enumerate(IMAGENET["shot_noise"], start=1):
        images = np.full((1, 1, 300, 300), 51, dtype=np.uint8)
        noise = corrupt(images, "shot_noise", severity).astype(float)
        assert noise.var() == pytest.approx(255 * 51 / rate, rel=0.05)


def test_frost_is_drawn_like_the_photographs_unless_they_are_given(tmp_path, small):
    sheets = np.stack([draw_frost(number) for number in range(5)])
    assert len({sheet.tobytes() for sheet in sheets}) == 5
    with pytest.raises(InputError, match=r"frost1\.png is not a picture"):
        corrupt(small, "frost", 1, frost=tmp_path)
    for number, name in enumerate(FILES):
        level = 10 * (number + 1)
        Image.fromarray(np.full((200, 300, 3), (level, 2 * level, 5), dtype=np.uint8)).save(
            tmp_path / name, quality=100
        )
    black = np.zeros((50, 3, 32, 32), dtype=np.uint8)
    frosted = corrupt(black, "frost", 2, frost=tmp_path)  # 0.3 of the photograph's colour
    red, green = frosted[:, 0].astype(int), frosted[:, 1].astype(int)
    assert {round(level / 3) for level in np.unique(red)} == {1, 2, 3, 4, 5}  # the sixth is never used
    assert np.abs(green - 2 * red).max() <= 2


def test_a_wrong_argument_is_named():
    images = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    for wrong, message in (
        (lambda: corrupt(images, "foggy", 1), "foggy is not a corruption: use one of gaussian_noise, "),
        (lambda: corrupt(images, "fog", 6), "there is no severity 6 of fog"),
        (lambda: corrupt(images[:, :1], "saturate", 1), "leave saturate out"),
        (lambda: corrupt(images / 255, "fog", 1), r"got float64 \(2, 3, 8, 8\)"),
        (lambda: corrupt(images, "fog", 1, seed=-1), "seed=-1 cannot be used"),
        (lambda: corrupt(images, "fog", 1, index=np.arange(3)), "index must be 2 whole numbers"),
    ):
        with pytest.raises(InputError, match=message):
            wrong()
    assert corrupt(images[:0], "fog", 1).shape == (0, 3, 8, 8)


def test_the_benchmarks_mean_has_15_corruptions():
    assert (len(CORRUPTIONS), len(EXTRA)) == (15, 4)
    assert set(list_corruptions(3, extra=False)) == set(CORRUPTIONS)
    assert set(TABLES) - set(list_corruptions(1)) == {"saturate"}
    tensor = torch.full((1, 3, 4, 4), 7, dtype=torch.uint8)
    assert apply(tensor, "contrast", (0.5,), 1, 0, np.array([0])).unique().tolist() == [7]
