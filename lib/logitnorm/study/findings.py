"""What a results page says first, computed from the runs: the best size that exists, one sentence, what is missing.

`best` takes {size: rows of paper.compare} and keeps, for each network and ID set, one size; the other functions take
what it returns. Every sentence has its numbers and its direction from the rows, so it stays true when runs arrive, and
says so where our change is within the noise, or goes the other way.
"""

import math
from collections import Counter

import numpy as np
import pandas as pd
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.neighbors import NearestNeighbors

from logitnorm import metrics, scores

from . import collapse, ledger, paper, scoring
from . import confidence as confidence_  # a function here has the name
from .paper import where

GROUP = ["id_dataset", "architecture"]
MARKS = {"reproduced": "✓", "same direction": "✓", "no change, as in the paper": "✓", "partly": "≈",
         "change, in the paper a small one of its sign": "≈", "no clear change": "?", "change, in the paper none of its sign": "✗",
         "opposite direction": "✗", "not reproduced": "✗"}
CHANGES = ("same direction", "opposite direction", "change, in the paper a small one of its sign",
           "change, in the paper none of its sign")  # paper.direction's words for a change that is more than noise
HOW = "[how to add a run](../book/rerun.html)"  # an output is not a page: its links are those of the HTML


# ---- which rows

def best(compared: dict) -> pd.DataFrame:
    """Per ID set and network the rows of one size, named in the column `size`.

    The size at which most methods ran; of equals the first. Where none ran, the paper's rows remain, with size "".
    """
    kept = []
    for group, first in next(iter(compared.values())).groupby(GROUP, sort=False):
        parts = {size: rows[(rows[GROUP] == list(group)).all(axis=1)] for size, rows in compared.items()}
        ran = {size: rows.loc[rows["ours"].notna(), "method"].nunique() for size, rows in parts.items()}
        size = max(ran, key=ran.get)  # the first of equals
        kept.append(parts[size].assign(size=size) if ran[size] else first.assign(size=""))
    return pd.concat(kept, ignore_index=True)


def behind(loaded: dict, rows: pd.DataFrame) -> list:
    """The runs whose means stand in the rows, in the rows' order of ID sets and networks."""
    wanted = set(rows.loc[rows["ours"].notna(), ["size", *GROUP, "method"]].itertuples(index=False, name=None))
    groups = list(rows[["size", *GROUP]].drop_duplicates().itertuples(index=False, name=None))
    keys = [((size, paper.counterpart(run.config.id_dataset), paper.counterpart_architecture(run.config.architecture)), run)
            for size in loaded for run in paper.by_method(paper.of_methods(loaded[size], *paper.LABELS))]
    found = [(groups.index(key), run) for key, run in keys if (*key, run.config.method) in wanted]
    return [run for _, run in sorted(found, key=lambda one: one[0])]


def every(*compared: dict) -> pd.DataFrame:
    """The rows of every size of some {size: rows of paper.compare}, as `behind` takes them: a page with all sizes has all their runs behind it."""
    return pd.concat([rows.assign(size=size) for one in compared for size, rows in one.items()], ignore_index=True)


def setting(runs: list) -> str:
    """'WRN-40-2, 30 epochs, 1 seed': networks, lengths and seeds of a loss."""
    nets = list(dict.fromkeys(paper.net(run.config) for run in runs))
    seeds = sorted(Counter((run.config.method, run.config.architecture, run.config.id_dataset) for run in runs).values())
    counts = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
    return f"{'; '.join(nets)}{'; ' if len(nets) > 1 else ', '}{counts} seed{'s' * (seeds[-1] > 1)}"


def not_run(compared: dict) -> str:
    """Markdown: what is missing at the sizes before the shown one, by ID set, network or loss; "" where all is there."""
    rows, sizes = best(compared), list(compared)
    column = "architecture" if rows["architecture"].nunique() > 1 else "id_dataset"
    missing = {}
    for group, part in rows.groupby(GROUP, sort=False):
        size = part["size"].iloc[0]
        for absent in sizes[:sizes.index(size)] if size else sizes:
            there = compared[absent][(compared[absent][GROUP] == list(group)).all(axis=1)]
            ran = set(there.loc[there["ours"].notna(), "method"])
            what = [paper.LABELS[method] for method in dict.fromkeys(part["method"]) if method not in ran] if ran else [
                paper.title(part[column].iloc[0])]
            missing.setdefault(absent, []).extend(what)
    if not missing:
        return ""
    return "Not run: " + "; ".join(f"size {size} ({', '.join(what)})" for size, what in missing.items()) + f"; {HOW}."


def stand_ins(rows: pd.DataFrame) -> str:
    """'* Stand-ins: Textures (part) for Textures; ...' of the rows' image sets and networks; "" where there is none."""
    pairs = {(used, theirs): "" for theirs, used in rows.loc[starred(rows), ["ood_dataset", "used"]].itertuples(index=False)}
    said = [f"{paper.title(used)} for {paper.title(theirs)}" for used, theirs in pairs]
    if rows["architecture"].nunique() > 1:
        nets = rows.loc[starred(rows, "architecture"), ["net", "architecture"]].drop_duplicates()
        said += [f"{paper.network(net)} for {paper.network(theirs)}" for net, theirs in nets.itertuples(index=False)]
    return f"* Stand-ins: {'; '.join(said)}." if said else ""


def starred(rows: pd.DataFrame, by: str = "ood_dataset") -> pd.Series:
    """Which rows have a stand-in of ours for the paper's image set, or network."""
    ours = {"ood_dataset": "used", "architecture": "net"}.get(by)
    return rows[ours].notna() & (rows[ours] != rows[by]) if ours else pd.Series(False, rows.index)


# ---- from cross-entropy to a method

def ends(rows: pd.DataFrame, by: str, metric: str) -> pd.DataFrame:
    """Per value of `by` what a method changes: columns label, theirs0, theirs1, ours0, ours1, sd0, sd1, verdict0, verdict.

    0 is cross-entropy and 1 the method, which the verdict is of. By "method" all have one cross-entropy row; else the rows hold one method.
    """
    rows, lines = rows[rows["metric"] == metric], []
    base = rows[rows["method"] == paper.BASELINE]
    stars = starred(rows, by)
    for row in rows[rows["method"] != paper.BASELINE].itertuples():
        start = base if by == "method" else base[base[by] == getattr(row, by)]
        first = start.iloc[0]
        star = "*" * bool(stars[row.Index])
        name = paper.LABELS.get(getattr(row, by)) or paper.title(getattr(row, by))
        lines.append({"label": name + star, "theirs0": first["paper"], "theirs1": row.paper, "ours0": first["ours"],
                      "ours1": row.ours, "sd0": first["sd"], "sd1": row.sd, "verdict0": first["verdict"], "verdict": row.verdict})
    return pd.DataFrame(lines)


