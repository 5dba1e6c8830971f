"""Debian's Chromium, driven by Playwright."""

import shutil

from stress_lab.files import load_json

HOSTILE = '"><script>alert(1)</script><img src=http://nowhere/x.png>'
CLASSES = ("T-shirt", "coat & <b>tie</b>", HOSTILE, "big  dog", " x", "a|b", "a", "h", "i", "j")
PLACES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser():
    """Path of an installed Chromium, or None."""
    return next((path for path in map(shutil.which, PLACES) if path), None)


def outside(page):
    """Requests for anything but the file and what it carries."""
    return [url for url in page.asked if not url.startswith(("data:", "file:", "blob:"))]


def fitting(folder, fits):
    """How many failures of the gallery's record fit."""
    gallery = load_json(folder / "gallery.json")
    return sum(bool(fits(gallery["cards"][number])) for number in gallery["order"])
