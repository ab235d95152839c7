"""Figures the reader can move: a detector's threshold, the norm and temperature of the logits, the valley of the offset.

Each is one block of HTML: native form controls (they come with labels and keyboard), places for charts, a table of the
numbers, and the data. book/_static/explorers.js connects them and draws the charts; the build puts it once into the
built site, so the pages need no network. Inside Colab, where there is no site, the block carries the script itself.
Every number on the threshold explorer is a count made here.
"""

import json
import math
import sys
import textwrap
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F

from logitnorm import losses, metrics, paths
from logitnorm.study import paper

from .plots import GREEN, ID, METHODS, OOD, PAPER, PURPLE, displayed, edges, histogram, html_table

STEPS = 200  # positions of the threshold slider: 0.5, 1, ..., 100 percent of ID accepted
BINS = 50
SCRIPT = paths.ROOT / "book" / "_static" / "explorers.js"
# Round values, the paper's temperatures among them; a slider moves from one to the next.
TAUS = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
NORMS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0, 100.0)
PRINTED, EXACT = PURPLE, GREEN  # the two bounds


# ---- the script

def drawn(look, label: str = "", **style) -> dict:
    """How explorers.js draws one thing, in the colours of plots.py: label, color; dash, hatch, opacity, mark if given."""
    return {"label": label or look.label, "color": look.color, **style}


# ---- the threshold explorer

