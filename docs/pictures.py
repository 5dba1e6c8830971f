#!/usr/bin/env python3
"""Make the pictures of the report in docs/images/ from benchmarks/results/demo_5_seeds/page.png.

    python docs/pictures.py

``page.webp`` is the top of the report, for the README. ``page_annotated.webp`` carries the numbers that
docs/reading_a_report.md explains; where that picture is made again, MARKS have to follow it.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "benchmarks" / "results" / "demo_5_seeds" / "page.png"
TOP = 1078  # pixels of the report that the README shows: the verdicts and the chart of every measure
MARKS = ((30, 130), (30, 192), (30, 262), (30, 350), (1248, 455), (30, 770), (30, 1145), (30, 1243), (30, 1590))
RADIUS = 21  # pixels


def mark(page: Image.Image) -> Image.Image:
    """The page with a numbered disc at each of MARKS, which are pixels of the disc's centre."""
    marked = page.copy()
    draw, font = ImageDraw.Draw(marked), ImageFont.load_default(size=26)
    for number, (x, y) in enumerate(MARKS, start=1):
        draw.ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill="#1f4e9c", outline="white", width=3)
        draw.text((x, y), str(number), fill="white", font=font, anchor="mm")
    return marked


def main() -> None:
    """Write both pictures."""
    page = Image.open(SOURCE).convert("RGB")
    folder = ROOT / "docs" / "images"
    page.crop((0, 0, page.width, TOP)).save(folder / "page.webp", quality=90)
    mark(page).save(folder / "page_annotated.webp", quality=88)


if __name__ == "__main__":
    main()
