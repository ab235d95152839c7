"""What the front page and the prose pages include: ten images and what is said of them, the ledger, what the runs cost."""

from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image
from scipy.special import softmax

from logitnorm import metrics
from logitnorm.study import (
    branches,
    findings,
    label_noise,
    ledger,
    netsize,
    offset,
    paper,
    questions,
    repair,
    results,
    seeds,
)

from . import hidden, lists, pictures, plots
from .build import colab_url
from .pictures import THUMBNAILS, thumbnails

# ---- the first screen

LOSSES = ("cross_entropy", "logitnorm")


def answers(run, images: pd.DataFrame) -> pd.DataFrame:
    """What a run's network says of the images: said (its class), percent (maximum softmax), accepted, right.

    An image is accepted where its confidence is at least the threshold that accepts 95 % of the ID test images; that is
    right for an ID image and wrong for any other.
    """
    threshold = metrics.threshold95(run.score("msp", run.config.id_dataset))
    rows = []
    for name, index in zip(images["set"], images["index"]):
        f = run.tensor(f"{name}/logits")[index].astype(float)
        accepted = bool(run.score("msp", name)[index] >= threshold)
        rows.append({"said": paper.CLASSES[f.argmax()], "percent": 100 * softmax(f).max(), "accepted": accepted,
                     "right": accepted == (name == run.config.id_dataset)})
    return pd.DataFrame(rows)


def best_pair(loaded: dict[str, list], images: pd.DataFrame) -> list:
    """One run of each loss, of the first size whose runs kept the logits of the images; [] if none did."""
    def kept(run):
        return run.config.id_dataset == "cifar10" and all(
            run.has(f"{name}/logits") and part["index"].max() < len(run.tensor(f"{name}/logits"))
            for name, part in images.groupby("set"))

    for found in loaded.values():
        pair = [next(filter(kept, paper.chosen(found, method)), None) for method in LOSSES]
        if all(pair):
            return pair
    return []


def first_screen(loaded: dict[str, list], lines: pd.DataFrame) -> str:
    """What was found, in one sentence, and the ten images with what both networks say of them, as Markdown and HTML."""
    found = _sentence(lines, loaded)
    pixels, images, source = thumbnails("front")
    pair = best_pair(loaded, images)
    if not pair:
        return found
    said = [answers(run, images) for run in pair]
    panels = "".join(_panel(title, pixels, images[mask], [answer[mask] for answer in said]) for title, mask in (
        ("Familiar: CIFAR-10", images["set"] == pair[0].config.id_dataset),
        ("Foreign: house numbers", images["set"] != pair[0].config.id_dataset)))
    thresholds = " and ".join(f"{100 * metrics.threshold95(run.score('msp', run.config.id_dataset)):.1f} % under "
                              f"{paper.LABELS[run.config.method]}" for run in pair)
    passed = " and ".join(f"{run.separated('msp', 'svhn_part')[0]:.1f} % under {paper.LABELS[run.config.method]}" for run in pair)
    short = "In: above the mark that 95 % of the familiar images reach. Drawn by a seed, not by eye."
    caption = (f"What two networks ({paper.net(pair[0].config)}, seed "
               f"{pair[0].config.seed}) say of ten test images. An image is let in when its largest softmax probability reaches the "
               f"one that 95 % of the CIFAR-10 test images reach: {thresholds}, whose probabilities are small by construction; "
               f"their order is what counts. ✓ and ✗ judge in and out, not the name of the class. Of all house numbers {passed} are let in. Images: {source}")
    return (f"{found}\n\n```{{raw}} html\n<figure class=\"asked\" id=\"first-picture\">\n<div class=\"asked-panels\">{panels}"
            f"</div>\n<figcaption><details><summary><span class=\"caption-text\">{short}</span></summary>{escape(caption)}"
            f"</details></figcaption>\n</figure>\n{_doors()}\n```\n")


DOORS = (("ask.html", "Ask the network", "four detectors in your browser, on any picture of yours"),
         ("../notebooks/table1.html", "Read the results", "each table and figure, the paper and this book side by side"),
         ("rerun.html", "Run it", "in Colab, or all of it with two commands"))


def _doors() -> str:
    return '<nav class="doors" aria-label="Three doors">' + "".join(
        f'<a href="{target}"><strong>{title}</strong><span>{text}</span></a>' for target, title, text in DOORS) + "</nav>"


