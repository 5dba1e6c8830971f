import numpy as np
import pytest
import torch

from stress_lab.errors import ConfigError
from stress_lab.transforms.base import BatchTransform
from stress_lab.transforms.crop import RandomCrop
from stress_lab.transforms.cutout import Cutout
from stress_lab.transforms.flip import HorizontalFlip
from stress_lab.transforms.normalize import Normalize
from stress_lab.transforms.pipeline import make_pipeline
from stress_lab.transforms.randomness import epoch_generator
from stress_lab.transforms.resizing import ProgressiveResizing
from tests.references import crop_by_loop, cutout_by_loop

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 3, 12, 10), dtype=np.uint8))


def draw(transform, count=64, height=12, width=10, seed=0):
    return transform.draw(count, height, width, epoch_generator(seed, 0, "test"))


def test_crop_equals_the_loop_and_reaches_every_place():
    crop = RandomCrop(3)
    parameters = draw(crop)
    cropped = crop.apply(IMAGES, parameters)
    assert cropped.dtype == torch.uint8
    for image, (top, left), result in zip(IMAGES, parameters.tolist(), cropped, strict=True):
        assert torch.equal(result, crop_by_loop(image, top, left, 3))
    assert torch.equal(crop.apply(IMAGES.contiguous(memory_format=torch.channels_last), parameters), cropped)
    assert set(draw(crop, 2000)[:, 0].tolist()) == set(range(7))


def test_flip_mirrors_half_of_the_images():
    flip = HorizontalFlip()
    parameters = draw(flip)
    flipped = flip.apply(IMAGES, parameters)
    for image, mirrored, result in zip(IMAGES, parameters.tolist(), flipped, strict=True):
        assert torch.equal(result, torch.from_numpy(image.numpy()[:, :, ::-1].copy()) if mirrored else image)
    assert abs(draw(flip, 10_000).float().mean() - 0.5) < 0.02


@pytest.mark.parametrize("length", [1, 4, 5, 10])
def test_cutout_equals_the_loop(length):
    cutout, images = Cutout(length), torch.randn(64, 3, 12, 10)
    centres = draw(cutout)
    result = cutout.apply(images, centres)
    assert result.shape == images.shape
    assert result.dtype == images.dtype
    for image, ((row, col),), cut in zip(images, centres.tolist(), result, strict=True):
        assert torch.equal(cut, cutout_by_loop(image, row, col, length))


@pytest.mark.parametrize(("size", "length"), [(32, 16), (28, 14)])
def test_cutout_hides_the_expected_share(size, length):
    cutout = Cutout(length)
    centres = draw(cutout, 50_000, size, size)
    hidden = cutout.apply(torch.ones(50_000, 1, size, size), centres) == 0
    share = hidden.float().mean(dim=(1, 2, 3))
    assert abs(share.mean() - (7 / 16) ** 2) < 0.001  # 19.14 %, within 0.1 point
    assert share.min() == 1 / 16
    assert share.max() == 1 / 4


def test_two_holes_are_the_union_of_one_and_one():
    images = torch.ones(8, 1, 12, 10)
    centres = draw(Cutout(4, holes=2), 8)
    both = Cutout(4, holes=2).apply(images, centres)
    one_by_one = Cutout(4).apply(Cutout(4).apply(images, centres[:, :1]), centres[:, 1:])
    assert torch.equal(both, one_by_one)


