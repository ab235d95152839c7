"""From executed notebooks and prose to checked HTML pages.

    python -m logitnorm.book build --train EXECUTED_TRAIN.ipynb

stages build/book (configuration, book/, lib/, executed notebooks made ready for pages), runs Jupyter Book on it
with every warning an error, and then checks the HTML: pages, alt texts, Colab links.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .paths import ROOT
from .runner import RunnerError, report

STAGE = ROOT / "build" / "book"
MATHJAX = "mathjax/tex-svg.js"  # as _config.yml names it; one file that needs no fonts, so formulas work offline
EXECUTED = ROOT / "build" / "executed"


class BookError(RunnerError):
    """A page that must not be published, and why."""


def pages() -> list[str]:
    """The pages of _toc.yml in reading order, without their endings: book/index, notebooks/fig1, ..."""
    import yaml

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"]] + [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]


def repository() -> tuple[str, str]:
    """(URL, branch) of the public repository, from _config.yml."""
    import yaml

    entry = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    return entry["url"].rstrip("/"), entry["branch"]


def colab_url(page: str) -> str:
    """Where a notebook page opens in Colab; page as in _toc.yml, e.g. notebooks/fig1."""
    url, branch = repository()
    return f"https://colab.research.google.com/github/{url.removeprefix('https://github.com/')}/blob/{branch}/{page}.ipynb"


def ready_for_page(notebook, name: str):
    """The executed notebook as Jupyter Book shall show it (changed in place and returned).

    - alt text and caption, which plots.show leaves beside the figure, become the cell's mystnb metadata, the only
      place from which MyST-NB takes them; the figure is named {name}-{number} for {numref};
    - parameter cells fold away; papermill's notes and absolute paths of this machine go; empty stderr goes.
    Raises BookError for a failed cell, a figure without alt text, or two figures in one cell.
    """
    notebook.metadata.pop("papermill", None)
    figures = 0
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        for key in ("papermill", "execution", "collapsed"):
            cell.metadata.pop(key, None)
        if any(tag.startswith("papermill-error") for tag in tags):
            raise BookError(f"notebooks/{name}.ipynb failed when it was executed; it cannot become a page")
        if {"parameters", "injected-parameters"} & set(tags) and "hide-input" not in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs
                        if not (output.output_type == "stream" and not output.text.strip())]
        images = [output for output in cell.outputs if _is_image(output)]
        if len(images) > 1:
            raise BookError(f"notebooks/{name}.ipynb shows {len(images)} figures in one cell; "
                            f"only one can have the cell's alt text and caption: split the cell")
        for output in images:
            figures += 1
            text = output.metadata.pop("logitnorm", {})
            if not is_alt_text(text.get("alt", "")):
                raise BookError(f"notebooks/{name}.ipynb, figure {figures} has no alt text; "
                                f"show it with logitnorm.plots.show(figure, alt=..., caption=...)")
            mystnb = {"image": {"alt": text["alt"], "classes": "dark-light"}}
            if text.get("caption"):
                mystnb["figure"] = {"caption": text["caption"], "name": f"{name}-{figures}"}
            cell.metadata["mystnb"] = mystnb
        for output in cell.outputs:
            _without_paths(output)
    return notebook


def _is_image(output) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def is_alt_text(text: str) -> bool:
    """Whether a text can tell a reader what a picture shows: some words, not a file's path."""
    return len(text.split()) >= 3


def _without_paths(output) -> None:
    """Paths in the texts of an output start at the repository, not at this machine's root."""
    here = f"{ROOT}{os.sep}"
    if output.output_type == "stream":
        output.text = output.text.replace(here, "")
    for kind, data in output.get("data", {}).items():
        if isinstance(data, str) and not kind.startswith("image/"):
            output.data[kind] = data.replace(here, "")


