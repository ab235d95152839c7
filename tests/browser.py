"""The browser of the tests that need one: the system's Chromium, or the program named in LOGITNORM_BROWSER."""

import contextlib
import os

import pytest
from logitnorm.book import build


@contextlib.contextmanager
def opened():
    """A headless browser of Playwright's. Where there is none the test is skipped, but fails in CI."""
    program = build.browser()
    if program is None:
        required = os.environ.get("CI") or os.environ.get("LOGITNORM_REQUIRE_BROWSER")
        (pytest.fail if required else pytest.skip)(
            "no browser: install Chromium (Debian: apt install chromium) or set LOGITNORM_BROWSER")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: test)")
    with playwright.sync_playwright() as driver:
        # Containers run as root, where Chromium's own sandbox cannot work; only our own pages are opened.
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