def side_by_side(rows: pd.DataFrame, by: str, metrics: tuple, head: str, decimals: int = 1) -> pd.DataFrame:
    """A table to read: per value of `by` and metric 'cross-entropy → method', the paper's beside ours with its mark.

    Where cross-entropy's own number is judged and missed, its mark stands at its end. Columns are pairs (group, name), for plots.table. Where nothing ran, the paper's alone.
    """
    def arrow(start, end, mark=""):
        return f"{paper.fixed(start, decimals)}{f' {mark}' * bool(mark)} → {paper.fixed(end, decimals)}"

    lines = {}
    for metric in metrics:
        for row in ends(rows, by, metric).itertuples():
            line = lines.setdefault(row.label, {("", head): row.label})
            line[(paper.title(metric), "paper")] = arrow(row.theirs0, row.theirs1)
            if not math.isnan(row.ours1):
                missed = MARKS.get(row.verdict0, "").replace("✓", "")
                line[(paper.title(metric), "this book")] = f"{arrow(row.ours0, row.ours1, missed)} {MARKS.get(row.verdict, '')}"
    return paper.grouped_columns(list(lines.values())).fillna("")


def grid(rows: pd.DataFrame, column: str, by: str = "score") -> pd.DataFrame:
    """The rows' numbers as a table of `by` and OOD set, in the readers' names; changes have no line for cross-entropy."""
    part = rows if by == "method" else rows[rows["method"] == "logitnorm"]
    table = part.pivot(index=by, columns="ood_dataset", values=column)
    table = table.loc[list(dict.fromkeys(rows[by])), list(dict.fromkeys(rows["ood_dataset"]))].astype(float)
    stars = set(rows.loc[starred(rows), "ood_dataset"])
    return table.rename(index=lambda name: paper.LABELS.get(name) or paper.title(name),
                        columns=lambda name: paper.title(name) + "*" * (name in stars)).rename_axis(index=None, columns=None)


def temperatures(runs: list) -> pd.DataFrame:
    """Per ID set and loss the accuracy and the temperature that fits the logits, mean ± sd over seeds."""
    lines = []
    for (id_dataset, method), part in paper.ours(runs).groupby(["id_dataset", "method"]):
        value = {metric: paper.spread(part.loc[part["metric"] == metric, "value"]) for metric in ("accuracy", "temperature")}
        lines.append({"ID set": paper.title(id_dataset), "loss": paper.LABELS[method], "accuracy (%)": value["accuracy"],
                      "fitted temperature": value["temperature"]})
    return pd.DataFrame(lines)


def legend(rows: pd.DataFrame) -> str:
    """What the marks of the rows mean: '✓ same direction; ? no clear change.' No marks, no words."""
    words = {}
    for said in rows.loc[rows["verdict"].isin(MARKS), "verdict"].drop_duplicates():
        words.setdefault(MARKS[said], []).append(said)
    said = [f"{mark} {' or '.join(words[mark])}" for mark in dict.fromkeys(MARKS.values()) if mark in words]
    return "; ".join(said) + "." * bool(said)


# ---- in one sentence

def fell(rows: pd.DataFrame) -> pd.Series:
    """Which rows' number is lower than cross-entropy's by more than noise."""
    return rows["way"].isin(CHANGES) & (rows["change"] < 0)


def change(rows: pd.DataFrame, metric: str = "fpr95", method: str = "logitnorm", what: str = "FPR95") -> str:
    """'LogitNorm lowers FPR95 from 61.6 % to 26.8 % (paper: 49.5 to 15.7)', or that it does not, of two rows."""
    rows = rows[rows["metric"] == metric].set_index("method")
    start, end = rows.loc[paper.BASELINE], rows.loc[method]
    unit = "" if metric.startswith("logit_norm") else " %"
    theirs = f"{paper.fixed(start['paper'])} to {paper.fixed(end['paper'])}"
    if math.isnan(end["ours"]) or math.isnan(start["ours"]):
        return f"No run of it is here yet; in the paper {paper.LABELS[method]} takes {what} from {theirs}"
    ours = f"{start['ours']:.1f}{unit} to {end['ours']:.1f}{unit}"
    if end["way"] not in CHANGES:
        return f"{paper.LABELS[method]} does not clearly change {what}: {ours} (paper: {theirs})"
    verb = "raises" if end["change"] > 0 else "lowers"
    return f"{paper.LABELS[method]} {verb} {what} from {ours} (paper: {theirs})"


def spoken(rows: pd.DataFrame) -> str:
    """What a picture's marks mean: whose sets are stand-ins, and that bars are seeds."""
    bars = "Bars: standard deviation over seeds." if rows["sd"].notna().any() else ""
    return " ".join(filter(None, (bars, stand_ins(rows))))


def _with(runs: list) -> str:
    return f" ({setting(runs)})" if runs else ""


def caption(rows: pd.DataFrame, loaded: dict, what: str, change_of: str = "cross-entropy → LogitNorm") -> str:
    """A results table's caption: what it holds, this book's network, what the marks mean."""
    runs = behind(loaded, rows)
    ours = f" This book: {setting(runs)}." if runs else ""
    return f"{what}, %, {change_of}.{ours} {legend(rows)}".strip()


# ---- the pages

def table1(rows: pd.DataFrame, runs: list) -> str:
    """The finding of Table 1 as Markdown; `runs` are those on CIFAR-10."""
    part = where(rows, id_dataset="cifar10", ood_dataset="average")
    return f"**{change(part)}**, the mean over six OOD sets on CIFAR-10{_with(runs)}."


def _lower(rows: pd.DataFrame, word: str = "lower") -> str:
    """How `clear` falls are called: 'clearly lower', but where a loss has one seed 'lower by more than 2 points', which is all that is asked there."""
    return f"clearly {word}" if (rows["n"] > 1).all() else f"{word} by more than {paper.LEAST['fpr95']:g} points"


def table1_meaning(rows: pd.DataFrame) -> str:
    """How large our changes are beside the paper's, and on which sets they fail to appear."""
    text = []
    for id_dataset, part in rows[rows["metric"] == "fpr95"].groupby("id_dataset", sort=False):
        changed = part[(part["method"] == "logitnorm") & part["change"].notna()]
        if changed.empty:
            continue
        mean = changed[changed["ood_dataset"] == "average"].iloc[0]
        sets = changed[changed["ood_dataset"] != "average"]
        rest = [paper.title(name) for name in sets.loc[~fell(sets), "ood_dataset"]]
        holds = f"{len(sets) - len(rest)} of {len(sets)}" if rest else f"all {len(sets)}"
        text.append(f"On {paper.title(id_dataset)} LogitNorm's FPR95 is {_lower(sets)} on {holds} OOD sets"
                    + (f" (not on {', '.join(rest)})" if rest else "")
                    + f"; the mean changes by {mean['change']:+.1f} points, the paper's by {mean['paper_change']:+.1f}.")
        text.append(official(part))
    return " ".join(filter(None, text))


