"""The library alone: what its wheel holds, and that it works where Jupyter, papermill and Snakemake are missing."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tokenize
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
ENVIRONMENT = {**{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LOGITNORM_ROOT")},
               "OMP_NUM_THREADS": "1"}

# Nothing of these may be imported, by the library or by what it imports.
WITHOUT = ("IPython", "bs4", "ipykernel", "jupyter", "jupyter_book", "jupyter_client", "jupyter_core", "nbclient",
           "nbformat", "papermill", "snakemake", "sphinx")

BLOCKER = f"""
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {WITHOUT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked by the test)", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy so that nothing is left in the repository."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(REPOSITORY / "lib", source / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
                           "--no-index", "--wheel-dir", out, source], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    [path] = out.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel's content in a folder of its own, as pip puts it into site-packages."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def alone(installed, program, cwd):
    """Run a program that sees this wheel first and none of the book's tools."""
    return subprocess.run([sys.executable, "-c", BLOCKER + program], cwd=cwd, capture_output=True, text=True,
                          timeout=120, env={**ENVIRONMENT, "PYTHONPATH": str(installed)})


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    assert wheel.name == f"logitnorm-{PROJECT['version']}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert archive.testzip() is None
        for name in names:
            assert archive.read(name) == (REPOSITORY / "lib" / name).read_bytes()
    assert names == {str(path.relative_to(REPOSITORY / "lib")) for path in (REPOSITORY / "lib/logitnorm").rglob("*.*")
                     if path.suffix in (".py", ".yaml")}


def test_the_wheel_brings_the_licence_and_needs_none_of_the_books_tools(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        assert any(name.endswith("LICENSE") for name in archive.namelist())
    assert f"License-Expression: {PROJECT['license']}\n" in metadata and "# LogitNorm" in metadata
    needed = {re.match(r"[\w.-]+", line)[0] for line in re.findall("^Requires-Dist: (.*)$", metadata, re.M) if "extra ==" not in line}
    assert not needed & {"jupyter-book", "ipykernel", "papermill", "snakemake", "nbformat", "pytest"}
    assert {"torch", "numpy", "safetensors"} <= needed


@pytest.mark.slow
def test_without_the_books_tools_every_module_imports_and_the_commands_say_what_is_missing(installed, tmp_path):
    names = sorted(".".join(path.relative_to(REPOSITORY / "lib").with_suffix("").parts)
                   for path in (REPOSITORY / "lib/logitnorm").rglob("*.py") if not path.stem.startswith("__"))
    done = alone(installed, f"""
import importlib
for name in {names!r}:
    module = importlib.import_module(name)
    assert module.__file__.startswith({str(installed)!r}), module.__file__
try:
    import papermill
    raise SystemExit("the blocker does not block")
except ModuleNotFoundError:
    pass
from logitnorm.study import experiments
sys.exit(experiments.main(["--list"]))
""", tmp_path)
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()  # no traceback
    assert "experiments.yaml cannot be read" in sentence and "set LOGITNORM_ROOT to a checkout of the book" in sentence


# Lines of code of the science floor, the image sets among them: what is judged, drawn or bound belongs upstairs.
MOST_LINES = 900


def lines_of_code(path):
    """Lines that are neither blank nor comment nor docstring."""
    with tokenize.open(path) as file:
        tokens = [token for token in tokenize.generate_tokens(file.readline) if token.string.strip()
                  and token.type != tokenize.COMMENT]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def test_the_science_floor_stays_short(tmp_path):
    (tmp_path / "a.py").write_text('"""Says\nwhat."""\n\n# a comment\ndef f(x):\n    """Doc."""\n    return (x +\n            1)  # one\n')
    assert lines_of_code(tmp_path / "a.py") == 3
    library = REPOSITORY / "lib/logitnorm"
    floor = [path for folder in (library, library / "data") for path in folder.glob("*.py")
             if not path.stem.startswith("__") or folder != library]
    assert {path.stem for path in floor} >= {"config", "sets", "losses", "metrics", "models", "runs", "scores", "train"}
    assert sum(map(lines_of_code, floor)) <= MOST_LINES


@pytest.mark.slow
def test_pip_installs_the_wheel_into_a_new_environment_and_it_works_outside_the_repository(wheel, tmp_path):
    """The packages that it needs are lent by this environment, its own library is not."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    [site] = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    done = subprocess.run(install, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr

    def said(*arguments):
        return subprocess.run([python, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                              env={**ENVIRONMENT, "LOGITNORM_DATA": str(tmp_path / "images")})

    done = said("-c", """
import logitnorm, torch
from logitnorm import data, losses, metrics, scores
images, labels = data.load("digits")
f = torch.randn(len(labels), 10, generator=torch.Generator().manual_seed(0))
print(logitnorm.__file__, losses.logitnorm(f, labels, tau=0.04).item(), metrics.fpr95(scores.msp(f), scores.energy(f)))
""")
    assert done.returncode == 0 and done.stdout.startswith(str(site)), done.stderr
    done = said("-m", "logitnorm", "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: python -m logitnorm {")
    for word in re.search("{(.*)}", done.stdout)[1].split(","):
        done = said("-m", "logitnorm", word, *([] if word == "data" else ["--help"]))
        assert done.returncode == (word == "data") and "Traceback" not in done.stderr, word
    for words in (["experiments", "--list"], ["book", "build"], ["count"], ["official"], ["verify", "nothing"],
                  ["pack", "nothing"], ["runner", "a.ipynb", "b.ipynb"]):
        done = said("-m", "logitnorm", *words)
        [sentence] = done.stderr.splitlines()
        assert done.returncode == 1 and sentence.startswith("error: "), words
        if words[0] in ("experiments", "book", "count"):
            assert "set LOGITNORM_ROOT to a checkout" in sentence
    assert said("-m", "logitnorm", "data", "digits").returncode == 0


@pytest.mark.slow
def test_the_library_alone_trains_and_reads_a_run(installed, tmp_path):
    done = alone(installed, """
from logitnorm.config import Config
from logitnorm.study import results, training
config = Config(size="smoke", id_dataset="digits", architecture="wrn10_1", epochs=1, batch_size=512, lr=0.05,
                      dropout=0.0, ood_sets=("brick",), extra_sets=(), history_ood="brick")
run = results.load(training.train(config, "runs", "cpu"))
frame = results.tidy([run])
print(frame[(frame.score == "msp") & (frame.metric == "auroc")].value.item())
""", tmp_path)
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout.split()[-1]) <= 100
