"""Which pages does a pull request change? python tools/changed_pages.py BASE [HTML]: Markdown for the job's summary.

A page is listed where its own source changed since the commit BASE; the results pages follow from the library, the runs
and the papers' numbers too, which is said when one of those changed. HTML is the built site, whose titles are shown.
"""

import re
import subprocess
import sys
from pathlib import Path

from logitnorm.book.build import pages
from logitnorm.paths import ROOT

BEHIND = {"the library": "lib/", "finished runs": "data/runs/", "the papers' numbers": "data/paper/",
          "official scores": "data/official/"}


def changed(files: list[str], listed: list[str]) -> tuple[list[str], list[str]]:
    """(pages of the book whose source is among the files, what else changed that results pages follow from)."""
    stems = {file.rpartition(".")[0] for file in files if file.endswith((".md", ".ipynb"))}
    return ([page for page in listed if page in stems],
            [what for what, folder in BEHIND.items() if any(file.startswith(folder) for file in files)])


def markdown(found: list[str], behind: list[str], html: Path) -> str:
    def title(page: str) -> str:
        file = html / f"{page}.html"
        head = re.search("<title>(.*?)( &#8212; |</title>)", file.read_text(encoding="utf-8"), re.S) if file.exists() else None
        return head[1].strip() if head else page

    lines = ["### Changed pages", "", *(f"- {title(page)}: `{page}.html`" for page in found)]
    if not found:
        lines.append("No page's own source changed.")
    if behind:
        lines += ["", f"{', '.join(behind).capitalize()} changed too, so any results page may show other numbers."]
    return "\n".join([*lines, "", "The built pages are this run's artifact `book`; open `index.html` in it.", ""])


if __name__ == "__main__":
    base, site = sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "build/book/_build/html")
    diff = subprocess.run(["git", "diff", "--name-only", f"{base}...HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)
    print(markdown(*changed(diff.stdout.splitlines(), pages()), site))
