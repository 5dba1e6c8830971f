"""Debian's Chromium, driven by Playwright."""

import shutil

PLACES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser():
    """Path of an installed Chromium, or None."""
    return next((path for path in map(shutil.which, PLACES) if path), None)