def thresholds(id_scores) -> np.ndarray:
    """The highest threshold that accepts at least j / STEPS of the ID images, for j = 1, ..., STEPS.

    Like metrics.threshold95, which is its entry for 95 %.
    """
    n = len(id_scores)
    rejected = [n * (STEPS - j) // STEPS for j in range(1, STEPS + 1)]  # in integers, so no rounding
    return np.sort(np.asarray(id_scores, dtype=np.float64))[rejected]


def threshold_data(runs: list) -> dict:
    """What the threshold explorer shows of these runs: per run, score and OOD set exact counts of accepted images.

    {"runs": [{"title", "scores": [{"title", "thresholds", "low", "high", "id", "sets"}]}]}; id and each of sets are
    {"title", "n", "added", "histogram"}, the sets with their "auroc" as well: added[j - 1] images reach
    thresholds[j - 1] but not the one before (so their running sum is what a threshold accepts), histogram counts
    images between low and high, those outside in the first and last bin.
    """
    return {"steps": STEPS, "runs": [
        {"title": run_title(run), "scores": [_score_data(run, score) for score in score_names(run)]} for run in runs]}


def run_title(run) -> str:
    return (f"{paper.method_title(run.config)}, size {run.config.size}, {paper.title(run.config.id_dataset)}, "
            f"{paper.trained(run.config)}, seed {run.config.seed}")


def score_names(run) -> list[str]:
    """The scores by which the run was measured, in its own order."""
    return [name for name in dict.fromkeys(run.metrics["score"]) if name]  # accuracy has no score


def _score_data(run, score: str) -> dict:
    values = {name: run.score(score, name) for name in run.sets}
    id_scores = values[run.config.id_dataset]
    at = thresholds(id_scores)
    bins = edges(list(values.values()), BINS)

    def counts(name: str) -> dict:
        ordered = np.sort(values[name])
        accepted = len(ordered) - np.searchsorted(ordered, at, side="left")
        return {"title": paper.named(name), "n": len(ordered), "added": np.diff(accepted, prepend=0).tolist(),
                "histogram": np.histogram(np.clip(ordered, bins[0], bins[-1]), bins)[0].tolist()}

    sets = [{**counts(name), "auroc": round(metrics.auroc(id_scores, values[name]), 2)}
            for name in run.sets if name != run.config.id_dataset]
    return {"title": paper.title(score), "low": float(bins[0]), "high": float(bins[-1]),
            "thresholds": [float(f"{t:.7g}") for t in at], "id": counts(run.config.id_dataset), "sets": sets}


def threshold_block(runs: list):
    """The threshold explorer as an object that a notebook displays."""
    data = threshold_data(runs)
    start = score_names(runs[0]).index("msp")
    controls = "".join([
        select("run", "Trained network", [run["title"] for run in data["runs"]]),
        select("score", "Score", [entry["title"] for entry in data["runs"][0]["scores"]], start),
        select("set", "OOD set", [entry["title"] for entry in data["runs"][0]["scores"][0]["sets"]]),
        slider("position", "ID images to accept", 1, STEPS, round(0.95 * STEPS))])
    table = numbers("At this threshold", ["quantity", "value"], [
        ("threshold of the score", "threshold"), ("ID accepted: true positive rate (TPR)", "tpr"),
        ("OOD accepted: false positive rate (FPR)", "fpr"), ("AUROC, over all thresholds", "auroc")])
    plots = (chart("threshold-histogram", "Histogram of the score, ID and OOD images, with the threshold")
             + chart("threshold-roc", "ROC curve: TPR against FPR, with the point of this threshold"))
    line, black = METHODS["logitnorm"], ID
    looks = {"id": drawn(ID), "ood": drawn(OOD, hatch=True), "threshold": drawn(line, "threshold"),
             "chance": {"label": "chance", "color": PAPER.color, "dash": "2 4"}, "roc": drawn(black, "all thresholds"),
             "point": drawn(line, "this threshold", mark="diamond")}
    return block("threshold", "Threshold explorer", controls, plots, table, {"data": data, "looks": looks})


def threshold_figure(runs: list):
    """The static twin of threshold_block, first OOD set, threshold at 95 % of ID: (figure, alt text, caption)."""
    fig, axes = plt.subplots(len(runs) + 1, figsize=(6.4, 3.4 * len(runs) + 4.2))
    said = []
    for run, ax in zip(runs, axes):
        names = run.config.id_dataset, run.config.ood_sets[0]
        id_scores, ood_scores = (run.score("msp", name) for name in names)
        bins = edges([id_scores, ood_scores], BINS)
        for name, values, look in zip(names, (id_scores, ood_scores), (ID, OOD)):
            histogram(ax, values, bins, look, paper.title(name))
        at, fpr95 = metrics.threshold95(id_scores), metrics.fpr95(id_scores, ood_scores)
        ax.axvline(np.clip(at, bins[0], bins[-1]), ymax=0.82, color=METHODS["logitnorm"].color,
                   linewidth=3, label="threshold")
        title = textwrap.fill(run_title(run), 40)
        ax.set(title=title, xlabel=paper.title("msp"), ylabel="images per bin (%)")
        ax.set_ylim(0, 1.3 * ax.get_ylim()[1])  # room for the legend above the bars
        ax.legend(ncols=3, loc="upper center", fontsize=11)
        tpr, fpr = metrics.roc(id_scores, ood_scores)
        look = METHODS[run.config.method]
        axes[-1].plot(100 * fpr, 100 * tpr, color=look.color, linestyle=look.linestyle,
                      label=f"{paper.method_title(run.config)}, size {run.config.size}")
        axes[-1].plot(fpr95, 100 * np.mean(id_scores >= at), look.marker, color=look.color)
        said.append(f"{run_title(run)}: a threshold that keeps 95 % of {paper.title(names[0])} also accepts "
                    f"{fpr95:.2f} % of {paper.named(names[1])}, AUROC {metrics.auroc(id_scores, ood_scores):.2f} %")
    axes[-1].set(xlabel="FPR: OOD accepted (%)", ylabel="TPR: ID accepted (%)")
    axes[-1].legend()
    alt = f"Histograms of {paper.title('msp')} with the 95 % threshold, and ROC curves. " + "; ".join(said) + "."
    return fig, alt, ("A threshold on the score accepts what lies to its right. Markers on the ROC curves: the "
                      "threshold that keeps 95 % of ID, whose FPR is the FPR95 of the tables.")


# ---- the norm-and-tau explorer

def example_logits(norm: float, angle: float, K: int) -> torch.Tensor:
    """Logits of length `norm` at `angle` degrees from the best direction e_0 - 1/K, tilted towards class 1 (float64).

    At 0 degrees the LogitNorm loss of class 0 is at its infimum; further on class 1 competes; K is at least 3.
    """
    best, rival = torch.full((2, K), 1.0, dtype=torch.float64)
    best[1:] = -1 / (K - 1)
    rival[0], rival[2:] = 0, -1 / (K - 2)
    turn = math.radians(angle)
    return norm * (math.cos(turn) * best / best.norm() + math.sin(turn) * rival / rival.norm())


def _loss(f: torch.Tensor) -> float:
    """Cross-entropy of class 0 for logits f (K), log(1 + sum of exp(f_k - f_0)), exact where it is tiny.

    losses.cross_entropy takes a difference, which in float64 ends at 1e-16 and is 0 below.
    """
    return F.softplus((f[1:] - f[0]).logsumexp(0), threshold=1000).item()


def norm_values(norm: float, tau: float, angle: float, K: int) -> dict[str, float]:
    """What the norm-and-tau explorer shows: probabilities 0 to 1, losses of class 0 and bounds in nats."""
    f = example_logits(norm, angle, K)
    normalised = losses.normalise(f, tau)
    return {"ce_probability": f.softmax(0).max().item(), "ln_probability": normalised.softmax(0).max().item(),
            "ce_loss": _loss(f), "ln_loss": _loss(normalised),
            "printed": losses.lower_bound(tau, K), "infimum": losses.infimum(tau, K)}


def norm_block(tau: float, norm: float, angle: int, num_classes: int):
    """The norm-and-tau explorer, starting at these values, as an object that a notebook displays."""
    for name, value, known in (("tau", tau, TAUS), ("norm", norm, NORMS), ("num_classes", num_classes, (10, 100))):
        if value not in known:
            raise ValueError(f"{name} = {value} is not on the explorer's scale: choose one of {known}")
    controls = "".join([
        slider("norm", "Norm of the logits", 0, len(NORMS) - 1, NORMS.index(norm)),
        slider("tau", "Temperature τ", 0, len(TAUS) - 1, TAUS.index(tau)),
        slider("angle", "Angle to the best direction", 0, 180, angle, step=5),
        select("classes", "Classes K", ["10", "100"], (10, 100).index(num_classes))])
    table = numbers("Loss of the right class, in nats", ["quantity", "cross-entropy", "LogitNorm"], [
        ("largest probability", "ce_probability", "ln_probability"), ("loss", "ce_loss", "ln_loss"),
        ("exact infimum over all logits", "zero", "infimum"), ("bound printed in Proposition 3.3", "none", "printed")])
    plots = (chart("norm-softmax", "Softmax probabilities of the classes, cross-entropy and LogitNorm")
             + chart("norm-loss", "Both losses against the norm of the logits, with both bounds of the LogitNorm loss")
             + chart("norm-bounds", "The values that no LogitNorm loss takes, against tau, with the loss at this one"))
    data = {"taus": TAUS, "norms": NORMS, "eps": losses.EPS}
    ce, ln = METHODS["cross_entropy"], METHODS["logitnorm"]
    looks = {"ce": drawn(ce, dash="8 5"), "ln": drawn(ln), "ce_bars": drawn(ce, hatch=True), "ln_bars": drawn(ln, opacity=1),
             "infimum": {"label": "infimum", "color": EXACT, "dash": "10 4 2 4"},
             "printed": {"label": "printed bound", "color": PRINTED, "dash": "2 4"},
             "ce_point": {"color": ce.color, "mark": "circle"}, "ln_point": drawn(ln, "LogitNorm here", mark="square"),
             "ruled_out": {"label": "ruled out by Proposition 3.3", "color": PRINTED, "hatch": True},
             "unreached": {"label": "never reached either", "color": EXACT},
             "here": {"color": PAPER.color, "dash": "2 4"}}
    return block("norm", "Norm and temperature explorer", controls, plots, table, {"data": data, "looks": looks})


def norm_figure(tau: float, norm: float, angle: int, num_classes: int):
    """The static twin of norm_block: (figure, alt text, caption)."""
    values = norm_values(norm, tau, angle, num_classes)
    f = example_logits(norm, angle, num_classes)
    fig, (left, right, bounds) = plt.subplots(3, figsize=(6.4, 11.6))
    for shift, logits, method in ((-0.2, f, "cross_entropy"), (0.2, losses.normalise(f, tau), "logitnorm")):
        look = METHODS[method]
        left.bar(np.arange(10) + shift, logits.softmax(0)[:10].tolist(), 0.36, color=look.color, label=look.label,
                 hatch="///" * (method == "cross_entropy"), edgecolor="white")
    left.set(xlabel="class (0 is the right one, 1 its rival)", ylabel="probability", ylim=(0, 1.05), xticks=range(10))
    along = [norm_values(x, tau, angle, num_classes) for x in NORMS]
    for key, method in (("ce_loss", "cross_entropy"), ("ln_loss", "logitnorm")):
        look = METHODS[method]
        right.plot(NORMS, [point[key] for point in along], color=look.color, linestyle=look.linestyle, label=look.label)
        right.plot(norm, values[key], look.marker, color=look.color)
    right.axhline(values["infimum"], color=EXACT, linestyle="-.", label="exact infimum")
    right.axhline(values["printed"], color=PRINTED, linestyle=":", label="printed bound")
    right.set(xscale="log", yscale="log", xlabel="norm of the logits", ylabel="loss (nats)", ylim=(1e-24, 1e3))
    printed, exact = ([bound(t, num_classes) for t in TAUS] for bound in (losses.lower_bound, losses.infimum))
    bounds.fill_between(TAUS, 1e-24, printed, color=PRINTED, alpha=0.45, hatch="///", edgecolor="white",
                        label="ruled out by Proposition 3.3")
    bounds.fill_between(TAUS, printed, exact, color=EXACT, alpha=0.35, label="never reached either")
    bounds.axvline(tau, color=PAPER.color, linestyle=":")
    bounds.plot(tau, values["ln_loss"], METHODS["logitnorm"].marker, color=METHODS["logitnorm"].color, label="LogitNorm here")
    bounds.set(xscale="log", yscale="log", xlabel="τ", ylabel="loss (nats)", ylim=(1e-24, 1e3), xlim=(TAUS[0], TAUS[-1]))
    for ax in (left, right, bounds):
        ax.legend(loc={right: "lower left", bounds: "upper left"}.get(ax, "best"))
    alt = (f"Top: softmax of logits of norm {norm:g} at {angle} degrees from the best direction; the largest "
           f"probability is {values['ce_probability']:.4f} under cross-entropy and {values['ln_probability']:.4f} "
           f"under LogitNorm with tau {tau:g}. Middle: the cross-entropy loss ({values['ce_loss']:.3g} at this norm) "
           f"falls as the norm grows, the LogitNorm loss stays at {values['ln_loss']:.3g}, above its infimum "
           f"{values['infimum']:.3g} and the printed bound {values['printed']:.3g}. Bottom: the losses that no logits reach, "
           "a region that grows with tau.")
    return fig, alt, ("The same direction at different norms: a longer vector lowers the loss only under "
                      f"cross-entropy. Bottom: no LogitNorm loss lies in the coloured regions. {num_classes} classes, τ = {tau:g}.")


# ---- shared pieces

def select(name: str, label: str, options: list[str], chosen: int = 0) -> str:
    entries = "".join(f'<option value="{i}"{" selected" * (i == chosen)}>{escape(option)}</option>'
                      for i, option in enumerate(options))
    return f'<label>{escape(label)}<select data-control="{name}" autocomplete="off">{entries}</select></label>'


def slider(name: str, label: str, low: int, high: int, value: int, step: int = 1) -> str:
    return (f'<label><span>{escape(label)}: <b data-shown="{name}"></b></span><input type="range" '
            f'data-control="{name}" min="{low}" max="{high}" step="{step}" value="{value}" autocomplete="off"></label>')


def numbers(caption: str, head: list[str], rows: list[tuple]) -> str:
    """Rows of (name, key, ...): explorers.js writes the value of each key into its cell."""
    cells = [(escape(name), [f'<td data-value="{key}"></td>' for key in keys]) for name, *keys in rows]
    return html_table(head, cells, escape(caption))


def chart(target: str, label: str) -> str:
    return f'<div class="explorer-plot" id="{target}" role="img" aria-label="{escape(label)}"></div>'


# The plots are drawn on white, and book.css turns them round on dark pages, as the static figures; all else takes the page's colours.
STYLE = """\
<style>
.explorer{border:1px solid currentColor;border-radius:.4rem;padding:.8rem;margin:1rem 0}
.explorer{color:var(--pst-color-text-base,CanvasText);background:var(--pst-color-background,Canvas)}
.explorer caption{color:inherit}
.explorer-controls,.explorer-plots{display:grid;gap:.8rem}
.explorer-controls,.explorer-plots{grid-template-columns:repeat(auto-fit,minmax(min(100%,15rem),1fr))}
.explorer label{display:block;min-width:0}
.explorer select,.explorer input{display:block;width:100%;margin:.2rem 0 0;font:inherit}
.explorer select{color:inherit;background:var(--pst-color-background,Canvas)}
.explorer select{border:1px solid currentColor;padding:.2rem 1.6rem .2rem .2rem;text-overflow:ellipsis}
.explorer button{font:inherit;padding:.3rem .7rem;color:inherit;background:var(--pst-color-background,Canvas);cursor:pointer}
.explorer button{border:1px solid currentColor;border-radius:.3rem;align-self:end}
.explorer :is(select,input,button):focus-visible{outline:3px solid var(--pst-color-primary,#0072B2);outline-offset:2px}
.explorer table{width:100%;margin:.8rem 0 0}
.explorer th[scope=row]{text-align:left;font-weight:normal}
.explorer thead th:not(:first-child){text-align:right}
.explorer td{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.explorer-plots{margin-top:.8rem}
.explorer-plot{min-width:0;background:white;color:black;border-radius:.3rem}
.explorer-plot svg{display:block;max-width:100%}
.explorer-legend{display:flex;flex-wrap:wrap;gap:0 1rem;margin:0;padding:.3rem .5rem;font-size:.85rem}
.explorer-legend span{display:flex;align-items:center;gap:.4rem}
</style>"""


def block(kind: str, title: str, controls: str, plots: str, table: str, content: dict):
    text = json.dumps(content, separators=(",", ":")).replace("</", "<\\/")  # nothing may end the script element
    script = (f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>" if "google.colab" in sys.modules else
              f'<script src="../_static/{SCRIPT.name}"></script>')
    return displayed(
        f'{STYLE}\n<div class="explorer" data-explorer="{kind}" role="group" aria-label="{title}">\n'
        f'<div class="explorer-controls">{controls}</div>\n<p class="explorer-said" role="status">'
        f"This part needs JavaScript and the built book; a figure on this page shows the same without.</p>\n"
        f'{table}\n<div class="explorer-plots">{plots}</div>\n'
        f'<script type="application/json">{text}</script>\n</div>\n{script}')
