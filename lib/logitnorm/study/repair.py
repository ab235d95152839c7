"""The repair: what subtracting the mean logit m does to Energy, run by run, set by set, on either side of zero.

Energy is m + T log sum exp(c / T) with c = f - m. After LogitNorm m is free (offset.py), and Energy reads it as if it
said something about the image. Scores of a softmax do not.
"""

import numpy as np
import pandas as pd

from logitnorm import data, metrics

from . import offset, paper, scoring
from .paper import where

# Groups of OOD sets as OpenOOD has them for CIFAR; a stand-in plays its set's part.
NEAR = ("cifar10", "cifar100", "tinyimagenet")
FAR = ("mnist", "svhn", "textures", "places365")


def groups(run) -> dict[str, list[str]]:
    """The OOD sets of a run: the six that play the paper's, and OpenOOD's near and far ones among those scored."""
    return {"six": list(run.config.ood_sets), **{group: [name for name in run.sets[1:] if data.official(name) in names]
                                                 for group, names in (("near", NEAR), ("far", FAR))}}


def repairs(loaded: list) -> pd.DataFrame:
    """Mean FPR95 and AUROC (percent) over each group of OOD sets, for each run and score.

    Energy at the paper's temperature and at T = 1, each also without the offset; MSP; and for runs with a tau the MSP
    of the normalised softmax. A cross-entropy run has one Energy at T = 1.
    """
    rows = []
    for run in loaded:
        of_run, of_score = {**offset.settings(run), "offset": offset.described(run)["offset"]}, {}
        for score in ("msp", "energy", *(name for name in scoring.OFFSET_SCORES if name in scoring.of_run(run.config))):
            of_score[score] = {name: run.separated(score, name) for name in run.sets[1:]}
        if "energy_t1" in of_score:
            of_score["paper_centred"] = paper_centred(run)
        for score, found in of_score.items():
            for group, names in groups(run).items():
                if names:
                    fpr95, auroc = np.mean([found[name] for name in names], axis=0)
                    rows.append({**of_run, "score": score, "group": group, "fpr95": fpr95, "auroc": auroc})
    return pd.DataFrame(rows, columns=[*offset.SETTINGS, "offset", "score", "group", "fpr95", "auroc"])


def finding(frame: pd.DataFrame, repaired: pd.DataFrame) -> str:
    """The page's one sentence with its numbers, from the small CIFAR-10 runs of the paper's loss."""
    return f"{offset.temperature_said(frame)} {repair_said(repaired)}".strip()


def repair_said(repaired: pd.DataFrame) -> str:
    """What subtracting the offset does to Energy at T = 1 on either side of 0, in one sentence."""
    rows = where(repaired, **offset.SMALL10, group="six", cutout=0)
    ln, ce = where(rows, method="logitnorm", tau=0.04), where(rows, method="cross_entropy")
    parts = []
    for side, part in (("below 0", ln[ln["offset"] < 0]), ("above 0", ln[ln["offset"] > 0])):
        before, after = (where(part, score=score)["fpr95"] for score in ("energy_t1", "energy_centred"))
        if len(before):
            msp = where(part, score="msp")["fpr95"].mean()
            parts.append(f"from {before.mean():.1f} to {after.mean():.1f} % where the mean logit lies {side} (MSP: {msp:.1f} %, n = {len(before)})")
    if not parts:
        return ""
    before, after = (where(ce, score=score)["fpr95"].mean() for score in ("energy", "energy_centred"))
    beside = f"; cross-entropy's from {before:.1f} to {after:.1f} %" if len(ce) else ""
    return f"Subtracting the mean logit moves the mean FPR95 of Energy at T = 1 {' and '.join(parts)}{beside}."


