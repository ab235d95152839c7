"""Pictures of single pages: contact sheets, ROC curves, norm against confidence, all claims, Learned Confidence."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import FancyBboxPatch, Patch
from scipy.special import expit, softmax
from sklearn.manifold import TSNE

from logitnorm import metrics, paths
from logitnorm.study import collapse, confidence, conventions, ledger, netsize, paper, scoring, seeds, speed

from . import plots

THUMBNAILS = paths.ROOT / "data/thumbnails"
WRONG = (0xD5, 0x5E, 0x00)  # the frame of an image that a detector gets wrong
ACROSS = 12  # thumbnails in a line of a contact sheet


def thumbnails(name: str) -> tuple[np.ndarray, pd.DataFrame, str]:
    """(images N x 32 x 32 x 3, where they are from: set, index, label; their source) of tools/thumbnails.py, by the file's name."""
    told = json.loads((THUMBNAILS / f"{name}.json").read_text(encoding="utf-8"))
    return plots.tiles(THUMBNAILS / f"{name}.png"), pd.DataFrame(told["images"]), told["source"]


def two_images(ax, pick: dict) -> None:
    """Set the two images of Figure 2 above an axis; nothing where the thumbnails are not the images that `pick` names."""
    pixels, images, _ = thumbnails("fig2")
    if images["index"].tolist() != list(pick.values()):
        return
    for x, kind, image in zip((0.1, 0.6), pick, pixels):
        inset = ax.inset_axes((x + 0.06, 1.2, 0.27, 0.42))
        inset.imshow(image, interpolation="lanczos")
        inset.set_axis_off()
        ax.text(x + 0.04, 1.41, kind, transform=ax.transAxes, ha="right", va="center")


