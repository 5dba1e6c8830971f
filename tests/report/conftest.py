"""A page with every section, and a browser that looks at it."""

import os

import pytest

from tests.report.browser import find_browser


@pytest.fixture(scope="session")
def browser():
    """Chromium; without one the tests are skipped, or fail where STRESS_LAB_NEEDS_BROWSER is set."""
    path = find_browser()
    if path is None:
        if os.environ.get("STRESS_LAB_NEEDS_BROWSER"):
            pytest.fail("there is no Chromium: apt-get install chromium")
        pytest.skip("there is no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
