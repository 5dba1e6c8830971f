#!/usr/bin/env python3
"""Make docs/images/page.webp, the first screen of a report as README and docs show it, in Chromium.

python docs/pictures.py multirun/demo/<date>_<time>
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1280, "height": 900}  # pixels
OUT = Path(__file__).parent / "images" / "page.webp"


def main() -> None:
    """Photograph the report of a sweep."""
    report = Path(sys.argv[1]).resolve() / "report.html"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
        page.goto(report.as_uri())
        pixels = page.screenshot()
        browser.close()
    Image.open(io.BytesIO(pixels)).convert("RGB").save(OUT, quality=90)


if __name__ == "__main__":
    main()