def two_examples(bars: dict, pick: dict):
    """Figure 2: the softmax of an ID and an OOD image under both losses, the paper's beside ours (`findings.examples`; empty: paper only)."""
    read = paper.figure(2).pivot_table(index="class", columns=["panel", "input"], values="probability", fill_value=0)
    both = {"cross_entropy": "a_CE", "logitnorm": "b_LogitNorm"}
    columns = {"paper": {name: {kind: read[panel, kind].to_numpy() for kind in ("ID", "OOD")} for name, panel in both.items()}}
    columns |= {"this book": bars} if bars else {}
    fig, axes = plt.subplots(2, len(columns), figsize=(6.4, 6), sharex=True, sharey=True, squeeze=False)
    two_images(axes[0, -1], pick)
    for j, (name, column) in enumerate(columns.items()):
        for ax, method in zip(axes[:, j], both):
            for shift, look, kind in ((-0.2, plots.ID, "ID"), (0.2, plots.OOD, "OOD")):
                p = column[method][kind]
                ax.bar([i + shift for i in range(len(p))], p, 0.4, color=look.color, hatch=look.hatch, edgecolor="black", linewidth=0.5,
                       label=f"{kind} image")
            ax.set(ylim=(0, 1.05), xticks=range(0, 10, 3))
            ax.set_title(f"{paper.LABELS[method]}, {name}", y=1)
    for ax in axes[:, 0]:
        ax.set_ylabel("probability")
    for ax in axes[-1]:
        ax.set_xlabel("class")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def tsne_maps(runs: list, samples: list):
    """Figure 3: t-SNE of softmax outputs, every twelfth image; samples: for each run what `findings.sample` gives."""
    fig, axes = plt.subplots(1, max(len(runs), 1), figsize=(6.4, 3.7), squeeze=False)
    for ax, run, (p, labels) in zip(axes[0], runs, [[part[::12] for part in both] for both in samples]):
        xy, is_id = TSNE(init="pca", perplexity=min(30, len(p) // 4), random_state=0).fit_transform(p), labels >= 0
        ax.scatter(*xy[is_id].T, c=labels[is_id], cmap="tab10", s=3, alpha=0.5, rasterized=True)
        ax.scatter(*xy[~is_id].T, color="black", marker="x", s=6, linewidth=0.6)
        for k in np.unique(labels[is_id]):
            ax.text(*np.median(xy[labels == k], axis=0), paper.CLASSES[k] if run.config.id_dataset == "cifar10" else str(k), fontsize=11,
                    weight="bold", ha="center", va="center", bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8})
        ax.set_title(paper.LABELS[run.config.method])
    for ax in axes[0]:
        ax.set(xticks=[], yticks=[])
    return fig


def score_densities(runs: list, name: str):
    """(figure, alt text) of Figure 4: both losses' MSP on the ID set and one OOD set; on SVHN or its stand-in the paper's curves beside."""
    theirs, said = paper.figure(4), []
    fig, axes = plt.subplots(2, figsize=(6.4, 5.4), sharex=True)
    for ax, method, panel in zip(axes, ("cross_entropy", "logitnorm"), ("a_CE", "b_LogitNorm")):
        run = {run.config.method: run for run in runs}.get(method)
        for kind, look in (("ID", plots.ID), ("OOD", plots.OOD)):
            curve = theirs[(theirs["panel"] == panel) & theirs["series"].str.startswith(kind + "_")]
            if paper.counterpart(name) == "svhn" or kind == "ID":
                ax.plot(curve["msp"], curve["density"], color=look.color, linestyle=":", label=f"{kind}, paper")
            if run:
                score = run.score("msp", run.config.id_dataset if kind == "ID" else name)
                ax.hist(score, 50, density=True, label=f"{kind}, this book", **plots.filled(look))
                said.append(f"{paper.LABELS[method]}, {kind}: mean {score.mean():.2f}")
        ax.set(title=paper.LABELS[method], ylabel="density")
    axes[0].legend()
    axes[1].set_xlabel("maximum softmax probability")
    return fig, f"Scores of ID images and {paper.title(name)}. {'; '.join(said) or 'The paper only'}."


def with_threshold(ax, run) -> tuple[float, float]:
    """Draw a run's MSP on ID and OOD images and the threshold that keeps 95 % of ID; returns the threshold and FPR95 (%)."""
    both = [run.score("msp", name) for name in (run.config.id_dataset, run.config.history_ood)]
    bins = np.linspace(min(map(np.min, both)), max(map(np.max, both)), 41)
    for values, look in zip(both, (plots.ID, plots.OOD)):
        plots.histogram(ax, values, bins, look)
    threshold = metrics.threshold95(both[0])
    ax.axvline(threshold, color="black", linestyle=":")
    return threshold, metrics.fpr95(*both)


def three_numbers(run):
    """(figure, alt text): a detector's scores with the threshold that keeps 95 % of the ID images, and the ROC curve of the same scores."""
    if run is None:
        return plt.figure(), "No run yet: here stand the scores of a detector with its threshold, and their ROC curve."
    both = [run.score("msp", name) for name in (run.config.id_dataset, run.config.history_ood)]
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.9), width_ratios=(3, 2))
    (threshold, passed), area = with_threshold(left, run), metrics.auroc(*both)
    left.annotate("threshold:\n95 % of ID\nlie right", (threshold, left.get_ylim()[1] * 0.5), (threshold + 0.12, left.get_ylim()[1] * 0.45),
                  fontsize=11, arrowprops={"arrowstyle": "-"})
    left.set(xlabel="score S(x)", ylabel="share of images (%)", title=f"FPR95: {passed:.1f} % of OOD pass")
    left.legend(fontsize=11, loc="upper right")
    tpr, fpr = metrics.roc(*both)
    right.plot(100 * fpr, 100 * tpr, color="black")
    right.fill_between(100 * fpr, 100 * tpr, color="#dddddd")
    right.plot(passed, 95, "o", color=plots.OOD.color, markeredgecolor="black")
    right.text(55, 40, f"area:\nAUROC\n{area:.1f} %", ha="center", va="center")
    right.set(xlim=(0, 100), ylim=(0, 101), xticks=(0, 50, 100), yticks=(0, 50, 95), xlabel="OOD let in (%)",
              ylabel="ID let in (%)", title="every threshold")
    return fig, (f"Left, histograms of the scores of ID and OOD images with the threshold that keeps 95 % of the ID images: {passed:.1f} % of "
                 f"the OOD images pass it. Right, the ROC curve of the same scores, with an area of {area:.1f} %.")


# ---- curves of training, of tau, and of features