def _sentence(lines: pd.DataFrame, loaded: dict[str, list]) -> str:
    """The two findings with their numbers: what LogitNorm does to FPR95, and at what temperature it trains."""
    row = lines.set_index("id").loc["average-cifar10"]
    ours, theirs = _changes(row)
    net = {"medium": "the paper's own network, 30 epochs instead of 200", "small": "a small network, 12 epochs"}
    if full := paper.chosen(loaded.get("full", []), "logitnorm"):
        used = [paper.counterpart(name) != name for name in full[0].config.ood_sets]
        if any(used):
            net["full"] = f"{sum(used)} of {len(used)} sets here are stand-ins"
    said = (f"**Foreign images that pass for familiar: from {ours} %** with LogitNorm (paper: {theirs} %; "
            f"{net.get(row['size'], 'the paper’s setting')})."
            if row["size"] else f"Our own runs: {paper.NOT_RUN}; the paper has FPR95 fall from {theirs} %.")
    ends = offset.set_temperatures(loaded.get("small", []))
    if len(ends):
        trained = paper.span(ends, 0)
        own = branches.own_stages(branches.histories(loaded.get("full", [])))
        if len(own) > 1:
            said += (f" **The network sets its own temperature**: asked for 1/τ = {own['nominal'].iloc[0]:g}, it "
                     f"reaches {own['s'].iloc[0]:.0f} in {own['epoch'].iloc[0]} epochs and {own['s'].iloc[-1]:.0f} at the end; a small one, asked for "
                     f"{1 / ends.index.max():.0f} to {1 / ends.index.min():.0f}, stays at {trained}")
        else:
            said += (f" **It sets its own temperature**: asked for 1/τ = {1 / ends.index.max():.0f} to {1 / ends.index.min():.0f}, it trains at {trained}")
        said += " ([why](../notebooks/hidden_temperature.ipynb))."
    return said


def _changes(row: pd.Series) -> tuple[str, str]:
    """Ours and the paper's, in a sentence: '61.6 to 26.8'."""
    return row["ours_short"].replace("→", "to"), row["theirs_short"].replace("→", "to")


# The same two findings for readers of Japanese and Chinese, with their conditions, and what became of c; an arrow leads from cross-entropy to
# LogitNorm, or from the softmax to c.
SUMMARIES = {
    "ja": ("IDの95 %を受け入れるしきい値を通ってしまうOOD画像の割合(FPR95)は、損失を交差エントロピーからLogitNormに替えると **{ours} %**(論文では {theirs} %)。"
           "条件は、CIFAR-10で学習した{net}({epochs}エポック、シード{seeds}個)、{sets}個のOOD集合の平均(うち{stand_ins}個は代わりの画像)です。",
           "この本での測定はまだありません(論文では {theirs} %)。",
           "また、LogitNormは温度を自分で決めます。小さなネットワーク(WRN-10-2)では、$1/\\tau$ を {low} から {high} まで変えても、実際に働く逆温度は **{trained}** です(テスト画像で測定、[](../notebooks/hidden_temperature.ipynb))。",
           "論文のネットワークWRN-40-2では、$1/\\tau$ = {nominal} に対し {epoch} エポック後に {end} になります(学習画像で測定)。",
           "Learned Confidenceでは、$c$ を使わない同じ学習のsoftmaxから $c$ に替えると、iSUNに対するFPR95は{each}([](../notebooks/learned_confidence.ipynb))。",
           "{id_set}の{net}で {ours} %(論文の{their_net}では {theirs} %)"),
    "zh": ("在接受 95 % ID 图像的阈值下，被放行的 OOD 图像的比例（FPR95）在把损失由交叉熵换成 LogitNorm 之后为 **{ours} %**（论文：{theirs} %）。"
           "条件：在 CIFAR-10 上训练的 {net}（{epochs} 个 epoch，{seeds} 个随机种子），{sets} 个 OOD 集的平均（其中 {stand_ins} 个为替代图像）。",
           "本书尚无测量值（论文：{theirs} %）。",
           "此外，LogitNorm 自己决定温度：在小网络（WRN-10-2）中，$1/\\tau$ 取 {low} 至 {high} 时，实际起作用的逆温度都是 **{trained}**（在测试图像上测量，[](../notebooks/hidden_temperature.ipynb)）。",
           "论文的网络 WRN-40-2 在 $1/\\tau$ = {nominal} 时，{epoch} 个 epoch 后达到 {end}（在训练图像上测量）。",
           "对于 Learned Confidence，由不带 $c$ 的同样训练的 softmax 换成 $c$ 之后，在 iSUN 上的 FPR95 为：{each}（[](../notebooks/learned_confidence.ipynb)）。",
           "{id_set} 的 {net}：{ours} %（论文的 {their_net}：{theirs} %）"),
}


