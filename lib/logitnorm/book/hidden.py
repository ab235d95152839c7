"""Figures and the explorer of the page 'LogitNorm's hidden temperature'."""

from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from logitnorm import metrics, scores
from logitnorm.study import branches, label_noise, offset, paper, predictions, repair, scoring

from . import explorers
from .plots import FAINT, GREY, METHODS, PAPER, PURPLE, displayed

NETS = {"wrn10_1": "v", "wrn10_2": "o", "wrn40_2": "*"}  # marker of a network; others get a diamond
LN, CE = METHODS["logitnorm"], METHODS["cross_entropy"]
BELOW = PURPLE  # of a run whose offset is below 0, beside LogitNorm's own colour


def _ticks(axis, values):
    """These ticks and no others, as plain numbers, on a logarithmic axis."""
    axis.set_major_locator(FixedLocator(values))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(NullLocator())


def temperature_figure(frame: pd.DataFrame, wide: bool = False):
    """Figure: nominal and effective 1/tau of LogitNorm's runs, centred or not, and the offset on its two arms; wide: side by side, for README."""
    frame = frame[frame["method"].isin(("logitnorm", "centred_logitnorm"))]
    fig, (upper, lower) = plt.subplots(1, 2, figsize=(12, 4.8)) if wide else plt.subplots(2, figsize=(6.4, 8.2))
    ends = np.array([frame["nominal"].min() / 1.3, frame["nominal"].max() * 1.3])
    upper.plot(ends, ends, color=PAPER.color, linestyle=":")
    upper.text(14.5, 15.4, "as asked: s = 1/τ", color=GREY, rotation=45, rotation_mode="anchor", va="bottom",
               transform_rotates_text=True)
    for row in frame.itertuples():
        look, filled = METHODS[row.method], row.id_dataset == "cifar10"
        mark = dict(marker=NETS.get(row.architecture, "D"), s=170 if row.architecture == "wrn40_2" else 60, zorder=3,
                    facecolor=look.color if filled else "none", edgecolor="black" if filled else look.color,
                    linewidth=0.6 if filled else 1.8)
        upper.scatter(row.nominal, row.effective, **mark)
        lower.scatter(row.tau, row.signed_ratio, **mark)
    for (method, ID), part in frame.groupby(["method", "id_dataset"]):
        end = part[part["nominal"] == part["nominal"].max()]
        if method == "logitnorm":
            upper.text(end["nominal"].max() * 1.15, end["effective"].mean(), f"{paper.LABELS[method]},\n{paper.title(ID)}",
                       va="center")
    if "centred_logitnorm" in set(frame["method"]):
        end = frame[frame["method"] == "centred_logitnorm"][["nominal", "effective"]].max()
        upper.text(end["nominal"] * 1.15, end["effective"], "the offset\ntaken out", va="center")
    for big in frame[frame["architecture"] == "wrn40_2"].itertuples():
        upper.annotate(big.net, (big.nominal, big.effective), (9, -4), textcoords="offset points")
    upper.set(xscale="log", yscale="log", xlabel="inverse temperature asked for, 1/τ", ylabel="inverse temperature s, test images",
              xlim=(ends[0], ends[1] * 2.4))
    s = offset.fitted_s(frame)
    tau = np.geomspace(frame["tau"].min() / 1.1, frame["tau"].max() * 1.1, 400)
    for sign in (1, -1):
        lower.plot(tau, sign * offset.fork(tau, s), color="black", linewidth=1.2)
    lower.text(0.011, 8.6, f"the fork for one s = {s:.1f}", va="center")
    lower.text(0.0105, 0.25, "taken out of the loss")
    lower.set(xscale="log", yscale="asinh", xlabel="τ", ylabel="offset ratio, √K m / ‖c‖")
    lower.set_yticks([-10, -5, -2, -1, 0, 1, 2, 5, 10], ["−10", "−5", "−2", "−1", "0", "1", "2", "5", "10"])
    _ticks(upper.xaxis, (10, 20, 50, 100)), _ticks(upper.yaxis, (10, 20, 50, 100)), _ticks(lower.xaxis, (0.01, 0.02, 0.05, 0.1))
    return fig