def norm_curves(runs: list):
    """Figure 1: the mean logit norm of test images against the share of the epochs, cross-entropy with the paper's beside, and LogitNorm."""
    fig, axes = plt.subplots(1, 2, figsize=(6.4, 3.8), sharey=True)
    curves = [(axes[0], paper.figure(1), ("id_test", "ood_svhn_test"), plots.PAPER)]
    curves += [(ax, run.history, ("norm_test", "norm_ood"), plots.OURS) for ax, run in zip(axes, runs)]
    for ax, frame, columns, look in curves:
        frame = frame[frame["epoch"] >= 1]
        for column, style, kind in zip(columns, ("-", "--"), ("ID", "OOD")):
            ax.plot(100 * frame["epoch"] / frame["epoch"].iloc[-1], frame[column], color=look.color, linestyle=style,
                    label=f"{look.label}, {kind}")
    # LogitNorm's first epochs can be ten times as high as all that follows, and would press the curves of interest flat
    later = max(frame.loc[frame["epoch"] > 0.05 * frame["epoch"].iloc[-1], columns[0]].max() for _, frame, columns, _ in curves)
    axes[0].set(title="Cross-entropy", ylabel="mean logit norm", xlabel="% of the epochs", ylim=(0, 1.1 * later))
    axes[1].set(title="LogitNorm", xlabel="% of the epochs")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def tau_curve(curve: pd.DataFrame, frame: pd.DataFrame):
    """Figure 5: the average FPR95 against tau, the paper's and ours, each with its cross-entropy; `findings.taus`, `paper.ours`."""
    fig, ax = plt.subplots(figsize=(6.4, 4.6))
    printed = paper.where(paper.numbers("1"), method="cross_entropy", ood_dataset="average", metric="fpr95", id_dataset="cifar10")
    ran, theirs, ours = curve.dropna(subset=["ours"]), plots.PAPER.color, plots.OURS.color
    ax.plot(curve["tau"], curve["paper"], color=theirs, marker="*", markersize=12, label="paper")
    ax.axhline(printed["paper"].item(), color=theirs, linewidth=1, linestyle=":", label="paper, cross-entropy")
    if len(ran):
        base = paper.average_fpr95(paper.for_tables(frame), "cross_entropy", "msp")["value"].mean()
        ax.errorbar(ran["tau"], ran["ours"], ran["sd"], color=ours, marker="s", capsize=4, label="this book")
        ax.axhline(base, color=ours, linewidth=1, linestyle="--", label="this book, cross-entropy")
    ax.set(xlabel="τ", ylabel="average FPR95 (%)", ylim=(0, None))
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def training(run):
    """The training loss of a run against the epoch, and the mean norm of the logits of training, test and OOD images."""
    look, history = plots.METHODS[run.config.method], run.history
    fig, (above, below) = plt.subplots(2, figsize=(6.4, 6), sharex=True)
    above.plot(history["epoch"], history["train_loss"], color=look.color, marker=look.marker)
    above.set(ylabel="training loss (nats)", title=look.label)
    for column, label, kind, line in (("norm_train", "training", plots.PAPER, ":"), ("norm_test", "ID test", plots.ID, "-"),
                                      ("norm_ood", "OOD", plots.OOD, "--")):
        below.plot(history["epoch"], history[column], color=kind.color, linestyle=line, label=label)
    below.set(xlabel="epoch", ylabel="mean norm of the logits", yscale="log")
    below.legend()
    return fig


def spectra(runs: list):
    """(figure, sentence): the standard deviation of the ID features along each principal direction, relative to the largest."""
    fig, ax = plt.subplots()
    said = []
    for run in runs:
        look, curve = plots.METHODS[run.config.method], collapse.spectrum(run.tensor(f"{run.config.id_dataset}/features"))
        ax.plot(np.arange(1, len(curve) + 1), curve / curve[0], markersize=4, markevery=9, **look.line)
        said.append(f"{paper.method_title(run.config)} at size {run.config.size}: effective rank {collapse.effective_rank(curve):.1f} of "
                    f"{len(curve)}")
    ax.set(xlabel="principal direction", ylabel="standard deviation, relative", yscale="log", ylim=(1e-5, 2))  # below: none at all
    if runs:
        ax.legend()
    return fig, f"{'; '.join(said) or 'No run'}."


def feature_lengths(runs: list):
    """(figure, sentence): histograms of the norm of the features of each run, on ID and on OOD images."""
    fig, axes = plt.subplots(max(len(runs), 1), figsize=(6.4, 3 * max(len(runs), 1) + 0.6), squeeze=False)
    said = []
    for ax, run in zip(axes[:, 0], runs):
        inside, outside = [np.linalg.norm(run.tensor(f"{name}/features").astype(float), axis=1)
                           for name in (run.config.id_dataset, run.config.history_ood)]
        for lengths, look, name in ((inside, plots.ID, run.config.id_dataset), (outside, plots.OOD, run.config.history_ood)):
            ax.hist(lengths, 50, density=True, label=paper.title(name), **plots.filled(look))
        ax.set(title=f"{run.config.size}: {paper.method_title(run.config)}", ylabel="density", xlim=(0, None))
        ax.legend()
        said.append(f"{paper.method_title(run.config)} at size {run.config.size}: mean {inside.mean():.2f} on ID images, "
                    f"{outside.mean():.2f} on {paper.title(run.config.history_ood)}")
    axes[-1, 0].set_xlabel("norm of the features")
    return fig, f"{'; '.join(said) or 'No run'}."


# ---- what a detector lets in