def official(rows: pd.DataFrame, by: str = "ood_dataset") -> str:
    """Whether the FPR95s on official image sets, which alone are judged as numbers, are the paper's: of both losses, named by a column; "" without."""
    part = rows[(rows["metric"] == "fpr95") & rows["exact"].eq(True) & (rows["ood_dataset"] != "average")]
    base, after = (where(part, method=method) for method in (paper.BASELINE, "logitnorm"))
    if base.empty or after.empty:
        return ""
    sets = [paper.title(name) for name in dict.fromkeys(part["ood_dataset"])]
    text = f"On {paper.listed(sets)}, {'the one official set' if len(sets) == 1 else 'the official sets'} here, LogitNorm's FPR95 is {_held(after, by)}; " \
           f"cross-entropy's is {_held(base, by)}"
    extra = after["paper_change"].iloc[0] - after["change"].iloc[0]  # how much more LogitNorm lowers FPR95 here
    if len(base) == len(after) == 1 and min(extra, base["difference"].iloc[0]) > 0 and base["verdict"].iloc[0] != "reproduced":
        text += f", so {'part of ' * bool(base['difference'].iloc[0] < extra)}the larger gain comes from a weaker start"
    return text + "."


def _held(part: pd.DataFrame, by: str) -> str:
    """'the paper's within the tolerance (16.7, paper 12.3)', or 'not (...)'; of several numbers 'in 2 of 3 cases (not ...)'."""
    told = [f"{row.ours:.1f}, paper {paper.fixed(row.paper)}" for row in part.itertuples()]
    good = part["verdict"].eq("reproduced").to_numpy()
    if len(part) == 1:
        return f"the paper's within the tolerance ({told[0]})" if good[0] else f"not ({told[0]})"
    rest = [f"{paper.title(name)} {numbers}" for name, numbers, fine in zip(part[by], told, good) if not fine]
    return f"the paper's within the tolerance in {good.sum()} of {len(part)} cases" + f" (not {'; '.join(rest)})" * bool(rest)


def outside(loaded: dict) -> str:
    """Markdown: what LogitNorm changes on the image sets outside the six, CIFAR-10 by MSP, at the first size that has both losses; "" without runs."""
    both = of_first_size(loaded, "cross_entropy", "logitnorm")
    if not all(both):
        return ""
    told = {"lower": [], "higher": [], "not clearly different": []}
    for name in both[1][0].config.extra_sets:
        start, end = (pd.Series([run.separated("msp", name)[0] for run in runs]) for runs in both)
        change, noise = end.mean() - start.mean(), paper.noise(start.std(), end.std(), paper.LEAST["fpr95"])
        way = "not clearly different" if abs(change) <= noise else "lower" if change < 0 else "higher"
        told[way].append(f"{paper.title(name)} ({start.mean():.1f} to {end.mean():.1f} %)")
    return "For the networks of CIFAR-10, on OOD sets outside the six, FPR95 is " + "; ".join(f"{way} on {', '.join(sets)}" for way, sets in told.items() if sets) + "."


def table2(rows: pd.DataFrame, runs: list) -> str:
    """The finding of Table 2 as Markdown: by how many scores LogitNorm helps, and best score against best score."""
    part = where(rows, id_dataset="cifar10", metric="fpr95", ood_dataset="average")
    after = part[part["method"] == "logitnorm"]
    theirs = f"{(after['paper'].values < part[part['method'] == paper.BASELINE]['paper'].values).sum()}"
    best_theirs = " to ".join(_best_score(part, method, "paper") for method in (paper.BASELINE, "logitnorm"))
    if after["ours"].isna().any():
        return f"**In the paper LogitNorm lowers FPR95 with {theirs} of {len(after)} scores, best against best " \
               f"{best_theirs}**; no run of it is here yet."
    lower = fell(after).sum()
    best_ours = " to ".join(_best_score(part, method, "ours") for method in (paper.BASELINE, "logitnorm"))
    return (f"**LogitNorm {_lower(after, 'lowers FPR95')} with {lower} of {len(after)} scores on CIFAR-10 (paper: {theirs} of "
            f"{len(after)}); best score against best score it goes from {best_ours} (paper: {best_theirs})**, the mean over "
            f"six OOD sets{_with(runs)}.")


def _best_score(part: pd.DataFrame, method: str, column: str) -> str:
    row = part[part["method"] == method].nsmallest(1, column).iloc[0]
    return f"{paper.fixed(row[column])} % by {paper.title(row['score'])}"


def lowered(rows: pd.DataFrame, by: str) -> str:
    """'clearly lower in 4 of 4 (not ...)' of the rows' LogitNorm FPR95, named by a column; "" where none ran."""
    after = where(rows, method="logitnorm", metric="fpr95").dropna(subset="change")
    if after.empty:
        return ""
    rest = [paper.title(name) for name in after.loc[~fell(after), by]]
    return f"{_lower(after)} in {len(after) - len(rest)} of {len(after)}" + (f" (not {', '.join(rest)})" if rest else "")


def table2_meaning(rows: pd.DataFrame) -> str:
    """By which scores FPR95 falls on each ID set."""
    parts = [f"On {paper.title(id_dataset)} the average FPR95 is {said}." for id_dataset, part in rows.groupby("id_dataset", sort=False)
             if (said := lowered(part, "score"))]
    return " ".join(parts)


def more_seeds(compared: dict, loaded: dict) -> str:
    """Where the numbers on CIFAR-10 are of one seed: what the first size with more seeds has by each score, as Markdown; "" elsewhere."""
    shown = where(best(compared), id_dataset="cifar10", method="logitnorm").dropna(subset="change")
    others = [where(rows, id_dataset="cifar10").assign(size=size) for size, rows in compared.items()]
    more = next((part for part in others if (where(part, method="logitnorm").dropna(subset="change")["n"] > 1).any()), None)
    if shown.empty or (shown["n"] > 1).any() or more is None:
        return ""
    return (f"The numbers on CIFAR-10 come from one seed of {paper.network(shown['net'].iloc[0])}. In {setting(behind(loaded, more))}, the average FPR95 is {lowered(more, 'score')}; see "
            "[Size of the net](net_size.html) and [How many seeds](seeds.html).")


def table3(rows: pd.DataFrame, runs: list) -> str:
    """The finding of Table 3 as Markdown: FPR95 and accuracy on each network."""
    fpr95, accuracy = ends(rows, "architecture", "fpr95"), ends(rows, "architecture", "accuracy")
    ran = fpr95["ours1"].notna()
    theirs = ", ".join(f"{paper.fixed(line.theirs0)} to {paper.fixed(line.theirs1)}" for line in fpr95.itertuples())
    if not ran.any():
        return f"**In the paper LogitNorm lowers FPR95 on {len(fpr95)} networks: {theirs}**; no run of it is here yet."
    after = where(rows, method="logitnorm", metric="fpr95").dropna(subset="change")
    lower = fell(after).sum()
    nets = [paper.network(net) + f" (for {paper.network(theirs)})" * (net != theirs) for net, theirs in after[["net", "architecture"]].to_numpy()]
    ours = ", ".join(f"{net} {line.ours0:.1f} to {line.ours1:.1f} %" for net, line in zip(nets, fpr95[ran].itertuples()))
    cost = (accuracy["ours1"] - accuracy["ours0"])[ran].min()
    kept = f"accuracy changes by {cost:+.1f} points at worst" if cost < 0 else "accuracy falls on none"
    return (f"**LogitNorm {_lower(after, 'lowers FPR95')} on {lower} of {ran.sum()} networks: {ours} (paper: {theirs}); {kept}**"
            f"{_with(runs)}.")


