"""From executed notebooks and prose to checked HTML pages.

    python -m logitnorm book prose
    python -m logitnorm book build --train EXECUTED_TRAIN.ipynb

The first writes the parts of prose pages that follow from the runs into build/generated. The second stages build/book (configuration, book/, lib/, executed notebooks made ready for pages), runs Jupyter Book on it
with every warning an error, and then checks the HTML: pages, alt texts, Colab links.

    python -m logitnorm book pdf

joins the pages that stand there into one, and prints that one to build/book.pdf.
"""

import argparse
import contextlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import traceback
import warnings
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from logitnorm.paths import ROOT
from logitnorm.study import report

from . import weight
from .runner import RunnerError

STAGE = ROOT / "build" / "book"
MATHJAX = "mathjax/tex-chtml.js"  # as _config.yml names it; a third of tex-svg.js, and its fonts lie beside it
FONTS = "mathjax/output/chtml/fonts/woff-v2"
EXECUTED = ROOT / "build" / "executed"
GENERATED = ROOT / "build" / "generated"
ONE_PAGE = STAGE / "_build" / "singlehtml"
PDF = ROOT / "build" / "book.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class BookError(RunnerError):
    """A page that must not be published, and why."""


def pages() -> list[str]:
    """The pages of _toc.yml in reading order, without their endings: book/index, notebooks/fig1, ..."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"]] + [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]


def repository() -> tuple[str, str]:
    """(URL, branch) of the public repository, from _config.yml."""
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
    - parameter cells fold away; papermill's notes and absolute paths of this machine go; empty stderr and empty sentences go;
    - lines that a cell prints one after the other stand in one block.
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
        # of an empty sentence the page would show the object that holds it
        cell.outputs = [output for output in cell.outputs if not (output.output_type == "stream" and not output.text.strip())
                        and output.get("data", {}).get("text/markdown") != ""]
        _join_streams(cell)
        images = [output for output in cell.outputs if any(kind.startswith("image/") for kind in output.get("data", {}))]
        if len(images) > 1:
            raise BookError(f"notebooks/{name}.ipynb shows {len(images)} figures in one cell; "
                            f"only one can have the cell's alt text and caption: split the cell")
        for output in images:
            figures += 1
            text = output.metadata.pop("logitnorm", {})
            if not is_alt_text(text.get("alt", "")):
                raise BookError(f"notebooks/{name}.ipynb, figure {figures} has no alt text; "
                                f"show it with logitnorm.book.plots.show(figure, alt=..., caption=...)")
            cell.metadata["mystnb"] = {"image": {"alt": text["alt"], "classes": text["classes"]},
                                       "figure": {"caption": text["caption"], "name": f"{name}-{figures}"}}
        for output in cell.outputs:
            _without_paths(output)
    return notebook


def _join_streams(cell) -> None:
    outputs, cell.outputs = cell.outputs, []
    for output in outputs:
        last = cell.outputs[-1] if cell.outputs else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            cell.outputs.append(output)


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
    if (picture := ROOT / "data" / "thumbnails" / "front-light.png").is_file():
        shutil.copy2(picture, STAGE / "_static")  # what a link to the book shows elsewhere (ogp_image)
    if GENERATED.is_dir():
        shutil.copytree(GENERATED, STAGE / "book" / GENERATED.name)
    for page in pages():
        if not page.startswith("notebooks/"):
            continue
        name = Path(page).name
        source = Path(train) if name == "train" else EXECUTED / f"{name}.ipynb"
        notebook = ready_for_page(nbformat.read(source, as_version=4), name)
        (STAGE / "notebooks").mkdir(exist_ok=True)
        nbformat.write(notebook, STAGE / f"{page}.ipynb")


def prose() -> None:
    """Fill build/generated with what prose pages include; empty where none of them includes anything."""
    shutil.rmtree(GENERATED, ignore_errors=True)
    GENERATED.mkdir(parents=True)
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md")]
    if not any("{include} generated/" in text for text in texts):
        return
    from logitnorm import runs

    from . import ask, front  # they import torch, which nothing else here needs

    try:
        front.write(GENERATED)
        if any("generated/ask.md" in text for text in texts):
            ask.write_page(GENERATED)
    except runs.RunError as error:
        raise BookError(str(error)) from error


def jupyter_book(builder: str = "html") -> None:
    """Build the HTML from build/book; a warning is an error, and all of them are shown."""
    from jupyter_book.cli.main import main

    err, failed = io.StringIO(), True
    # In this process, where PyTorch is imported already; an extension that looks at every object warns for what is PyTorch's.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            main(["build", str(STAGE), "--builder", builder, "-n", "-W", "--keep-going", "-q"], standalone_mode=False)
            failed = False
        except (Exception, SystemExit):  # what is wrong stands in the output: Sphinx says it before it raises
            traceback.print_exc()
    print(err.getvalue(), end="", file=sys.stderr)
    if failed:
        said = [line.replace(f"{STAGE}{os.sep}", "") for line in err.getvalue().splitlines()
                if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
        raise BookError("Jupyter Book found errors or warnings in the pages: " + "; ".join(said[:5] or ["see above"]))


def finish(html: Path) -> None:
    """Take out scripts that no page uses; put in MathJax, and those of the explorers and of 'Ask the network'
    where a page has them; make all of it light (logitnorm.book.weight).

    Jupyter Book 1 adds Thebe's settings twice, so that every page reports an error in the browser's console; no
    cell runs inside a page here, with or without Thebe. Wide tables of the prose learn their columns' names, so
    that book.css can set a row as a list on a phone.
    """
    explored = formulas = asked = False
    for page in html.rglob("*.html"):
        before = page.read_text(encoding="utf-8")
        after = re.sub(r"\s*<script>const THEBE_JS_URL.*?</script>|\s*<script[^>]*sphinx-thebe\.js[^>]*></script>", "",
                       before)
        after = re.sub(r'<table class="table">.*?</table>', lambda found: label_cells(found[0]), after, flags=re.S)
        if 'class="math' not in after:  # Sphinx gives MathJax to a page whose chapters have formulas, though it has none
            after = re.sub(rf'\s*<script[^>]*{MATHJAX}[^>]*></script>', "", after)
        if after != before:
            page.write_text(after, encoding="utf-8")
        explored |= "data-explorer" in after
        formulas |= MATHJAX in after
        asked |= "data-ask" in after
    if formulas:
        package = importlib.util.find_spec("sphinx-mathjax-offline")
        source = Path(package.origin).parent / "static"
        (html / "_static" / MATHJAX).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / MATHJAX, html / "_static" / MATHJAX)
        shutil.copytree(source / FONTS, html / "_static" / FONTS, dirs_exist_ok=True)
    if explored:
        shutil.copy2(ROOT / "book" / "_static" / "explorers.js", html / "_static")
    if asked:
        from . import ask  # imports torch, which nothing else here needs

        ask.write(html / "_static")
    weight.lighten(html)


def write_index_of_site(html: Path) -> None:
    """sitemap.xml for search engines, and 404.html for a link that leads nowhere, at the address of _config.yml."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    base = config.get("html", {}).get("baseurl", "")
    locations = "".join(f"<url><loc>{base}{page}.html</loc></url>" for page in pages())
    (html / "sitemap.xml").write_text('<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/'
                                      f'sitemap/0.9">{locations}</urlset>\n', encoding="utf-8")
    (html / "404.html").write_text(f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>No such page: {config["title"]}</title></head>
<body style="font: 1.1rem/1.5 sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem">
<main><h1>There is no such page</h1><p>It may have moved. Begin at the <a href="{base}">front page</a> or
<a href="{base}search.html">search the book</a>.</p></main></body></html>
""", encoding="utf-8")


def label_cells(table: str) -> str:
    """A table's HTML with each cell's column name in `data-label`, where it has three columns or more.

    Not where a name is a formula, which CSS could not set.
    """
    names = [re.sub("<[^>]*>", "", name).strip() for name in re.findall(r'<th class="head">(.*?)</th>', table, re.S)]
    if len(names) < 3 or any("\\(" in name for name in names):
        return table

    def row(found):
        labels = iter(names)
        return re.sub(r"<td(?=[ >])", lambda cell: f'<td data-label="{next(labels)}"', found[0])

    return re.sub(r"<tr.*?</tr>", row, table, flags=re.S)


def one_page() -> None:
    """Join the staged pages into one, which a reader can save or print: build/book/_build/singlehtml/index.html."""
    if not (STAGE / "_toc.yml").is_file():
        raise BookError(f"there are no pages in {STAGE} to join; run make book first")
    shutil.rmtree(ONE_PAGE, ignore_errors=True)
    jupyter_book("singlehtml")
    text = (ONE_PAGE / f"{pages()[0]}.html").read_text(encoding="utf-8")
    shutil.rmtree(ONE_PAGE / Path(pages()[0]).parent)
    (ONE_PAGE / "index.html").write_text(joined(text), encoding="utf-8")
    finish(ONE_PAGE)
    check_one_page(ONE_PAGE)


def joined(text: str) -> str:
    """The HTML of Sphinx's single page, which stood in a folder and links to pages, for a page that stands alone.

    What is folded unfolds, because paper has no buttons; the notebooks' code stays folded.
    """
    def inside(found):
        page, anchor = found[1], found[2]
        return f'href="{anchor or ("#" if page == pages()[0] else f"#document-{page}")}"'

    known = "|".join(map(re.escape, pages()))
    text = re.sub(rf'href="(?:\.\./)?({known})\.html(#[^"]*)?"', inside, text)
    text = text.replace('="../_static/', '="_static/')
    scripts = set()

    def once(found):  # two explorers bring the same scripts, and nothing here can be searched
        unwanted = found[1] in scripts or re.match(r"searchindex|_static/(searchtools|language_data)", found[1])
        scripts.add(found[1])
        return "" if unwanted else found[0]

    text = re.sub(r'<script[^>]* src="([^"]*)"[^>]*></script>', once, text)
    return re.sub(r'<details(?! class="admonition hide)', "<details open", text)


def check_one_page(html: Path) -> None:
    """Raise BookError for a link inside the page that leads nowhere, or for a picture that is not there."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup((html / "index.html").read_text(encoding="utf-8"), "html.parser").find("article")
    anchors = {tag["id"] for tag in soup.find_all(id=True)}
    for link in soup.find_all("a", href=True):
        if link["href"].startswith("#") and link["href"] != "#" and unquote(link["href"][1:]) not in anchors:
            raise BookError(f"the single page links to {link['href']}, which it does not have")
        if urlsplit(link["href"]).path.endswith(".html") and not urlsplit(link["href"]).scheme:
            raise BookError(f"the single page links to another page, {link['href']}")
    for image in soup.find_all("img"):
        if not (html / unquote(image["src"])).is_file():
            raise BookError(f"the single page has no picture {image['src']}")


def browser() -> str | None:
    """The Chromium or Chrome of this machine, or the program named in LOGITNORM_BROWSER; None without one."""
    return next(filter(None, map(shutil.which, (os.environ.get("LOGITNORM_BROWSER", ""), *BROWSERS))), None)


def pdf() -> None:
    """Print the single page to build/book.pdf with a headless browser, which sets the formulas as on the pages."""
    page, program = ONE_PAGE / "index.html", browser()
    if program is None:
        raise BookError(f"no browser to print with: install Chromium (Debian: apt install chromium) or set "
                        f"LOGITNORM_BROWSER; the book as one page is {page}")
    PDF.unlink(missing_ok=True)
    # Containers run as root, where Chromium's own sandbox cannot work; only our own page is opened.
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    # Virtual time passes as fast as the work allows: the page is printed when its formulas are set.
    command = [program, "--headless", "--disable-gpu", *root, "--no-pdf-header-footer", "--virtual-time-budget=120000",
               f"--print-to-pdf={PDF}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not PDF.is_file():
        raise BookError(f"{program} did not print {page}: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
    print(f"The book as one page: {page}\nThe book as a PDF: {PDF}")


def check(html: Path = STAGE / "_build" / "html") -> None:
    """Raise BookError with the first thing in the HTML that a reader should not meet."""
    from bs4 import BeautifulSoup, SoupStrainer

    for page in pages():
        file = html / f"{page}.html"
        if not file.is_file():
            raise BookError(f"{page} stands in _toc.yml, but the build made no {page}.html")
        text = file.read_text(encoding="utf-8")
        if "papermill-error" in text:
            raise BookError(f"{page}.html shows a failed notebook")
        if str(ROOT) in text:
            raise BookError(f"{page}.html shows a path of this machine ({ROOT})")
        article = text.partition("<article")[2].partition("</article>")[0]
        for image in BeautifulSoup(article or text, "html.parser", parse_only=SoupStrainer("img")).find_all("img"):
            if not is_alt_text(image.get("alt", "")):
                raise BookError(f"{page}.html: the picture {image.get('src')} has no alt text")
        if page.startswith("notebooks/") and not re.search(rf'<a\s[^>]*href="{re.escape(colab_url(page))}"', text):
            raise BookError(f"{page}.html has no link to {colab_url(page)}")
    print(f"checked {len(pages())} pages: all there, every picture with alt text, every notebook with its Colab link")


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m logitnorm book", description=__doc__.split("\n\n")[0])
    parser.add_argument("action", choices=["prose", "build", "pdf"])
    parser.add_argument("--train", type=Path, help="the executed training notebook that becomes notebooks/train")
    options = parser.parse_args(arguments)
    try:
        if options.action == "prose":
            prose()
        elif options.action == "pdf":
            one_page()
            pdf()
        elif options.train is None:
            raise BookError("--train is missing: which executed training notebook shall the book show?")
        else:
            stage(options.train)
            jupyter_book()
            finish(STAGE / "_build" / "html")
            write_index_of_site(STAGE / "_build" / "html")
            check()
    except RunnerError as error:
        return report(error)
    return 0