def contact_sheet(run):
    """(figure, alt text): the thumbnails of each image set as a run's detector sorts them, accepted ones first.

    Accepted is what reaches the threshold that keeps 95 % of the ID test images. Rejected images are pale, wrong answers framed.
    """
    pixels, images, _ = thumbnails("sheets")
    score, inside = scoring.OWN_SCORES.get(run.config.method, ("msp",))[0], run.config.id_dataset  # of its own head, if it has one
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
        ax.set_title(f"{paper.title(name)}: {accepted.sum()} of {len(part)} let in; of all {share:.0f} %", loc="left")
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
            look, (fpr95, auroc) = plots.METHODS[run.config.method], run.separated("msp", name)
            tpr, fpr = metrics.roc(run.score("msp", run.config.id_dataset), run.score("msp", name))
            ax.plot(100 * fpr, 100 * tpr, color=look.color, linestyle=look.linestyle, label=look.label)
            ax.plot(fpr95, 95, look.marker, color=look.color)
            said.append(f"{look.label} on {paper.title(name)}: AUROC {auroc:.1f} %, FPR95 {fpr95:.1f} %")
        ax.set(title=paper.title(name), xticks=(0, 50, 100), yticks=(0, 50, 95))
    fig.supxlabel("foreign images let in (%)")
    fig.supylabel("familiar images let in (%)")
    if runs:
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig, "ROC curves of both losses on six OOD sets. " + ("; ".join(said) or "No run yet") + "."


def learning_curves(runs: list):
    """(figure, alt text): accuracy and training loss of each run against the epoch, a look a method."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.9), sharex=True)
    named = set()
    for run in runs:
        look, epochs, first = plots.METHODS[run.config.method], run.history["epoch"], run.config.method not in named
        left.plot(epochs, run.history["test_accuracy"], color=look.color, linewidth=1.5, label=look.label + ", test" if first else None)
        left.plot(epochs, run.history["train_accuracy"], color=look.color, linewidth=1, linestyle=":",
                  label=look.label + ", training" if first else None)
        right.plot(epochs, run.history["train_loss"], color=look.color, linestyle=look.linestyle, linewidth=1.5)
        named.add(run.config.method)
    left.set(title="accuracy (%)", xlabel="epoch")
    right.set(title="training loss (nats)", xlabel="epoch", ylim=(0, None))
    if runs:
        fig.legend(loc="outside lower center", ncols=2)
    ends = "; ".join(f"{run.id}: {run.history['test_accuracy'].iloc[-1]:.2f} %" for run in runs) or "no run"
    return fig, f"Learning curves of every seed, accuracy left and loss right, against the epoch. Last test accuracy: {ends}."


def norm_and_confidence(runs: list):
    """(figure, alt text, sentence): the norm of an image's logits against its MSP, 600 images of the ID and the OOD set."""
    fig, axes = plt.subplots(1, 2, figsize=(6.4, 4), sharey=True)
    said, orders = [], []
    for ax, run in zip(axes, runs):
        for name, look in ((run.config.id_dataset, plots.ID), (run.config.history_ood, plots.OOD)):
            f = run.tensor(f"{name}/logits").astype(float)
            keep = np.random.default_rng(0).permutation(len(f))[:600]  # some sets are stored class by class
            norm, confidence = np.linalg.norm(f, axis=1), softmax(f, axis=1).max(1)
            ax.plot(norm[keep], confidence[keep], look.marker, color=look.color, markersize=3, alpha=0.4, linestyle="",
                    label=paper.title(name))
            order = pd.Series(norm).corr(pd.Series(confidence), method="spearman")
            said.append(f"{paper.LABELS[run.config.method]}, {paper.title(name)}: median norm {np.median(norm):.1f}, median confidence "
                        f"{np.median(confidence):.2f}, rank correlation {order:.2f}")
            if look is plots.ID:
                orders.append(f"{order:.2f} under {paper.LABELS[run.config.method]}")
        ax.set(title=paper.LABELS[run.config.method], xlabel="norm of the logits", xlim=(0, None), ylim=(0, 1.02))
    axes[0].set_ylabel("confidence (MSP)")
    if runs:
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, markerscale=3)
    alt = "Scatter plots of the logit norm against the confidence, one point an image. " + ("; ".join(said) or "No run yet") + "."
    return fig, alt, f"On familiar images norm and confidence have a rank correlation of {' and '.join(orders)}." if orders else ""


# ---- other people's metric code