def right_alone(pair: list) -> str:
    """Markdown: how many ID test images only one of two runs has right, with McNemar's exact test; "" without both."""
    if len(pair) < 2:
        return ""
    ce, ln = (run.correct for run in pair)
    only = (int((ce & ~ln).sum()), int((ln & ~ce).sum()))
    p = binomtest(only[0], sum(only)).pvalue
    return (f"A change below {paper.LEAST['accuracy']:g} point of accuracy counts as none here. Image by image, {paper.title(pair[0].config.id_dataset)}'s test images have "
            f"{only[0]:,} that only cross-entropy gets right and {only[1]:,} that only LogitNorm does (p = {p:.2g} by McNemar's exact test; {setting(pair)}).")


def table4(rows: pd.DataFrame, runs: list) -> str:
    """The finding of Table 4 as Markdown: calibration before and after one temperature, CIFAR-10."""
    raw, scaled = (ends(where(rows, id_dataset="cifar10"), "id_dataset", metric).iloc[0] for metric in ("ece", "ece_ts"))
    first = change(where(rows, id_dataset="cifar10"), "ece", what="the calibration error of the raw probabilities")
    if math.isnan(scaled["ours1"]):
        return f"**{first}; one temperature leaves {scaled['theirs0']:.2f} and {scaled['theirs1']:.2f}**."
    least, gap = paper.LEAST["ece_ts"], scaled["ours1"] - scaled["ours0"]
    what = f"less than {least:g} points apart" if abs(gap) < least else f"{abs(gap):.2f} points apart, LogitNorm's is {'higher' if gap > 0 else 'lower'}"
    return (f"**{first}; after temperature scaling the two are {what}: {scaled['ours0']:.2f} % to "
            f"{scaled['ours1']:.2f} % (paper: {scaled['theirs0']:.2f} to {scaled['theirs1']:.2f})**{_with(runs)}.")


def table5(rows: pd.DataFrame, runs: list) -> str:
    """The finding of Tables 5 and 6 as Markdown: the penalty's norm and FPR95, then GODIN against LogitNorm."""
    fpr95 = where(rows, metric="fpr95").set_index("method")
    penalty, helps = fpr95.loc["logit_penalty", "ours"], fell(fpr95)["logit_penalty"]
    norm = where(rows, metric="logit_norm_id").set_index("method")["ours"]
    short = norm["logit_penalty"] <= norm["logitnorm"]  # as short as LogitNorm's, which is what the paper's claim is about
    lead = "Short logits alone do not help: " if short else "Shorter logits did not clearly help here: "
    first = (f"{'' if math.isnan(penalty) or helps else lead}{change(rows, 'logit_norm_id', 'logit_penalty', 'the logit norm on ID images')}, and "
             f"{change(rows, 'fpr95', 'logit_penalty').replace('LogitPenalty', 'it', 1)}")
    return f"**{first}; {godin(fpr95)}**{_with(runs)}."


def godin(fpr95: pd.DataFrame) -> str:
    """'GODIN (35.9 %) is ahead of LogitNorm (45.9 %), in the paper behind it (25.2, 15.7)', or that no difference is clear; of FPR95 rows by method."""
    two = fpr95.loc[["godin", "logitnorm"]]
    place = {name: "ahead of" if two.loc["godin", name] < two.loc["logitnorm", name] else "behind" for name in ("ours", "paper")}
    theirs = f"{paper.fixed(two.loc['godin', 'paper'])}, {paper.fixed(two.loc['logitnorm', 'paper'])}"
    if two["ours"].isna().any():
        return f"in the paper GODIN is {place['paper']} LogitNorm ({theirs})"
    if abs(two["ours"].diff().iloc[-1]) <= paper.noise(*two["sd"], paper.LEAST["fpr95"]):
        return (f"between GODIN ({two.loc['godin', 'ours']:.1f} %) and LogitNorm ({two.loc['logitnorm', 'ours']:.1f} %) there is no clear difference, "
                f"in the paper GODIN is {place['paper']} it ({theirs})")
    also = "as in the paper" if place["ours"] == place["paper"] else f"in the paper {place['paper']} it"
    return (f"GODIN ({two.loc['godin', 'ours']:.1f} %) is {place['ours']} LogitNorm ({two.loc['logitnorm', 'ours']:.1f} %), "
            f"{also} ({theirs})")


# ---- the figures

def of_first_size(loaded: dict, *methods: str) -> list[list]:
    """The runs of each method, by seed, of the first size that has them all; no runs where none has."""
    found = ([paper.chosen(runs, method) for method in methods] for runs in loaded.values())
    return next(filter(all, found), [[] for _ in methods])


def pair(loaded: dict, *methods: str) -> list:
    """One run of each method, the first seed, of the first size that has them all; [] where none has."""
    return [run for found in of_first_size(loaded, *methods) for run in found[:1]]


def missing(loaded: dict, runs: list) -> str:
    """Markdown: the sizes before that of the shown runs; "" where there is none."""
    sizes = list(loaded)
    absent = sizes[:sizes.index(runs[0].config.size)] if runs else sizes
    return f"Not run: size {', '.join(absent)}; {HOW}." if absent else ""


def untrained(runs: list) -> str:
    """What a curve of the logit norm from epoch 1 leaves out, or its axis: before the first step, and LogitNorm's first epochs."""
    before = [run.history.loc[run.history["epoch"] == 0, "norm_test"] for run in runs[:1]]
    highest = [run.history.loc[run.history["epoch"] >= 1, "norm_test"].max() for run in runs[1:]]
    said = "".join(f", and LogitNorm's first epochs (up to {value:.0f})" for value in highest if value > 2 * runs[0].history["norm_test"].iloc[-1])
    return f" Not drawn: the norm before training, {before[0].iloc[0]:.1f} with the batch norms' untouched running statistics (far smaller with a batch's " \
           f"own, which the first step sees){said}." if before and len(before[0]) else ""


def network_of(runs: list) -> str:
    """'WRN-40-2, 30 epochs, seed 1' of a pair."""
    return f"{paper.net(runs[0].config)}, seed {runs[0].config.seed}" if runs else "no run of this book yet"


def shown(runs: list) -> str:
    """'WRN-40-2, 30 epochs, seed 1; OOD: SVHN (part)' of a pair."""
    return network_of(runs) + "".join(f"; OOD: {paper.title(run.config.history_ood)}" for run in runs[:1])


