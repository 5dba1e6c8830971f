#!/usr/bin/env python3
"""Draw docs/images/corruptions.webp: every corruption at its five severities, on one test image of CIFAR-10.

python docs/corruptions.py FOLDER_OF_CIFAR10
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stress_lab.data.sources.cifar10 import load_cifar10
from stress_lab.stress.constants import SEVERITIES, list_corruptions
from stress_lab.stress.corruptions import corrupt

OUT = Path(__file__).parent / "images" / "corruptions.webp"
TILE, GAP, LABEL, ROW_BLOCKS = 72, 4, 150, 2  # pixels; how many corruptions stand side by side
POSITION = 7  # in the test split as the folder has it


def draw(image: np.ndarray) -> Image.Image:
    """A sheet of tiles: a row a corruption, its severities from left to right, in two blocks."""
    names = list_corruptions(channels=3)
    rows = -(-(len(names) + 1) // ROW_BLOCKS)
    block = LABEL + len(SEVERITIES) * (TILE + GAP) + 3 * GAP
    sheet = Image.new("RGB", (ROW_BLOCKS * block, rows * (TILE + GAP) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for place, name in enumerate(("", *names)):
        left, top = place // rows * block + GAP, place % rows * (TILE + GAP) + GAP
        pen.text((left, top + TILE / 2), (name or "clean").replace("_", "\n"), fill="black", font=font, anchor="lm")
        for column, severity in enumerate(SEVERITIES if name else (0,)):
            tile = corrupt(image[None], name, severity)[0] if name else image
            shown = Image.fromarray(tile.transpose(1, 2, 0)).resize((TILE, TILE), Image.Resampling.NEAREST)
            sheet.paste(shown, (left + LABEL + column * (TILE + GAP), top))
    return sheet


def main() -> None:
    """Draw and write."""
    images = load_cifar10(sys.argv[1], download=False).splits["test"].images
    draw(np.array(images[POSITION])).save(OUT, quality=72)


if __name__ == "__main__":
    main()