def valley_figure(found: dict):
    """Figure of a `branches.valley`: the loss along the offset ratio for some of its tau, and Energy's FPR95."""
    fig, (upper, lower) = plt.subplots(2, figsize=(6.4, 7.4), sharex=True)
    most = 1.1 * found["loss"][found["taus"].index(0.02)][np.abs(found["shares"]) < 4.6].max()
    for tau, shade in ((0.02, 1.0), (0.04, 0.82), (0.08, 0.66), (0.15, 0.52)):
        loss = found["loss"][found["taus"].index(tau)]
        upper.plot(found["shares"], loss, color=plt.cm.Blues(shade))
        for at in np.flatnonzero((loss < 0.97 * most) & (found["shares"] < 4.6))[-1:]:  # where the curve leaves the plot
            upper.text(found["shares"][at] - 0.1, loss[at] + 0.02 * most, f"τ = {tau:g}", ha="right")
    own = np.interp(found["own"], found["shares"], found["loss"][found["taus"].index(0.04)])
    upper.plot(found["own"], own, LN.marker, color=LN.color, markersize=10)
    upper.annotate("this network", (found["own"], own), (-4, -20), textcoords="offset points", ha="right")
    upper.set(ylabel="LogitNorm's loss (nats)", ylim=(0.6 * found["loss"].min(), most))
    lower.plot(found["shares"], found["energy"], color=CE.color, linestyle=CE.linestyle)
    lower.plot([0], found["energy"][len(found["shares"]) // 2], "o", color="black")
    lower.annotate("no offset", (0, found["energy"][len(found["shares"]) // 2]), (8, -4), textcoords="offset points")
    for share, name in ((found["own"], "this network"), (-found["own"], "mirrored")):
        at = np.interp(share, found["shares"], found["energy"])
        lower.plot(share, at, LN.marker, color=LN.color, markersize=10)
        lower.annotate(name, (share, at), (0, 9 if share < 0 else -18), textcoords="offset points", ha="center")
    lower.set(xlim=(-4.6, 4.6), xlabel="offset ratio, √K m / ‖c‖", ylabel="Energy, mean FPR95 (%) ↓", ylim=(0, 105))
    return fig


def valley_block(found: dict):
    """The explorer of a `branches.valley`: move tau and the offset, let the offset go, and watch loss, softmax and Energy."""
    shares = found["shares"]
    controls = (explorers.slider("tau", "Temperature τ", 0, len(found["taus"]) - 1, found["taus"].index(0.04))
                + explorers.slider("share", "Offset ratio, √K m / ‖c‖", 0, len(shares) - 1, len(shares) // 2)
                + '<button type="button" data-roll>Let the offset go</button>')
    table = explorers.numbers("Means over the test images", ["", "softmax(f)", "softmax(f / (τ‖f‖))"], [
        ("inverse temperature", "ce_s", "ln_s"), ("confidence", "ce_confidence", "ln_confidence"), ("loss (nats)", "ce_loss", "ln_loss")])
    plots = (explorers.chart("valley-loss", "LogitNorm's loss along the offset, with the point chosen and cross-entropy's, which is level")
             + explorers.chart("valley-energy", "FPR95 of Energy along the offset, of the logits and of the logits without it"))
    data = {name: np.round(value, 4).tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}
    data["most"] = 1.1 * max(found["loss"].max(), found["raw"]["loss"])
    looks = {"ln": explorers.drawn(LN), "ce": explorers.drawn(CE, dash="8 5"), "here": explorers.drawn(LN, "here", mark="square"),
             "energy": explorers.drawn(CE, "Energy of f"), "centred": {"label": "Energy of f − m", "color": "#000000", "dash": "2 4"},
             "energy_here": {"color": CE.color, "mark": "circle"}}
    return explorers.block("valley", "Valley explorer", controls, plots, table, {"data": data, "looks": looks})


def branch_figure(found: pd.DataFrame):
    """Figure: the offset ratio through training, a line for each seed of the net that was trained with many."""
    rows = branches.seeds_of(found)
    fig, ax = plt.subplots(figsize=(6.4, 4.6))
    for _, run in rows.sort_values("epoch").groupby("run"):
        up = run["share"].iloc[-1] > 0
        turned = np.sign(run["share"].iloc[0]) != np.sign(run["share"].iloc[-1])
        ax.plot(run["epoch"], run["share"], color=LN.color if up else BELOW, linestyle="--" if turned else "-", linewidth=1.3, alpha=0.8)
    for up, name in ((True, "end above 0"), (False, "end below 0")):
        ax.plot([], [], color=LN.color if up else BELOW, label=f"{(rows.groupby('run')['share'].last() > 0).eq(up).sum()} seeds {name}")
    ax.plot([], [], color="black", linestyle="--", label="left the side on which they began")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel="epoch", ylabel="offset ratio, √K m / ‖c‖")
    ax.legend(loc="upper right")
    ax.set_ylim(top=1.5 * rows["share"].abs().max())
    return fig


def mirror_figure(found: pd.DataFrame):
    """Figure of `branches.mirrored`: Energy's FPR95 of each network as it is, without its offset, and mirrored."""
    fig, ax = plt.subplots(figsize=(6.4, 1.7 + 0.42 * len(found)))
    names = []
    for at, row in enumerate(found.sort_values(["tau", "seed"]).itertuples()):
        ax.plot([row.own, row.mirrored], [at, at], color=FAINT, linewidth=1.5, zorder=1)
        for x, sign in ((row.own, 1), (row.mirrored, -1)):
            color = LN.color if sign * row.offset > 0 else BELOW
            ax.scatter(x, at, marker="^" if sign * row.offset > 0 else "v", s=90, edgecolor=color, linewidth=1.6, zorder=3,
                       facecolor=color if sign == 1 else "white")
        ax.scatter(row.centred, at, marker="|", color="black", s=160, linewidth=2, zorder=2)
        names.append(f"τ {row.tau:g}, seed {row.seed}")
    handles = [Line2D([], [], linestyle="", marker=marker, color=color, markerfacecolor=face, label=label, markersize=9) for
               marker, color, face, label in (("^", LN.color, LN.color, "m above 0"), ("v", BELOW, BELOW, "m below 0"),
                                              ("o", "black", "black", "as trained"), ("o", "black", "white", "mirrored"),
                                              ("|", "black", "black", "no offset"))]
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="Energy at T = 1, mean FPR95 (%) ↓", xlim=(0, 101), ylim=(len(names) - 0.5, -0.5))
    ax.grid(False, axis="y")
    fig.legend(handles=handles, loc="outside upper center", ncols=3)
    return fig


def fitting_figure(found: pd.DataFrame):
    """Figure: inverse temperature against accuracy on the training images, a mark for each epoch of each run, a colour for each tau."""
    rows = branches.fitted(found)
    fig, ax = plt.subplots(figsize=(6.4, 5))
    taus = sorted(rows["tau"].unique())
    colors = dict(zip(taus, plt.cm.viridis(np.linspace(0, 0.92, len(taus)))))
    for (tau, net), part in rows.groupby(["tau", "architecture"]):
        ax.scatter(part["train_accuracy"], part["s"], marker=NETS.get(net, "D"), s=70 if net == "wrn40_2" else 22, color=colors[tau],
                   edgecolor="black", linewidth=0.3, alpha=0.85)
    own = branches.own_training(found)
    ax.scatter(own["train_accuracy"], own["s"], marker="x", s=18, color="black", linewidth=0.9, zorder=3)
    for _, row in own.tail(1).iterrows():
        ax.annotate("the paper's own training", (row["train_accuracy"], row["s"]), (-10, 0), textcoords="offset points", ha="right", va="center")
    for net, part in rows.groupby("architecture"):
        end = part[part["epoch"] == part["epoch"].max()][["train_accuracy", "s"]].max()
        beside, where = {"wrn10_1": ((-12, 6), "right"), "wrn10_2": ((-6, 24), "right"), "wrn40_2": ((-10, 0), "right")}.get(
            net, ((10, -18 if net == "resnet20" else -34), "left"))
        ax.annotate(paper.network(net), end, beside, textcoords="offset points", ha=where, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8})
    for tau in taus:
        ax.scatter([], [], color=colors[tau], edgecolor="black", linewidth=0.3, s=40, label=f"{1 / tau:.3g}")
    ax.legend(title="asked for, 1/τ", loc="upper left")
    ax.set_xlim(rows["train_accuracy"].min() - 4, 104)
    ax.set(xlabel="accuracy on the training images, each epoch (%)", ylabel="inverse temperature in training, s")
    return fig


def own_figure(found: pd.DataFrame):
    """Figure of `branches.own_training`: training accuracy, inverse temperature and offset ratio over the epochs of the paper's schedule."""
    rows = branches.own_training(found)
    fig, axes = plt.subplots(3, figsize=(6.4, 7.6), sharex=True, height_ratios=(1, 1.6, 1.2))
    accuracy, s, share = axes
    accuracy.plot(rows["epoch"], rows["train_accuracy"], color="black")
    accuracy.set(ylabel="right on training\nimages (%)", ylim=(max(0, rows["train_accuracy"].quantile(0.05) - 8), 101))
    s.axhline(rows["nominal"].iloc[0], color=PAPER.color, linestyle=":")
    s.text(rows["epoch"].iloc[-1], rows["nominal"].iloc[0], "as asked: 1/τ ", color=GREY, ha="right", va="bottom")
    s.plot(rows["epoch"], rows["s"], color=LN.color, label="training images")
    s.plot(rows["epoch"], rows["s_test"], color=BELOW, linestyle="--", linewidth=1.2, label="test images")
    s.set(ylabel="inverse temperature s", ylim=(0, 1.15 * rows["nominal"].iloc[0]))
    s.legend(loc="upper left", bbox_to_anchor=(0, 0.9))
    share.axhline(0, color="black", linewidth=0.8)
    share.plot(rows["epoch"], rows["share"], color=LN.color)
    share.set(xlabel="epoch", ylabel="offset ratio\n√K m / ‖c‖")
    for epoch in branches.own_stages(found)["epoch"].iloc[:-1]:
        for ax in axes:
            ax.axvline(epoch, color=FAINT, linewidth=1, zorder=0)
        accuracy.text(epoch + 1, accuracy.get_ylim()[0], "rate ÷ 10", color=GREY, va="bottom")
    return fig


def repair_figure(repaired: pd.DataFrame):
    """Figure: mean FPR95 of Energy at T = 1 before and after the offset is subtracted, at the papers' tau: a line for each network.

    Large marks are means over seeds, small ones the seeds.
    """
    rows = paper.where(repair.at_papers_tau(repaired), group="six").copy()
    rows.loc[(rows["method"] == "cross_entropy") & (rows["score"] == "energy"), "score"] = "energy_t1"
    keys = ["method", "id_dataset", "net", "tau"]
    wide = rows.drop_duplicates(["run", "score"]).pivot(index=["run"], columns="score", values="fpr95").join(
        rows.drop_duplicates("run").set_index("run")[keys]).dropna(subset=["energy_t1", "energy_centred"])
    parts = list(wide.groupby(keys, dropna=False))
    fig, ax = plt.subplots(figsize=(6.4, 1.6 + 0.5 * len(parts)))
    names = []
    for at, ((method, ID, net, tau), part) in enumerate(parts):
        look, mean = METHODS[method], part[["energy_t1", "energy_centred", "msp"]].mean()
        ax.plot([mean["energy_t1"], mean["energy_centred"]], [at, at], color=look.color, linewidth=1.5)
        for score in ("energy_t1", "energy_centred"):
            ax.scatter(part[score], [at] * len(part), marker=".", color=look.color, s=14, alpha=0.5)
        ax.scatter(mean["energy_t1"], at, marker="o", facecolor="white", edgecolor=look.color, s=50, zorder=3)
        ax.scatter(mean["energy_centred"], at, marker=look.marker, color=look.color, s=50, zorder=3)
        ax.scatter(mean["msp"], at, marker="|", color="black", s=90, zorder=4)
        names.append(f"{'CE' if np.isnan(tau) else 'LN'}, {paper.title(ID)},\n{net} ({len(part)})")
    ax.scatter([], [], marker="o", facecolor="white", edgecolor="black", label="Energy, T = 1")
    ax.scatter([], [], marker="s", color="black", label="the same on f − m")
    ax.scatter([], [], marker="|", color="black", label="MSP")
    ax.set_yticks(range(len(parts)), names, fontsize=11)
    ax.set(xlabel="mean FPR95 (%) ↓", xlim=(0, 100))
    fig.legend(fontsize=11, loc="outside lower center", ncol=3)
    return fig


def reliability_figure(run):
    """(figure, alt text): accuracy against confidence on the ID test images, of the raw and of the normalised softmax of a run."""
    fig, ax = plt.subplots()
    ID = run.config.id_dataset
    if run.has(f"{ID}/msp"):
        both = run.tensor(f"{ID}/msp"), run.tensor(f"{ID}/msp_normalised")
    else:
        f = run.tensor(f"{ID}/logits")
        both = scores.msp(f), scores.msp(scoring.trained_logits(run.config, f))
    ax.plot([0, 1], [0, 1], color=PAPER.color, linestyle=":")
    for confidence, name, look in zip(
        both, ("softmax(f)", "softmax(f / (τ‖f‖))"), (METHODS["cross_entropy"], METHODS["logitnorm"])
    ):
        b = np.clip((confidence * 15).astype(int), 0, 14)
        kept = np.bincount(b, minlength=15) >= 20
        x, y = (np.bincount(b, weights=v, minlength=15)[kept] / np.bincount(b, minlength=15)[kept]
                for v in (confidence, run.correct))
        ax.plot(x, y, color=look.color, marker=look.marker, linestyle=look.linestyle,
                label=f"{name}: ECE {metrics.ece_of(confidence, run.correct):.1f} %")
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    said = "; ".join(text.get_text() for text in ax.legend().get_texts())
    return fig, f"Reliability diagram of one LogitNorm network. {said}."


def images_figure(runs: list):
    """(figure, alt text): the inverse temperature of every 20th test image of these LogitNorm runs against the length of its c."""
    fig, ax = plt.subplots(figsize=(6.4, 4.8))
    for run, shade in zip(runs, np.linspace(1, 0.5, len(runs))):
        length, s = (values[::20] for values in branches.lengths(run))
        ax.scatter(length, s, s=9, color=plt.cm.Blues(shade), edgecolor="none")
        ax.annotate(f"τ = {run.config.tau:g}", (length.max(), s[length.argmax()]), (6, 0), textcoords="offset points", va="center")
    ax.set(xlabel="length of the image's logits without their mean, ‖c‖", ylabel="inverse temperature of the image, s", ylim=(0, None),
           xlim=(0, 1.15 * ax.get_xlim()[1]))
    return fig, ("Scatter plot of the inverse temperature of test images against the length of their logits without the mean, for τ = "
                 + ", ".join(f"{run.config.tau:g}" for run in runs) + ": where τ is small s rises with the length, where it is large s is level.")


def intervention_figure(found: pd.DataFrame):
    """Figure of `intervention.interventions`: test accuracy and FPR95 by MSP against tau, with and without the offset, by seed."""
    fig, axes = plt.subplots(2, figsize=(6.4, 7), sharex=True)
    for ax, name, label in zip(axes, ("accuracy", "msp"), ("test accuracy (%) ↑", "MSP, mean FPR95 (%) ↓")):
        for method, part in found.groupby("method", sort=False):
            look, mean = METHODS[method], part.groupby("tau")[name].mean()
            ax.plot(mean.index, mean, **look.line)
            ax.scatter(part["tau"], part[name], color=look.color, s=14, zorder=3)
        ax.set(ylabel=label, xscale="log")
    axes[0].legend(loc="lower right")
    axes[1].set(xlabel="τ")
    _ticks(axes[1].xaxis, (0.01, 0.02, 0.04, 0.07, 0.1))
    return fig


def noise_figure(found: pd.DataFrame):
    """Figure of `label_noise.load`: inverse temperature and offset ratio against the share of wrong labels, with the theory."""
    fig, (upper, lower) = plt.subplots(2, figsize=(6.4, 8.2), sharex=True)
    noise = np.geomspace(found["noise"].min() / 1.3, found["noise"].max() * 1.3, 300)
    s_star = np.array([label_noise.wanted(e, label_noise.K) for e in noise])
    taus = sorted(found["tau"].dropna().unique())
    upper.plot(noise, s_star, color="black", linewidth=1.2)
    upper.text(noise[30], s_star[30] + 0.25, "s* of theory")
    upper.plot(noise, np.full(len(noise), 1 / taus[-1]), color=PAPER.color, linestyle=":")
    upper.text(noise[10], 1 / taus[-1] - 0.5, f"1/τ for τ = {taus[-1]:g}", color=GREY)
    marks = dict(zip(taus, ("s", "D", "^", "v")))
    for tau, marker in marks.items():
        rows = found[found["tau"] == tau]
        color = plt.cm.Blues(0.5 + 0.5 * (1 - taus.index(tau) / len(taus)))
        for ax, column in ((upper, "s"), (lower, "share")):
            ax.scatter(rows["noise"], rows[column], marker=marker, s=60, color=color, edgecolor="black", linewidth=0.5, zorder=3,
                       label=f"LogitNorm, τ = {tau:g}" if ax is upper else "")
        for sign in (1, -1):
            lower.plot(noise, [sign * offset.fork(tau, s).item() for s in s_star], color="black", linewidth=0.9)
    rows = found[found["tau"].isna()]
    upper.scatter(rows["noise"], rows["s"], marker=CE.marker, s=110, facecolor="none", edgecolor=CE.color, linewidth=1.8, zorder=2,
                  label="Cross-entropy: ‖c‖")
    upper.set(ylabel="inverse temperature in training, s", xscale="log", ylim=(0, 1.15 * s_star.max()))
    lower.set(xlabel="share of wrong labels, e (%)", ylabel="offset ratio, √K m / ‖c‖", yscale="asinh")
    lower.set_yticks([-30, -10, -3, -1, 0, 1, 3, 10, 30], ["−30", "−10", "−3", "−1", "0", "1", "3", "10", "30"])
    _ticks(lower.xaxis, sorted(found["noise"].unique()))
    lower.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
    fig.legend(loc="outside upper center", ncols=2, fontsize=11)
    return fig


def predictions_block(judged: pd.DataFrame):
    """The predictions in the order in which they were made, what became of each, and what was known then, as a list."""
    words = {"held": "✓ held", "did not hold": "✗ did not hold", predictions.RECORD: "● a record"}
    items = [f'<li data-became="{escape(row.became)}"><strong>{words.get(row.became, "○ open")}</strong> {escape(row.prediction)}'
             + (f" <em>{escape(row.numbers)}.</em>" if row.numbers else "")
             + f"<br><small>Written {row.written}; known then: {escape(row.known)}.</small></li>"
             for row in judged.rename(columns={"known then": "known"}).itertuples()]
    return displayed(f'<ol class="predictions">{"".join(items)}</ol>')