def own_repair_said(repaired: pd.DataFrame) -> str:
    """What subtracting the offset does to Energy of the paper's own training, in one sentence; "" without its runs."""
    if repaired.empty:
        return ""
    rows = where(repaired, size="full", architecture="wrn40_2", id_dataset="cifar10", group="six", cutout=0, in_grid=True)
    ln, ce = (where(rows, method=method).groupby("score")["fpr95"].mean() for method in ("logitnorm", "cross_entropy"))
    if "energy_t1" not in ln or "energy" not in ce:
        return ""
    return (f"**Subtracting the mean logit takes the FPR95 of Energy in our training of the paper's network from {ln['energy']:.1f} to {ln['paper_centred']:.1f} % at the paper's T = 0.1, and from "
            f"{ln['energy_t1']:.1f} to {ln['energy_centred']:.1f} % at T = 1** (MSP {ln['msp']:.1f} %, Energy under cross-entropy {ce['energy']:.1f} %; means over the six sets).")


def own_run(loaded: list) -> list:
    """The run of the paper's own training, or none."""
    return [run for run in loaded if run.config.size == "full" and run.in_grid and all(getattr(run.config, name) == value for name, value in offset.WRN40.items())][:1]


def paper_centred(run) -> dict[str, tuple[float, float]]:
    """FPR95 and AUROC (percent) of Energy of f - m at the paper's T on each OOD set of a LogitNorm run.

    It is Energy of f less m, at any T, and m is the difference of the two at T = 1.
    """
    centred = {name: run.score("energy", name) - (run.score("energy_t1", name) - run.score("energy_centred", name)) for name in run.sets}
    inside = centred.pop(run.config.id_dataset)
    return {name: (metrics.fpr95(inside, outside), metrics.auroc(inside, outside)) for name, outside in centred.items()}


def own_cost_said(loaded: list) -> str:
    """Markdown: Energy of the paper's own training with and without the offset at the paper's T and at T = 1, on the six sets and on near OOD, and what
    the mean logit is as a score of its own; "" without its run."""
    said = []
    for run in own_run(loaded):
        ID, of = run.config.id_dataset, groups(run)
        m = {name: np.abs(run.score("energy_t1", name) - run.score("energy_centred", name)) for name in run.sets}
        centred = paper_centred(run)
        for group, words in (("six", "the six sets"), ("near", "near OOD")):
            mean = {score: np.mean([run.separated(score, name)[0] for name in of[group]]) for score in ("msp", "energy", "energy_centred")}
            said.append(f"on {words} the paper's Energy (T = 0.1) goes from {mean['energy']:.1f} to {np.mean([centred[name][0] for name in of[group]]):.1f} %, "
                        f"at T = 1 it ends at {mean['energy_centred']:.1f} % (MSP {mean['msp']:.1f} %)")
        alone = [np.mean([metrics.auroc(m[ID], m[name]) for name in of[group]]) for group in ("six", "near")]
        return (f"**Subtract m and keep the paper's T**: in our training of the paper's network, {'; '.join(said)}. Why m hurts: one offset for all images would change no "
                f"order, but m goes with the features and lies nearer to 0 on foreign images. As a score |m| has an AUROC of {alone[0]:.0f} % on the six sets and {alone[1]:.0f} % "
                "on near OOD; above 0 Energy reads it the right way, below 0 the wrong way, and at T = 1, where the rest of Energy varies little, it decides.")
    return ""


def turned(run) -> float:
    """Mean FPR95 (%) over the six OOD sets of Energy at T = 1 with the sign of each image's offset flipped.

    Energy at T = 1 is m + log sum exp(c), so that of the mirror image -m 1 + c is twice the second part less the whole.
    """
    of = {name: 2 * run.score("energy_centred", name) - run.score("energy_t1", name) for name in (run.config.id_dataset, *run.config.ood_sets)}
    return float(np.mean([metrics.fpr95(of[run.config.id_dataset], of[name]) for name in run.config.ood_sets]))


