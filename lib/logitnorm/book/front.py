"""What the front page and the prose pages include: the ledger, the picture that tells the story, what the runs cost."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from logitnorm import metrics, paths
from logitnorm.study import ledger, paper, results

from . import plots

# ---- one picture

def story(loaded: dict[str, list]):
    """(figure, alt text, caption): the softmax scores of ID images and house numbers under both losses.

    Drawn from the first size that has both losses; without one, from the curves of the paper's Figure 4.
    """
    pairs = {size: [paper.chosen(found, method)[:1] for method in ("cross_entropy", "logitnorm")]
             for size, found in loaded.items()}
    size = next((size for size, pair in pairs.items() if all(pair)), None)
    fig, axes = plt.subplots(2, figsize=(6.4, 6.4))
    said = []
    for ax, (method, panel), found in zip(axes, (("cross_entropy", "a_CE"), ("logitnorm", "b_LogitNorm")),
                                          pairs.get(size, [None, None])):
        name = paper.LABELS[method]
        if found:
            said.append(_draw_scores(ax, found[0], name))
        else:
            for kind, look in (("ID_cifar10", plots.ID), ("OOD_svhn", plots.OOD)):
                curve = paper.figure(4).query("panel == @panel and series == @kind")
                ax.plot(curve["msp"], curve["density"], color=look.color, linestyle=look.linestyle, label=look.label)
            ax.set(title=f"{name} (the paper's Figure 4)", ylabel="density")
    axes[0].legend(loc="upper center")
    axes[1].set_xlabel("confidence (maximum softmax probability)")
    if size is None:
        return (fig, "Density curves of the confidence on CIFAR-10 and SVHN, from the paper's Figure 4: under "
                "cross-entropy both pile up near 1, under LogitNorm SVHN is one narrow peak at the left.",
                f"The papers' idea in one picture. Our own runs: {paper.NOT_RUN}; these are the curves of Figure 4.")
    run = pairs[size][1][0]
    alt = "Histograms of the confidence on familiar and unfamiliar images. " + " ".join(said)
    ood = paper.title(run.config.history_ood)
    played = paper.counterpart(run.config.history_ood)
    ood += f", standing in for {paper.title(played)}" if played != run.config.history_ood else ""
    return (fig, alt, f"The confidence of ID images ({paper.title(run.config.id_dataset)}) and OOD images ({ood}) "
            f"under both losses, size {size}, seed {run.config.seed}. Right of the dotted line an image is accepted; the "
            "line keeps 95 % of the ID images. " + " ".join(said) + _all_seeds(loaded[size]))


def _all_seeds(loaded: list) -> str:
    """What the picture's one seed is among: the mean share of OOD images that pass, over all seeds of each loss."""
    parts = []
    for method in ("cross_entropy", "logitnorm"):
        passed = pd.Series([metrics.fpr95(run.score("msp", run.config.id_dataset), run.score("msp", run.config.history_ood))
                            for run in paper.chosen(loaded, method)])
        parts.append(f"{paper.LABELS[method]} {paper.spread(passed)} % (n = {len(passed)})")
    return f" Over all seeds: {', '.join(parts)}."


def _draw_scores(ax, run, name: str) -> str:
    inside, outside = run.score("msp", run.config.id_dataset), run.score("msp", run.config.history_ood)
    bins = np.linspace(min(inside.min(), outside.min()), max(inside.max(), outside.max()), 41)
    for values, look in ((inside, plots.ID), (outside, plots.OOD)):
        ax.hist(values, bins, weights=np.full(len(values), 100 / len(values)), color=look.color, hatch=look.hatch,
                alpha=0.5, label=look.label)
    threshold, passed = metrics.threshold95(inside), metrics.fpr95(inside, outside)
    ax.axvline(threshold, color="black", linestyle=":")
    ax.set(title=f"{name}: {passed:.1f} % of the OOD images pass", ylabel="share of images (%)")
    return f"{name}: {passed:.2f} % of the OOD images pass."


# ---- what the prose pages include

def write(folder: Path, runs_dir: Path | None = None, sizes: tuple = ledger.SIZES) -> None:
    """Write what prose pages include into `folder` (made if missing): ledger.md, story.md and .png, cost.md."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    loaded = {size: results.load_all(runs_dir or paths.RUNS, size) for size in sizes}
    plots.style()
    fig, alt, caption = story(loaded)
    fig.savefig(folder / "story.png", format="png", dpi=150, facecolor="white")
    plt.close(fig)
    (folder / "story.md").write_text(
        f"```{{figure}} {folder.name}/story.png\n:alt: {alt}\n:class: dark-light\n:name: story\n\n{caption}\n```\n",
        encoding="utf-8")
    (folder / "cost.md").write_text(ledger.cost(loaded) + "\n", encoding="utf-8")
    (folder / "ledger.md").write_text(_front_page(ledger.build(loaded)), encoding="utf-8")


def _front_page(lines: pd.DataFrame) -> str:
    """The count, the lines with a verdict, and folded under them those that are open."""
    caption = "In percent, but for norms and losses. An arrow leads from cross-entropy to the method."
    is_open = lines["verdict"].map(ledger.VERDICTS) == "open"
    told, rest = lines[~is_open], lines[is_open]
    table = ledger.html(told, f"Claims with a verdict. {caption}")
    if len(rest):
        table += (f"\n<details><summary>The other {len(rest)}: not yet run, or nothing to judge</summary>\n"
                  + ledger.html(rest, f"Claims without a verdict. {caption}") + "\n</details>")
    return f"{ledger.summary(lines)}\n\n```{{raw}} html\n{table}\n```\n"
