"""plots.py: what leaves it must carry alt text, captions and no colour of its own."""

import base64
import io
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from logitnorm.book import plots  # noqa: E402
from logitnorm.paths import ROOT  # noqa: E402

pytest.importorskip("IPython")


@pytest.fixture
def displayed(monkeypatch):
    calls = []
    monkeypatch.setattr("IPython.display.display", lambda data, **options: calls.append((data, options)))
    return calls


def test_show_emits_a_white_png_with_alt_and_caption(displayed):
    plots.style()
    fig, ax = plt.subplots()
    ax.plot([0, 1])
    plots.show(fig, alt="a rising line", caption="From 0 to 1.")
    (data, options), = displayed
    pixels = plt.imread(io.BytesIO(base64.b64decode(data["image/png"])), format="png")
    assert pixels.shape[1] == round(6.4 * 150)
    assert (pixels[0, 0] == 1).all()
    assert options == {"raw": True, "metadata": {"logitnorm": {"alt": "a rising line", "caption": "From 0 to 1.", "classes": plots.DRAWING}}}
    assert not plt.fignum_exists(fig.number)


@pytest.mark.parametrize("alt, caption, named", [("", "c", "alt"), ("a", " \n", "caption"), (None, "c", "alt")])
def test_show_refuses_a_figure_without_words(displayed, alt, caption, named):
    fig = plt.figure()
    with pytest.raises(ValueError, match=named):
        plots.show(fig, alt=alt, caption=caption)
    assert displayed == []
    plt.close(fig)


def test_alt_text_is_read_aloud_so_a_finding_in_it_has_no_markdown(displayed):
    plots.show(plt.figure(), alt="A line. **It rises** by 2 ** 3 points ([why](page.md#why)).", caption="**Bold** it may be.")
    assert displayed[0][1]["metadata"]["logitnorm"]["alt"] == "A line. It rises by 2 ** 3 points (why)."
    assert displayed[0][1]["metadata"]["logitnorm"]["caption"] == "**Bold** it may be."


class Rows(HTMLParser):
    """Collects (tag, attributes, text) of the table's cells and caption."""

    def __init__(self):
        super().__init__()
        self.cells = []

    def handle_starttag(self, tag, attrs):
        if tag in ("th", "td", "caption"):
            self.cells.append([tag, dict(attrs), ""])

    def handle_data(self, data):
        if self.cells:
            self.cells[-1][2] += data.rstrip("\n")


def test_table_cells_scopes_rounding_and_missing_values():
    frame = pd.DataFrame({"set": ["svhn", "a<b"], "paper": [8.034, 2.0], "ours": [np.nan, 3.14159], "n": [5, 1]})
    page = plots.table(frame, caption="FPR95 & more").data
    rows = Rows()
    rows.feed(page)
    assert rows.cells[0] == ["caption", {}, "FPR95 & more"]
    assert [(tag, attrs, text) for tag, attrs, text in rows.cells[1:5]] == [
        ("th", {"scope": "col"}, name) for name in ["set", "paper", "ours", "n"]]
    assert [text for _, _, text in rows.cells[5:]] == ["svhn", "8.03", "not yet run", "5", "a<b", "2.00", "3.14", "1"]
    assert [attrs for tag, attrs, _ in rows.cells[5:] if tag == "th"] == [{"scope": "row"}] * 2
    assert re.match(r'<div style="overflow-x:auto" tabindex="0"', page)
    assert "background" not in page and "color" not in page


def test_table_rounds_numpys_numbers_and_leaves_whole_ones_and_truth_alone():
    row = [np.float32(1 / 3), np.float16(2), np.int64(7), True, np.True_]
    page = plots.table(pd.DataFrame([["x", *row]], columns=list("abcdef"), dtype=object), caption="c").data
    assert re.findall("<td>(.*?)</td>", page) == ["0.33", "2.00", "7", "True", "True"]


def test_table_needs_a_caption():
    with pytest.raises(ValueError, match="caption"):
        plots.table(pd.DataFrame({"a": [1]}), caption="")


def test_every_look_differs_in_colour_and_in_marker_and_line():
    looks = [*plots.METHODS.values(), plots.ID, plots.OOD, plots.PAPER]
    assert len({look.color for look in looks}) == len(looks)
    for group in (plots.METHODS.values(), (plots.ID, plots.OOD, plots.PAPER)):
        group = list(group)
        assert len({look.marker for look in group}) == len(group)
        assert len({str(look.linestyle) for look in group}) == len(group)