def own_turned_said(loaded: list) -> str:
    """What the other sign of the offset would do to Energy in the paper's own training, in one sentence; "" without its run."""
    runs = own_run(loaded)
    if not runs:
        return ""
    return f"Flip the sign of its offset, which no loss would notice, and the FPR95 of Energy at T = 1 goes from {runs[0].far('energy_t1'):.1f} to {turned(runs[0]):.1f} %."


def sides(repaired: pd.DataFrame) -> pd.DataFrame:
    """Of `repairs` mean FPR95 (%) over the six OOD sets of Energy with and without the offset, of LogitNorm on CIFAR-10, by the side of the offset.

    A line for each network, tau and side: msp, n, and Energy of f and of f - m at the paper's T (paper, paper_centred) and at T = 1 (one,
    one_centred), means over the seeds.
    """
    names = {"msp": "msp", "energy": "paper", "paper_centred": "paper_centred", "energy_t1": "one", "energy_centred": "one_centred"}
    rows = where(repaired, method="logitnorm", id_dataset="cifar10", cutout=0, counted=True, group="six", score=list(names))
    rows = rows.assign(side=np.where(rows["offset"] < 0, "below 0", "above 0"))
    wide = rows.pivot(index=["run", "net", "tau", "side"], columns="score", values="fpr95").reindex(columns=list(names)).rename(columns=names)
    groups = wide.groupby(["net", "tau", "side"])
    return groups.mean().assign(n=groups.size()).reset_index()


def sides_said(found: pd.DataFrame) -> str:
    """Markdown: in how many lines of `sides` the offset is better subtracted, at the paper's T and at T = 1; "" without one."""
    if not len(found):
        return ""
    better = {name: int((found[f"{name}_centred"] < found[name] - paper.LEAST["fpr95"]).sum()) for name in ("one", "paper")}
    worse = {name: int((found[f"{name}_centred"] > found[name] + paper.LEAST["fpr95"]).sum()) for name in ("one", "paper")}
    beside = found["paper_centred"] - found["msp"]
    return (f"In the {len(found)} rows of the second table (network, τ and side of 0) Energy gets better by more than {paper.LEAST['fpr95']:g} points without the offset in {better['one']} at "
            f"T = 1 and worse in {worse['one']}; at the paper's T = 0.1 better in {better['paper']} and worse in {worse['paper']}. There it ends within "
            f"{beside.abs().max():.1f} points of MSP: without its offset Energy is about as good a score as that.")


def sides_table(found: pd.DataFrame) -> pd.DataFrame:
    """`sides` as a table to read."""
    names = {"paper": ("T = 0.1, the paper's", "f"), "paper_centred": ("T = 0.1, the paper's", "f − m"), "one": ("T = 1", "f"),
             "one_centred": ("T = 1", "f − m"), "msp": ("", "MSP")}
    return paper.grouped_columns([{("", "network"): f"{row.net}, τ = {row.tau:g}", ("", "m"): f"{row.side} ({row.n})",
                                   **{place: f"{getattr(row, name):.1f}" for name, place in names.items()}} for row in found.itertuples()])


SCORE_NAMES = {"msp": "MSP", "energy": "Energy, paper's T", "energy_t1": "Energy, T = 1",
               "paper_centred": "Energy of f − m, paper's T", "energy_centred": "Energy of f − m, T = 1", "msp_normalised": "MSP of f / (τ‖f‖)"}


def at_papers_tau(repaired: pd.DataFrame) -> pd.DataFrame:
    """Of `repairs` cross-entropy and LogitNorm, every network with its size's settings, without Cutout, at the papers' tau."""
    rows = where(repaired, cutout=0, counted=True, method=("cross_entropy", "logitnorm"))
    return rows[rows["tau"].isna() | (rows["tau"] == rows["id_dataset"].map(paper.TAU))]


