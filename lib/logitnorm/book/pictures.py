"""Pictures of single pages: contact sheets, ROC curves, norm against confidence, the two-headed network."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from scipy.special import softmax

from logitnorm import metrics, paths
from logitnorm.study import netsize, paper, scoring, seeds

from . import plots

THUMBNAILS = paths.ROOT / "data/thumbnails"
WRONG = (0xD5, 0x5E, 0x00)  # the frame of an image that a detector gets wrong
ACROSS = 12  # thumbnails in a line of a contact sheet


def thumbnails(name: str) -> tuple[list[np.ndarray], pd.DataFrame, str]:
    """(images 32 x 32 x 3, where they are from: set, index, label; their source) of tools/thumbnails.py, by the file's name."""
    told = json.loads((THUMBNAILS / f"{name}.json").read_text(encoding="utf-8"))
    strip = np.asarray(Image.open(THUMBNAILS / f"{name}.png").convert("RGB"))
    rows = np.split(strip, len(strip) // 32)
    return [image for row in rows for image in np.split(row, strip.shape[1] // 32, axis=1)], pd.DataFrame(told["images"]), told["source"]


def two_images(fig, ax, pick: dict) -> None:
    """Set the two images of Figure 2 above an axis; nothing where the thumbnails are not the images that `pick` names."""
    pixels, images, _ = thumbnails("fig2")
    if images["index"].tolist() != list(pick.values()):
        return
    for x, kind, image in zip((0.1, 0.6), pick, pixels):
        inset = ax.inset_axes((x + 0.06, 1.2, 0.27, 0.42))
        inset.imshow(image, interpolation="lanczos")
        inset.set_axis_off()
        ax.text(x + 0.04, 1.41, kind, transform=ax.transAxes, ha="right", va="center", fontsize=13)


# ---- what a detector lets in

def own_score(method: str) -> str:
    """The score by which a method detects: the first of its own head, else the maximum softmax probability."""
    return scoring.OWN_SCORES.get(method, ("msp",))[0]


def contact_sheet(run):
    """(figure, alt text): the thumbnails of each image set as a run's detector sorts them, accepted ones first.

    Accepted is what reaches the threshold that keeps 95 % of the ID test images. Rejected images are pale, wrong answers framed.
    """
    pixels, images, _ = thumbnails("sheets")
    score, inside = own_score(run.config.method), run.config.id_dataset
    threshold = metrics.threshold95(run.score(score, inside))
    names = [name for name in images["set"].unique() if name in run.sets]
    lines = -(-images["set"].value_counts().max() // ACROSS)
    fig, axes = plt.subplots(len(names), figsize=(6.4, len(names) * (0.28 + 0.54 * lines)))
    said = []
    for ax, name in zip(axes, names):
        part = images[images["set"] == name]
        values = run.score(score, name)
        part = part.assign(value=values[part["index"]]).sort_values("value", ascending=False)
        accepted = part["value"] >= threshold
        canvas = np.full((36 * lines, 36 * ACROSS, 3), 255, np.uint8)
        for place, (at, let_in) in enumerate(accepted.items()):
            y, x = 36 * (place // ACROSS), 36 * (place % ACROSS)
            if let_in != (name == inside):
                canvas[y:y + 36, x:x + 36] = WRONG
            canvas[y + 2:y + 34, x + 2:x + 34] = pixels[at] if let_in else 255 - (255 - pixels[at]) // 3
        ax.imshow(canvas, interpolation="lanczos")
        ax.set_axis_off()
        share = 100 * np.mean(values >= threshold)
        ax.set_title(f"{paper.title(name)}: {accepted.sum()} of {len(part)} let in; of all {share:.0f} %", loc="left", fontsize=12)
        said.append(f"{paper.title(name)}: {accepted.sum()} of {len(part)}, of all images {share:.1f} %")
    return fig, (f"Contact sheet of {paper.method_title(run.config)}, score: {paper.title({'cosine': 'godin'}.get(score, score))}. Let in: " + "; ".join(said) + ".")


# ---- the same scores in other pictures

def roc_curves(runs: list):
    """(figure, alt text): ROC curves of both losses on each OOD set, by MSP, with the point that FPR95 reads off."""
    sets = runs[0].config.ood_sets if runs else []
    fig, axes = plt.subplots(2, 3, figsize=(6.4, 5), sharex=True, sharey=True)
    said = []
    for ax, name in zip(axes.flat, sets):
        for run in runs:
            look, both = plots.METHODS[run.config.method], (run.score("msp", run.config.id_dataset), run.score("msp", name))
            tpr, fpr = metrics.roc(*both)
            ax.plot(100 * fpr, 100 * tpr, color=look.color, linestyle=look.linestyle, label=look.label)
            ax.plot(metrics.fpr95(*both), 95, look.marker, color=look.color)
            said.append(f"{look.label} on {paper.title(name)}: AUROC {metrics.auroc(*both):.1f} %, FPR95 {metrics.fpr95(*both):.1f} %")
        ax.set_title(paper.title(name), fontsize=12)
        ax.set(xticks=(0, 50, 100), yticks=(0, 50, 95))
    fig.supxlabel("foreign images let in (%)", fontsize=13)
    fig.supylabel("familiar images let in (%)", fontsize=13)
    if runs:
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig, "ROC curves of both losses on six OOD sets. " + ("; ".join(said) or "No run yet") + "."


def norm_and_confidence(runs: list, shown: int = 600):
    """(figure, alt text, sentence): the norm of an image's logits against its MSP, `shown` images of the ID and the OOD set."""
    fig, axes = plt.subplots(1, 2, figsize=(6.4, 4), sharey=True)
    said, orders = [], []
    for ax, run in zip(axes, runs):
        for name, look in ((run.config.id_dataset, plots.ID), (run.config.history_ood, plots.OOD)):
            f = run.tensor(f"{name}/logits").astype(float)
            keep = np.random.default_rng(0).permutation(len(f))[:shown]  # some sets are stored class by class
            norm, confidence = np.linalg.norm(f, axis=1), softmax(f, axis=1).max(1)
            ax.plot(norm[keep], confidence[keep], look.marker, color=look.color, markersize=3, alpha=0.4, linestyle="",
                    label=paper.title(name))
            order = pd.Series(norm).corr(pd.Series(confidence), method="spearman")
            said.append(f"{paper.LABELS[run.config.method]}, {paper.title(name)}: median norm {np.median(norm):.1f}, median confidence "
                        f"{np.median(confidence):.2f}, rank correlation {order:.2f}")
            if look is plots.ID:
                orders.append(f"{order:.2f} under {paper.LABELS[run.config.method]}")
        ax.set_title(paper.LABELS[run.config.method])
        ax.set(xlabel="norm of the logits", xlim=(0, None), ylim=(0, 1.02))
    axes[0].set_ylabel("confidence (MSP)")
    if runs:
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, markerscale=3)
    alt = "Scatter plots of the logit norm against the confidence, one point an image. " + ("; ".join(said) or "No run yet") + "."
    return fig, alt, f"On familiar images norm and confidence have a rank correlation of {' and '.join(orders)}." if orders else ""


# ---- a drawing

def two_heads():
    """(figure, alt text): the network of Learned Confidence, its two heads, and how a hint enters the loss."""
    fig, ax = plt.subplots(figsize=(6.4, 3.7))
    ax.set(xlim=(-0.1, 13.1), ylim=(0, 6.6))
    ax.set_axis_off()
    ours, other = plots.METHODS["learned_confidence"].color, plots.OOD.color

    def box(x, y, width, text, color="#eeeeee", height=1.3):
        ax.add_patch(FancyBboxPatch((x, y - height / 2), width, height, boxstyle="round,pad=0.05,rounding_size=0.15", facecolor=color,
                                    edgecolor="black", linewidth=1))
        ax.text(x + width / 2, y, text, ha="center", va="center", fontsize=11)

    def arrow(start, end, **style):
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "black", "linewidth": 1.4, **style})

    box(0, 3.6, 1.3, "image\n$x$")
    box(1.9, 3.6, 1.8, "trunk,\nany net")
    box(4.3, 3.6, 1.5, "features\n$h$")
    box(6.5, 5.1, 2.7, "$p = $ softmax$(f)$\nten numbers", "#dddddd")
    box(6.5, 2.1, 2.7, "$c = \\sigma(w^\\top h + b)$\none number", ours)
    box(10.0, 3.6, 3.0, "$p' = c\\,p + (1-c)\\,y$", other)
    box(10.0, 5.9, 3.0, "loss  $-\\log\\,p'_y$", "white", 0.9)
    box(6.5, 0.5, 2.7, "price  $-\\lambda\\,\\log\\,c$", "white", 0.8)
    box(10.0, 1.5, 3.0, "the hint: label $y$", "white", 0.9)
    for start, end in (((1.35, 3.6), (1.85, 3.6)), ((3.75, 3.6), (4.25, 3.6)), ((5.85, 3.9), (6.45, 5.0)), ((5.85, 3.3), (6.45, 2.2)),
                       ((9.25, 5.0), (9.95, 4.0)), ((9.25, 2.3), (9.95, 3.3)), ((11.5, 4.3), (11.5, 5.4)), ((7.85, 1.4), (7.85, 0.95))):
        arrow(start, end)
    arrow((11.5, 2.0), (11.5, 2.9), linestyle="--")
    return fig, ("Drawing: an image goes through the trunk of a network to features h. One head makes the class probabilities p, the other one "
                 "number, the confidence c. In training p' mixes p with the label by c; the loss is minus log p' of the label plus a price, minus "
                 "lambda log c. At test time c alone is the score.")


# ---- how much depends on the net, and on the seed

def growing_effect(lines: pd.DataFrame):
    """(figure, alt text): what LogitNorm changes in each net of `netsize.effects`, one line a score, the paper's at the end."""
    fig, ax = plt.subplots(figsize=(6.4, 5))
    nets, said = list(dict.fromkeys(lines["net"])), []
    for name, look in plots.SCORES.items():
        part = lines[lines["number"] == name].set_index("net").loc[nets].dropna(subset="change")
        at = [nets.index(net) for net in part.index]
        ax.errorbar(at, part["change"], yerr=part["noise"], elinewidth=0.8, capsize=2, **look.line)
        said.append(f"{name}: " + ", ".join(f"{net.split(',')[0]} {change:+.1f}" for net, change in part["change"].items()))
    ax.axhline(0, color="black", linewidth=1)
    ax.set(ylabel="change of the mean FPR95 (points)")
    ax.set_xticks(range(len(nets)), ["WRN-40-2,\npaper" if net == netsize.PAPER else net.replace(", ", ",\n").replace("BC-", "BC\n")
                                     for net in nets], fontsize=10)
    fig.legend(loc="outside upper center", ncols=3, fontsize=12)
    return fig, f"Change of the mean FPR95 from cross-entropy to LogitNorm, by network and score. {'; '.join(said)}."


def seed_spread(frame: pd.DataFrame, lines: pd.DataFrame):
    """(figure, alt text): every seed's FPR95 with both losses, and how often so many seeds give the wrong order.

    frame, lines: `seeds.many` and `seeds.table`. Hollow marks are runs whose mean logit lies below zero, as LogitNorm has it.
    """
    fig, (above, below) = plt.subplots(2, figsize=(6.4, 8.4), height_ratios=(3, 2))
    negative = set(frame.loc[(frame["method"] == "logitnorm") & (frame["offset"] < 0), "seed"])
    for y, claim in enumerate(seeds.RATES):
        values = seeds.pairs(frame, *seeds.CLAIMS[claim])
        for side, (method, shift) in enumerate(zip(seeds.METHODS, (-0.16, 0.16))):
            look, hollow = plots.METHODS[method], np.isin(sorted(frame["seed"].unique()), list(negative)) * bool(side)
            for which, face in ((~hollow.astype(bool), look.color), (hollow.astype(bool), "none")):
                above.plot(values[which, side], [y + shift] * which.sum(), look.marker, color=look.color, markerfacecolor=face,
                           markersize=5.5, alpha=0.7)
            above.plot(values[:, side].mean(), y + shift, "|", color="black", markersize=16, markeredgewidth=2)
    for method, face, more in (("cross_entropy", None, ""), ("logitnorm", None, ", mean logit above 0"), ("logitnorm", "none", ", mean logit below 0")):
        look = plots.METHODS[method]
        above.plot([], [], look.marker, color=look.color, markerfacecolor=face or look.color, label=look.label + more)
    above.set_xlabel("mean FPR95 of six OOD sets (%), a mark a seed", fontsize=13)
    above.set(yticks=range(len(seeds.RATES)), yticklabels=seeds.RATES.values(), ylim=(len(seeds.RATES) - 0.5, -0.5))
    fig.legend(loc="outside upper center", ncols=1, fontsize=11)
    counts = [count for count in seeds.COUNTS if count in lines]
    for claim, name in seeds.RATES.items():
        below.plot(counts, lines.set_index("claim").loc[claim, counts], **plots.SCORES[name].line)
    below.axhline(50, color="#767676", linewidth=1)
    below.text(counts[-1], 49, "a coin", ha="right", va="top", color="#555555", fontsize=11)
    below.set_xlabel("seeds of each loss in a table", fontsize=13)
    below.set(ylabel="wrong order (%)", xticks=counts, ylim=(-2, 52))
    below.legend(fontsize=11, ncols=2, loc="center right")
    said = "; ".join(f"{seeds.RATES[row['claim']]}: cross-entropy {row['cross_entropy']:.1f} ± {row['sd0']:.1f}, LogitNorm "
                     f"{row['logitnorm']:.1f} ± {row['sd1']:.1f}, wrong order with one seed {row[1]:.0f} %"
                     for _, row in lines.iterrows() if row["claim"] in seeds.RATES)
    return fig, f"Above, the FPR95 of every seed with both losses; below, the chance of a wrong order by number of seeds. {said}."
