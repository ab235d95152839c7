"""One look for every figure and table: colours, markers, alt text, captions.

Colours are Okabe and Ito's colour-blind safe set; colour is never the only difference (markers, line
styles and hatches repeat it). Text is large because a page 375 px wide shrinks a figure to about half.
"""

import base64
import io
from html import escape
from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from logitnorm.study.paper import LABELS, NOT_RUN


class Look(NamedTuple):
    """How one thing is drawn, everywhere."""

    label: str
    color: str
    marker: str
    linestyle: str
    hatch: str = ""


METHODS = {
    "cross_entropy": Look(LABELS["cross_entropy"], "#D55E00", "o", "--"),
    "logitnorm": Look(LABELS["logitnorm"], "#0072B2", "s", "-"),
    "centred_logitnorm": Look(LABELS["centred_logitnorm"], "#F0E442", "P", (0, (3, 1))),
    "logit_penalty": Look(LABELS["logit_penalty"], "#009E73", "^", "-."),
    "godin": Look(LABELS["godin"], "#CC79A7", "D", ":"),
    "learned_confidence": Look(LABELS["learned_confidence"], "#56B4E9", "v", (0, (5, 1, 1, 1, 1, 1))),
}
ID = Look("in-distribution", "#000000", "o", "-")
OOD = Look("out-of-distribution", "#E69F00", "X", "--", "///")
PAPER = Look("paper", "#767676", "*", ":")


def style():
    """Set the book's style for every figure drawn after this call."""
    sns.set_theme(context="notebook", style="ticks", font_scale=1.2)
    plt.rcParams.update({
        "figure.figsize": (6.4, 4.2),
        "figure.facecolor": "white",  # dark pages keep the figure on its own white card
        "savefig.facecolor": "white",
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#dddddd",
        "lines.linewidth": 2,
        "lines.markersize": 8,
        "hatch.linewidth": 0.8,
        "legend.frameon": False,
    })


def show(fig, alt: str, caption: str):
    """Display a figure as PNG, with its alt text and caption as output metadata; closes the figure.

    The runner that builds the book moves both from `metadata["logitnorm"]` to where Jupyter Book looks
    for them, so that alt text and captions may contain measured numbers.
    """
    from IPython.display import display  # only notebooks need IPython

    _need(alt, "alt text", "show")
    _need(caption, "caption", "show")
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=150, facecolor="white")
    plt.close(fig)  # otherwise the inline backend shows it a second time, without alt text
    png = base64.b64encode(buffer.getvalue()).decode("ascii")
    display({"image/png": png, "text/plain": alt}, raw=True,
            metadata={"logitnorm": {"alt": alt, "caption": caption}})


def table(frame: pd.DataFrame, caption: str, decimals: int = 2):
    """The frame's columns as an HTML table with caption; returns an object that a notebook displays.

    The first column names the row. Floats are rounded to `decimals`, missing values read 'not yet run'.
    The table scrolls sideways in its own box on a narrow page and takes its colours from the page; a number and
    its spread stay on one line.
    """
    from IPython.display import HTML

    _need(caption, "caption", "table")
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in frame.columns)
    body = []
    for row in frame.itertuples(index=False):
        name, *cells = [_cell(value, decimals) for value in row]
        body.append(f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    # tabindex, role and label let a keyboard reach the box and scroll it
    return HTML(
        f'<div style="overflow-x:auto" tabindex="0" role="region" aria-label="{escape(caption)}">\n'
        f'<table class="dataframe">\n<caption>{escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody>\n</table>\n</div>")


def _need(text: str, what: str, where: str):
    if not (isinstance(text, str) and text.strip()):
        raise ValueError(f"plots.{where} needs a non-empty {what}: say in words what the reader should see.")


def _cell(value, decimals: int) -> str:
    if value is None or pd.isna(value):
        return NOT_RUN
    if isinstance(value, float):
        return f"{value:.{decimals}f}"
    return escape(str(value)).replace(" ± ", "&nbsp;±&nbsp;").replace("(n = ", "(n&nbsp;=&nbsp;")
