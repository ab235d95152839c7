"""What a results page says first, computed from the runs: the best size that exists, one sentence, what is missing.

`best` takes {size: rows of paper.compare} and keeps, for each network and ID set, one size; the other functions take
what it returns. Every sentence has its numbers and its direction from the rows, so it stays true when runs arrive, and
says so where our change is within the noise, or goes the other way.
"""

import math

import pandas as pd

from . import paper

GROUP = ["id_dataset", "architecture"]
MARKS = {"reproduced": "✓", "same direction": "✓", "no change, as in the paper": "✓", "partly": "≈",
         "no clear change": "?", "change, the paper has none": "✗", "opposite direction": "✗", "not reproduced": "✗"}
HOW = "[how to add it](../book/rerun.html)"
NAMES = {"fpr95": "FPR95", "auroc": "AUROC", "aupr": "AUPR", "accuracy": "accuracy", "ece": "ECE",
         "ece_ts": "ECE after temperature scaling", "logit_norm_id": "the logit norm on ID images",
         "logit_norm_ood": "the logit norm on OOD images"}


# ---- which rows

def best(compared: dict) -> pd.DataFrame:
    """Per ID set and network the rows of one size, named in the column `size`.

    The size at which most methods ran; of equals the first. Where none ran, the paper's rows remain, with size "".
    """
    kept = []
    for group, first in next(iter(compared.values())).groupby(GROUP, sort=False):
        parts = {size: rows[(rows[GROUP] == group).all(axis=1)] for size, rows in compared.items()}
        ran = {size: rows.loc[rows["ours"].notna(), "method"].nunique() for size, rows in parts.items()}
        size = max(ran, key=ran.get)  # the first of equals
        kept.append(parts[size].assign(size=size) if ran[size] else first.assign(size=""))
    return pd.concat(kept, ignore_index=True)


def where(rows: pd.DataFrame, **values) -> pd.DataFrame:
    """The rows with the given column values; a list or tuple names several."""
    for column, value in values.items():
        rows = rows[rows[column].isin(value if isinstance(value, (list, tuple)) else [value])]
    return rows


def behind(loaded: dict, rows: pd.DataFrame) -> list:
    """The runs whose means stand in the rows."""
    wanted = set(rows.loc[rows["ours"].notna(), ["size", *GROUP, "method"]].itertuples(index=False, name=None))
    return [run for size in loaded for run in paper.by_method(paper.of_methods(loaded[size], *paper.LABELS))
            if (size, paper.counterpart(run.config.id_dataset),
                paper.counterpart_architecture(run.config.architecture), run.config.method) in wanted]


