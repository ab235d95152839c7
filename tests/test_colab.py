"""Every notebook as a reader of Colab gets it: the notebook alone in an empty directory, then Run all.

Its setup cell must fetch the repository (here a local clone at a tag) and install what is missing. That takes
minutes, so it is asked for: LOGITNORM_COLAB_TEST=1. The notebooks then run in a new virtual environment that holds
only what a kernel needs; LOGITNORM_COLAB_PYTHON names another interpreter instead, e.g. the one of Colab's image.
This file needs pytest, papermill, ipykernel and nbformat, and nothing of the library.
"""

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest

if os.environ.get("LOGITNORM_COLAB_TEST") != "1":
    pytest.skip("Colab is tested with LOGITNORM_COLAB_TEST=1", allow_module_level=True)

REPOSITORY = Path(__file__).resolve().parents[1]
TAG = "colab-test"


def git(folder, *arguments) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout


NAMES = [Path(name).stem for name in git(REPOSITORY, "ls-tree", "--name-only", "HEAD", "notebooks/").split()]


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A bare clone of this repository's last commit, under a tag: what the setup cell clones."""
    path = tmp_path_factory.mktemp("origin") / "book.git"
    git(REPOSITORY, "clone", "--quiet", "--bare", f"file://{REPOSITORY}", str(path))
    git(path, "tag", TAG)
    return path


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """The folder of a Jupyter kernel in the bare environment; JUPYTER_PATH leads there."""
    python = os.environ.get("LOGITNORM_COLAB_PYTHON")
    if not python:
        folder = tmp_path_factory.mktemp("bare") / "venv"
        venv.create(folder, with_pip=True)
        python = folder / "bin" / "python"
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "ipykernel"], check=True)
    path = tmp_path_factory.mktemp("jupyter")
    spec = path / "kernels" / "colab-test"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Colab test", "language": "python"}))
    return path


@pytest.fixture(scope="module")
def settings(origin):
    """{notebook: parameters} at size smoke, whose settings the library brings."""
    train = {"size": "smoke", "epochs": 1, "runs_dir": "runs"}
    given = {}
    for name in NAMES:
        cells = json.loads(git(origin, "show", f"{TAG}:notebooks/{name}.ipynb"))["cells"]
        [source] = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        if name == "train":
            given[name] = train
        elif "sizes" in source and "runs_dir" in source:
            given[name] = {"sizes": ["smoke"], "runs_dir": "runs"}
        else:
            given[name] = {}
    return given


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_runs_alone(name, origin, kernel, settings, tmp_path, monkeypatch):
    import papermill

    work = tmp_path / "empty"
    work.mkdir()
    notebook = tmp_path / f"{name}.ipynb"
    notebook.write_text(git(origin, "show", f"{TAG}:notebooks/{name}.ipynb"), encoding="utf-8")
    for variable in [v for v in os.environ if v.startswith(("LOGITNORM_", "PYTHONPATH", "VIRTUAL_ENV"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("LOGITNORM_CLONE", origin.as_uri())
    monkeypatch.setenv("LOGITNORM_REF", TAG)
    monkeypatch.setenv("JUPYTER_PATH", str(kernel))
    papermill.execute_notebook(str(notebook), str(tmp_path / "out.ipynb"), parameters=settings[name],
                               kernel_name="colab-test", cwd=str(work), progress_bar=False)
    assert [path.name for path in work.iterdir() if path.name != "runs"] == ["logitnorm-book"], \
        "the notebook wrote outside of the clone"
    ran = [cell for cell in json.loads((tmp_path / "out.ipynb").read_text())["cells"]
           if cell["cell_type"] == "code" and cell["source"]]
    assert all(cell["execution_count"] for cell in ran), "not every cell was run"
