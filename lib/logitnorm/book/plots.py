"""One look for every figure and table: colours, markers, alt text, captions.

Colours are Okabe and Ito's colour-blind safe set, with orange, yellow and sky blue darkened until they stand out
3 to 1 on white and, turned round, on a dark page (DRAWING); colour is never the only difference (markers, line
styles and hatches repeat it). Text is large because a page 375 px wide shrinks a figure to about half.
"""

import base64
import io
import itertools
import math
import re
from html import escape
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.image import AxesImage
from PIL import Image

from logitnorm.data import SIZE
from logitnorm.study.paper import LABELS, NOT_RUN, fixed


class Look(NamedTuple):
    """How one thing is drawn, everywhere."""

    label: str
    color: str
    marker: str
    linestyle: str
    hatch: str = ""

    @property
    def line(self) -> dict:
        """As keywords of a line's call."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.linestyle, "label": self.label}


VERMILION, BLUE, OLIVE, GREEN = "#D55E00", "#0072B2", "#8A7F00", "#009E73"
PURPLE, SKY, OCHRE = "#CC79A7", "#3A97D4", "#B87A00"
METHODS = {
    "cross_entropy": Look(LABELS["cross_entropy"], VERMILION, "o", "--"),
    "logitnorm": Look(LABELS["logitnorm"], BLUE, "s", "-"),
    "centred_logitnorm": Look(LABELS["centred_logitnorm"], OLIVE, "P", (0, (3, 1))),
    "one_offset": Look(LABELS["one_offset"], "#6A3D9A", "X", (0, (1, 2))),
    "one_temperature": Look(LABELS["one_temperature"], "#8C510A", "h", (0, (3, 1, 1, 1))),
    "logit_penalty": Look(LABELS["logit_penalty"], GREEN, "^", "-."),
    "godin": Look(LABELS["godin"], PURPLE, "D", ":"),
    "learned_confidence": Look(LABELS["learned_confidence"], SKY, "v", (0, (5, 1, 1, 1, 1, 1))),
}
SCORES = {  # of the scores whose FPR95 is compared, by the names of netsize.NUMBERS
    "MSP": Look("MSP", BLUE, "s", "-"),
    "ODIN": Look("ODIN", SKY, "D", "-"),
    "GradNorm": Look("GradNorm", PURPLE, "^", "-."),
    "Energy": Look("Energy", VERMILION, "o", "--"),
    "Energy of f − m": Look("Energy of f − m", GREEN, "P", ":"),
}
ID = Look("in-distribution", "#000000", "o", "-")
OOD = Look("out-of-distribution", OCHRE, "X", "--", "///")
GREY, FAINT = "#555555", "#999999"  # of words and lines that stand behind
PAPER = Look("paper", "#767676", "*", ":")
OURS = Look("this book", BLUE, "s", "-")


# Classes of an image: the theme leaves "dark-light" alone, and book.css turns a "drawing" round on dark pages.
PHOTOGRAPH, DRAWING = "dark-light", "dark-light drawing"


def style():
    """Set the book's style for every figure drawn after this call."""
    sns.set_theme(context="notebook", style="ticks", font_scale=1.2)
    plt.rcParams.update({
        "figure.figsize": (6.4, 4.2),
        "figure.facecolor": "white",  # dark pages turn a drawing round and keep a photograph on its white card
        "savefig.facecolor": "white",
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#dddddd",
        "lines.linewidth": 2,
        "lines.markersize": 8,
        "hatch.linewidth": 0.8,
        "font.size": 12,
        "axes.labelsize": 13,
        "figure.labelsize": 13,
        "axes.titlesize": 13,
        "xtick.labelsize": 12,
        "ytick.labelsize": 12,
        "legend.fontsize": 12,
        "legend.title_fontsize": 12,
        "legend.frameon": False,
    })


def show(fig, alt: str, caption: str):
    """Display a figure as PNG, with its alt text and caption as output metadata; closes the figure.

    The runner that builds the book moves both from `metadata["logitnorm"]` to where Jupyter Book looks
    for them, so that alt text and captions may contain measured numbers. Alt text is read aloud, so a
    finding quoted in it loses its Markdown: stars of emphasis and the addresses of links.
    """
    from IPython.display import display  # only notebooks need IPython

    _need(alt, "alt text", "show")
    _need(caption, "caption", "show")
    alt = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", alt)
    alt = re.sub(r"\*\*(\S[^*]*\S)\*\*", r"\1", alt)
    png = base64_of(fig.savefig, format="png", dpi=150, facecolor="white")
    plt.close(fig)  # otherwise the inline backend shows it a second time, without alt text
    display({"image/png": png, "text/plain": alt}, raw=True,
            metadata={"logitnorm": {"alt": alt, "caption": caption, "classes": classes(fig)}})