def two_metrics_one_name(runs: list, ood_set: str):
    """(figure, alt text): the two points of a ROC curve that are called FPR95, for each loss, and AUPR against the base rate."""
    fig = plt.figure(figsize=(6.4, 7.2))
    above, below = fig.subfigures(2, height_ratios=(3, 2.2))
    said, axes = [], above.subplots(1, 2, sharey=True)
    for ax, run in zip(axes, runs):
        look, both = plots.METHODS[run.config.method], conventions.scores_of(run, "msp", ood_set)
        tpr, fpr = metrics.roc(*both)
        one, two = metrics.fpr95(*both), conventions.ood_positive(metrics.fpr95)(*both)
        ax.plot(100 * fpr, 100 * tpr, color=look.color, linestyle=look.linestyle)
        ax.plot([0, one], [95, 95], color="black", linewidth=1.5)
        ax.plot(one, 95, "o", color="black")
        ax.plot([5, 5], [100 - two, 100], color=plots.GREY, linewidth=1.5, linestyle=":")
        ax.plot(5, 100 - two, "D", color=plots.GREY)
        ax.annotate(f"ID positive:\n{one:.1f} %", (one, 95), (max(one, 45), 78), ha="center", va="top")
        ax.annotate(f"OOD positive: {two:.1f} %", (5, 100 - two), (14, min(100 - two, 70) - 18), va="top",
                    arrowprops={"arrowstyle": "-", "color": plots.GREY})
        ax.set(title=look.label, xlim=(-1, 101), ylim=(0, 101), xticks=(0, 5, 50, 100), yticks=(0, 50, 95))
        ax.tick_params(axis="x", labelsize=11)  # 0 and 5 stand close
        said.append(f"{look.label}: with ID as positive {one:.1f} % of the OOD images pass where 95 % of ID pass, with OOD as positive "
                    f"{two:.1f} % of the ID images are refused where 95 % of OOD are caught")
    above.supxlabel("OOD images let in (%)")
    above.supylabel("ID images let in (%)")
    ax = below.subplots()
    ratios = np.geomspace(0.2, 10, 15)
    for run in runs:
        look, both = plots.METHODS[run.config.method], conventions.scores_of(run, "msp", ood_set)
        ax.plot(ratios, [metrics.aupr_in(*both, ratio) for ratio in ratios], color=look.color, linestyle=look.linestyle, label=look.label)
        for ratio in (1, 5):
            ax.plot(ratio, metrics.aupr_in(*both, ratio), look.marker, color=look.color)
        said.append(f"{look.label}, AUPR: {metrics.aupr_in(*both):.1f} % with as many ID as OOD images, {metrics.aupr(*both):.1f} % with five times "
                    "as many")
    ax.set(xscale="log", xlabel="ID images to OOD images", ylabel="AUPR (%)")
    ax.set_xticks([0.2, 1, 5, 10], ["1:5", "1:1", "5:1", "10:1"])
    ax.minorticks_off()
    if runs:
        ax.legend()
    return fig, f"ROC curves with the two points called FPR95, and AUPR against the base rate. {'; '.join(said) or 'No run yet'}."


def fpr95_rules(frames: dict):
    """(figure, alt text): the mean FPR95 of both losses under each program's rule; frames: {score: fpr95_by_convention}."""
    order, said = list(conventions.FPR95), []
    fig, axes = plt.subplots(1, max(len(frames), 1), figsize=(6.4, 5.6), sharey=True, squeeze=False)
    for ax, (score, frame) in zip(axes[0], frames.items()):
        for shift, (method, part) in zip((-0.14, 0.14), frame.groupby("method")):
            look = plots.METHODS[method]
            ax.plot(part["fpr95"], part["convention"].map(order.index) + shift, look.marker, color=look.color, alpha=0.7, label=look.label,
                    markersize=7)
        ax.set_title(paper.title(score))
        said.append(f"{paper.title(score)}: {conventions.in_words(frame)}")
    axes[0, 0].set_yticks(range(len(order)), [name.replace(" (", "\n(") for name in order])
    axes[0, 0].invert_yaxis()
    fig.supxlabel("mean FPR95 over six OOD sets (%)")
    if frames:
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig, "Mean FPR95 under eight rules, one mark per seed. " + (" ".join(said) or "No run yet.")


# ---- all claims