def luminance(rgb) -> float:
    """Relative luminance of WCAG 2; rgb from 0 to 1."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


def test_colours_stand_out_on_white_and_turned_round_on_dark_pages():
    css = (ROOT / "book/_static/book.css").read_text(encoding="utf-8")
    assert re.search(r"\.drawing.*?invert\(0\.93\) hue-rotate\(180deg\)", css, re.DOTALL)
    np.testing.assert_allclose(255 * plots.turned(np.ones(3)), 0x12, atol=1)  # the theme's dark page is #121212
    looks = [*plots.METHODS.values(), *plots.SCORES.values(), plots.ID, plots.OOD, plots.PAPER, plots.OURS]
    for color in {look.color for look in looks}:
        rgb = np.array(matplotlib.colors.to_rgb(color))
        for shown, ground in ((rgb, np.ones(3)), (plots.turned(rgb), plots.turned(np.ones(3)))):
            low, high = sorted((luminance(shown), luminance(ground)))
            assert (high + 0.05) / (low + 0.05) >= 3, color


@pytest.mark.parametrize("inset", [False, True])
def test_a_drawing_is_turned_round_on_dark_pages_and_a_photograph_is_not(displayed, inset):
    fig, ax = plt.subplots()
    ax.plot([0, 1])
    assert plots.classes(fig) == "dark-light drawing"
    (ax.inset_axes((0, 0, 1, 1)) if inset else ax).imshow(np.zeros((2, 2, 3)))
    plots.show(fig, alt="Two by two pixels", caption="Pixels")
    assert displayed[0][1]["metadata"]["logitnorm"]["classes"] == "dark-light"


def test_a_grouped_table_has_two_header_lines_and_names_each_cell_for_a_phone():
    columns = pd.MultiIndex.from_tuples([("", "set"), ("FPR95", "paper"), ("FPR95", "this book")])
    page = plots.table(pd.DataFrame([["svhn", "1 → 2", "3 → 4"]], columns=columns), caption="c").data
    assert '<th scope="col" rowspan="2">set</th><th scope="colgroup" colspan="2">FPR95</th>' in page
    assert '<td data-name="FPR95 paper">1 → 2</td><td data-name="FPR95 this book">3 → 4</td>' in page


def test_a_phone_leaves_out_a_group_without_a_number():
    columns = pd.MultiIndex.from_tuples([("", "code"), ("FPR95", "a"), ("FPR95", "b"), ("AUROC", "a"), ("AUROC", "b")])
    page = plots.table(pd.DataFrame([["x", "–", "–", "–", "1"]], columns=columns), caption="c").data
    assert re.findall(r'data-name="(\w+ \w)"( class="none")?', page) == [
        ("FPR95 a", ' class="none"'), ("FPR95 b", ' class="none"'), ("AUROC a", ""), ("AUROC b", "")]


@pytest.mark.parametrize("ours", [30.0, np.nan])
def test_dumbbells_draw_a_row_per_line_with_or_without_our_runs(ours):
    lines = pd.DataFrame([dict(label="SVHN", theirs0=50.0, theirs1=8.0, ours0=ours, ours1=ours, sd0=np.nan, sd1=np.nan)])
    fig = plots.dumbbells(lines, "FPR95 (%)")
    assert [tick.get_text() for tick in fig.axes[0].get_yticklabels()] == ["SVHN"]
    said = [text.get_text() for text in fig.legends[0].get_texts()]
    assert said == ["paper", "this book", "Cross-entropy", "LogitNorm"] if ours == 30.0 else "this book" not in said
    assert plots.in_words(lines).startswith("SVHN: paper 50.0 to 8.0")
    plt.close(fig)


def test_heat_leaves_out_an_empty_table():
    theirs = pd.DataFrame([[1.0, -2.0]], index=["ODIN"], columns=["SVHN", "iSUN"])
    assert len(plots.heat(theirs, theirs, "x").axes) == 2
    assert len(plots.heat(theirs, theirs * np.nan, "x").axes) == 1
    assert plots.cells(theirs) == "ODIN: SVHN 1, iSUN -2"
    assert plots.cells(theirs.assign(iSUN=np.nan)) == "ODIN: SVHN 1, iSUN none"
    plt.close("all")


def test_a_switch_shows_the_first_figure_and_names_all():
    page = plots.switch({name: (plt.figure(), f"a picture of {name}") for name in ("a", "b")}, "s", "set", caption="c").data
    assert page.count("<img") == 2 and page.count(" checked") == 1 and "<script" not in page
    assert 'alt="a picture of b"' in page and "<figcaption>c</figcaption>" in page
    with pytest.raises(ValueError, match="alt"):
        plots.switch({"a": (plt.figure(), "")}, "s", "set", caption="c")
    plt.close("all")


def test_slopes_end_with_the_papers_line():
    fig = plots.slopes([("small: WRN-10-2", 68.0, 46.0), ("paper: WRN-40-2", 49.5, 15.7)], "FPR95 (%)")
    assert [line.get_color() for line in fig.axes[0].lines] == [plots.OURS.color, plots.PAPER.color]
    plt.close(fig)
