"""Figures and the slider of the page 'LogitNorm's hidden temperature'."""

from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, NullLocator

from logitnorm import metrics, paths, scores
from logitnorm.study import offset, paper

from .explorers import STYLE, _slider, _table
from .plots import METHODS

SCRIPT = paths.ROOT / "book" / "_static" / "offset.js"
NETS = {"wrn10_1": "v", "wrn10_2": "o", "wrn40_2": "*"}  # marker of a network; others get a diamond
EXAMPLE = (3.0, 1.6, 0.2, -0.6, -1.8)  # logits of the slider; the first class is the true one


def temperature_figure(frame: pd.DataFrame):
    """(figure, what it shows in words): nominal and effective 1/tau of all runs, and the offset on its two arms."""
    fig, (left, right) = plt.subplots(2, figsize=(6.4, 9.6))
    ends = np.array([frame["nominal"].min() / 1.3, frame["nominal"].max() * 1.3])
    left.plot(ends, ends, color="#767676", linestyle=":", label="as the paper has it: effective = nominal")
    for row in frame.itertuples():
        look = METHODS[row.method]
        filled = row.id_dataset == "cifar10"
        for ax, x, y in ((left, row.nominal, row.effective), (right, row.tau, row.signed_ratio)):
            ax.scatter(
                x,
                y,
                marker=NETS.get(row.architecture, "D"),
                s=170 if row.architecture == "wrn40_2" else 60,
                facecolor=look.color if filled else "none",
                edgecolor="black" if filled else look.color,
                linewidth=0.6 if filled else 1.8,
                zorder=3,
            )
    for (method, id_dataset, architecture), part in frame.groupby(["method", "id_dataset", "architecture"]):
        look = METHODS[method]
        filled = id_dataset == "cifar10"
        left.scatter(
            [],
            [],
            marker=NETS.get(architecture, "D"),
            facecolor=look.color if filled else "none",
            edgecolor="black" if filled else look.color,
            s=80,
            label=f"{paper.LABELS[method]}, {paper.title(id_dataset)}, {paper.network(architecture)}",
        )
    left.set(
        xscale="log", yscale="log", xlabel="nominal inverse temperature 1/τ", ylabel="effective inverse temperature s"
    )
    left.legend(fontsize=10, loc="upper left")
    s_star = plateau(frame)
    tau = np.geomspace(frame["tau"].min() / 1.1, frame["tau"].max() * 1.1, 400)
    for sign in (1, -1):
        right.plot(
            tau,
            sign * offset.fork(tau, s_star),
            color="black",
            linewidth=1.2,
            label=f"predicted for s* = {s_star:.1f}" if sign == 1 else None,
        )
    right.set(xscale="log", yscale="asinh", xlabel="τ", ylabel="offset: √K m / ‖c‖")
    right.set_yticks([-10, -5, -2, -1, 0, 1, 2, 5, 10], ["−10", "−5", "−2", "−1", "0", "1", "2", "5", "10"])
    for axis, ticks in (
        (right.xaxis, (0.01, 0.02, 0.05, 0.1)),
        (left.xaxis, (10, 20, 50, 100)),
        (left.yaxis, (10, 20, 50, 100)),
    ):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_locator(NullLocator())
    right.legend(fontsize=10)
    return fig


def plateau(frame: pd.DataFrame) -> float:
    """The inverse temperature that the small CIFAR-10 runs set themselves where tau is too small to matter (< 0.05)."""
    rows = frame[
        (frame["method"] == "logitnorm")
        & (frame["id_dataset"] == "cifar10")
        & (frame["size"] == "small")
        & (frame["architecture"] == "wrn10_2")
        & (frame["tau"] < 0.05)
    ]
    return float(rows["effective"].mean())


