"""The corruptions and their constants: CIFAR-10-C's for small images, ImageNet-C's for photographs.

Source: Hendrycks and Dietterich 2019 (arXiv 1903.12261) and the scripts that made both sets (hendrycks/robustness,
``make_cifar_c.py`` and ``make_imagenet_c.py``). Lengths are in pixels of a 32-pixel image, or of one of 224 pixels, and
grow and shrink with the image; all else stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from stress_lab.errors import InputError

SMALL, PHOTO = 32, 224  # pixels that the two tables are made for
BORDER = 85  # pixels from which the table for photographs serves: the geometric mean of 32 and 224

Constants = tuple[float, ...]


class Table(NamedTuple):
    """The constants of a corruption: five severities for small images and for photographs; which places are lengths."""

    small: tuple[Constants, ...]
    photo: tuple[Constants, ...]
    lengths: tuple[int, ...] = ()


def _ones(*values: float) -> tuple[Constants, ...]:
    """Five severities of a single constant."""
    return tuple((value,) for value in values)


# what the constants mean: the functions of the same names in noise.py, blur.py, weather.py and digital.py
TABLES: dict[str, Table] = {
    "gaussian_noise": Table(_ones(0.04, 0.06, 0.08, 0.09, 0.10), _ones(0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": Table(_ones(500, 250, 100, 75, 50), _ones(60, 25, 12, 5, 3)),
    "impulse_noise": Table(_ones(0.01, 0.02, 0.03, 0.05, 0.07), _ones(0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": Table(
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        lengths=(0, 1),
    ),
    "glass_blur": Table(
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        lengths=(0, 1),
    ),
    "motion_blur": Table(
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)), ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)), lengths=(0, 1)
    ),
    "zoom_blur": Table(  # where the factors end, which start at 1, and their step
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "snow": Table(
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        lengths=(2, 4, 5),
    ),
    "frost": Table(
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    "fog": Table(
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)), ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
    ),
    "brightness": Table(_ones(0.05, 0.1, 0.15, 0.2, 0.3), _ones(0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Table(_ones(0.75, 0.5, 0.4, 0.3, 0.15), _ones(0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": Table(  # as shares of the side, so that they are lengths
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        tuple(
            (a * 244 / 224, s * 244 / 224, j * 244 / 224)  # ImageNet-C wrote 244 for 224
            for a, s, j in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
        ),
    ),
    "pixelate": Table(_ones(0.95, 0.9, 0.85, 0.75, 0.65), _ones(0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": Table(_ones(80, 65, 58, 50, 40), _ones(25, 18, 15, 10, 7)),
    "speckle_noise": Table(_ones(0.06, 0.1, 0.12, 0.16, 0.2), _ones(0.15, 0.2, 0.35, 0.45, 0.6)),
    "gaussian_blur": Table(_ones(0.4, 0.6, 0.7, 0.8, 1), _ones(1, 2, 3, 4, 6), lengths=(0,)),
    "spatter": Table(
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
        lengths=(2,),
    ),
    "saturate": Table(
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)), ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))
    ),
}

CORRUPTIONS = tuple(TABLES)[:15]  # whose mean is the benchmark's
EXTRA = tuple(TABLES)[15:]  # meant for validation
SEVERITIES = (1, 2, 3, 4, 5)


def list_corruptions(channels: int, extra: bool = True) -> tuple[str, ...]:
    """The corruptions that images of 1 or 3 channels can have: all, or without ``saturate`` for grey.

    Args:
        channels: of the images.
        extra: False leaves out the four that the benchmark's mean leaves out.
    """
    names = CORRUPTIONS + EXTRA if extra else CORRUPTIONS
    return tuple(name for name in names if channels == 3 or name != "saturate")


def find_constants(corruption: str, severity: int, side: int) -> Constants:
    """The constants of a cell for images whose shorter side has ``side`` pixels.

    Raises:
        stress_lab.errors.InputError: there is no such corruption or severity.

    >>> find_constants("gaussian_blur", 5, 32), find_constants("gaussian_blur", 5, 28)
    ((1.0,), (0.875,))
    >>> find_constants("gaussian_noise", 1, 28), find_constants("gaussian_noise", 1, 224)
    ((0.04,), (0.08,))
    """
    check_cell(corruption, severity)
    table = TABLES[corruption]
    values, made_for = (table.small, SMALL) if side < BORDER else (table.photo, PHOTO)
    scale = side / made_for
    return tuple(value * scale if place in table.lengths else value for place, value in enumerate(values[severity - 1]))


def check_cell(corruption: str, severity: int, told: Callable[[str], Exception] = InputError) -> None:
    """Raise ``told`` unless there is such a corruption and severity."""
    if corruption not in TABLES:
        raise told(f"{corruption} is not a corruption: use one of {', '.join(TABLES)}")
    if severity not in SEVERITIES:
        raise told(f"there is no severity {severity} of {corruption}: use a whole number from 1 to 5")