def displayed(text: str):
    """HTML as an object that a notebook displays."""
    from IPython.display import HTML  # only notebooks need IPython

    return HTML(text)


def base64_of(save, **how) -> str:
    """What save(file, **how) writes, a figure's or an image's method, in base64."""
    buffer = io.BytesIO()
    save(buffer, **how)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def tiles(file: Path) -> np.ndarray:
    """The images of a picture that shows them side by side, line after line: uint8 N x 32 x 32 x 3."""
    picture = np.asarray(Image.open(file).convert("RGB"))
    return picture.reshape(len(picture) // SIZE, SIZE, -1, SIZE, 3).swapaxes(1, 2).reshape(-1, SIZE, SIZE, 3)


def turned(rgb):
    """What a dark page makes of a drawing's colours (... x 3, from 0 to 1): CSS's invert(0.93) hue-rotate(180deg)."""
    mean = np.ones((3, 1)) * (0.213, 0.715, 0.072)  # the weights of the filter effects module
    return np.clip((0.93 - 0.86 * np.asarray(rgb)) @ (2 * mean - np.eye(3)).T, 0, 1)


def classes(fig) -> str:
    """DRAWING, or PHOTOGRAPH where something in the figure is an image."""
    return PHOTOGRAPH if fig.findobj(AxesImage) else DRAWING


def edges(values, bins: int) -> np.ndarray:
    """Edges of a histogram of arrays of values; the thousandth at either end, which would stretch the axis, is for its outer bins."""
    low, high = np.quantile(np.concatenate(values), [0.001, 0.999])
    return np.linspace(low, high if high > low else low + 1, bins + 1)


def histogram(ax, values, bins, look: Look, label: str = "") -> None:
    """Draw the share of the values (percent) in each bin; those outside go into the outer bins."""
    ax.hist(np.clip(values, bins[0], bins[-1]), bins, weights=np.full(len(values), 100 / len(values)), label=label or look.label, **filled(look))


def filled(look: Look) -> dict:
    """How ax.hist draws a histogram that may lie over another: its outline has the full colour, which must stand out; the inside half of it."""
    return {"histtype": "stepfilled", "facecolor": (look.color, 0.4), "edgecolor": look.color, "linewidth": 1.3, "hatch": look.hatch}


def dumbbells(lines: pd.DataFrame, xlabel: str, ends: tuple[str, str] = ("Cross-entropy", "LogitNorm"), xlim=(0, 100)):
    """A figure of one row per line of `findings.ends`: from a hollow mark to a full one, the paper's above ours.

    Bars at our marks are the standard deviation over seeds.
    """
    fig, ax = plt.subplots(figsize=(6.4, 1.5 + 0.62 * len(lines)))
    for y, line in enumerate(lines.itertuples()):
        for look, shift, start, end in ((PAPER, -0.17, line.theirs0, line.theirs1), (OURS, 0.17, line.ours0, line.ours1)):
            ax.plot([start, end], [y + shift] * 2, color=look.color, linestyle="-", linewidth=2, zorder=1)
            ax.plot(start, y + shift, look.marker, color=look.color, markerfacecolor="white", markeredgewidth=1.8)
            ax.plot(end, y + shift, look.marker, color=look.color)
        for x, sd in ((line.ours0, line.sd0), (line.ours1, line.sd1)):
            ax.errorbar(x, y + 0.17, xerr=sd, color=OURS.color, capsize=3, linewidth=1.2, zorder=0)
    for look in (PAPER, OURS)[:1 + lines["ours1"].notna().any()]:
        ax.plot([], [], look.marker, color=look.color, label=look.label)
    ax.plot([], [], "o", color="black", markerfacecolor="white", markeredgewidth=1.8, label=ends[0])
    ax.plot([], [], "o", color="black", label=ends[1])
    ax.set(xlabel=xlabel, xlim=xlim, ylim=(len(lines) - 0.5, -0.5), yticks=range(len(lines)), yticklabels=lines["label"])
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    fig.legend(loc="outside upper center", ncols=2)
    return fig


def heat(theirs: pd.DataFrame | None, ours: pd.DataFrame, label: str, changes: bool = True):
    """A figure of two tables with the same rows and columns, the paper's above ours; what is empty or None is left out.

    Changes run from blue (falls) to red (rises), plain values from light to dark.
    """
    panels = [(look.label, values) for look, values in ((PAPER, theirs), (OURS, ours))
              if values is not None and values.notna().any(axis=None)]
    if not panels:
        return plt.figure()
    most = max(abs(values).max(axis=None) for _, values in panels)
    scale = dict(cmap="RdBu_r", vmin=-most, fmt="+.0f") if changes else dict(cmap="Blues", vmin=0, fmt=".0f")
    fig, axes = plt.subplots(len(panels), figsize=(6.4, (0.6 + 0.5 * len(ours)) * len(panels) + 1.1), squeeze=False,
                             sharex=True)
    for ax, (name, values) in zip(axes[:, 0], panels):
        sns.heatmap(values, ax=ax, vmax=most, annot=True, linewidths=1, cbar=False, **scale)
        ax.set(title=name if len(panels) > 1 else "", xlabel="", ylabel="")
        ax.tick_params(axis="y", rotation=0, length=0)
        ax.tick_params(axis="x", length=0)
        plt.setp(ax.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
    axes[-1, 0].set_xlabel(label)
    return fig


def slopes(lines: list[tuple], ylabel: str):
    """A figure of (name, start, end) lines from cross-entropy to LogitNorm; the last is the paper's."""
    fig, ax = plt.subplots(figsize=(6.4, 4.2))
    for i, (name, start, end) in enumerate(lines):
        look = PAPER if i == len(lines) - 1 else OURS
        ax.plot([0, 1], [start, end], look.marker, linestyle="-", color=look.color, markersize=9)
        ax.text(1.04, end, f"{name}, {end:.0f} %", va="center")
        ax.text(-0.04, start, f"{start:.0f} %", va="center", ha="right")
    ax.set(xlim=(-0.2, 1.75), xticks=(0, 1), xticklabels=("Cross-entropy", "LogitNorm"), ylabel=ylabel, ylim=(0, None))
    ax.grid(False, axis="x")
    return fig


def cells(table: pd.DataFrame) -> str:
    """The numbers of `heat`, for its alt text: 'ODIN: Textures -12, SVHN -30; ...'."""
    return "; ".join(f"{name}: " + ", ".join(f"{column} {'none' if math.isnan(value) else f'{value:.0f}'}" for column, value in row.items())
                     for name, row in table.iterrows())


def in_words(lines: pd.DataFrame, decimals: int = 1) -> str:
    """The numbers of `dumbbells`, for its alt text: 'SVHN: paper 50.3 to 8.0, this book 52.8 to 11.3; ...'."""
    return "; ".join(f"{line.label}: paper {fixed(line.theirs0, decimals)} to {fixed(line.theirs1, decimals)}"
                     + ("" if pd.isna(line.ours1) else f", this book {fixed(line.ours0, decimals)} to {fixed(line.ours1, decimals)}")
                     for line in lines.itertuples())


def switch(figures: dict, name: str, legend: str, caption: str, photos: bool = False):
    """One of several figures at a time, {label: (figure, alt text)}; radio buttons and CSS choose, without a script.

    `name` is the switch's id on the page; closes the figures; returns an object that a notebook displays. `photos`:
    compressed as photographs are, a tenth of the bytes.
    """
    _need(caption, "caption", "switch")
    buttons, panes, rules = [], [], []
    for i, (label, (fig, alt)) in enumerate(figures.items()):
        _need(alt, "alt text", "switch")
        data = base64_of(fig.savefig, format="webp", dpi=110 if photos else 130, facecolor="white",
                         pil_kwargs={"quality": 75} if photos else {"lossless": True})
        plt.close(fig)
        buttons.append(f'<label><input type="radio" name="{name}" id="{name}-choice-{i}"{" checked" * (i == 0)}> '
                       f"{escape(label)}</label>")
        panes.append(f'<div class="{name}-{i}"><p>{escape(label)}</p><img class="{PHOTOGRAPH if photos else DRAWING}" src="data:image/webp;base64,{data}" alt="{escape(alt)}"></div>')
        rules.append(f".switch:has(#{name}-choice-{i}:checked) .{name}-{i}")
    return displayed(f"<style>{', '.join(rules)} {{ display: block; }}</style>"
                     f'<figure class="switch"><fieldset><legend>{escape(legend)}</legend>{" ".join(buttons)}</fieldset>'
                     f"{''.join(panes)}<figcaption>{escape(caption)}</figcaption></figure>")


def folded(summary: str, *parts):
    """HTML texts and tables under a heading that unfolds them; returns an object that a notebook displays."""
    inside = "\n".join(getattr(part, "data", part) for part in parts)
    return displayed(f'<details class="record"><summary>{escape(summary)}</summary>\n{inside}\n</details>')


def table(frame: pd.DataFrame, caption: str, decimals: int = 2):
    """The frame's columns as an HTML table with caption; returns an object that a notebook displays.

    The first column names the row. Columns that are pairs (group, name) get a line of groups above their names, and
    on a phone each row becomes a small block. Floats are rounded to `decimals`, missing values read 'not yet run'.
    Another table scrolls sideways in its own box on a narrow page. All take their colours from the page; a number and
    its spread stay on one line.
    """
    _need(caption, "caption", "table")
    grouped = frame.columns.nlevels == 2
    head, labels = _grouped_head(frame.columns) if grouped else (columns(map(str, frame.columns)), None)
    body = []
    for row in frame.itertuples(index=False, name=None):
        name, *cells = [_cell(value, decimals) for value in row]
        if grouped:  # a group without any number in this row is left out on a phone
            told = {group for (group, _), cell in zip(frame.columns[1:], cells) if cell != "–"}
            mark = [' class="none"' * (group not in told) for group, _ in frame.columns[1:]]
            cells = [f'<td data-name="{labels[i]}"{mark[i]}>{cell}</td>' for i, cell in enumerate(cells)]
        else:
            cells = [f"<td>{cell}</td>" for cell in cells]
        body.append(f'<tr><th scope="row">{name}</th>' + "".join(cells) + "</tr>")
    # tabindex, role and label let a keyboard reach the box and scroll it
    return displayed(
        f'<div style="overflow-x:auto" tabindex="0" role="region" aria-label="{escape(caption)}">\n'
        f'<table class="dataframe{" grouped" * grouped}">\n<caption>{escape(caption)}</caption>\n'
        f"<thead>{head}</thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody>\n</table>\n</div>")


def columns(names) -> str:
    """The header line of an HTML table: a cell for each name."""
    return "<tr>" + "".join(f'<th scope="col">{escape(name)}</th>' for name in names) + "</tr>"


def html_table(names, rows: list[tuple], caption: str = "", kind: str = "") -> str:
    """An HTML table with its columns' names and rows (name, cells), whose name, cells (each a <td>) and caption are HTML; its class is `kind`."""
    body = "\n".join(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>' for name, cells in rows)
    return ((f'<table class="{kind}">' if kind else "<table>") + f"<caption>{caption}</caption>" * bool(caption)
            + f"<thead>{columns(names)}</thead><tbody>{body}</tbody></table>")


def _grouped_head(pairs) -> tuple[str, list[str]]:
    """Two header lines of columns (group, name), and for each column after the first the name that a phone shows."""
    groups = [(group, len(list(part))) for group, part in itertools.groupby(group for group, _ in pairs[1:])]
    first = f'<th scope="col" rowspan="2">{escape(pairs[0][1])}</th>'
    upper = "".join(f'<th scope="colgroup" colspan="{n}">{escape(group)}</th>' for group, n in groups)
    return (f"<tr>{first}{upper}</tr>{columns(name for _, name in pairs[1:])}",
            [escape(f"{group} {name}".strip()) for group, name in pairs[1:]])


def _need(text: str, what: str, where: str):
    if not (isinstance(text, str) and text.strip()):
        raise ValueError(f"plots.{where} needs a non-empty {what}: say in words what the reader should see.")


def _cell(value, decimals: int) -> str:
    if value is None or pd.isna(value):
        return NOT_RUN
    if isinstance(value, Real) and not isinstance(value, Integral):  # NumPy's too
        return f"{value:.{decimals}f}"
    return escape(str(value)).replace(" ± ", "&nbsp;±&nbsp;").replace("(n = ", "(n&nbsp;=&nbsp;")
