import numpy as np
import torch

from stress_lab.data.images import ImageSplit
from stress_lab.data.loader import BatchLoader, keep_on
from stress_lab.transforms.normalize import Normalize
from stress_lab.transforms.pipeline import make_pipeline

N = 50
SPLIT = ImageSplit(np.random.default_rng(0).integers(0, 256, (N, 3, 8, 8), dtype=np.uint8), np.arange(N) % 5)
CUTOUT = {"crop_padding": 2, "flip": True, "cutout": {"holes": 1, "length": 4}, "extra": []}
BASELINE = {**CUTOUT, "cutout": None}
NORMALIZE = Normalize((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def images_by_index(batch_size, epoch, seed=1, augment=CUTOUT, index=None):
    pipeline = make_pipeline(augment, NORMALIZE, N, (8, 8), seed)
    index = np.arange(N) if index is None else index
    loader = BatchLoader(SPLIT, index, pipeline, batch_size, shuffle=True, seed=seed)
    loader.set_epoch(epoch)
    return {int(i): image for images, _, where in loader for image, i in zip(images, where, strict=True)}


def same(a, b):
    return all(torch.equal(a[i], b[i]) for i in a)


def test_every_image_comes_once_with_its_label():
    loader = BatchLoader(SPLIT, np.arange(5, N), make_pipeline(BASELINE, NORMALIZE, N, (8, 8), 0), 8, shuffle=True)
    batches = list(loader)
    assert len(batches) == len(loader) == 6
    index = torch.cat([where for _, _, where in batches])
    labels = torch.cat([label for _, label, _ in batches])
    assert sorted(index.tolist()) == list(range(5, N))
    assert torch.equal(labels, index % 5)


def test_an_image_depends_on_seed_epoch_and_index_alone():
    known = images_by_index(batch_size=8, epoch=3)
    assert same(known, images_by_index(batch_size=8, epoch=3))
    assert same(known, images_by_index(batch_size=17, epoch=3))
    half = images_by_index(batch_size=8, epoch=3, index=np.arange(0, N, 2))
    assert same(half, known)
    assert not same(known, images_by_index(batch_size=8, epoch=4))
    assert not same(known, images_by_index(batch_size=8, epoch=3, seed=2))


def test_what_ran_before_leaves_no_trace():
    known = images_by_index(batch_size=8, epoch=2)
    torch.manual_seed(9)
    torch.rand(1000)
    pipeline = make_pipeline(CUTOUT, NORMALIZE, N, (8, 8), 1)
    loader = BatchLoader(SPLIT, np.arange(N), pipeline, 8, shuffle=True, seed=1)
    list(loader)
    loader.set_epoch(2)
    again = {int(i): image for images, _, where in loader for image, i in zip(images, where, strict=True)}
    assert same(known, again)


def test_cutout_changes_nothing_but_the_hole():
    treated, plain = images_by_index(8, epoch=1), images_by_index(8, epoch=1, augment=BASELINE)
    for i, image in treated.items():
        hidden = (image == 0).all(dim=0)
        assert 0 < hidden.sum() <= 16
        assert torch.equal(image[:, ~hidden], plain[i][:, ~hidden])


def test_order_is_new_every_epoch_and_equal_for_both_variants():
    orders = [list(images_by_index(8, epoch)) for epoch in (0, 1)]
    assert orders[0] != orders[1] != list(range(N))
    assert orders[0] == list(images_by_index(8, 0, augment=BASELINE))


def test_images_that_lie_on_the_device_give_the_same_batches():
    pipelines = [make_pipeline(CUTOUT, NORMALIZE, N, (8, 8), 1) for _ in range(2)]
    kept = torch.tensor(SPLIT.images), torch.tensor(SPLIT.labels)
    index = np.arange(3, N)
    for share in ((0, 1), (1, 3)):
        ours, theirs = (
            BatchLoader(SPLIT, index, pipeline, 8, shuffle=True, seed=1, share=share, kept=one)
            for pipeline, one in zip(pipelines, (kept, None), strict=True)
        )
        pairs = list(zip(ours, theirs, strict=True))
        assert len(pairs) == 6
        for mine, other in pairs:
            assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))


def test_the_cpu_keeps_no_second_copy():
    assert keep_on(torch.device("cpu"), SPLIT) is None
