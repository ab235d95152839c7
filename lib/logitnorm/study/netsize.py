"""Size of the net, size of the effect: what LogitNorm changes in each network that was trained on CIFAR-10, score by score."""

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from logitnorm.config import IN_EVERY_NAME, IN_NO_NAME

from . import offset, paper, repair
from .paper import listed

# Number -> (score, metric): FPR95s are means over the far OOD sets; both Energies at the paper's T of each loss.
NUMBERS = {"MSP": ("msp", "fpr95"), "ODIN": ("odin", "fpr95"), "GradNorm": ("gradnorm", "fpr95"),
           "Energy": ("energy", "fpr95"), "Energy of f − m": ("paper_centred", "fpr95"),
           "accuracy": ("", "accuracy"), "ECE": ("", "ece"), "‖f‖": ("", "logit_norm_id")}
SCORES = [name for name, (score, _) in NUMBERS.items() if score]
LATE = ("GradNorm", "Energy")  # what is told net by net
PAPER = "paper"
MANY = 10  # seeds, from which on the rule for few of them hides what their mean shows


def pairs(loaded: list) -> list:
    """The CIFAR-10 runs of cross-entropy and of LogitNorm at the paper's tau, as their size has them but for the net."""
    allowed = {"architecture", *IN_EVERY_NAME, *IN_NO_NAME}
    kept = [run for run in loaded if run.config.id_dataset == "cifar10" and set(run.config.changed) <= allowed]
    kept = paper.of_methods(kept, "cross_entropy", "logitnorm")
    both = [{paper.net(run.config) for run in kept if run.config.method == method} for method in ("cross_entropy", "logitnorm")]
    return [run for run in kept if paper.net(run.config) in both[0] & both[1]]


def effects(loaded: list) -> pd.DataFrame:
    """One line for each net and number: columns net, network, epochs, n, fit (training accuracy with cross-entropy, %), number,
    start (cross-entropy), end (LogitNorm), change, noise (what the book's verdict rule asks a change to exceed: twice the seeds' sd), in the
    order of `fit`.

    The last net is the paper's WRN-40-2, with what its tables print.
    """
    runs = pairs(loaded)
    frame = paper.where(paper.ours(runs), score="")
    lines = []
    for name in dict.fromkeys(paper.net(run.config) for run in runs):
        same = [run for run in runs if paper.net(run.config) == name]
        of = {method: [run for run in same if run.config.method == method] for method in ("cross_entropy", "logitnorm")}
        fit = np.mean([run.history["train_accuracy"].iloc[-1] for run in of["cross_entropy"]])
        for number, (score, metric) in NUMBERS.items():
            start, end = (pd.Series([_far(run, score) for run in found]) if score else
                          paper.where(frame, run=[run.id for run in found], metric=metric)["value"] for found in of.values())
            c = same[0].config
            lines.append({"net": name, "network": _network(c), "epochs": c.epochs,
                          "n": min(map(len, of.values())), "fit": fit, "number": number, "start": start.mean(),
                          "end": end.mean(), "change": end.mean() - start.mean(),
                          "noise": paper.noise(start.std(), end.std(), paper.floor(metric, start.mean(), paper.LEAST))})
    theirs = paper.numbers("2", "3", "4", "5", "6", "text-4.2")
    theirs = paper.where(theirs, id_dataset="cifar10", architecture="wrn40_2", ood_dataset=["average", ""])
    theirs = theirs.drop_duplicates(["method", "score", "metric"])
    for number, (score, metric) in NUMBERS.items():
        row = paper.where(theirs, score=score, metric=metric).set_index("method")["paper"]
        start, end = (row.get(method, np.nan) for method in ("cross_entropy", "logitnorm"))
        lines.append({"net": PAPER, "network": PAPER, "epochs": 200, "n": 5, "fit": np.inf, "number": number, "start": start, "end": end,
                      "change": end - start, "noise": np.nan})
    return pd.DataFrame(lines).sort_values("fit", kind="stable", ignore_index=True)


def _far(run, score: str) -> float:
    """Mean FPR95 (%) over the far OOD sets; of Energy of f - m at the T that the paper has for the run's loss, which is 1 for cross-entropy."""
    if score == "paper_centred":
        if run.config.method == "logitnorm":
            return float(np.mean([fpr95 for name, (fpr95, _) in repair.paper_centred(run).items() if name in run.config.ood_sets]))
        score = "energy_centred"
    return run.far(score)