def claims(rows: pd.DataFrame):
    """(figure, alt text): of every claim of `ledger.build` that is about a change, the paper's change and ours.

    A line a claim, its verdict's mark before its name; a claim with several changes has several marks.
    """
    part = rows[rows["changes"].map(len) > 0]
    part = part.assign(order=part["changes"].map(lambda changes: changes[0][0])).sort_values("order", kind="stable")
    fig, ax = plt.subplots(figsize=(6.4, 1.3 + 0.3 * len(part)))
    said = []
    for y, row in enumerate(part.itertuples()):
        for number, (theirs, mine) in enumerate(row.changes, 1):
            ax.plot([theirs, mine], [y - 0.15, y + 0.15], color=plots.FAINT, linewidth=1.2, zorder=1)
            for look, x, shift in ((plots.PAPER, theirs, -0.15), (plots.OURS, mine, 0.15)):
                ax.plot(x, y + shift, look.marker, color=look.color, markersize=6)
            said.append(f"{row.topic}{f', change {number}' * (len(row.changes) > 1)}: paper {theirs:+.1f}, this book {mine:+.1f} ({ledger.short(row.verdict)})")
    ax.axvline(0, color="black", linewidth=1)
    names = [f"{ledger.MARKS[ledger.VERDICTS[row.verdict]]} {row.topic}" for row in part.itertuples()]
    ax.set_yticks(range(len(part)), names, fontsize=11)
    ax.set(xlabel="change (points, or of a norm)", ylim=(len(part) - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    for look in (plots.PAPER, plots.OURS):
        ax.plot([], [], look.marker, color=look.color, label=look.label)
    fig.legend(loc="outside upper center", ncols=2)
    return fig, "The paper's change and this book's, claim by claim. " + ("; ".join(said) or "No run yet") + "."


# ---- Learned Confidence

def two_heads():
    """(figure, alt text): the network of Learned Confidence with the numbers of one made-up example that buys a hint."""
    p, label, c = np.array([0.04, 0.08, 0.06, 0.28, 0.05, 0.30, 0.06, 0.05, 0.04, 0.04]), 3, 0.4
    y = np.eye(len(p))[label]
    mixed = c * p + (1 - c) * y
    fig, ax = plt.subplots(figsize=(6.4, 4.6))
    ax.set(xlim=(-0.1, 13.2), ylim=(-0.2, 9.4))
    ax.set_axis_off()
    ours, other = plots.METHODS["learned_confidence"].color, plots.OOD.color

    def box(x, y, width, height, text="", color="#eeeeee", fontsize=11):
        ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0.05,rounding_size=0.15", facecolor=color,
                                    edgecolor="black", linewidth=1))
        ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=fontsize)

    def arrow(start, end, **style):
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "black", "linewidth": 1.4, **style})

    def bars(x, y, width, height, values, title, color):
        box(x, y, width, height, color="white")
        for i, value in enumerate(values):
            at = x + 0.15 + i * (width - 0.3) / len(values)
            ax.bar(at, value * (height - 0.7), 0.8 * (width - 0.3) / len(values), y + 0.1, align="edge", edgecolor="black", linewidth=0.4,
                   color=other if i == label else color)
        ax.text(x + width / 2, y + height - 0.28, title, ha="center", va="center", fontsize=10)

    box(0, 4.1, 1.3, 1.2, "image\n$x$")
    box(1.9, 4.1, 1.9, 1.2, "trunk:\nany net")
    bars(4.9, 5.7, 3.2, 2.2, p, "class probabilities $p$", plots.FAINT)
    box(4.9, 2.0, 3.2, 1.5, f"confidence\n$c = {c:g}$", ours)
    bars(9.7, 5.7, 3.3, 2.2, mixed, f"$p' = {c:g}\\,p + {1 - c:g}\\,y$", plots.FAINT)
    box(9.7, 8.4, 3.3, 0.9, f"loss $-\\log\\,p'_y$ = {-np.log(mixed[label]):.2f}", "white")
    box(9.7, 2.0, 3.3, 1.5, f"plus the price\n$-\\lambda\\,\\log\\,c = {-np.log(c):.2f}\\,\\lambda$", "white")
    box(4.9, 0, 3.2, 0.9, "the score at test time", "white", 9.5)
    ax.text(6.5, 4.6, "the hint: label $y$,\nas much as $c$ leaves", ha="center", va="center", fontsize=10)
    for start, end in (((1.35, 4.7), (1.85, 4.7)), ((3.85, 4.9), (4.85, 6.4)), ((3.85, 4.5), (4.85, 3.0)), ((8.2, 6.8), (9.65, 6.8)),
                       ((11.35, 8.0), (11.35, 8.35)), ((8.2, 2.75), (9.65, 2.75)), ((6.5, 1.95), (6.5, 0.98))):
        arrow(start, end)
    arrow((8.2, 3.4), (10.2, 5.65), linestyle="--")
    return fig, ("Drawing: an image goes through the trunk of a network to two heads, class probabilities p and a confidence c. In training "
                 f"p' mixes p with the label y by c. In the example c is {c:g}, and the label's probability rises from {p[label]:.2f} to "
                 f"{mixed[label]:.2f}; the loss is minus log of it, {-np.log(mixed[label]):.2f} instead of {-np.log(p[label]):.2f}, plus a price, "
                 f"lambda times {-np.log(c):.2f}. At test time c alone is the score.")


