import numpy as np
import pytest

from stress_lab.data.datamodules import FashionSampleDataModule, ImageFolderDataModule
from stress_lab.errors import ConfigError, DataError, RunError
from stress_lab.preflight.finished_run import check_images_of
from stress_lab.runs.folder import RunDir

AUGMENT = {"crop_padding": 4, "flip": True, "cutout": {"holes": 1, "length": None}, "extra": []}


def test_splits_are_disjoint_and_test_is_the_official_one():
    source = FashionSampleDataModule(val_size=1000)
    source.setup("fit")
    assert not set(source.indices["train"]) & set(source.indices["val"])
    assert source.spec.sizes == {"train": 6000, "val": 1000, "test": 2000}
    index = np.concatenate([where.numpy() for _, _, where in source.test_dataloader()])
    assert index.tolist() == list(range(2000))


def test_validation_does_not_follow_the_seed_of_the_run():
    splits = [FashionSampleDataModule(val_size=1000, seed=seed).indices["val"].tolist() for seed in (0, 1)]
    assert splits[0] == splits[1]
    assert FashionSampleDataModule(val_size=1000, split_seed=1).indices["val"].tolist() != splits[0]


def test_constants_come_from_all_official_training_images():
    source = FashionSampleDataModule(val_size=1000)
    scaled = source.images.splits["train"].images.astype(np.float64) / 255
    np.testing.assert_allclose([source.spec.mean[0], source.spec.std[0]], [scaled.mean(), scaled.std()], rtol=1e-9)
    assert source.spec.mean == FashionSampleDataModule(val_size=0).spec.mean


def test_training_images_are_augmented_and_others_are_not():
    source = FashionSampleDataModule(val_size=1000, augment=AUGMENT)
    source.setup("fit")
    images, _, index = next(iter(source.train_dataloader()))
    from_train = {int(i): image for image, i in zip(images, index, strict=True)}
    plain, _, where = next(iter(source.eval_loader("train", index.numpy())))
    assert any(not np.array_equal(from_train[int(i)], image) for image, i in zip(plain, where, strict=True))
    restored = source.normalize.invert(plain)
    np.testing.assert_array_equal(restored.numpy(), source.images.splits["train"].images[where.numpy()])


def test_without_validation_nothing_is_served_for_it():
    source = FashionSampleDataModule(val_size=0)
    assert source.val_dataloader() == []
    assert source.spec.sizes == {"train": 7000, "test": 2000}
    with pytest.raises(DataError, match="has no val split here: use one of train, test"):
        source.eval_loader("val")


def test_a_val_folder_replaces_the_cut(make_tree):
    root = make_tree({"train": {"a": 5, "b": 5}, "test": {"a": 2}, "val": {"b": 3}})
    source = ImageFolderDataModule(root=str(root), val_size=None)
    assert source.spec.sizes == {"train": 10, "test": 2, "val": 3}
    assert ImageFolderDataModule(root=str(root), val_size=0).spec.sizes == {"train": 10, "test": 2}
    with pytest.raises(ConfigError, match=r"brings its own val folder: set data\.val_size=null"):
        _ = ImageFolderDataModule(root=str(root), val_size=4).indices


def test_own_images_without_val_give_a_tenth_of_train(make_tree):
    root = make_tree({"train": {"a": 30, "b": 30}, "test": {"a": 2}})
    assert ImageFolderDataModule(root=str(root)).spec.sizes == {"train": 54, "val": 6, "test": 2}


def test_a_val_folder_that_appears_later_makes_other_data(make_tree, tmp_path):
    """Its former val images would be trained on by the same run."""
    root, run = make_tree({"train": {"a": 10, "b": 10}, "test": {"a": 2, "b": 2}}), RunDir(tmp_path / "run")
    before = ImageFolderDataModule(root=str(root)).spec
    check_images_of(run, before, ImageFolderDataModule(root=str(root)).spec.fingerprint, "here")
    make_tree({"val": {"a": 2, "b": 2}})
    with pytest.raises(RunError, match="the val images in here are not those of"):
        check_images_of(run, before, ImageFolderDataModule(root=str(root)).spec.fingerprint, "here")