def stage(train: Path) -> None:
    """Fill build/book afresh with everything that Jupyter Book needs."""
    import nbformat

    shutil.rmtree(STAGE, ignore_errors=True)
    STAGE.mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(ROOT / name, STAGE)
    for folder in ("book", "data/paper", "lib/logitnorm"):
        shutil.copytree(ROOT / folder, STAGE / folder,
                        ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    (STAGE / "_static").mkdir()
    for sheet in (ROOT / "book" / "_static").glob("*.css"):
        shutil.copy2(sheet, STAGE / "_static")  # Jupyter Book adds each style sheet found there to every page
    prose = [path.read_text(encoding="utf-8") for path in (STAGE / "book").glob("*.md")]
    if any("{include} generated/" in text for text in prose):
        from . import ledger, runs  # they import torch, which nothing else here needs

        try:
            ledger.write(STAGE / "book" / "generated")
        except runs.RunError as error:
            raise BookError(str(error)) from error
    for page in pages():
        if not page.startswith("notebooks/"):
            continue
        name = Path(page).name
        source = Path(train) if name == "train" else EXECUTED / f"{name}.ipynb"
        notebook = ready_for_page(nbformat.read(source, as_version=4), name)
        (STAGE / "notebooks").mkdir(exist_ok=True)
        nbformat.write(notebook, STAGE / f"{page}.ipynb")


def jupyter_book() -> None:
    """Build the HTML from build/book; a warning is an error, and all of them are shown."""
    start = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", start, "build", str(STAGE), "-n", "-W", "--keep-going", "-q"]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        raise BookError("Jupyter Book found errors or warnings in the pages; they stand above")
    finish(STAGE / "_build" / "html")


def finish(html: Path) -> None:
    """Take out scripts that no page uses; put in MathJax, and those of the explorers where a page has one.

    Jupyter Book 1 adds Thebe's settings twice, so that every page reports an error in the browser's console; no
    cell runs inside a page here, with or without Thebe.
    """
    explored = formulas = False
    for page in html.rglob("*.html"):
        before = page.read_text(encoding="utf-8")
        after = re.sub(r"\s*<script>const THEBE_JS_URL.*?</script>|\s*<script[^>]*sphinx-thebe\.js[^>]*></script>", "",
                       before)
        if after != before:
            page.write_text(after, encoding="utf-8")
        explored |= "data-explorer" in after
        formulas |= MATHJAX in after
    if formulas:
        package = importlib.util.find_spec("sphinx-mathjax-offline")
        source = Path(package.origin).parent / "static" / MATHJAX
        (html / "_static" / MATHJAX).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, html / "_static" / MATHJAX)
    if explored:
        from .explorers import copy_scripts  # imports torch, which nothing else here needs

        copy_scripts(html / "_static")


def check(html: Path = STAGE / "_build" / "html") -> None:
    """Raise BookError with the first thing in the HTML that a reader should not meet."""
    from bs4 import BeautifulSoup

    for page in pages():
        file = html / f"{page}.html"
        if not file.is_file():
            raise BookError(f"{page} stands in _toc.yml, but the build made no {page}.html")
        text = file.read_text(encoding="utf-8")
        if "papermill-error" in text:
            raise BookError(f"{page}.html shows a failed notebook")
        if str(ROOT) in text:
            raise BookError(f"{page}.html shows a path of this machine ({ROOT})")
        soup = BeautifulSoup(text, "html.parser")
        for image in (soup.find("article") or soup).find_all("img"):
            if not is_alt_text(image.get("alt", "")):
                raise BookError(f"{page}.html: the picture {image.get('src')} has no alt text")
        if page.startswith("notebooks/") and not soup.find("a", href=colab_url(page)):
            raise BookError(f"{page}.html has no link to {colab_url(page)}")
    print(f"checked {len(pages())} pages: all there, every picture with alt text, every notebook with its Colab link")


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m logitnorm.book", description=__doc__.split("\n\n")[0])
    parser.add_argument("action", choices=["build", "check"])
    parser.add_argument("--train", type=Path, help="the executed training notebook that becomes notebooks/train")
    options = parser.parse_args(arguments)
    try:
        if options.action == "build":
            if options.train is None:
                raise BookError("--train is missing: which executed training notebook shall the book show?")
            stage(options.train)
            jupyter_book()
        check()
    except RunnerError as error:
        return report(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
