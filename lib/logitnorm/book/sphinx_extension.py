"""Sphinx extension with the four things that the book's pages need and no package gives.

The library's docstrings are plain text, but autodoc reads them as reStructuredText, to which |f| and f^ are
markup. Here paragraphs stay paragraphs, indented parts become literal blocks, `code` becomes code, and nothing
else has a special meaning.

A page whose front matter says `language: ja` is marked as Japanese, so that screen readers and fonts fit.

The foot of every page names the edition (version, commit and the commit's date), and says how to cite the page.

The directive `public-names` lists the names of a module, one line each, as autosummary does with names that are given.
"""

import importlib
import re
import textwrap
from functools import cache
from html import escape
from importlib.metadata import version
from itertools import takewhile

from logitnorm.study.provenance import git

SPECIAL = re.compile(r"([\\`*|_<>\[\]])")
CODE = re.compile(r"(?<![^\s(])`([^`\s](?:[^`]*[^`\s])?)`(?![^\s).,:;])")


def to_rst(lines: list[str]) -> list[str]:
    """A plain docstring's lines as reStructuredText that shows the same text."""
    out = []
    blocks = re.split(r"\n\s*\n", "\n".join(lines).strip("\n"))
    for block in filter(str.strip, blocks):
        heading = re.fullmatch(r"([^\n]+)\n-{3,}", block)
        if heading:
            out += [f".. rubric:: {_inline(heading[1])}", ""]
            continue
        flush = list(takewhile(lambda line: not line.startswith(" "), block.splitlines()))
        indented = block.splitlines()[len(flush):]
        if flush:
            out += [*map(_inline, flush), ""]
        if indented:
            out += ["::", "", *textwrap.indent(textwrap.dedent("\n".join(indented)), "    ").splitlines(), ""]
    return out


def _inline(line: str) -> str:
    parts = CODE.split(line)  # every second part is what stood between backticks
    text = "".join(f"``{part}``" if i % 2 else SPECIAL.sub(r"\\\1", part) for i, part in enumerate(parts))
    text = text.replace("Eq. ", "Eq.\u2060 ")  # not the end of a sentence, for a list that shows the first one
    return re.sub("::$", r":\\:", text)  # a paragraph's end in :: would announce a literal block


def set_language(app, page, template, context, doctree):
    """The page's own language in place of the book's, where its front matter names one."""
    language = app.env.metadata.get(page, {}).get("language")
    if language:
        context["language"] = language


@cache
def edition() -> tuple[str, str, str]:
    """(version and, in a checkout, its date, the commit in short, the commit): '' for what is not known."""
    said = f"Edition {version('logitnorm')}"
    if log := git("log", "-1", "--format=%h %H %cs"):
        short, commit, date = log.split()
        return f"{said} of {date}", short, commit
    return said, "", ""


def foot(repository: str, book: str, author: str, title: str, address: str, cite: str) -> str:
    """HTML for the foot of a page: the edition, and the words to cite this page with. title may hold markup."""
    said, short, commit = edition()
    link = f', commit <a href="{escape(repository)}/commit/{commit}">{short}</a>' if commit else ""
    title = re.sub("<[^>]*>", "", title)
    where = f"{title}. In: {escape(book)}" if title != escape(book) else title
    words = f"{escape(author)}. {where}. {said}{short and f', commit {short}'}. {escape(address)}"
    return (f"<div>{said}{link} · <details class=\"cite\"><summary>cite this page</summary><p>{words}</p>"
            f'<p><a href="{escape(cite)}">BibTeX, and the papers</a></p></details></div>')


def set_foot(app, page, template, context, doctree):
    """The foot of every page, in place of the theme's extra footer."""
    c = app.config
    context["theme_extra_footer"] = foot(c.html_theme_options.get("repository_url", "").rstrip("/"), c.project, c.author,
                                         context.get("title") or c.project, context.get("pageurl") or c.html_baseurl,
                                         context["pathto"]("book/cite"))


def public_names(module: str) -> list[str]:
    """The functions and classes that automodule documents, in the order of the source: `__all__`, or those defined there."""
    found = importlib.import_module(module)
    names = getattr(found, "__all__", None) or [name for name, value in vars(found).items()
                                                if getattr(value, "__module__", None) == module and not name.startswith("_")]
    values = {name: vars(found)[name] for name in names}
    return [name for name, value in values.items()  # a docstring that begins with the name is Python's own, of a NamedTuple
            if callable(value) and value.__doc__ and not value.__doc__.startswith(f"{name}(")]


def directive():
    """`.. public-names:: logitnorm.losses`: a line for each public name, which leads to its description on the page."""
    from docutils import nodes  # the library is imported without Sphinx too
    from docutils.statemachine import StringList
    from sphinx.util.docutils import SphinxDirective

    class PublicNames(SphinxDirective):
        required_arguments = 1

        def run(self):
            module = self.arguments[0]
            lines = [".. autosummary::", "   :nosignatures:", "", *(f"   ~{module}.{name}" for name in public_names(module))]
            node = nodes.container()
            self.state.nested_parse(StringList(lines, source=module), self.content_offset, node)
            return node.children

    return PublicNames


def setup(app):
    app.setup_extension("sphinx.ext.autosummary")
    app.add_directive("public-names", directive())
    app.connect("autodoc-process-docstring", lambda app, what, name, obj, options, lines:
                lines.__setitem__(slice(None), to_rst(lines)))
    app.connect("autodoc-skip-member",  # a NamedTuple's fields, of which Python says "Alias for field number 0"
                lambda app, what, name, obj, skip, options: True if type(obj).__name__ == "_tuplegetter" else None)
    app.connect("html-page-context", set_language)
    app.connect("html-page-context", set_foot)
    return {"parallel_read_safe": True}