def summary(language: str, lines: pd.DataFrame, loaded: dict[str, list]) -> str:
    """The findings of the first screen and what became of c, in Japanese or Chinese, as Markdown."""
    measured, missing, temperature, own_temperature, confidence, one = SUMMARIES[language]
    row = lines.set_index("id").loc["average-cifar10"]
    used = paper.chosen(loaded[row["size"]], "logitnorm") if row["size"] else []
    told = {"net": paper.network(used[0].config.architecture), "epochs": used[0].config.epochs, "seeds": len(used), "sets": len(used[0].config.ood_sets),
            "stand_ins": sum(paper.counterpart(name) != name for name in used[0].config.ood_sets)} if used else {}
    said = (measured if row["size"] else missing).format(ours=row["ours_short"], theirs=row["theirs_short"], **told)
    ends = offset.set_temperatures(loaded.get("small", []))
    if len(ends):
        trained = " – ".join(dict.fromkeys((f"{ends.min():.0f}", f"{ends.max():.0f}")))
        said += "\n\n" + temperature.format(low=f"{1 / ends.index.max():.0f}", high=f"{1 / ends.index.min():.0f}", trained=trained)
    own = branches.own_stages(branches.histories(loaded.get("full", [])))
    if len(own) > 1:
        said += own_temperature.format(nominal=f"{own['nominal'].iloc[-1]:g}", epoch=own["epoch"].iloc[-1], end=f"{own['s'].iloc[-1]:.0f}")
    ran = lines[lines["topic"].str.startswith("Confidence c, ") & lines["size"].ne("")]
    if len(ran):
        nets = {run.id: paper.network(run.config.architecture) for found in loaded.values() for run in found}
        parts = [one.format(net=nets[row.runs[0]], ours=row.ours_short, theirs=row.theirs_short, **dict(zip(("their_net", "id_set"), row.topic.split(", ")[1:])))
                 for row in ran.itertuples()]
        said += "\n\n" + confidence.format(each=("、" if language == "ja" else "；").join(parts))
    return said + "\n"