def price_of_hints():
    """(figure, alt text): the loss against c for an easy, a middling and a hard example; the best c by probability and lambda."""
    weight, weights, budget = 0.1, (0.03, 0.1, 0.3), 0.3
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 4.3))
    c, said = np.linspace(0.01, 1, 400), []
    looks = ((0.95, plots.GREEN, "-", "easy"), (0.6, plots.OCHRE, "--", "middling"), (0.1, plots.VERMILION, ":", "hard"))
    for p, color, linestyle, name in looks:
        best = float(confidence.best_confidence(p, weight))
        left.plot(c, confidence.hinted_loss(p, c, weight), color=color, linestyle=linestyle, label=f"{name}, $p_y$ = {p:g}")
        left.plot(best, confidence.hinted_loss(p, best, weight), "o", color=color, zorder=3, clip_on=False)
        said.append(f"{name}, probability {p:g}: cheapest at c = {best:.2f}")
    left.set(title=f"what a hint costs, λ = {weight:g}", xlabel="confidence c", ylabel="loss (nats)", xlim=(0, 1), ylim=(0, 1.7))
    left.legend(fontsize=10, loc="upper left")
    p = np.linspace(0, 1, 400)
    for value, color, linestyle in zip(weights, (plots.SKY, plots.BLUE, "black"), (":", "-", "--")):
        right.plot(p, confidence.best_confidence(p, value), color=color, linestyle=linestyle, label=f"λ = {value:g}")
    right.axhline(np.exp(-budget), color=plots.PAPER.color, linewidth=1)
    right.text(0.02, np.exp(-budget) + 0.02, "exp(−β)", color=plots.GREY, fontsize=10)
    right.set(title="the cheapest c", xlabel="probability of the true class", xlim=(0, 1), ylim=(0, 1.03))
    right.legend(fontsize=10, loc="center left", bbox_to_anchor=(0, 0.57))
    return fig, (f"Left, the loss against the confidence c at lambda {weight:g}: {'; '.join(said)}. Right, the cheapest c against the "
                 f"probability of the true class for lambda {', '.join(f'{value:g}' for value in weights)}: the dearer the hint, the higher c.")


def confidence_histogram(run):
    """(figure, alt text): the confidence c of a run's ID test images and of its far OOD images."""
    fig, ax = plt.subplots(figsize=(6.4, 3.6))
    said = []
    for names, look in (([run.config.id_dataset], plots.ID), (run.config.ood_sets, plots.OOD)) if run else ():
        c = expit(run.score("confidence", *names))
        ax.hist(c, np.linspace(0, 1, 51), density=True, label=look.label, **plots.filled(look))
        said.append(f"{look.label}: mean {c.mean():.2f}, standard deviation {c.std():.2f}")
    ax.set(xlabel="confidence c", ylabel="density", xlim=(0, 1))
    if run:
        ax.legend()
    return fig, f"Histograms of the confidence c. {'; '.join(said) or 'No run yet'}."