def setting(runs: list) -> str:
    """'WRN-40-2, 30 epochs, 1 seed': networks, lengths and seeds of a loss."""
    nets = list(dict.fromkeys(f"{paper.network(run.config.architecture)}, {run.config.epochs} epochs" for run in runs))
    seeds = sorted({sum(other.config.method == run.config.method and other.config.architecture == run.config.architecture
                        and other.config.id_dataset == run.config.id_dataset for other in runs) for run in runs})
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
            there = compared[absent][(compared[absent][GROUP] == group).all(axis=1)]
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
    """Per value of `by` what a method changes: columns label, theirs0, theirs1, ours0, ours1, sd0, sd1, verdict.

    0 is cross-entropy and 1 the method. By "method" all have one cross-entropy row; else the rows hold one method.
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
                      "ours1": row.ours, "sd0": first["sd"], "sd1": row.sd, "verdict": row.verdict})
    return pd.DataFrame(lines)


def side_by_side(rows: pd.DataFrame, by: str, metrics: tuple, head: str, decimals: int = 1) -> pd.DataFrame:
    """A table to read: per value of `by` and metric 'cross-entropy → method', the paper's beside ours with its mark.

    Columns are pairs (group, name), for plots.table. Where nothing ran, the paper's alone.
    """
    def arrow(start, end):
        return f"{start:.{decimals}f} → {end:.{decimals}f}"

    lines = {}
    for metric in metrics:
        for row in ends(rows, by, metric).itertuples():
            line = lines.setdefault(row.label, {("", head): row.label})
            line[(paper.title(metric), "paper")] = arrow(row.theirs0, row.theirs1)
            if not math.isnan(row.ours1):
                line[(paper.title(metric), "this book")] = f"{arrow(row.ours0, row.ours1)} {MARKS.get(row.verdict, '')}"
    return pd.DataFrame(list(lines.values())).pipe(_in_order)


def grid(rows: pd.DataFrame, column: str, by: str = "score") -> pd.DataFrame:
    """The rows' numbers as a table of `by` and OOD set, in the readers' names; changes have no line for cross-entropy."""
    table = rows.pivot(index=by, columns="ood_dataset", values=column) if by == "method" else (
        rows[rows["method"] == "logitnorm"].pivot(index=by, columns="ood_dataset", values=column))
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


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table.fillna("")


def legend(rows: pd.DataFrame) -> str:
    """What the marks of the rows mean: '✓ same direction; ? no clear change.' No marks, no words."""
    words = {}
    for said in rows.loc[rows["verdict"].isin(MARKS), "verdict"].drop_duplicates():
        words.setdefault(MARKS[said], []).append(said)
    said = [f"{mark} {' or '.join(words[mark])}" for mark in dict.fromkeys(MARKS.values()) if mark in words]
    return "; ".join(said) + "." * bool(said)


# ---- in one sentence

def clear(row) -> bool:
    """Whether our change from cross-entropy is more than noise."""
    if row["exact"] is True or row["exact"] == 1:
        return abs(row["change"]) > paper.floor(row["metric"], row["paper"], paper.LEAST)
    return row["verdict"] in ("same direction", "opposite direction", "change, the paper has none")


def change(rows: pd.DataFrame, metric: str = "fpr95", method: str = "logitnorm", what: str = "",
           decimals: int = 1) -> str:
    """'LogitNorm lowers FPR95 from 61.6 % to 26.8 % (paper: 49.5 to 15.7)', or that it does not, of two rows."""
    rows = rows[rows["metric"] == metric].set_index("method")
    start, end = rows.loc[paper.BASELINE], rows.loc[method]
    what, unit = what or NAMES[metric], "" if metric.startswith("logit_norm") else " %"
    theirs = f"{start['paper']:.{decimals}f} to {end['paper']:.{decimals}f}"
    if math.isnan(end["ours"]) or math.isnan(start["ours"]):
        return f"No run of it is here yet; in the paper {paper.LABELS[method]} takes {what} from {theirs}"
    ours = f"{start['ours']:.{decimals}f}{unit} to {end['ours']:.{decimals}f}{unit}"
    if not clear(end):
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


def table1_meaning(rows: pd.DataFrame) -> str:
    """How large our changes are beside the paper's, and on which sets they fail to appear."""
    text = []
    for id_dataset, part in rows[rows["metric"] == "fpr95"].groupby("id_dataset", sort=False):
        changed = part[(part["method"] == "logitnorm") & part["change"].notna()]
        if changed.empty:
            continue
        mean = changed[changed["ood_dataset"] == "average"].iloc[0]
        sets = changed[changed["ood_dataset"] != "average"]
        lower = sets[[bool(clear(row)) and row["change"] < 0 for _, row in sets.iterrows()]]
        rest = [paper.title(name) for name in sets["ood_dataset"] if name not in set(lower["ood_dataset"])]
        holds = f"on {'all ' if not rest else ''}{len(lower)} of {len(sets)}" if rest else f"on all {len(sets)}"
        text.append(f"On {paper.title(id_dataset)} LogitNorm's FPR95 is clearly lower {holds} OOD sets"
                    + (f" (not on {', '.join(rest)})" if rest else "")
                    + f"; the mean changes by {mean['change']:+.1f} points, the paper's by {mean['paper_change']:+.1f}.")
    return " ".join(text)


def table2(rows: pd.DataFrame, runs: list) -> str:
    """The finding of Table 2 as Markdown: by how many scores LogitNorm helps, and best score against best score."""
    part = where(rows, id_dataset="cifar10", metric="fpr95", ood_dataset="average")
    after = part[part["method"] == "logitnorm"]
    theirs = f"{(after['paper'].values < part[part['method'] == paper.BASELINE]['paper'].values).sum()}"
    best_theirs = " to ".join(_best_score(part, method, "paper") for method in (paper.BASELINE, "logitnorm"))
    if after["ours"].isna().any():
        return f"**In the paper LogitNorm lowers FPR95 by {theirs} of {len(after)} scores, best against best " \
               f"{best_theirs}**; no run of it is here yet."
    lower = sum(bool(clear(row)) and row["change"] < 0 for _, row in after.iterrows())
    best_ours = " to ".join(_best_score(part, method, "ours") for method in (paper.BASELINE, "logitnorm"))
    return (f"**LogitNorm clearly lowers FPR95 by {lower} of {len(after)} scores on CIFAR-10 (paper: {theirs} of "
            f"{len(after)}); best score against best score it goes from {best_ours} (paper: {best_theirs})**, the mean over "
            f"six OOD sets{_with(runs)}.")


def _best_score(part: pd.DataFrame, method: str, column: str) -> str:
    row = part[part["method"] == method].nsmallest(1, column).iloc[0]
    return f"{row[column]:.1f} % by {paper.title(row['score'])}"


def lowered(rows: pd.DataFrame, by: str) -> str:
    """'clearly lower by 4 of 4 (not by ...)' of the rows' LogitNorm FPR95, named by a column; "" where none ran."""
    after = rows[(rows["method"] == "logitnorm") & (rows["metric"] == "fpr95") & rows["change"].notna()]
    if after.empty:
        return ""
    rest = [paper.title(row[by]) for _, row in after.iterrows() if not (clear(row) and row["change"] < 0)]
    return f"clearly lower in {len(after) - len(rest)} of {len(after)}" + (f" (not {', '.join(rest)})" if rest else "")