def _panel(title: str, pixels: list, images: pd.DataFrame, said: list[pd.DataFrame]) -> str:
    """A table of images, one a column: the image and its true name, and a row for each network."""
    names = [paper.CLASSES[int(label)] if label == label and label is not None else ""
             for label in images["label"]]
    alts = [f"Test image {index} of {paper.title(name)}" for index, name in zip(images["index"], images["set"])]
    data = [plots.base64_of(Image.fromarray(pixels[i]).save, format="png", optimize=True) for i in images.index]
    head = "".join(f'<th scope="col"><img src="data:image/png;base64,{png}" alt="{alt}" width="64" height="64">'
                   f'{f"<span>{name}</span>" if name else ""}</th>' for png, alt, name in zip(data, alts, names))
    rows = "".join(
        f'<tr><th scope="row">{paper.LABELS[method].replace("Norm", "&shy;Norm")}</th>' + "".join(
            f'<td><span>{row.said}</span> <span>{row.percent:.0f}&nbsp;%</span> <strong class="{"right" if row.right else "wrong"}">'
            f'{"✓" if row.right else "✗"}&nbsp;{"in" if row.accepted else "out"}</strong></td>'
            for row in answer.itertuples()) + "</tr>" for method, answer in zip(LOSSES, said))
    return (f'<table class="asked-table"><caption>{title}</caption><thead><tr><td></td>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table>")


def picture(loaded: dict[str, list], lines: pd.DataFrame, dark: bool = False):
    """The first screen as a figure of 1200 x 630 pixels, for README and for links to the book: (figure, alt text)."""
    pixels, images, _ = thumbnails("front")
    ink, ground = ("#e6edf3", "#0d1117") if dark else ("#1f2328", "#ffffff")
    right, wrong = ("#7cc4ff", "#ff9a52") if dark else ("#005a91", "#b34700")
    pair = best_pair(loaded, images)
    said = [answers(run, images) for run in pair]
    ours, theirs = _changes(lines.set_index("id").loc["average-cifar10"])
    fig = plt.figure(figsize=(12, 6.3), facecolor=ground, layout="none")
    fig.text(0.03, 0.92, "LogitNorm, measured again", color=ink, fontsize=28, weight="bold")
    fig.text(0.03, 0.845, f"Foreign images that pass for familiar: from {ours} % here, from {theirs} % in the paper", color=ink, fontsize=15)
    for column, image in enumerate(pixels):
        left = 0.13 + 0.084 * column + (0.022 if column >= len(pixels) // 2 else 0)
        ax = fig.add_axes((left, 0.56, 0.074, 0.074 * 12 / 6.3))
        ax.imshow(image, interpolation="nearest")
        ax.set_axis_off()
        for line, answer in enumerate(said):
            one = answer.iloc[column]
            y = 0.47 - 0.2 * line
            fig.text(left + 0.037, y, f"{one.said}\n{one.percent:.0f} %", color=ink, fontsize=12, ha="center", va="center")
            fig.text(left + 0.037, y - 0.07, f"{'✓' if one.right else '✗'} {'in' if one.accepted else 'out'}", fontsize=14,
                     color=right if one.right else wrong, ha="center", va="center", weight="bold")
    for line, run in enumerate(pair):
        fig.text(0.02, 0.44 - 0.2 * line, paper.LABELS[run.config.method].replace("Cross-", "Cross-\n"), color=ink, fontsize=13,
                 va="center", weight="bold")
    half = len(pixels) // 2
    for start, title in ((0, "familiar: CIFAR-10"), (half, "foreign: house numbers")):
        fig.text(0.13 + 0.084 * start + (0.022 if start else 0), 0.735, title, color=ink, fontsize=14)
    fig.text(0.02, 0.06, "Ten test images drawn by a seed. In: its confidence reaches the mark that 95 % of the familiar ones reach. "
             f"{paper.net(pair[0].config)}." if pair else "", color=ink, fontsize=12)
    marks = ["; ".join(f"{one.said} {one.percent:.0f} %, {'accepted' if one.accepted else 'rejected'}" for one in answer.itertuples())
             for answer in said]
    alt = " ".join(f"{paper.LABELS[run.config.method]}: {mark}." for run, mark in zip(pair, marks))
    return fig, f"Five CIFAR-10 images and five house numbers, and what two networks say of them. {alt}"


# ---- one picture

def story(loaded: dict[str, list]):
    """(figure, alt text, caption): the softmax scores of ID images and house numbers under both losses.

    Drawn from the first size that has both losses; without one, from the curves of the paper's Figure 4.
    """
    both = findings.of_first_size(loaded, *LOSSES)
    fig, axes = plt.subplots(2, figsize=(6.4, 6.4))
    said = []
    for ax, method, panel, found in zip(axes, LOSSES, ("a_CE", "b_LogitNorm"), both):
        name = paper.LABELS[method]
        if found:
            _, passed = pictures.with_threshold(ax, found[0])
            ax.set(title=f"{name}: {passed:.1f} % of the OOD images pass", ylabel="share of images (%)")
            said.append(f"{name}: {passed:.2f} % of the OOD images pass.")
        else:
            for kind, look in (("ID_cifar10", plots.ID), ("OOD_svhn", plots.OOD)):
                curve = paper.figure(4).query("panel == @panel and series == @kind")
                ax.plot(curve["msp"], curve["density"], color=look.color, linestyle=look.linestyle, label=look.label)
            ax.set(title=f"{name} (the paper's Figure 4)", ylabel="density")
    axes[0].legend(loc="upper left")
    axes[1].set_xlabel("confidence (maximum softmax probability)")
    if not said:
        return (fig, "Density curves of the confidence on CIFAR-10 and SVHN, from the paper's Figure 4: under "
                "cross-entropy both pile up near 1, under LogitNorm SVHN is one narrow peak at the left.",
                f"The papers' idea in one picture. Our own runs: {paper.NOT_RUN}; these are the curves of Figure 4.")
    run = both[1][0]
    alt = "Histograms of the confidence on familiar and unfamiliar images. " + " ".join(said)
    ood = paper.title(run.config.history_ood)
    played = paper.counterpart(run.config.history_ood)
    ood += f", standing in for {paper.title(played)}" if played != run.config.history_ood else ""
    return (fig, alt, f"The confidence of ID images ({paper.title(run.config.id_dataset)}) and OOD images ({ood}) "
            f"under both losses ({paper.net(run.config)}, seed {run.config.seed}). Right of the dotted line an image is accepted; the "
            "line keeps 95 % of the ID images. " + " ".join(said) + _all_seeds(both))


def _all_seeds(both: list[list]) -> str:
    """What the picture's one seed is among: the mean share of OOD images that pass, over all seeds of each loss."""
    parts = []
    for method, found in zip(LOSSES, both):
        passed = pd.Series([run.separated("msp", run.config.history_ood)[0] for run in found])
        if len(passed) > 1:
            parts.append(f"{paper.LABELS[method]} {paper.spread(passed)} % (n = {len(passed)})")
    return f" Over all seeds: {', '.join(parts)}." if parts else ""


def draw() -> None:
    """Write picture() as front-light.png and front-dark.png beside the thumbnails, for README and for links to the book, and the
    finding of the book's own as temperature-light.png and temperature-dark.png."""
    loaded = results.by_size("", ledger.SIZES)
    lines = ledger.build(loaded)
    for name, dark in (("light", False), ("dark", True)):
        fig, _ = picture(loaded, lines, dark)
        fig.savefig(THUMBNAILS / f"front-{name}.png", dpi=100, facecolor=fig.get_facecolor())
        plt.close(fig)
    plots.style()
    fig = hidden.temperature_figure(offset.temperatures(offset.load()), wide=True)
    fig.savefig(THUMBNAILS / "temperature-light.png", dpi=100)
    plt.close(fig)
    plt.imsave(THUMBNAILS / "temperature-dark.png", plots.turned(plt.imread(THUMBNAILS / "temperature-light.png")[..., :3]), dpi=100)


# ---- what the prose pages include

def write(folder: Path, runs_dir: Path | str = "") -> None:
    """Write what prose pages include into `folder` (made if missing): first.md, ledger.md, story.md and .png,
    three-numbers.md and .png, first-steps.md, cost.md, adopt.md, summary_ja.md, summary_zh.md, answer2.md to answer6.md, own.md."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    everything = [run for run in results.load_all(runs_dir, everything=True) if run.config.size in ledger.SIZES]
    loaded = {size: [run for run in everything if run.config.size == size and run.in_grid] for size in ledger.SIZES}
    plots.style()
    _write_figure(folder, "story", *story(loaded))
    two = findings.pair(loaded, "cross_entropy", "logitnorm")
    _write_figure(folder, "three-numbers", *pictures.three_numbers(two[1] if two else None), "One network, one score, two of the numbers. "
                  + (f"LogitNorm: {findings.shown(two[1:])}." if two else paper.NOT_RUN))
    (folder / "first-steps.md").write_text(findings.first_steps(loaded["full"]) + "\n", encoding="utf-8")
    (folder / "cost.md").write_text(ledger.cost(loaded) + "\n", encoding="utf-8")
    lines = ledger.build(loaded)
    (folder / "ledger.md").write_text(lists.claims_in_small(lines), encoding="utf-8")
    (folder / "first.md").write_text(first_screen(loaded, lines), encoding="utf-8")
    for language in SUMMARIES:
        (folder / f"summary_{language}.md").write_text(summary(language, lines, loaded), encoding="utf-8")
    (folder / "own.md").write_text(own_findings(everything), encoding="utf-8")
    for name, answer in questions.WRITTEN.items():
        (folder / f"{name}.md").write_text(answer(everything) + "\n", encoding="utf-8")
    (folder / "adopt.md").write_text(lists.missing_runs(loaded.get("full", []), colab_url("notebooks/train")), encoding="utf-8")


def _write_figure(folder: Path, name: str, fig, alt: str, caption: str) -> None:
    fig.savefig(folder / f"{name}.png", format="png", dpi=150, facecolor="white")
    plt.close(fig)
    (folder / f"{name}.md").write_text(f"```{{figure}} {folder.name}/{name}.png\n:alt: {alt}\n:class: {plots.DRAWING}\n:name: {name}"
                                       f"\n\n{caption}\n```\n", encoding="utf-8")


def own_findings(loaded: list) -> str:
    """What this book found that neither paper says, one line each with its page, as Markdown."""
    small, lines = [run for run in loaded if run.config.size == "small"], []
    main = results.small_net(loaded)
    if any(run.config.method == "logitnorm" for run in main):
        repaired = repair.repairs([run for run in main if run.config.method in seeds.METHODS])
        full = [run for run in loaded if run.config.size == "full" and run.in_grid]
        repaired = pd.concat([repaired, repair.repairs(full)])
        lines.append(f"{branches.finding(branches.histories(full), offset.temperatures(main), repaired)} [](../notebooks/hidden_temperature.ipynb)")
    if said := branches.mirror_said(branches.mirrored(main)):
        lines.append(f"{said} [](../notebooks/hidden_temperature.ipynb)")
    if len(noise := label_noise.load()):
        lines.append(f"{label_noise.law_said(noise)} [](../notebooks/hidden_temperature.ipynb)")
    if len(seeds.behind(small)) >= 2 * seeds.LEAST:
        many = seeds.many(small)
        lines.append(f"{seeds.finding(seeds.table(many), many['seed'].nunique())} [](../notebooks/seeds.ipynb)")
    if netsize.pairs(loaded):
        lines.append(f"{netsize.gain(netsize.effects(loaded))} [](../notebooks/net_size.ipynb)")
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1)) + "\n" if lines else f"Nothing yet: {paper.NOT_RUN}.\n"