def toy_maps(settings: list, maps: list):
    """(figure, alt text): c over the square for each noise of `confidence.train_toys`, flipped labels above moved points."""
    fig, axes = plt.subplots(2, -(-len(maps) // 2), figsize=(6.4, 4.2), sharex=True, sharey=True)
    said = []
    for ax, setting, c in zip(axes.flat, settings, maps):
        name = f"{setting.flipped:.0%} flipped" if setting.flipped else f"moved by {setting.jitter:g}"
        drawn = ax.imshow(c, origin="lower", extent=(-1, 1, -1, 1), cmap="cividis", vmin=0, vmax=1)
        ax.set_title(name)
        ax.grid(False)
        said.append(f"{name}: c from {c.min():.2f} to {c.max():.2f}, standard deviation {c.std():.2f}")
    fig.colorbar(drawn, ax=axes, label="confidence c", shrink=0.8)
    return fig, "Maps of the confidence c over the square. " + "; ".join(said) + "."


def thresholds_from_errors(runs: list):
    """(figure, alt text): the detection error against the threshold for each run, with the threshold from ID errors marked."""
    fig, ax = plt.subplots(figsize=(6.4, 4))
    said = []
    for run in runs:
        look, found = plots.METHODS[run.config.method], confidence.from_errors(run)
        ax.plot(found.curve.threshold, found.curve.error, color=look.color, linestyle=look.linestyle, label=look.label)
        ax.plot(found.threshold, found.error, look.marker, color="black")
        said.append(f"{look.label}: lowest error {found.curve.error.min():.1f} %, within 2 points of it for thresholds from "
                    f"{found.curve.flat[0]:.3f} to {found.curve.flat[1]:.3f}; {found.error:.1f} % at the threshold from ID errors, "
                    f"{found.threshold:.3f}")
    ax.set(xlabel="threshold on the score", ylabel="detection error (%)", ylim=(0, 52))
    if runs:
        ax.legend()
    return fig, "Detection error against the threshold. " + ("; ".join(said) or "No run yet") + "."


# ---- how much depends on the net, and on the seed

def growing_effect(lines: pd.DataFrame):
    """(figure, alt text): what LogitNorm changes in each net of `netsize.effects`, one line a score, the paper's at the end."""
    fig, ax = plt.subplots(figsize=(6.4, 5))
    nets, said = list(dict.fromkeys(lines["net"])), []
    for name, look in plots.SCORES.items():
        part = lines[lines["number"] == name].set_index("net").loc[nets].dropna(subset="change")
        at = [nets.index(net) for net in part.index]
        ax.errorbar(at, part["change"], yerr=part["noise"], elinewidth=0.8, capsize=2, **look.line)
        said.append(f"{name}: " + ", ".join(f"{row.network} {row.change:+.1f}" for row in part.itertuples()))
    ax.axhline(0, color="black", linewidth=1)
    ax.set(ylabel="change of the mean FPR95 (points)")
    ax.set_xticks(range(len(nets)), ["WRN-40-2,\npaper" if net == netsize.PAPER else net.replace(", ", ",\n").replace("BC-", "\nBC-")
                                     for net in nets], fontsize=10)
    fig.legend(loc="outside upper center", ncols=3)
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
    above.set(xlabel="mean FPR95 of six OOD sets (%), a mark a seed", yticks=range(len(seeds.RATES)), yticklabels=seeds.RATES.values(), ylim=(len(seeds.RATES) - 0.5, -0.5))
    fig.legend(loc="outside upper center", ncols=1)
    counts = [count for count in seeds.COUNTS if count in lines]
    for claim, name in seeds.RATES.items():
        below.plot(counts, lines.set_index("claim").loc[claim, counts], **plots.SCORES[name].line)
    below.axhline(50, color=plots.PAPER.color, linewidth=1)
    below.text(counts[-1], 49, "a coin", ha="right", va="top", color=plots.GREY)
    below.set(xlabel="seeds of each loss in a table", ylabel="wrong order (%)", xticks=counts, ylim=(-2, 52))
    below.legend(ncols=2, loc="upper right", bbox_to_anchor=(1, 0.9))
    said = "; ".join(f"{seeds.RATES[row['claim']]}: cross-entropy {row['cross_entropy']:.1f} ± {row['sd0']:.1f}, LogitNorm "
                     f"{row['logitnorm']:.1f} ± {row['sd1']:.1f}, wrong order with one seed {row[1]:.0f} %"
                     for _, row in lines.iterrows() if row["claim"] in seeds.RATES)
    return fig, f"Above, the FPR95 of every seed with both losses; below, the chance of a wrong order by number of seeds. {said}."


def speeds(found: pd.DataFrame):
    """(figure, alt text): how many times as fast as the plain loop each loop of `speed.lines` is, by network and processor."""
    groups = list(found.groupby(["network", "processor"], sort=False))
    fig, ax = plt.subplots(figsize=(6.4, 1.4 + 0.95 * len(groups)))
    looks = {speed.PLAIN: {"facecolor": plots.PAPER.color, "hatch": "///"}, speed.OURS: {"facecolor": plots.OURS.color}}
    looks = {loop: looks.get(loop, {"facecolor": plots.METHODS["logit_penalty"].color, "hatch": "..."}) | {"edgecolor": "white"}
             for loop in found["loop"]}
    said = []
    for y, ((network, processor), part) in enumerate(groups):
        for shift, row in zip((-0.27, 0, 0.27), part.itertuples()):
            ax.barh(y + shift, row.times, 0.25, **looks[row.loop])
            ax.text(row.times, y + shift, f" {row.rate:,.0f} images/s", va="center")
        said.append(f"{network} on {processor}: " + ", ".join(f"{row.loop} {row.rate:,.0f}" for row in part.itertuples()))
    ax.set_yticks(range(len(groups)), [f"{network}\n{processor}" for (network, processor), _ in groups])
    ax.set(xlabel="times the plain loop", ylim=(len(groups) - 0.5, -0.5), xlim=(0, 1.35 * found["times"].max()))
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    fig.legend(handles=[Patch(label=loop, **look) for loop, look in looks.items()], loc="outside upper center", ncols=2)
    return fig, f"Bars of the speed of each loop; images a second. {'; '.join(said)}."
