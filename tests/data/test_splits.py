import numpy as np
import pytest

from stress_lab.data.splits import check_val_size, stratified_split, stratified_subset
from stress_lab.errors import ConfigError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 100))


def test_split_is_disjoint_complete_and_stratified():
    train, val = stratified_split(LABELS, 200, seed=0)
    assert sorted([*train, *val]) == list(range(1000))
    assert np.bincount(LABELS[val]).tolist() == [20] * 10
    assert (np.diff(train) > 0).all()
    assert (np.diff(val) > 0).all()


def test_split_follows_its_own_seed_only():
    first, again, other = (stratified_split(LABELS, 200, seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_zero_leaves_everything_to_train():
    train, val = stratified_split(LABELS, 0, seed=0)
    assert len(train) == 1000
    assert len(val) == 0


@pytest.mark.parametrize("size", [-1, 5, 995, 1000, 5000])
def test_impossible_sizes_are_refused_with_what_works(size):
    with pytest.raises(ConfigError, match=r"data\.val_size=.*from 10 to 990"):
        stratified_split(LABELS, size, seed=0)


def test_subset_is_stratified_and_capped():
    assert np.bincount(LABELS[stratified_subset(LABELS, 100, seed=0)]).tolist() == [10] * 10
    assert len(stratified_subset(LABELS, 2000, seed=0)) == 1000


def test_subset_copes_with_rare_classes_and_tiny_sizes():
    labels = np.array([0] * 5000 + [1] * 40 + [2])
    chosen = stratified_subset(labels, 2000, seed=0)
    assert len(chosen) == len(set(chosen)) == 2000
    assert abs((labels[chosen] == 1).sum() - 40 * 2000 / 5041) <= 1
    assert len(stratified_subset(labels, 1, seed=0)) == 1


def test_a_class_with_one_image_is_named_with_what_works():
    labels = np.array([0] * 20 + [1] * 20 + [2])
    for size in (3, 4):
        with pytest.raises(ConfigError) as error:
            stratified_split(labels, size, 0, ("cat", "dog", "zebra"))
        assert str(error.value) == (
            "no validation images can be set aside by class, as train has a single image of zebra: add images of it, "
            "or provide your own val split, or ++data.val_size=0 '~callbacks.checkpoint_best' trains without "
            "validation"
        )
    with pytest.raises(ConfigError, match="a single image of 2: add images"):
        stratified_split(labels, 3, 0)
    assert len(stratified_split(labels, 0, 0)[0]) == 41


def test_too_few_images_are_not_blamed_on_a_number_that_nobody_typed():
    with pytest.raises(ConfigError, match=r"^5 training images of 3 classes are too few .*: add images, or \+\+data"):
        check_val_size(3, 5, 3)
