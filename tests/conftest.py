"""What several test files share, and the output of `make test`: a line a file, and at last what was not run here and why."""

import os
import pickle
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault
settings.load_profile("busy")

START = time.monotonic()
LEFT_OUT = pytest.StashKey[int]()
FILES = pytest.StashKey[dict]()  # file: [tests to come, seconds so far], with -qq


@pytest.fixture(scope="session")
def real_images():
    """The folder of real image sets, where LOGITNORM_DATA names one; else the test is skipped."""
    folder = os.environ.get("LOGITNORM_DATA")
    if not folder or not (Path(folder) / "cifar10-train.npz").exists():
        pytest.skip("needs real images: set LOGITNORM_DATA to a folder that holds cifar10-train.npz")
    return Path(folder)


@pytest.fixture(scope="session")
def few_images(tmp_path_factory):
    """A folder for LOGITNORM_DATA: the sets of a smoke training, with so few images that an epoch takes no second."""
    from logitnorm import data

    folder = tmp_path_factory.mktemp("few")
    for name, split, count in (("digits", "train", 384), ("digits", "test", 120), *((name, "test", 40) for name in
                               ("brick", "grass", "gravel", "text", "hubble", "photos", "gaussian_noise"))):
        images, labels = data.load(name, split)
        np.savez(folder / f"{name}-{split}.npz", images=images[:count],
                 **({} if labels is None else {"labels": labels[:count]}))
    return folder


@pytest.fixture(scope="session")
def logit_runs(tmp_path_factory):
    """Finished runs of WRN-10-2 with the logits of all images: cross-entropy, LogitNorm at two tau, and it without the offset."""
    from fake_runs import write_run
    from logitnorm.study import offset

    folder = tmp_path_factory.mktemp("runs")
    for method, tau in (("cross_entropy", 0.04), ("logitnorm", 0.04), ("logitnorm", 0.01), ("centred_logitnorm", 0.01)):
        write_run(folder, format=1, method=method, tau=tau, architecture="wrn10_2")
    return offset.load(folder)


@pytest.fixture(scope="module")
def browser():
    """A headless browser, whose camera gives a test picture."""
    from browser import opened

    with opened("--use-fake-device-for-media-stream") as browser:
        yield browser


@pytest.fixture
def bomb(tmp_path, monkeypatch):
    """The path that appears if a pickle is loaded."""
    from archives import Bomb

    path = tmp_path / "exploded"
    monkeypatch.setenv("BOMB", str(path))
    pickle.loads(pickle.dumps(Bomb()))
    assert path.exists(), "the bomb must work, or the tests show nothing"
    path.rmdir()
    yield path
    assert not path.exists(), "a pickle was loaded"


@pytest.fixture
def impatient(monkeypatch):
    """A download that failed is tried again at once."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)


@pytest.fixture
def server(monkeypatch, impatient):
    """`server.files[path] = bytes` serves a file, `server.asked` lists the paths that were asked for.

    /stall... sends half and waits, and `server.stall` is set; /broken... sends half and hangs up; /once... does so the
    first time only; /slow... sends piece by piece.
    """
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = server.files.get(self.path)
            server.asked.append(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.path.startswith("/stall"):
                self.wfile.write(content[:len(content) // 2])
                self.wfile.flush()
                server.stall.set()
                server.resume.wait(60)
                return
            if self.path.startswith("/broken") or self.path.startswith("/once") and server.asked.count(self.path) == 1:
                self.wfile.write(content[:len(content) // 2])
                return
            pieces = 8 if self.path.startswith("/slow") else 1
            for i in range(pieces):
                self.wfile.write(content[i * len(content) // pieces:(i + 1) * len(content) // pieces])
                self.wfile.flush()
                server.resume.wait(0.15 * (pieces > 1))

        def log_message(self, *args):
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked, server.stall, server.resume = {}, [], threading.Event(), threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.resume.set()
    server.shutdown()
    server.server_close()


def pytest_deselected(items):
    """`-m "not slow"` leaves the slow tests out; with xdist each worker counts them and tells the controller."""
    if slow := sum(item.get_closest_marker("slow") is not None for item in items):
        config = items[0].config
        config.stash[LEFT_OUT] = slow
        if hasattr(config, "workeroutput"):
            config.workeroutput["slow"] = slow


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("slow", 0)


def pytest_collection_finish(session):
    _expect(session.config, [item.nodeid for item in session.items])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node, ids):
    _expect(node.config, ids)


def _expect(config, ids):
    if config.option.verbose == -2 and not hasattr(config, "workerinput"):
        config.stash[FILES] = {file: [count, 0.0] for file, count in Counter(i.partition("::")[0] for i in ids).items()}


def pytest_report_teststatus(report, config):
    """No dots where there is a line a file; what was skipped stands in the last line."""
    if FILES in config.stash and report.passed:
        return ("passed" if report.when == "call" else ""), "", ""
    if FILES in config.stash and report.skipped:
        return "skipped", "", ""


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report):
    config = pytest_runtest_logreport.config
    if FILES not in config.stash:
        return
    file = report.nodeid.partition("::")[0]
    state = config.stash[FILES][file]
    state[1] += report.duration
    state[0] -= report.when == "teardown"
    if report.when == "teardown" and not state[0]:
        config.pluginmanager.get_plugin("terminalreporter").write_line(f"{file:62} {state[1]:4.0f} s")


def pytest_configure(config):
    pytest_runtest_logreport.config = config


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    distributed = session.config.pluginmanager.get_plugin("terminaldistreporter")
    if distributed and session.config.option.verbose == -2:
        distributed.ensure_show_status = lambda: None  # xdist's "bringing up nodes..." says nothing of a test


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    result = yield
    if not hasattr(session.config, "workeroutput"):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        reporter.ensure_newline()
        reporter.write_line(last_line(reporter.stats, session.config.stash.get(LEFT_OUT, 0)))
    return result


def last_line(stats, slow):
    """Counts and seconds, the slow tests that were left out, and every reason for which a test was skipped."""
    counts = [f"{len(stats[kind])} {kind}" for kind in ("passed", "failed", "error") if stats.get(kind)]
    skipped = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in stats.get("skipped", ()))
    said = [f"{', '.join(counts) or 'no test'} in {time.monotonic() - START:.0f} s"]
    said += [f"make test-all runs {slow} slow tests more"] * (slow > 0)
    return "; ".join(said + [f"{count} skipped: {reason}" for reason, count in skipped.items()])
