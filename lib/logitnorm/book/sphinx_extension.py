"""Sphinx extension with the three things that the book's pages need and no package gives.

The library's docstrings are plain text, but autodoc reads them as reStructuredText, to which |f| and f^ are
markup. Here paragraphs stay paragraphs, indented parts become literal blocks, `code` becomes code, and nothing
else has a special meaning.

A page whose front matter says `language: ja` is marked as Japanese, so that screen readers and fonts fit.

The foot of every page names the edition: version, commit and the commit's date.
"""

import re
import shutil
import subprocess
import textwrap
from html import escape
from importlib.metadata import version

from logitnorm import paths

SPECIAL = re.compile(r"([\\`*|_<>\[\]])")
CODE = re.compile(r"(?<![^\s(])`([^`\s](?:[^`]*[^`\s])?)`(?![^\s).,:;])")


def to_rst(lines: list[str]) -> list[str]:
    """A plain docstring's lines as reStructuredText that shows the same text."""
    out = []
    blocks = re.split(r"\n\s*\n", "\n".join(lines).strip("\n"))
    for block in filter(str.strip, blocks):
        heading = re.fullmatch(r"([^\n]+)\n-{3,}", block)
        flush, indented = _split_at_indent(block)
        if heading:
            out += [f".. rubric:: {_inline(heading[1])}", ""]
            continue
        if flush:
            out += [*map(_inline, flush), ""]
        if indented:
            out += ["::", "", *textwrap.indent(textwrap.dedent("\n".join(indented)), "    ").splitlines(), ""]
    return out


def _split_at_indent(block: str) -> tuple[list[str], list[str]]:
    """The lines before the first indented one, and the rest."""
    lines = block.splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith(" ")), len(lines))
    return lines[:first], lines[first:]


def _inline(line: str) -> str:
    parts = CODE.split(line)  # every second part is what stood between backticks
    text = "".join(f"``{part}``" if i % 2 else SPECIAL.sub(r"\\\1", part) for i, part in enumerate(parts))
    return re.sub("::$", r":\\:", text)  # a paragraph's end in :: would announce a literal block


def set_language(app, page, template, context, doctree):
    """The page's own language in place of the book's, where its front matter names one."""
    language = app.env.metadata.get(page, {}).get("language")
    if language:
        context["language"] = language


def edition(url: str) -> str:
    """HTML that names the version and, in a checkout, the commit with its date and a link, and how to cite."""
    said = f"Edition {version('logitnorm')}"
    git = shutil.which("git")
    log = [git or "", "-C", str(paths.ROOT), "log", "-1", "--format=%h %H %cs"]
    if git and (done := subprocess.run(log, capture_output=True, text=True)).returncode == 0:
        short, commit, date = done.stdout.split()
        said += f' of {date}, commit <a href="{escape(url)}/commit/{commit}">{short}</a>'
    return f'<p>{said} · <a href="{escape(url)}/blob/main/CITATION.cff">cite this book</a></p>'


def set_edition(app, config):
    options = config.html_theme_options
    options["extra_footer"] = edition(options.get("repository_url", "").rstrip("/"))


def setup(app):
    app.connect("config-inited", set_edition)
    app.connect("autodoc-process-docstring", lambda app, what, name, obj, options, lines:
                lines.__setitem__(slice(None), to_rst(lines)))
    app.connect("html-page-context", set_language)
    return {"parallel_read_safe": True}
