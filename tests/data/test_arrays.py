"""What a class of the user's loads is checked, and each mistake is answered with what to write."""

import numpy as np
import pytest

from stress_lab.data.arrays import check_data
from stress_lab.data.datamodules import ImageDataModule
from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def make(images=PIXELS, labels=LABELS, classes=("a", "b", "c"), test=None, splits=("train", "test")):
    parts = {"train": ImageSplit(images, labels), "test": test or ImageSplit(PIXELS, LABELS)}
    return ImageData({name: parts[name] for name in splits}, classes, "here", "order")


def test_a_right_data_set_passes():
    check_data(make(), "load")
    check_data(make(labels=LABELS.astype(np.uint8)), "load")
    grey = PIXELS[:, :1]
    check_data(make(grey, test=ImageSplit(grey[:, :, :4], LABELS)), "load")  # a net may take images of several sizes


@pytest.mark.parametrize(
    ("labels", "message", "instead"),
    [
        (LABELS + 1, r"labels from 1 to 3, but the classes are numbered from 0 to 2: use labels - 1", lambda x: x - 1),
        (LABELS + 2, r"labels from 2 to 4, .*: give each its position", None),
        (LABELS - 1, r"labels from -1 to 1, .*: give each its position", None),
        (np.eye(3)[LABELS], r"labels of shape \(6, 3\), .*labels\.argmax\(axis=1\)", lambda x: x.argmax(axis=1)),
        (LABELS[:, None], r"labels of shape \(6, 1\), .*: use labels\[:, 0\]", lambda x: x[:, 0]),
        (LABELS.astype(np.float32), r"labels of type float32, .*: use labels.astype\(int\)", lambda x: x.astype(int)),
        (LABELS * 0.3, r"labels of type float64, but class numbers are needed: give the position", None),
        (np.array(list("abcabc")), r"labels of type <U1, but class numbers are needed: give the position", None),
        (LABELS.tolist(), r"labels as list: use np.asarray\(labels\)", np.asarray),
        (LABELS > 0, r"labels of type bool, .*: use labels.astype\(int\)", lambda x: x.astype(int)),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused_and_what_is_said_works(labels, message, instead):
    with pytest.raises(DataError, match=f"^load gives train {message}"):
        check_data(make(labels=labels), "load")
    if instead is not None:
        check_data(make(labels=instead(labels)), "load")


@pytest.mark.parametrize(
    ("images", "message", "instead"),
    [
        (PIXELS.transpose(0, 2, 3, 1), r"channels come last: use images.transpose\(0, 3, 1, 2\)", "transpose"),
        (PIXELS[:, :2], r"which has 2 channels: only grey \(1\) and colour \(3\) are supported", None),
        (PIXELS[:, 0], r"got uint8 \(6, 8, 8\): use images\[:, None\] for \(N, 1, H, W\)", "[:, None]"),
        (PIXELS / 255, r"got float64 \(6, 3, 8, 8\): use \(images \* 255\)\.round\(\)\.astype\(np\.uint8\)", "255"),
        (PIXELS.astype(int), r"got int64 .*: use images\.astype\(np\.uint8\)", "astype"),
        (PIXELS - 100.0, r"got float64 .*: give pixels from 0 to 255", None),
        (PIXELS[0, 0], r"got uint8 \(8, 8\)$", None),
    ],
)
def test_images_of_another_layout_are_refused_and_what_is_said_works(images, message, instead):
    with pytest.raises(DataError, match=message):
        check_data(make(images), "load")
    works = {
        "transpose": lambda x: x.transpose(0, 3, 1, 2),
        "[:, None]": lambda x: x[:, None],
        "255": lambda x: (x * 255).round().astype(np.uint8),
        "astype": lambda x: x.astype(np.uint8),
    }
    if instead is not None:
        made = works[instead](images)
        check_data(make(made, test=ImageSplit(made, LABELS)), "load")


def test_what_is_no_data_set_is_refused():
    for data, message in (
        (None, "load returns an object of class NoneType: return a stress_lab.data.images.ImageData"),
        (make(splits=("train",)), "load gives no test split, only train: add it"),
        (make(classes=("a",), labels=LABELS * 0), "load gives 1 class names"),
        (make(PIXELS[:, :1]), "load gives train images of 1 channels, but test of 3"),
    ):
        with pytest.raises(DataError, match=message):
            check_data(data, "load")


class Photos(ImageDataModule):
    def load(self):
        return make(PIXELS.transpose(0, 2, 3, 1))


def test_a_data_module_names_its_method():
    with pytest.raises(
        DataError, match=r"^tests\.data\.test_arrays\.Photos\.load gives train images of shape \(6, 8, 8, 3\)"
    ):
        _ = Photos("mine").indices
