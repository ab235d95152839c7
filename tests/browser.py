"""The browser of the tests that need one: the system's Chromium, or the program named in LOGITNORM_BROWSER."""

import contextlib
import gzip
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


class Handler(SimpleHTTPRequestHandler):
    """Serves as a public host does: texts compressed, connections kept open."""

    protocol_version = "HTTP/1.1"
    packed = {}

    def do_GET(self):
        path = self.translate_path(self.path)
        if os.path.isdir(path) or not os.path.isfile(path) or not path.endswith((".html", ".js", ".mjs", ".css", ".svg", ".json", ".wasm")):
            return super().do_GET()
        if path not in self.packed:
            with open(path, "rb") as file:
                self.packed[path] = gzip.compress(file.read(), 6)
        self.send_response(200)
        for name, value in (("Content-Type", self.guess_type(path)), ("Content-Encoding", "gzip"),
                            ("Content-Length", str(len(self.packed[path])))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.packed[path])

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def served(folder):
    """The address of a folder on a local server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
