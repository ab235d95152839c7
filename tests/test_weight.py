"""The light site: one style sheet that changes no style, icons, and scripts that wait; a real browser is the oracle."""

import pytest
from browser import served
from logitnorm.book import weight

ONE = """@charset "UTF-8";
/* .comment { color: red } */
@import "two.css";
:root { --size: 1px } html[data-theme=dark] p { color: rgb(9, 9, 9) }
p.note, .absent .note, p:not(.absent):is(.note, .other) > b { color: rgb(1, 2, 3) }
p::before { content: "} .x { ;" }
.absent { color: red }
.md\\:wide { width: 50px }
.tooltip.bs-tooltip-top { left: 3px }
@media (min-width: 1px) { .note { margin: 5px } .absent { margin: 6px } @supports (display: grid) { #top > .note { padding: 7px } } }
@media (min-width: 1px) { .absent { margin: 6px } }
@keyframes fade { from { opacity: 0 } to { opacity: 1 } }
"""
TWO = "p { color: rgb(5, 5, 5); background: url(\"data:image/svg+xml,%3Csvg xmlns='a;b{}'/%3E\") } .made-by-script { top: 4px }"
THREE = ".note { color: rgb(7, 8, 9); background: url(../dot.png) }"
PAGE = """<!doctype html><html lang="en" data-theme="auto"><head><title>t</title>
  <script data-cfasync="false">document.documentElement.dataset.theme = "auto";</script>
  <link rel="preload" as="script" href="{up}_static/late.js" />
  <link href="{up}_static/styles/one.css?digest=1" rel="stylesheet" />
  <link rel="stylesheet" type="text/css" href="{up}_static/three.css?v=2" />
  <script src="{up}_static/documentation_options.js?v=1"></script>
  <script data-x="1" src="{up}_static/early.js?v=3"></script>
  <script>DOCUMENTATION_OPTIONS.pagename = "t"; said = [document.documentElement.dataset.theme];</script>
  <script src="{up}_static/searchtools.js"></script>
</head><body id="top"><p class="note">a <b>b</b></p><p class="md:wide other">c</p><p>d</p>
  <script>said.push(document.documentElement.dataset.theme);</script>
  <script defer src="{up}_static/late.js"></script></body></html>"""


@pytest.fixture
def site(tmp_path):
    """make(folder): a small site with the theme's habits."""
    def make(name):
        static = tmp_path / name / "_static"
        (static / "styles").mkdir(parents=True)
        (static.parent / "book").mkdir()
        (static / "styles/one.css").write_text(ONE)
        (static / "styles/two.css").write_text(TWO)
        (static / "three.css").write_text(THREE)
        (static / "documentation_options.js").write_text("const DOCUMENTATION_OPTIONS = { a: 1 };")
        (static / "early.js").write_text("said.push('early ' + DOCUMENTATION_OPTIONS.pagename, 'made-by-script');")
        (static / "searchtools.js").write_text("said.push('search');")
        (static / "late.js").write_text("said.push('late');")
        for page, up in (("book/page.html", "../"), ("search.html", "")):
            (static.parent / page).write_text(PAGE.format(up=up))
        return static.parent
    return make


def lighter(folder, step):
    """One step of `weight.lighten` alone."""
    pages = {page: page.read_text() for page in folder.rglob("*.html")}
    step(folder, pages)
    for page, text in pages.items():
        page.write_text(text)


STYLES = """[...document.querySelectorAll("html, body, body *")].flatMap((element) => ["", "::before"].map((part) => {
    const style = getComputedStyle(element, part);
    return [...style].map((name) => `${name}: ${style.getPropertyValue(name)}`).join("; ");
}))"""


def test_one_sheet_changes_no_style(site, browser):
    before, after = site("before"), site("after")
    lighter(after, weight.one_sheet)
    assert {path.name for path in (after / "_static").rglob("*.css")} == {"two.css", "site.css"}  # two.css: imported
    page = browser.new_page()
    found = []
    for folder in (before, after):
        with served(folder) as address:
            page.goto(f"{address}book/page.html")
            found.append([style.replace(address, "") for style in page.evaluate(STYLES)])
    page.close()
    assert found[0] == found[1]
    text = (after / "book/page.html").read_text()
    assert text.count("stylesheet") == 1 and 'href="../_static/site.css?v=' in text
    assert 'href="_static/site.css?v=' in (after / "search.html").read_text()


def test_what_no_page_can_use_is_left_out():
    words = {"html", "p", "b", "note", "other", "top", "md", "wide", "tooltip"}
    css = weight.prune(ONE, words)
    assert ".absent {" not in css and "comment" not in css
    # The selectors of a list are judged one by one, and a block with nothing left in it goes.
    assert "p.note,p:not(.absent):is(.note, .other) > b{" in css and css.count("@media") == 1
    assert "bs-tooltip-top" in css and "@keyframes fade" in css and 'content: "} .x { ;"' in css and "md\\:wide" in css
    assert weight.prune(css, words) == css
    assert weight.prune("a{}", {"a"}) == "" and weight.prune("", words) == ""
    assert weight.can_match(".note:not(:is(.gone, .other:not(.far)))", {"note"}), "parentheses in parentheses are not looked at"


@pytest.mark.parametrize("scheme, stored, theme", [("dark", None, "dark"), ("light", None, "light"), ("dark", "light", "light"),
                                                   ("light", "dark", "dark"), ("dark", "auto", "dark")])
def test_scripts_wait_in_their_order_and_a_dark_page_is_dark_before_it_is_painted(site, browser, scheme, stored, theme):
    folder = site("late")
    lighter(folder, weight.late_scripts)
    context = browser.new_context(color_scheme=scheme)
    if stored:
        context.add_init_script(f"localStorage.setItem('mode', '{stored}'); localStorage.setItem('theme', '{theme}')")
    page = context.new_page()
    with served(folder) as address:
        for name, search in (("book/page.html", []), ("search.html", ["search"])):
            page.goto(address + name)
            assert page.evaluate("said") == [theme, theme, "early t", "made-by-script", *search, "late"]
    context.close()
    text = (folder / "book/page.html").read_text()
    assert 'data-theme="light"' in text and "preload" not in text and "searchtools" not in text


def test_a_site_without_the_theme_stays_as_it_is(tmp_path):
    (tmp_path / "page.html").write_text("<html><head></head><p>text</p></html>")
    weight.lighten(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "<html><head></head><p>text</p></html>"