def repair_figure(repaired: pd.DataFrame):
    """Figure: mean FPR95 of Energy at T = 1 before and after the offset is taken off: a line for each network and tau.

    Large marks are means over seeds, small ones the seeds.
    """
    rows = repaired[(repaired["group"] == "six") & (repaired["cutout"] == 0)
                    & repaired["method"].isin(("logitnorm", "cross_entropy"))
                    & (repaired["in_grid"] | (repaired["architecture"] == offset.SECOND_NET))].copy()
    rows.loc[(rows["method"] == "cross_entropy") & (rows["score"] == "energy"), "score"] = "energy_t1"
    keys = ["method", "id_dataset", "architecture", "tau"]
    wide = rows.drop_duplicates(["run", "score"]).pivot(index=["run"], columns="score", values="fpr95").join(
        rows.drop_duplicates("run").set_index("run")[keys]).dropna(subset=["energy_t1", "energy_centred"])
    parts = list(wide.groupby(keys, dropna=False))
    fig, ax = plt.subplots(figsize=(6.4, 1.6 + 0.3 * len(parts)))
    names = []
    for at, ((method, ID, net, tau), part) in enumerate(parts):
        look, mean = METHODS[method], part[["energy_t1", "energy_centred", "msp"]].mean()
        ax.plot([mean["energy_t1"], mean["energy_centred"]], [at, at], color=look.color, linewidth=1.5)
        ax.scatter(part["energy_t1"], [at] * len(part), marker=".", color=look.color, s=14, alpha=0.5)
        ax.scatter(part["energy_centred"], [at] * len(part), marker=".", color=look.color, s=14, alpha=0.5)
        ax.scatter(mean["energy_t1"], at, marker="o", facecolor="white", edgecolor=look.color, s=50, zorder=3)
        ax.scatter(mean["energy_centred"], at, marker=look.marker, color=look.color, s=50, zorder=3)
        ax.scatter(mean["msp"], at, marker="|", color="black", s=90, zorder=4)
        names.append(f"{paper.LABELS[method]}{'' if np.isnan(tau) else f' τ {tau:g}'}, {paper.title(ID)}, "
                     f"{paper.network(net)} ({len(part)})")
    ax.scatter([], [], marker="o", facecolor="white", edgecolor="black", label="Energy, T = 1")
    ax.scatter([], [], marker="s", color="black", label="the same on f − m")
    ax.scatter([], [], marker="|", color="black", label="MSP")
    ax.set_yticks(range(len(parts)), names, fontsize=9)
    ax.set(xlabel="mean FPR95 of six OOD sets (%) ↓", xlim=(0, 100))
    ax.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.3, -0.9 / fig.get_figheight()), ncol=3)
    return fig


def fitting_figure(frame: pd.DataFrame):
    """Figure: the inverse temperature that LogitNorm sets itself against its accuracy on the training images."""
    rows, look = offset.at_the_papers_tau(frame), METHODS["logitnorm"]
    fig, ax = plt.subplots(figsize=(6.4, 4.4))
    for (net, epochs), part in rows.groupby(["architecture", "epochs"]):
        mark = dict(marker=NETS.get(net, "D"), edgecolor="black", linewidth=0.6)
        ax.scatter(part["train_accuracy"], part["effective"], color=look.color, s=170 if net == "wrn40_2" else 50, **mark)
        x, y = part[["train_accuracy", "effective"]].mean()
        ax.annotate(f"{paper.network(net)}, {epochs} epochs", (x, y), xytext=(7, -12), textcoords="offset points", fontsize=9)
    ax.set(xlabel="accuracy on the training images, last epoch (%)", ylabel="effective inverse temperature s")
    ax.margins(x=0.22, y=0.15)
    return fig


def reliability_figure(run):
    """Figure: accuracy against confidence on the ID test images, of the raw and of the normalised softmax of a run."""
    fig, ax = plt.subplots()
    ID = run.config.id_dataset
    if run.has(f"{ID}/msp"):
        both = run.tensor(f"{ID}/msp"), run.tensor(f"{ID}/msp_normalised")
    else:
        f = run.tensor(f"{ID}/logits")
        both = scores.msp(f), scores.msp(scores.normalised(f, run.config.tau))
    ax.plot([0, 1], [0, 1], color="#767676", linestyle=":")
    for confidence, name, look in zip(
        both, ("softmax(f)", "softmax(f / (τ‖f‖))"), (METHODS["cross_entropy"], METHODS["logitnorm"])
    ):
        b = np.clip((confidence * 15).astype(int), 0, 14)
        kept = np.bincount(b, minlength=15) >= 20
        x, y = (
            np.bincount(b, weights=v, minlength=15)[kept] / np.bincount(b, minlength=15)[kept]
            for v in (confidence, run.correct)
        )
        ax.plot(
            x,
            y,
            color=look.color,
            marker=look.marker,
            linestyle=look.linestyle,
            label=f"{name}: ECE {metrics.ece_of(confidence, run.correct):.1f} %",
        )
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    ax.legend()
    return fig


def slider_block():
    """'Add an offset': five logits of one image, and what softmax, both losses and Energy make of them."""
    from IPython.display import HTML

    controls = _slider("offset", "Offset m added to every logit", -60, 60, 0) + _slider(
        "tau", "Temperature τ, in hundredths", 1, 30, 4
    )
    table = _table(
        "One image, five classes, the first is true",
        ["", "cross-entropy", "LogitNorm"],
        [
            ("probability of the true class", "ce_p", "ln_p"),
            ("loss (nats)", "ce_loss", "ln_loss"),
            ("inverse temperature of the softmax", "ce_s", "ln_s"),
            ("Energy at T = 1, of the raw logits", "energy", "same"),
            ("Energy at T = 1, of f − m", "energy_c", "same_c"),
        ],
    )
    given = escape(",".join(map(str, EXAMPLE)))
    return HTML(
        f'{STYLE}\n<div class="explorer" data-offset-logits="{given}" role="group" aria-label="Add an offset">\n'
        f'<div class="explorer-controls">{controls}</div>\n<p class="explorer-said" role="status">This part needs '
        f"JavaScript; the table further up shows the same for real networks.</p>\n{table}\n</div>\n"
        f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>"
    )