def figure1(runs: list) -> str:
    """The finding of Figure 1 as Markdown: where the logit norm of both losses ends."""
    last = paper.figure(1).iloc[-1]
    theirs = f"{last['id_test']:.1f} on ID and {last['ood_svhn_test']:.1f} on OOD images"
    if not runs:
        return f"**In the paper cross-entropy's mean logit norm ends at {theirs}**; no run of it is here yet."
    ce, ln = ([(frame[name].iloc[0], frame[name].iloc[-1]) for name in ("norm_test", "norm_ood")]
              for run in runs for frame in [run.history[run.history["epoch"] >= 1]])
    longer = [end > start for start, end in ce]
    which = "larger" if all(longer) else "no larger" if not any(longer) else "larger on one kind of image and not on the other"
    return (f"**Under cross-entropy the logit norm is {which} after the last epoch than after the first: {ce[0][0]:.1f}, then {ce[0][1]:.1f} on ID images, "
            f"{ce[1][0]:.1f}, then {ce[1][1]:.1f} on OOD images (paper, last: {theirs}). Under LogitNorm it ends at {ln[0][1]:.1f} and "
            f"{ln[1][1]:.1f}** ({shown(runs)}).")


def figure4(runs: list) -> str:
    """The finding of Figure 4 as Markdown: the AUROC of ID against OOD scores under both losses."""
    if not runs:
        return "**In the paper's curves the overlap near 1 goes when LogitNorm comes**; no run of it is here yet."
    ce, ln = (run.separated("msp", run.config.history_ood)[1] for run in runs)
    word = "less" if ln > ce else "no less"
    printed = where(paper.numbers("1"), id_dataset="cifar10", ood_dataset="svhn", metric="auroc").set_index("method")["paper"]
    return (f"**Under LogitNorm the scores of ID and OOD images overlap {word}: AUROC {ce:.1f} % under cross-entropy, {ln:.1f} % under "
            f"LogitNorm (paper, on SVHN: {printed['cross_entropy']:.1f} and {printed['logitnorm']:.1f})** ({shown(runs)}).")


def overlap(loaded: dict) -> str:
    """Markdown: the shared area that the ledger judges on Figure 4, at the first size that has both losses, and how it is measured; "" without runs."""
    both = of_first_size(loaded, "cross_entropy", "logitnorm")
    if not all(both):
        return ""
    shown = ledger.overlap(sum(both, []), None)
    (ce, ln), theirs = shown["ours"], shown["paper"]
    return (f"[The ledger](ledger.html) judges the area under both densities, ID and OOD: **{ce:.1f} % under cross-entropy, {ln:.1f} % under LogitNorm** (the paper's "
            f"curves: {theirs[0]:.1f} and {theirs[1]:.1f} %). Ours are kernel density estimates for it, Gaussian with Scott's bandwidth ({setting(sum(both, []))}; OOD: "
            f"{paper.title(both[0][0].config.history_ood)}).")


def scaled(runs: list) -> str:
    """Markdown: what dividing the logits by the fitted temperature does to MSP's FPR95, of LogitNorm's run in a pair; "" where its logits were not kept."""
    for run in runs[1:]:
        ID, OOD = run.config.id_dataset, run.config.history_ood
        if run.has(f"{ID}/logits") and run.has(f"{OOD}/logits"):
            T = run.metrics.set_index("metric")["value"]["temperature"]
            after = metrics.fpr95(*(scores.msp(run.tensor(f"{name}/logits").astype(float) / T) for name in (ID, OOD)))
            before = run.separated("msp", OOD)[0]
            lead = "Rescale for showing, detect with the raw softmax: at" if after > before + paper.LEAST["fpr95"] else "Rescaling does not clearly cost detection here: at"
            return f"**{lead} T = {T:.2f}** LogitNorm's FPR95 on {paper.title(OOD)} is {after:.1f} instead of {before:.1f} % ({setting([run])})."
    return ""


def normalised(runs: list) -> str:
    """Markdown: how the normalised softmax of LogitNorm detects beside the raw one and cross-entropy's, of a pair; "" without."""
    if len(runs) < 2:
        return ""
    ce, raw, soft = runs[0].far("msp"), runs[1].far("msp"), runs[1].far("msp_normalised")
    word = "worse than" if soft > raw + paper.LEAST["fpr95"] else "better than" if soft < raw - paper.LEAST["fpr95"] else "about as well as"
    return (f"**It detects {word} the raw softmax**: mean FPR95 over the six sets {soft:.1f} %, by the raw softmax {raw:.1f} %, by cross-entropy's {ce:.1f} % ({setting(runs)}).")


