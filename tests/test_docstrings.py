"""Docstrings as pages: the text says the same, is never markup, and every public module is listed."""

import importlib
import re

from bs4 import BeautifulSoup
from docutils.core import publish_doctree, publish_string
from hypothesis import given, settings
from hypothesis import strategies as st
from logitnorm.book import sphinx_extension
from logitnorm.paths import ROOT


def test_docstrings_become_text_that_says_the_same():
    plain = ["Loss |f| of f^ and *args_, see `tau`:", "", "    f[0]  |x|", "    g", "", "Rule", "----", "a <b> c"]
    out = publish_string("\n".join(sphinx_extension.to_rst(plain)), writer_name="html5",
                         settings_overrides={"halt_level": 2, "report_level": 2}).decode()
    soup = BeautifulSoup(out, "html.parser").body
    assert soup.find("p").get_text() == "Loss |f| of f^ and *args_, see tau:"
    assert soup.find("pre").get_text() == "f[0]  |x|\ng" and "a <b> c" in soup.get_text()


@settings(max_examples=200)
@given(st.lists(st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1, max_size=30),
                min_size=1, max_size=4))
def test_no_docstring_is_markup(words):
    line = "x " + " ".join(words).strip()
    doctree = publish_doctree("\n".join(sphinx_extension.to_rst([line])),
                              settings_overrides={"halt_level": 5, "report_level": 5})
    assert not list(doctree.findall(lambda node: node.tagname in ("problematic", "system_message")))


def test_every_module_on_the_api_page_exists_and_has_its_names_listed():
    page = (ROOT / "book" / "api.md").read_text()
    modules = re.findall(r"automodule:: (\S+)", page)
    assert re.findall(r"public-names:: (\S+)", page) == modules
    for name in modules:
        assert importlib.import_module(name).__doc__ and sphinx_extension.public_names(name)
    assert {f"logitnorm.{path.stem}" for path in (ROOT / "lib/logitnorm").glob("*.py") if path.stem not in ("__init__", "__main__", "paths")} | {
        "logitnorm.data"} == {name for name in modules if name.count(".") == 1}, "the whole science floor"


def test_the_public_names_of_a_module_are_its_own_functions():
    assert sphinx_extension.public_names("logitnorm.losses")[:3] == ["cross_entropy", "normalise", "logitnorm"]
    names = sphinx_extension.public_names("logitnorm.data")
    assert {"load", "crop_flip"} <= set(names) and "SIZE" not in names and "torch" not in sphinx_extension.public_names("logitnorm.scores")


def test_a_page_may_name_its_language():
    class App:
        class env:
            metadata = {"book/summary_ja": {"language": "ja"}}
    for page, wanted in (("book/summary_ja", "ja"), ("book/ood", "en")):
        context = {"language": "en"}
        sphinx_extension.set_language(App, page, "page.html", context, None)
        assert context["language"] == wanted