def _network(config) -> str:
    """'ResNet-20'; of a size with another length 'WRN-40-2 (30 epochs)'."""
    return paper.network(config.architecture) + ("" if config.size == "small" else f" ({config.epochs} epochs)")


def wide(lines: pd.DataFrame, *numbers: str) -> pd.DataFrame:
    """A table to read: a line for each net, for each number 'cross-entropy → LogitNorm', '?' where the seeds hide it."""
    rows = []
    for name, part in lines.groupby("net", sort=False):
        row = {("", "network"): "WRN-40-2, paper" if name == PAPER else f"{name} (n = {part['n'].iloc[0]})"}
        for line in part[part["number"].isin(numbers)].itertuples():
            row["FPR95" if line.number in SCORES else "", line.number] = ("–" if np.isnan(line.end) else
                                                             f"{paper.fixed(line.start)} → {paper.fixed(line.end)}" + " ?" * (_turn(line) == 0))
        rows.append(row)
    return paper.grouped_columns(rows)


def _turn(line) -> int:
    """1 where the number rises, -1 where it falls, 0 where the change is within the spread of the seeds."""
    return 0 if abs(line.change) <= line.noise else int(np.sign(line.change))


def gain(lines: pd.DataFrame) -> str:
    """Markdown: whether what LogitNorm changes in MSP goes with how well a network fits its training images."""
    ours = lines[lines["net"] != PAPER]
    if ours["net"].nunique() < 3:
        return f"The networks to compare: {paper.NOT_RUN}."
    msp = ours[ours["number"] == "MSP"]
    theirs = paper.where(lines, net=PAPER, number="MSP")["change"].item()
    rho = spearmanr(msp["fit"], -msp["change"]).statistic
    more = "the more" if rho > 0 else "the less"
    return (f"**In {len(msp)} networks, the better one fits its training images, {more} LogitNorm lowers the FPR95 of MSP: changes of {msp['change'].max():+.1f} to "
            f"{msp['change'].min():+.1f} points** (Spearman's ρ = {rho:+.2f}; the paper's WRN-40-2: {theirs:+.1f}). Size and length of the training changed together.")


def finding(lines: pd.DataFrame) -> str:
    """Markdown: how the effect grows with the net, and in which nets Energy and GradNorm turn."""
    ours, said = lines[lines["net"] != PAPER], gain(lines)
    if ours["net"].nunique() < 2:
        return said
    for number in LATE:
        turned = {way: [line.network for line in ours[ours["number"] == number].itertuples() if _turn(line) == way]
                  for way in (1, 0, -1)}
        parts = [f"{word} in {listed(turned[way])}" for way, word in
                 ((1, "worse"), (-1, "better"), (0, "not clearly different")) if turned[way]]
        said += f" {number} is {', '.join(parts)}."
    return said + "".join(f" The rule is one for few seeds; what the {line.n} seeds of {line.network} say together stands in "
                          "[How many seeds does a claim need?](seeds.html)." for line in ours[ours["n"] >= MANY].head(1).itertuples())


def sided(loaded: list) -> pd.DataFrame:
    """Energy in the pairs by the side of LogitNorm's offset: columns network, above (0 or not), n (seeds there), change (of the mean FPR95)."""
    runs = pairs(loaded)
    rows = [{"network": _network(run.config), "above": offset.described(run)["offset"] > 0 if run.config.method == "logitnorm" else None,
             "fpr95": run.far("energy")} for run in runs]
    frame = pd.DataFrame(rows, columns=["network", "above", "fpr95"])
    start = frame[frame["above"].isna()].groupby("network")["fpr95"].mean()
    found = frame.dropna().groupby(["network", "above"], sort=False)["fpr95"].agg(n="size", end="mean").reset_index()
    return found.assign(change=found["end"] - found["network"].map(start)).drop(columns="end")


def sided_table(found: pd.DataFrame) -> pd.DataFrame:
    """`sided` as a table to read."""
    return pd.DataFrame({"network": found["network"], "mean logit": found["above"].map({True: "above 0", False: "below 0"}), "n": found["n"].astype(str),
                         "change of Energy's FPR95 (points)": [f"{change:+.1f}" for change in found["change"]]})


