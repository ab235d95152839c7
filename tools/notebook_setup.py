"""Give every notebook the same opening, strip what a run leaves behind, and write the repository's address everywhere.

    python tools/notebook_setup.py [--check] [NOTEBOOK...]     default: all of notebooks/

After the title cell come a Colab badge and a setup cell (both tagged remove-cell, so that the book does not show
them). The repository's address and the reference, a branch or a tag, come from _config.yml: the badge opens the notebook
of that reference, and the notebook clones it, so that notebook and library are one commit. Outputs, execution counts
and run metadata go; cells keep their ids. The other files that name the repository (PLACES) get its address, without
NOTEBOOK arguments. Running it twice changes nothing; --check changes nothing at all and
fails where a notebook is not as this tool would write it.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from logitnorm.book.build import colab_url, repository
from logitnorm.paths import ROOT

BADGE_ID, SETUP_ID = "colab-badge", "colab-setup"

BADGE = "[![Open this notebook in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({url})"

# Colab brings its own torch, numpy and pandas: nothing that is there is touched, and no version is asked for.
SETUP = '''\
# In Colab: fetch the book's code and install what Colab lacks. Anywhere else this cell does nothing.
import importlib.util
import os
import shutil
import subprocess
import sys

if "google.colab" in sys.modules or "LOGITNORM_CLONE" in os.environ:
    url = os.environ.get("LOGITNORM_CLONE", "{url}")
    reference = os.environ.get("LOGITNORM_REF", "{reference}")
    book = os.path.abspath("logitnorm-book")
    if not os.path.isdir(book):  # one commit of it, and of its files only what this notebook reads
        part = book + ".part"  # so that a cell that was broken off starts again
        shutil.rmtree(part, ignore_errors=True)
        git = ["git", "-c", "advice.detachedHead=false"]
        subprocess.run([*git, "clone", "--quiet", "--no-checkout", "--depth", "1", "--filter=blob:none",
                        "--branch", reference, url, part], check=True)
        subprocess.run([*git, "-C", part, "sparse-checkout", "set", "--no-cone", {folders}], check=True)
        subprocess.run([*git, "-C", part, "checkout", "--quiet"], check=True)
        os.rename(part, book)
    needed = {{"torch": "torch", "torchvision": "torchvision", "sklearn": "scikit-learn",
              "skimage": "scikit-image", "yaml": "pyyaml"}}
    needed.update((name, name) for name in
                  "filelock matplotlib numpy pandas pooch pydantic safetensors scipy seaborn sympy tqdm".split())
    missing = [package for module, package in needed.items() if importlib.util.find_spec(module) is None]
    if missing:  # beside the versions that are there, none of which is replaced
        from importlib.metadata import version
        kept = [f"{{name}}=={{version(name)}}" for name in ("torch", "torchvision", "numpy", "pandas") if name not in missing]
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *missing, *kept], check=True)
    sys.path.insert(0, os.path.join(book, "lib"))'''

# Patterns of git's sparse checkout: the files at the root, the library and small data; not the tests, not the prose.
FOLDERS = ("/*", "!/*/", "/lib/", "/data/", "!/data/runs/", "/book/_static/*.js")
# Of finished runs the small files; the library fetches one of the others when it is read (logitnorm.study.fetch).
RUNS = ("/data/runs/*/run.json", "/data/runs/*/*.csv")

# file -> what in it follows from the repository's address, and how
PLACES = {
    "README.md": (r"https://github\.com/[\w.-]+/[\w.-]+", "{url}"),
    "CITATION.cff": (r'(?<=repository-code: ")[^"]*', "{url}"),
    "book/cite.md": (r"(?<=\n  url     = {)[^}]*", "{url}"),
    "_config.yml": (r"https://[\w.-]+\.github\.io/[\w.-]+/", "https://{owner}.github.io/{name}/"),
    "profiles/kubernetes/config.yaml": (r"ghcr\.io/[\w.-]+/[\w.-]+(?=:)", "ghcr.io/{owner}/{name}"),
}

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
          "language_info": {"name": "python"}}


def setup_cells(page: str, reads_runs: bool = False) -> list:
    """The badge and the setup cell of a notebook page, e.g. notebooks/fig1; reads_runs: it shows finished runs."""
    url, reference = repository()
    folders = ", ".join(f'"{name}"' for name in FOLDERS + RUNS * reads_runs)
    hidden = {"tags": ["remove-cell"]}
    return [nbformat.v4.new_markdown_cell(BADGE.format(url=colab_url(page)), id=BADGE_ID, metadata=hidden),
            nbformat.v4.new_code_cell(SETUP.format(url=url, reference=reference, folders=folders), id=SETUP_ID,
                                      metadata=dict(hidden))]


def tidy(text: str, page: str) -> str:
    """The notebook (its JSON text) as it shall be committed."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.nbformat_minor = 5
    body = [cell for cell in notebook.cells if cell.get("id") not in (BADGE_ID, SETUP_ID)]
    taken = set()
    for number, cell in enumerate(body):
        if not cell.get("id") or cell.id in taken:
            cell.id = f"cell-{number}"
        taken.add(cell.id)
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    # train.ipynb writes there; every other notebook that names the place reads what is there
    reads_runs = page != "notebooks/train" and any(re.search(r"paths\.RUNS|runs_dir", cell.source) for cell in body)
    notebook.cells = body[:1] + setup_cells(page, reads_runs) + body[1:]
    notebook.metadata = nbformat.from_dict(KERNEL)
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def addressed(name: str, text: str) -> str:
    """The text of a file of PLACES as it shall be committed."""
    url, _ = repository()
    owner, repo = url.removeprefix("https://github.com/").lower().split("/")
    pattern, wanted = PLACES[name]
    return re.sub(pattern, wanted.format(url=url, owner=owner, name=repo), text)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail where something would change")
    parser.add_argument("notebooks", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    stale = []
    everything = [*sorted((ROOT / "notebooks").glob("*.ipynb")), *(ROOT / name for name in PLACES)]
    for path in options.notebooks or everything:
        before = path.read_text(encoding="utf-8")
        after = (tidy(before, f"notebooks/{path.stem}") if path.suffix == ".ipynb" else
                 addressed(path.relative_to(ROOT).as_posix(), before))
        if after == before:
            continue
        stale.append(path.name)
        if not options.check:
            path.write_text(after, encoding="utf-8")
            print(f"{path.name}: refreshed")
    if options.check and stale:
        print(f"not as tools/notebook_setup.py writes them: {', '.join(stale)}; run it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