def test_normalize_inverts_and_refuses_scaled_pixels():
    normalize = Normalize((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    result = normalize(IMAGES)
    expected = (IMAGES[:, 1].double() / 255 - 0.5) / 0.25
    assert torch.allclose(result[:, 1].double(), expected, atol=1e-6)
    assert torch.equal(normalize.invert(result), IMAGES)
    with pytest.raises(TypeError, match="not yet normalised"):
        normalize(result)


def test_streams_differ_by_seed_epoch_and_purpose():
    keys = [(0, 0, "crop"), (1, 0, "crop"), (0, 1, "crop"), (0, 0, "flip"), (2**32 - 1, 0, "crop")]
    drawn = {tuple(torch.rand(4, generator=epoch_generator(*key)).tolist()) for key in keys}
    assert len(drawn) == len(keys)


AUGMENT = {"crop_padding": 4, "flip": True, "cutout": None, "extra": []}


def build(**changes):
    normalize = Normalize((0.5,), (0.2,))
    return make_pipeline({**AUGMENT, **changes}, normalize, 10, (28, 28), 0)


def test_null_length_is_half_the_image():
    assert build(cutout={"holes": 1, "length": None}).after["cutout"].length == 14


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutout": {"holes": 1, "length": 64}}, r"augment\.cutout\.length=64 does not fit images of 28×28"),
        ({"crop_padding": 99}, r"augment\.crop_padding=99"),
        ({"extra": [object()]}, r"augment\.extra\[0\] is not a batch transform"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(**changes)


def test_a_transform_of_the_users_own_runs_last():
    class Darken:
        def draw(self, count, height, width, generator):
            return torch.rand(count, generator=generator)

        def apply(self, images, parameters):
            return images - parameters[:, None, None, None]

    assert isinstance(Darken(), BatchTransform)
    pipeline = build(crop_padding=0, flip=False, extra=[Darken()])
    pipeline.set_epoch(0)
    images = torch.full((2, 1, 28, 28), 128, dtype=torch.uint8)
    index = torch.tensor([7, 2])
    amount = pipeline.parameters["extra0:Darken"][index]
    expected = pipeline.normalize(images) - amount[:, None, None, None]
    assert torch.equal(pipeline(images, index), expected)


def test_alternating_flips_show_both_sides_in_any_two_epochs():
    augment = {**AUGMENT, "crop_padding": 0, "flip": "alternate"}
    pipeline = make_pipeline(augment, Normalize((0.5,) * 3, (0.2,) * 3), 64, (12, 10), 0)
    index = torch.arange(64)
    seen = []
    for epoch in range(3):
        pipeline.set_epoch(epoch)
        seen.append(pipeline(IMAGES, index))
    assert torch.equal(seen[0].flip(-1), seen[1])
    assert torch.equal(seen[0], seen[2])
    plain = pipeline.normalize(IMAGES)
    mirrored = [not torch.equal(a, b) for a, b in zip(seen[0], plain, strict=True)]
    assert 20 < sum(mirrored) < 44


@pytest.mark.parametrize("epochs", [1, 2, 5, 50])
def test_the_last_epoch_sees_every_pixel(epochs):
    assert ProgressiveResizing(0.5, 0.01, epochs).size_in(epochs - 1, (30, 32)) == (30, 32)


def test_images_grow_to_their_full_size():
    augment = {**AUGMENT, "initial_scale": 0.5, "finetune_fraction": 0.5}
    pipeline = make_pipeline(augment, Normalize((0.5,) * 3, (0.2,) * 3), 64, (12, 10), 0, epochs=4)
    whole = make_pipeline(AUGMENT, Normalize((0.5,) * 3, (0.2,) * 3), 64, (12, 10), 0)
    sizes = []
    for epoch in range(4):
        for one in (pipeline, whole):
            one.set_epoch(epoch)
        small, full = (one(IMAGES, torch.arange(64)) for one in (pipeline, whole))
        sizes.append(tuple(small.shape[-2:]))
        # shrinking averages: the mean of an image stays nearly what it was
        torch.testing.assert_close(small.mean(dim=(2, 3)), full.mean(dim=(2, 3)), atol=0.25, rtol=0)
    assert sizes == [(8, 4), (8, 8), (12, 10), (12, 10)]
    assert torch.equal(small, full)


def test_a_pipeline_without_epochs_serves_full_images():
    augment = {**AUGMENT, "initial_scale": 0.5, "finetune_fraction": 0.5}
    assert make_pipeline(augment, Normalize((0.5,), (0.2,)), 10, (28, 28), 0).resizing is None