def cause(lines: pd.DataFrame, sides: pd.DataFrame) -> str:
    """Markdown: what the runs say to 'is it the net, the schedule or the loss that makes Energy and GradNorm worse?'; sides: of `sided`."""
    ours, said = lines[lines["net"] != PAPER], []
    rows = list(ours[ours["number"] == "GradNorm"].itertuples())
    better, rest = ([line for line in rows if (_turn(line) == -1) == way] for way in (True, False))
    if better and rest:
        shared = {line.epochs for line in better} & {line.epochs for line in rest}
        if shared:
            here = [line for line in better if line.epochs in shared]
            said.append(f"**GradNorm: the network.** With the same loss and the same {here[0].epochs} epochs it is better in "
                        f"{listed([line.network for line in here])} ({here[0].change:+.1f} points) and not in the others. "
                        "Neither the loss nor the schedule alone makes it worse.")
        else:
            said.append(f"**GradNorm: the network or its schedule.** It is better in {listed([line.network for line in better])} "
                        f"and in none of the nets with {rest[0].epochs} epochs. Both grew together here, so these "
                        "runs cannot part them; the loss is the same, so it alone is not the reason.")
    if len(sides):
        parts = []
        for above, word in ((True, "above"), (False, "below")):
            part = sides[sides["above"] == above]
            if len(part):
                parts.append(f"with a mean logit {word} 0 its FPR95 falls in {(part['change'] < 0).sum()} of {len(part)} networks")
        change = ours.pivot(index="net", columns="number", values="change")
        said.append(f"**Energy: the sign of the offset counts, and does not decide alone.** LogitNorm's networks taken apart by it (below): {', '.join(parts)}. "
                    f"On f − m, without the offset, it falls in {(change['Energy of f − m'] < 0).sum()} of {len(change)} ([why](hidden_temperature.html)). "
                    "GradNorm reads the softmax, which is blind to the offset.")
    return "\n\n".join(said)


def meaning(lines: pd.DataFrame) -> str:
    """Markdown: what stays the same in every network, and how far `gain` can be trusted."""
    ours = lines[lines["net"] != PAPER]
    of = {number: list(ours[ours["number"] == number].itertuples()) for number in ("MSP", "accuracy", "ECE")}
    nets = len(of["MSP"])
    if nets < 3:
        return ""
    better, worse = (sum(_turn(line) == -1 for line in of[number]) for number in ("MSP", "accuracy"))
    raised, single = sum(_turn(line) == 1 for line in of["ECE"]), sum(line.n == 1 for line in of["MSP"])
    return (f"MSP is better in {better} of {nets} networks, the accuracy clearly lower in {worse}, and the calibration of the raw softmax worse "
            f"in {raised} ([one temperature repairs it](table4.html)).\n\nThat MSP's gain goes with the fit was seen and not tested: size, kind and "
            f"length of training changed together, and {single} of the {nets} networks have one seed.")


def godin(loaded: list) -> str:
    """Markdown: GODIN, another method with a head of its own, beside LogitNorm in the nets that have it, and in the paper."""
    frame = paper.ours([run for run in loaded if run.in_grid and run.config.id_dataset == "cifar10"])
    far = paper.where(frame, ood_dataset="average", metric="fpr95")
    own = paper.where(far, method="godin", score="godin")
    theirs = paper.numbers("6").query("metric == 'fpr95'").set_index("method")["paper"]
    said = []
    for name, part in own.groupby("architecture"):
        other = paper.where(far, architecture=name, method="logitnorm", score="msp", tau=paper.TAU["cifar10"])
        if other.empty:
            continue
        gap = part["value"].mean() - other["value"].mean()
        clear = abs(gap) > paper.noise(part["value"].std(), other["value"].std(), paper.LEAST["fpr95"])
        said.append(f"In {paper.network(name)} GODIN has a mean FPR95 of {paper.spread(part['value'], 1)} % and LogitNorm of "
                    f"{paper.spread(other['value'], 1)} % (n = {len(part)}): {'a clear' if clear else 'no clear'} difference by this book's rule.")
    if not said:
        return f"GODIN in one of these nets: {paper.NOT_RUN}."
    return f"{' '.join(said)} In the paper's WRN-40-2 it is {paper.fixed(theirs['godin'])} and {paper.fixed(theirs['logitnorm'])} %. No other network was trained with it."
