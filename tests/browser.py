"""The browser of the tests that need one: the system's Chromium, or the program named in LOGITNORM_BROWSER."""

import contextlib
import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from logitnorm.book import build


@contextlib.contextmanager
def opened(*arguments):
    """A headless browser of Playwright's, started with these arguments. Where there is none the test is skipped, but fails in CI."""
    program = build.browser()
    if program is None:
        required = os.environ.get("CI") or os.environ.get("LOGITNORM_REQUIRE_BROWSER")
        (pytest.fail if required else pytest.skip)(
            "no browser: install Chromium (Debian: apt install chromium) or set LOGITNORM_BROWSER")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: test)")
    with playwright.sync_playwright() as driver:
        # Containers run as root, where Chromium's own sandbox cannot work; only our own pages are opened.
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", *arguments])
        yield browser
        browser.close()


@contextlib.contextmanager
def served(folder):
    """The address of a folder on a local server."""
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