def repair_pairs(repaired: pd.DataFrame) -> pd.DataFrame:
    """Mean FPR95 over the far sets of MSP, Energy at T = 1 and Energy of f - m, a line for each network: a table to read."""
    lines = []
    for (ID, net), part in where(at_papers_tau(repaired), group="six").groupby(["id_dataset", "net"]):
        line = {("", "ID set, network"): f"{paper.title(ID)}, {net}"}
        for method, raw in (("cross_entropy", "energy"), ("logitnorm", "energy_t1")):
            for score, name in (("msp", "MSP"), (raw, "Energy"), ("energy_centred", "of f − m")):
                values = where(part, method=method, score=score)["fpr95"]
                line[paper.LABELS[method], name] = paper.spread(values, 1) if len(values) else "–"
        lines.append(line)
    return paper.grouped_columns(lines)


def repair_table(repaired: pd.DataFrame) -> pd.DataFrame:
    """Mean FPR95 by loss, ID set, network and score, over seeds and, for LogitNorm, at the papers' tau."""
    found = []
    for (ID, net, method), part in at_papers_tau(repaired).groupby(["id_dataset", "net", "method"]):
        for score in (name for name in SCORE_NAMES if name in set(part["score"])):
            chosen = where(part, score=score)
            found.append({"score": SCORE_NAMES[score], "loss": paper.LABELS[method], "ID": paper.title(ID),
                          "net": net,
                          **{group: paper.spread(where(chosen, group=group)["fpr95"], 1) for group in ("six", "near", "far")}})
    return pd.DataFrame(found)


ENERGIES = {"energy": "Energy, the paper's T", "energy_t1": "Energy, T = 1", "energy_centred": "of f − m, this book's"}


def energies(repaired: pd.DataFrame) -> pd.DataFrame:
    """What LogitNorm at the papers' tau changes in the mean FPR95 of each Energy, far OOD sets, by ID set and network.

    Columns id_dataset, net, score, n, start (cross-entropy), end (LogitNorm), verdict: the paper's change of its
    Energy against ours, by the rule of paper.direction with the spread of the seeds; none of Energy at T = 1 with one seed, because the
    sign of that seed's offset decides it. At T = 1 cross-entropy has its Energy.
    """
    rows = where(at_papers_tau(repaired), group="six", in_grid=True)
    theirs = paper.numbers("2").query("score == 'energy' and metric == 'fpr95'").pivot(
        index="id_dataset", columns="method", values="paper")
    found = []
    for (ID, net), part in rows.groupby(["id_dataset", "net"]):
        for score in ENERGIES:
            start, end = (where(part, method=method, score=name)["fpr95"] for method, name in
                          (("cross_entropy", "energy" if score == "energy_t1" else score), ("logitnorm", score)))
            if not len(start) or not len(end):
                continue
            noise = paper.noise(start.std(), end.std(), paper.LEAST["fpr95"])
            change = theirs.loc[ID, "logitnorm"] - theirs.loc[ID, "cross_entropy"]
            n = min(len(start), len(end))
            found.append({"id_dataset": ID, "net": net, "score": score, "n": n,
                          "start": paper.spread(start, 1), "end": paper.spread(end, 1),
                          "verdict": paper.direction(change, end.mean() - start.mean(), noise, paper.LEAST["fpr95"])
                          if n > 1 or score != "energy_t1" else "one seed: not judged"})
    return pd.DataFrame(found, columns=["id_dataset", "net", "score", "n", "start", "end", "verdict"])


def energies_table(found: pd.DataFrame) -> pd.DataFrame:
    """`energies` as a table to read."""
    return pd.DataFrame({("", "ID set, network"): found["id_dataset"].map(paper.title) + ", " + found["net"],
                         ("", "score"): found["score"].map(ENERGIES), ("", "n"): found["n"].astype(str),
                         ("mean FPR95 (%)", "cross-entropy"): found["start"], ("mean FPR95 (%)", "LogitNorm"): found["end"],
                         ("beside the paper's change", "verdict"): found["verdict"]})