def examples(runs: list) -> tuple[dict, dict]:
    """{method: {'ID': softmax, 'OOD': softmax}} of two images and their numbers, chosen by the first run.

    Of the correctly classified ID test images, and of all OOD images, the one of median confidence (the lower of two).
    """
    ce = runs[0]
    names = {"ID": ce.config.id_dataset, "OOD": ce.config.history_ood}
    outputs = {run.config.method: {kind: softmax(run.tensor(f"{name}/logits").astype(float), axis=1)
                                   for kind, name in names.items()} for run in runs}
    p = outputs[ce.config.method]
    right = np.flatnonzero(p["ID"].argmax(1) == ce.tensor(f"{names['ID']}/labels"))
    allowed = {"ID": right, "OOD": np.arange(len(p["OOD"]))}
    pick = {kind: index[np.argsort(p[kind].max(1)[index], kind="stable")[(len(index) - 1) // 2]]
            for kind, index in allowed.items()}
    return {method: {kind: rows[pick[kind]] for kind, rows in both.items()} for method, both in outputs.items()}, pick


def figure2(bars: dict) -> str:
    """The finding of Figure 2 as Markdown; `bars` is what `examples` returns first, empty without runs."""
    theirs = "1.00 and 1.00, then 0.66 and 0.14"
    if not bars:
        return f"**In the paper the confidences of an ID and an OOD image are {theirs}**; no run of it is here yet."
    ce, ln = (tuple(bars[method][kind].max() for kind in ("ID", "OOD")) for method in ("cross_entropy", "logitnorm"))
    return (f"**Cross-entropy is {ce[0]:.2f} sure of a familiar image and {ce[1]:.2f} of a foreign one; LogitNorm "
            f"{ln[0]:.2f} and {ln[1]:.2f} (paper: {theirs})**.")


def neighbours(p, labels, k: int = 10) -> float:
    """Mean share (percent) of OOD images (label -1) among the k nearest neighbours of the OOD images."""
    ood = labels == -1
    near = NearestNeighbors(n_neighbors=k + 1).fit(p).kneighbors(p[ood], return_distance=False)[:, 1:]
    return 100 * ood[near].mean()


def sample(run, n_id: int, n_ood: int):
    """Softmax outputs of up to n_id ID and n_ood OOD images of a run, and their labels (-1: OOD)."""
    id_set, ood_set = run.config.id_dataset, run.config.history_ood
    f, labels, g = (run.tensor(name) for name in (f"{id_set}/logits", f"{id_set}/labels", f"{ood_set}/logits"))
    rng = np.random.default_rng(0)  # some sets are stored class by class
    keep, other = (np.sort(rng.permutation(len(a))[:n]) for a, n in ((f, n_id), (g, n_ood)))
    p = softmax(np.concatenate([f[keep], g[other]]).astype(float), axis=1)
    return p, np.concatenate([labels[keep], np.full(len(other), -1)])


def figure3(shares: list, chance: float, runs: list) -> str:
    """The finding of Figure 3 as Markdown, from the two shares of `neighbours`."""
    if not shares:
        return "**The paper shows OOD images in a cluster of their own under LogitNorm**; no run of it is here yet."
    word = "gather more" if shares[1] > shares[0] else "do not gather more"
    return (f"**Under LogitNorm foreign images {word} among themselves: of their ten nearest neighbours {shares[1]:.1f} % are "
            f"foreign, under cross-entropy {shares[0]:.1f} % (chance: {chance:.1f} %)** ({shown(runs)}).")


def taus(loaded: dict) -> tuple[str, pd.DataFrame]:
    """(size, rows of ledger.tau_curve by tau) of the size with most taus, of equals the first; NaN where not run."""
    values = [0.04, *(tau for tau in paper.figure(5)["tau"] if tau != 0.04)]  # the others are compared with the first
    curves = {size: ledger.tau_curve(runs, paper.ours(runs), values) for size, runs in loaded.items()}
    size = max(curves, key=lambda name: curves[name]["ours"].notna().sum())
    return size, curves[size].sort_values("tau", ignore_index=True)


def figure5(curve: pd.DataFrame) -> str:
    """The finding of Figure 5 as Markdown: where the lowest FPR95 lies."""
    theirs = curve.loc[curve["paper"].idxmin()]
    if curve["ours"].isna().all():
        return f"**In the paper FPR95 is lowest at τ = {theirs['tau']:g} ({paper.fixed(theirs['paper'])} %)**; no run of it is here yet."
    mine = curve.loc[curve["ours"].idxmin()]
    n = int(curve["ours"].notna().sum())
    sure = curve["way"].isin(CHANGES).any()
    start = curve.loc[curve["tau"] == 0.04].iloc[0]
    there = curve.dropna(subset=["ours", "paper_change"])
    hidden = [abs(row.paper_change) <= paper.noise(start["sd"], row.sd, paper.LEAST["fpr95"]) for row in there.itertuples()]
    blind = (f"; with a standard deviation of {start['sd']:.1f} over the seeds there, no change as large as the paper's (up to {there['paper_change'].abs().max():.1f} "
             "points) could be told either") if hidden and all(hidden) else ", so the paper's curve is not seen"
    return (f"**Of {n} values of τ the lowest average FPR95 lies at τ = {mine['tau']:g} ({mine['ours']:.1f} %), in the paper at "
            f"τ = {theirs['tau']:g} ({paper.fixed(theirs['paper'])} %)"
            + ("" if sure else f"; here no value differs clearly from τ = 0.04{blind}") + "**.")


def tau_table(curve: pd.DataFrame) -> pd.DataFrame:
    """The rows of `taus` as a table to read: paper and this book, with a mark; only what ran."""
    table = pd.DataFrame({("", "τ"): curve["tau"].map("{:g}".format),
                          ("average FPR95", "paper"): curve["paper"].map("{:.1f}".format)})
    if curve["ours"].notna().any():
        table[("average FPR95", "this book")] = [
            "" if math.isnan(row.ours) else f"{row.ours:.1f} {MARKS.get(row.verdict, '')}".strip() for row in curve.itertuples()]
    return table


def tau_choice_table(choice: pd.DataFrame) -> pd.DataFrame:
    """paper.by_tau as a table to read."""
    return pd.DataFrame({"τ": choice["tau"].map("{:g}".format), "seeds": choice["n"].astype(str),
                         "ID accuracy (%)": choice["accuracy"], "FPR95, noise (%)": choice["noise"],
                         "FPR95, six sets (%)": choice["far"]})


def tau_choice(choice: pd.DataFrame) -> str:
    """Which tau noise and ID accuracy would choose, and which has the lowest FPR95, of paper.by_tau's rows."""
    best_ = {name: choice.loc[choice[name].idxmax() if name == "accuracy" else choice[name].idxmin(), "tau"]
             for name in ("noise", "accuracy", "far") if choice[name].notna().any()}
    said = {"noise": "noise would choose", "accuracy": "ID accuracy", "far": "the lowest FPR95 on the six sets is at"}
    spreads = choice.set_index("tau")["noise_spread"].dropna()
    more = f" (FPR95 on noise {spreads[best_['noise']]} % there, {spreads[0.04]} % at τ = 0.04)" if "±" in spreads.get(0.04, "") and best_.get("noise", 0.04) != 0.04 else ""
    text = "; ".join(f"{said[name]} τ = {value:g}{more * (name == 'noise')}" for name, value in best_.items())
    return text[:1].upper() + text[1:] + "."


def norms(runs: list) -> pd.DataFrame:
    """A line for the paper's curve and one per run: the mean logit norm at the first, highest and last epoch."""
    theirs = paper.figure(1).rename(columns={"id_test": "norm_test", "ood_svhn_test": "norm_ood"})
    frames = {"paper, cross-entropy": theirs.assign(epoch=theirs["epoch"] + 1)}  # its 200 points count from 0
    frames |= {f"this book, {paper.LABELS[run.config.method]}": run.history for run in runs}
    lines = []
    for name, frame in frames.items():
        frame = frame[frame["epoch"] >= 1]
        first, last, top = frame.iloc[0], frame.iloc[-1], frame["norm_test"].idxmax()
        lines.append({"curve": name, "OOD, epoch 1": first["norm_ood"], "ID, last": last["norm_test"],
                      "OOD, last": last["norm_ood"], "OOD / ID": last["norm_ood"] / last["norm_test"],
                      "ID, highest": f"{frame['norm_test'][top]:.2f} (epoch {int(frame['epoch'][top])})"})
    return pd.DataFrame(lines)


def sizes(compared: dict) -> list[tuple]:
    """(name, cross-entropy, LogitNorm) of the average FPR95 on CIFAR-10: each size of ours from small up, then the paper's."""
    lines = []
    for size, rows in reversed(compared.items()):
        line = ends(where(rows, id_dataset="cifar10", ood_dataset="average"), "id_dataset", "fpr95").iloc[0]
        if not math.isnan(line["ours1"]):
            net = rows.loc[rows["ours"].notna() & (rows["id_dataset"] == "cifar10"), "net"].iloc[0]
            lines.append((f"{size}: {paper.network(net)}", line["ours0"], line["ours1"]))
    return [*lines, ("paper: WRN-40-2", line["theirs0"], line["theirs1"])]


def confidence(frame: pd.DataFrame) -> str:
    """The finding on Learned Confidence as Markdown: FPR95 by c beside MSP of cross-entropy, with the same Cutout where that was run, and
    of LogitNorm (rows of `ours`)."""
    part = where(paper.main_network(paper.for_tables(frame)), metric="fpr95", ood_dataset="average")
    mean = part.groupby(["method", "score"])["value"].mean()
    if ("learned_confidence", "confidence") not in mean or ("cross_entropy", "msp") not in mean:
        return "**The paper's claim, that a learned confidence detects what the softmax does not, has no run here yet.**"
    mine, plain = mean["learned_confidence", "confidence"], mean["cross_entropy", "msp"]
    cut = where(paper.main_network(frame), metric="fpr95", ood_dataset="average", method="cross_entropy", score="msp")
    cut = cut.loc[cut["cutout"] > 0, "value"].mean()  # the same training without the second output
    base = plain if math.isnan(cut) else cut
    least = paper.LEAST["fpr95"]
    word = "about as good as" if abs(mine - base) < least else "better than" if mine < base else "worse than"
    other = f", LogitNorm {mean['logitnorm', 'msp']:.1f} %" if ("logitnorm", "msp") in mean else ""
    whose, beside = ("an ordinary network", other) if math.isnan(cut) else (
        "a network trained in the same way without the second output", f" (without the augmentation Cutout {plain:.1f} %{other})")
    return (f"**On CIFAR-10 the learned confidence is {word} the softmax of {whose}: FPR95 {mine:.1f} % against {base:.1f} %{beside}**, the mean "
            "over six OOD sets.")


def confidence_own_network(loaded: dict) -> str:
    """The paper's first network, VGG13, as Markdown: FPR95 by the softmax of an ordinary network and by c, on iSUN and over the six sets; ""
    where one of the two has no run."""
    runs = [run for found in loaded.values() for run in found if run.config.architecture == "vgg13" and run.config.id_dataset == "cifar10"]
    mine = where(paper.ours(runs), metric="fpr95")
    both = [where(mine, method=method, score=score) for method, score in (("cross_entropy", "msp"), ("learned_confidence", "confidence"))]
    if not all(map(len, both)):
        return ""
    ends = {name: [where(part, ood_dataset=name)["value"].mean() for part in both] for name in ("isun", "average")}
    theirs = where(ledger.confidence_table(), id_dataset="cifar10", architecture="vgg13", ood_dataset="isun", metric="fpr95")["paper"]
    softmax, c = ends["isun"]
    gains = "gains on" if softmax - c > paper.LEAST["fpr95"] else "gains nothing on"
    return (f"**On the second paper's own VGG13 c {gains} iSUN: {c:.1f} % of its images pass, and {softmax:.1f} % by the softmax of the same training without "
            f"c** (paper: {' and '.join(paper.fixed(value) for value in theirs[::-1])} %). Over the six sets it is {ends['average'][1]:.1f} and {ends['average'][0]:.1f} % "
            f"({setting(runs)}).")


def confidence_ends(loaded: dict, frames: dict) -> pd.DataFrame:
    """Rows for plots.dumbbells: FPR95 on iSUN, CIFAR-10, from an ordinary network's softmax to the learned confidence.

    A line per network of the second paper, ours of the same kind beside it at the first size that has both methods.
    """
    lines = []
    for architecture in ("vgg13", "wrn28_10", "densenet"):
        found = [ledger.learned_confidence(loaded[size], frames[size], "cifar10", architecture, "fpr95") for size in loaded]
        shown = next((one for one in found if one["ours"].notna().all()), found[0])
        used = {run.config.architecture for runs in loaded.values() for run in runs if run.id in shown.attrs["runs"]}
        here = [f"here {paper.network(name)}" for name in used if name != architecture] if shown["ours"].notna().all() else []
        (theirs0, ours0, sd0), (theirs1, ours1, sd1) = shown[["paper", "ours", "sd"]].to_numpy()
        lines.append({"label": "\n".join([paper.network(architecture), *here]), "theirs0": theirs0, "theirs1": theirs1,
                      "ours0": ours0, "ours1": ours1, "sd0": sd0, "sd1": sd1})
    return pd.DataFrame(lines)


def confidence_steps(frame: pd.DataFrame) -> str:
    """Whether Cutout or the confidence branch makes the difference, by MSP (rows of `ours`); "" where a step is missing."""
    rows = where(paper.main_network(frame), score="msp", metric="fpr95", ood_dataset="average")
    far = rows.groupby(["method", "cutout"])["value"].mean()
    steps = [("cross_entropy", 0), ("cross_entropy", 16), ("learned_confidence", 16)]  # method, side of Cutout
    if not all(step in far.index for step in steps):
        return ""
    plain, cut, learned = far[steps]
    return (f"Cutout, or the confidence branch? By MSP, Cutout alone takes cross-entropy's mean FPR95 from {plain:.1f} to {cut:.1f} %; "
            f"branch and hints take it on to {learned:.1f} %.")


def confidence_errors(found: list) -> str:
    """What c knows of the network's own errors, and whether it collapsed, as Markdown; found: runs with the branch."""
    if not found:
        return ""
    knows = {}
    for name in ("confidence", "msp"):
        own = [run.score(name, run.config.id_dataset) for run in found]
        knows[name] = np.mean([metrics.auroc(s[run.correct], s[~run.correct]) for s, run in zip(own, found)])
    told = [run.info["confidence"] for run in found]
    word = f"{sum(one['collapsed'] for one in told)} of {len(told)} collapsed" if any(one["collapsed"] for one in told) else (
        "It did not collapse")
    sd = paper.span(pd.Series([one["sd"] for one in told]), 2)
    start = "Nor does c know the network's own errors better" if knows["confidence"] < knows["msp"] else (
        "But c knows the network's own errors better")
    return (f"{start}: as a score of right against wrong predictions on ID test images it has an AUROC of {knows['confidence']:.1f} %, "
            f"MSP on the same networks {knows['msp']:.1f} %. {word}: over these images c has a standard deviation of {sd}; below 0.01 "
            "it would count as collapsed.")


def confidence_table(frames: dict) -> pd.DataFrame:
    """Table 1 of Learned Confidence for VGG13 on CIFAR-10, grouped for plots.table: softmax → learned confidence, the paper's and ours.

    A line per OOD set; a column of ours only where the network ran.
    """
    theirs = where(ledger.confidence_table(), id_dataset="cifar10", architecture="vgg13")
    mine = where(pd.concat(frames.values()), architecture="vgg13")
    names = {"": "ID test set", "tinyimagenet_resize": "TinyImageNet (resize)", "lsun_r": "LSUN (resize)", "isun": "iSUN", "all": "all five sets"}
    lines = {}
    for (ood, metric), pair in theirs.groupby(["ood_dataset", "metric"], sort=False):
        line = lines.setdefault(ood, {("", "images"): names.get(ood, ood)})
        line[(paper.title(metric), "paper")] = " → ".join(f"{value:.1f}" for value in pair["paper"])
        ours = [where(mine, method=row.method, metric=metric, ood_dataset=ood, score=["", row.score])["value"]
                for row in pair.itertuples()]
        if all(map(len, ours)):
            line[(paper.title(metric), "this book")] = " → ".join(f"{values.mean():.1f}" for values in ours)
    return paper.grouped_columns(list(lines.values())).fillna("")


def first_steps(runs: list) -> str:
    """Markdown: how long the logits of the paper's own training are in its first epochs, the factor 1 / (tau norm), and what it costs beside cross-entropy."""
    both = pair({"full": runs}, "cross_entropy", "logitnorm")
    if not both:
        return f"The paper's own training: {paper.NOT_RUN}."
    ce, ln = (run.history.set_index("epoch").loc[1:] for run in both)
    factor = 1 / (both[1].config.tau * ln["norm_train"])
    accuracy = [", ".join(f"{value:.0f}" for value in rows["train_accuracy"].iloc[:3]) for rows in (ln, ce)]
    return (f"In our training of the paper's network, with the paper's rate and no warm-up, the logits have a mean length of {ln['norm_train'].iloc[0]:.0f} in the first "
            f"epoch, so that the factor there is {factor.iloc[0]:.1f}; it passes 1 in epoch {(factor > 1).idxmax()} and is {factor.iloc[-1]:.0f} in the last. The first three epochs "
            f"get {accuracy[0]} % of the training images right, and those of cross-entropy {accuracy[1]} %; after ten LogitNorm is "
            f"{ce['train_accuracy'].loc[10] - ln['train_accuracy'].loc[10]:.1f} points behind.")


def norms_in_training(runs: list) -> pd.DataFrame:
    """Per method the mean norm of the logits of training images, before the first step of test images, and the factor 1 / (tau norm) of
    LogitNorm's gradient, seeds averaged."""
    lines = []
    for (method, tau), part in paper.grouped(runs, lambda run: (run.config.method, run.config.tau)):
        norm = pd.concat([run.history.set_index("epoch")["norm_train"] for run in part], axis=1).mean(axis=1)
        before = np.mean([run.history["norm_test"].iloc[0] for run in part])
        lines.append({"loss": paper.LABELS[method], "before": before, "epoch 1": norm.iloc[1], "highest": f"{norm.max():.2f} (epoch {norm.idxmax()})",
                      "last epoch": norm.iloc[-1]}
                     | {f"1/(τ‖f‖), {when}": f"{1 / (tau * value):.1f}" if method == "logitnorm" else "–"
                        for when, value in (("before", before), ("highest ‖f‖", norm.max()), ("last epoch", norm.iloc[-1]))})
    return pd.DataFrame(lines)


def confidence_thresholds(runs: list) -> pd.DataFrame:
    """Per run and OOD set the detection error at the threshold from ID errors, and the lowest of any threshold, percent."""
    return pd.DataFrame([
        {"run": paper.method_title(run.config), "score": paper.title(found.score), "OOD set": paper.named(row.ood_dataset),
         "detection error (%)": row.error, "best (%)": row.best}
        for run in runs for found in [confidence_.from_errors(run)] for row in found.by_set.itertuples()])


def confidence_thresholds_said(runs: list) -> str:
    """Markdown: for which scores a threshold from ID errors costs less than `paper.LEAST` points of detection error beside the best; one run each."""
    if not runs:
        return ""
    can: dict[bool, list[str]] = {True: [], False: []}
    for run in runs:
        found = confidence_.from_errors(run)
        error, best = found.by_set["error"].mean(), found.by_set["best"].mean()
        can[error - best < paper.LEAST["fpr95"]].append(
            f"{paper.title(found.score)} of {paper.method_title(run.config)} ({error:.1f} % instead of the best {best:.1f})")
    told = [f"{word} for {' and '.join(each)}" for word, each in (("they can", can[True]), ("they cannot", can[False])) if each]
    said = "; ".join(told)
    return (f"**{said[0].upper()}{said[1:]}**: detection error, the mean over the sets, one seed each; they can where the threshold from ID errors "
            f"costs less than {paper.LEAST['fpr95']:g} points.")


def confidence_branch(runs: list) -> pd.DataFrame:
    """Per run with the branch: c over the ID test images, the mean cost of a hint at the end, lambda, and whether c collapsed."""
    return pd.DataFrame([
        {"run": f"seed {run.config.seed}", "mean of c": run.info["confidence"]["mean"], "sd of c": run.info["confidence"]["sd"],
         "final λ": f"{run.history['lambda'].iloc[-1]:.2g}", "mean −log c at the end": run.history["confidence_loss"].iloc[-1],
         "collapsed": "yes" if run.info["confidence"]["collapsed"] else "no"} for run in runs])


def heat_of(frame: pd.DataFrame, sets: list) -> pd.DataFrame:
    """Our mean FPR95 over seeds by MSP: methods in lines, image sets in columns (rows of `ours`)."""
    return _heat(frame[frame["score"] == "msp"], "fpr95", "ood_dataset", sets)


def heat_of_scores(frame: pd.DataFrame, metric: str = "fpr95") -> pd.DataFrame:
    """Our average over far OOD sets and seeds: methods in lines, scores in columns (rows of `ours`)."""
    return _heat(frame[frame["ood_dataset"] == "average"], metric, "score", scoring.SCORES)


def _heat(frame: pd.DataFrame, metric: str, across: str, names) -> pd.DataFrame:
    part = where(paper.main_network(paper.for_tables(frame)), metric=metric, **{across: names})
    table = part.pivot_table(index="method", columns=across, values="value")
    table = table.loc[[name for name in paper.LABELS if name in table.index], [name for name in names if name in table.columns]]
    return table.rename(index=paper.LABELS, columns=paper.title).rename_axis(index=None, columns=None)


def collapsed(pair: list) -> str:
    """The finding on collapse as Markdown, from a run of cross-entropy and one of LogitNorm that kept their features."""
    ce, ln = (collapse.table(run).iloc[0] for run in pair)  # one run of each loss, so the words claim no more than that
    directions = pair[0].config.num_classes - 1
    ratio, inside = "within / between classes", f"variance in {directions} directions (%)"
    votes = [ln[inside] > ce[inside], ln[ratio] < ce[ratio]]
    images = len(pair[0].tensor(f"{pair[0].config.id_dataset}/features"))
    word = {0: "are less collapsed than", 1: "are not clearly more collapsed than", 2: "are more collapsed than"}[sum(votes)]
    return (f"**In one run of each loss LogitNorm's features {word} cross-entropy's: variance within classes over that between them {ln[ratio]:.2f} against "
            f"{ce[ratio]:.2f}, and {100 - ln[inside]:.1f} against {100 - ce[inside]:.1f} % of it outside {directions} directions**, on {images:,} ID test images; they are "
            f"{ln['mean norm'] / ce['mean norm']:.2f} times as long ({setting(pair)}).")
