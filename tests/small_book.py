"""Small books with this book's own graph, for tests of what it runs and plans."""

import os
import re
import shutil
import subprocess
import sys

import nbformat
from logitnorm.paths import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


def write(path, *cells, parameters="epochs = 2\nlr = 0.1\nname = 'a'\nsizes = ['paper']\nfast = False\nextra = None"):
    """A small notebook: title, parameters cell, then the given code cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = new_notebook(cells=[new_markdown_cell(f"# {path.stem.title()}")],
                            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    notebook.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    notebook.cells += [new_code_cell(source) for source in cells]
    nbformat.write(notebook, path)
    return path


def copy(root, experiments):
    """The graph, the configuration and the library, with another module `experiments`."""
    for name in ("Snakefile", "_config.yml"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "lib", root / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (root / "lib/logitnorm/study/experiments.py").write_text(experiments)


def snakemake(root, *arguments, timeout=300, **environment):
    """Snakemake in root, without warm kernels: the small notebooks import nothing."""
    command = [sys.executable, "-m", "snakemake", "--quiet", "host", "--nocolor", *map(str, arguments)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root / "lib"), "LOGITNORM_KERNELS": "",
                               "LOGITNORM_ROOT": str(root), "LOGITNORM_ERRORS": str(root / "errors.txt"), **environment})


def jobs(done):
    """The names of the jobs that ran (or, in a dry run, would run)."""
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(set(re.findall(r"^ *Job \d+: (.*)$", done.stdout + done.stderr, re.M)))