def table2_meaning(rows: pd.DataFrame) -> str:
    """By which scores FPR95 falls on each ID set."""
    parts = [f"On {paper.title(id_dataset)} the average FPR95 is {said}." for id_dataset, part in rows.groupby("id_dataset", sort=False)
             if (said := lowered(part, "score"))]
    return " ".join(parts)


def table3(rows: pd.DataFrame, runs: list) -> str:
    """The finding of Table 3 as Markdown: FPR95 and accuracy on each network."""
    fpr95, accuracy = ends(rows, "architecture", "fpr95"), ends(rows, "architecture", "accuracy")
    ran = fpr95["ours1"].notna()
    theirs = ", ".join(f"{line.theirs0:.1f} to {line.theirs1:.1f}" for line in fpr95.itertuples())
    if not ran.any():
        return f"**In the paper LogitNorm lowers FPR95 on {len(fpr95)} networks: {theirs}**; no run of it is here yet."
    after = rows[(rows["method"] == "logitnorm") & (rows["metric"] == "fpr95") & rows["change"].notna()]
    lower = sum(bool(clear(row)) and row["change"] < 0 for _, row in after.iterrows())
    ours = ", ".join(f"{line.ours0:.1f} to {line.ours1:.1f} %" for line in fpr95[ran].itertuples())
    cost = (accuracy["ours1"] - accuracy["ours0"])[ran].min()
    kept = f"accuracy changes by {cost:+.1f} points at worst" if cost < 0 else "accuracy falls on none"
    return (f"**LogitNorm clearly lowers FPR95 on {lower} of {ran.sum()} networks, from {ours} (paper: {theirs}), and {kept}**"
            f"{_with(runs)}.")


def table4(rows: pd.DataFrame, runs: list) -> str:
    """The finding of Table 4 as Markdown: calibration before and after one temperature, CIFAR-10."""
    raw, scaled = (ends(where(rows, id_dataset="cifar10"), "id_dataset", metric).iloc[0] for metric in ("ece", "ece_ts"))
    first = change(where(rows, id_dataset="cifar10"), "ece", what="the calibration error of the raw probabilities")
    if math.isnan(scaled["ours1"]):
        return f"**{first}; one temperature leaves {scaled['theirs0']:.2f} and {scaled['theirs1']:.2f}**."
    least, gap = paper.LEAST["ece_ts"], scaled["ours1"] - scaled["ours0"]
    what = "none that counts" if abs(gap) < least else f"{abs(gap):.2f} points, LogitNorm's is {'higher' if gap > 0 else 'lower'}"
    return (f"**{first}; after temperature scaling the difference is {what}: {scaled['ours0']:.2f} % to "
            f"{scaled['ours1']:.2f} % (paper: {scaled['theirs0']:.2f} to {scaled['theirs1']:.2f})**{_with(runs)}.")


def table5(rows: pd.DataFrame, runs: list) -> str:
    """The finding of Tables 5 and 6 as Markdown: the penalty's norm and FPR95, then GODIN against LogitNorm."""
    fpr95 = where(rows, metric="fpr95").set_index("method")
    penalty = fpr95.loc["logit_penalty"]
    helps = clear(penalty) and penalty["change"] < 0
    lead = "" if math.isnan(penalty["ours"]) or helps else "Short logits alone do not help: "
    first = (f"{lead}{change(rows, 'logit_norm_id', 'logit_penalty')}, and "
             f"{_lower_first(change(rows, 'fpr95', 'logit_penalty'), 'LogitPenalty', 'it')}")
    return f"**{first}; {godin(fpr95)}**{_with(runs)}."


def godin(fpr95: pd.DataFrame) -> str:
    """'GODIN (35.9 %) is ahead of LogitNorm (45.9 %), in the paper behind it (25.2, 15.7)', of FPR95 rows by method."""
    column = "paper" if fpr95.loc[["godin", "logitnorm"], "ours"].isna().any() else "ours"
    two = fpr95.loc[["godin", "logitnorm"]]
    place = {name: "ahead of" if two.loc["godin", name] < two.loc["logitnorm", name] else "behind" for name in ("ours", "paper")}
    theirs = f"{two.loc['godin', 'paper']:.1f}, {two.loc['logitnorm', 'paper']:.1f}"
    if column == "paper":
        return f"in the paper GODIN is {place['paper']} LogitNorm ({theirs})"
    also = "as in the paper" if place["ours"] == place["paper"] else f"in the paper {place['paper']} it"
    return (f"GODIN ({two.loc['godin', 'ours']:.1f} %) is {place['ours']} LogitNorm ({two.loc['logitnorm', 'ours']:.1f} %), "
            f"{also} ({theirs})")


def _lower_first(sentence: str, subject: str, pronoun: str) -> str:
    return sentence.replace(subject, pronoun, 1)
