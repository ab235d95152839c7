"""The paper's printed numbers beside ours, with a tolerance and a verdict.

The verdict rule (its last paragraph says what came when)
---------------------------------------------------------
All numbers are percent (norms excepted). `floor` is 5 points for FPR95; 2 points for AUROC, AUPR, accuracy
and calibration error, 0.5 for it after temperature scaling; 20 % of the printed value for a logit norm (the
paper's norms come from one run).

Our mean over seeds, its sample standard deviation sd (ddof 1), the paper's number:

    tolerance = max(2 sd, floor)          one seed has no sd; then tolerance = floor

*Exact* rows: size `full` with all of its epochs, the paper's architecture and the paper's own image set (for an average:
all sets).

    reproduced       |ours - paper| <= tolerance
    partly           |ours - paper| <= 2 tolerance, or the change from cross-entropy is 'same direction'
    not reproduced   otherwise

*The change from cross-entropy* is the method's mean minus the cross-entropy mean, in the same row. `least` is
2 points for FPR95, 0.5 for AUPR (which starts near 98), 1 for AUROC, accuracy and calibration error, 0.5 for
the latter after temperature scaling, 20 % of the printed value for a norm. The paper changes when
|its change| > least; ours when |our change| > noise = max(2 sqrt(sd_method^2 + sd_cross_entropy^2), least),
a missing sd counting as 0.

    same direction              both change, with one sign        opposite direction   both change, other sign
    no change, as in the paper  neither changes                   no clear change      only the paper's changes, or the paper has
                                                                                       none and ours is above `least`, not above noise
    change, in the paper a small one of its sign    only ours changes; the paper's, which is too small to count, has the sign of ours
    change, in the paper none of its sign           only ours changes; the paper's is 0 or has the other sign

*Other* rows (stand-in images, another size than `full`, fewer epochs): only this change is judged, and its size is
given as ours / paper's; the cross-entropy row itself says 'baseline'. A missing run says 'not yet run',
and an image set missing from a run that exists says 'not measured'.

Changed later, before any run of size `full`: calibration error after temperature scaling had the floor and `least` of
calibration error, several times what the paper prints. Changed when two runs of size `full` were there: a change of ours above
`least` that the spread hides was 'no change, as in the paper' where the paper has none; it is 'no clear change'. The two
words for where only ours changes were one, 'change, the paper has none', and judge a claim alike.
"""

import math
import re
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pandas as pd

from logitnorm import data, paths
from logitnorm.config import IN_EVERY_NAME, IN_NO_NAME, Config
from logitnorm.config import TAU as WITH_TAU

from . import results, scoring

LABELS = {"cross_entropy": "Cross-entropy", "logitnorm": "LogitNorm", "centred_logitnorm": "Centred LogitNorm",
          "one_offset": "LogitNorm, one offset", "one_temperature": "LogitNorm, one temperature",
          "logit_penalty": "LogitPenalty", "godin": "GODIN", "learned_confidence": "Learned Confidence"}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")  # CIFAR-10's labels
NOT_RUN = "not yet run"  # what a table says where a result is missing

FLOORS = {"fpr95": 5.0, "auroc": 2.0, "aupr": 2.0, "accuracy": 2.0, "ece": 2.0, "ece_ts": 0.5}
LEAST = {"fpr95": 2.0, "auroc": 1.0, "aupr": 0.5, "accuracy": 1.0, "ece": 1.0, "ece_ts": 0.5}
NORM_SHARE = 0.2
BASELINE = "cross_entropy"
NOT_MEASURED = "not measured"

# The tau of the tables: 0.04 for CIFAR-10 is the paper's. It prints none for CIFAR-100; 0.0085 is the
# author's advice in the official repository (issue 2). digits borrow CIFAR-10's.
TAU = {"cifar10": 0.04, "cifar100": 0.0085}

SIX = Config().ood_sets  # the paper's OOD sets, in its order
KEYS = ["id_dataset", "architecture", "method", "score", "ood_dataset", "metric"]
UNSCORED = ("accuracy", "ece", "ece_ts", "logit_norm_id", "logit_norm_ood")  # no OOD score is involved
METRIC_TITLES = {"fpr95": "FPR95 ↓", "auroc": "AUROC ↑", "aupr": "AUPR ↑", "accuracy": "accuracy ↑", "ece": "ECE ↓",
                 "ece_ts": "ECE, temperature scaled ↓", "logit_norm_id": "logit norm, ID",
                 "logit_norm_ood": "logit norm, OOD", "aupr_in": "AUPR-In ↑", "aupr_out": "AUPR-Out ↑",
                 "detection_error": "detection error ↓"}
SCORE_TITLES = {"msp": "Softmax (MSP)", "odin": "ODIN", "energy": "Energy", "gradnorm": "GradNorm",
                "godin": "GODIN's cosine", "confidence": "confidence c", "confidence_step": "confidence c, input step",
                "energy_t1": "Energy, T = 1", "energy_centred": "Energy of f − m, T = 1", "msp_normalised": "MSP, normalised"}
ARCHITECTURE_TITLES = {"wrn40_2": "WRN-40-2", "resnet34": "ResNet-34", "densenet": "DenseNet-BC"}


# ---- the paper's numbers

def numbers(*tables: str) -> pd.DataFrame:
    """Printed numbers of the named tables ("1" to "9", "text-4.2"; none named: all), in this library's words.

    Columns: table, then KEYS, then paper (percent; plain units for norms). OOD set "average" is the plain mean
    over the paper's six sets. Source: data/paper/paper_tables.csv, copied from arXiv 2205.09310v2.
    """
    frame = pd.read_csv(paths.PAPER_DATA / "paper_tables.csv", dtype={"table": str}, keep_default_na=False,
                        na_values={"value": [""]})
    frame = frame.rename(columns={"loss": "method", "value": "paper"})
    unknown = set(tables) - set(frame["table"])
    if unknown:
        raise ValueError(f"paper_tables.csv has no table {sorted(unknown)}; it has {sorted(set(frame['table']))}.")
    if tables:
        frame = frame[frame["table"].isin(tables)]
    scaled = frame["score"] == "temperature_scaling"
    frame["metric"] = frame["metric"].where(frame["metric"] != "ece15", np.where(scaled, "ece_ts", "ece"))
    frame["score"] = frame["score"].where(~frame["metric"].isin(UNSCORED), "")
    return frame[["table", *KEYS, "paper"]].reset_index(drop=True)


def figure(number: int) -> pd.DataFrame:
    """Curves or bars of Figure 1, 2, 4 or 5, read off the paper's vector graphics (error 0.01 to 0.03 units)."""
    return pd.read_csv(paths.PAPER_DATA / f"fig{number}_digitised.csv")


# ---- our numbers, in the paper's words

def counterpart(name: str) -> str:
    """The paper's image set that `name` is or stands in for; the set of 8 x 8 digits plays CIFAR-10's part."""
    if name == "digits":
        return "cifar10"
    return data.official(name)


def counterpart_architecture(name: str) -> str:
    """The paper's network that `name` is or stands in for: a narrow one of its kind, whatever depth it has."""
    for prefix, theirs in (("wrn", "wrn40_2"), ("resnet", "resnet34"), ("densenet", "densenet")):
        if name.startswith(prefix):
            return theirs
    return name


def ours(loaded: list) -> pd.DataFrame:
    """Tidy frame of the loaded runs, with averages over the far OOD sets and last-epoch norms added.

    Adds rows ood_dataset "average" (only where all of the run's `ood_sets` are there) and metrics logit_norm_id,
    logit_norm_ood; adds columns paper_id, paper_set, paper_architecture, setting (what the training changes of its size's, in words) and exact (see
    the module's verdict rule; DenseNet, whose depth the paper does not print, never is).
    """
    if not loaded:
        return pd.DataFrame(columns=[*results.TIDY, "paper_id", "paper_set", "paper_architecture", "setting", "exact"])
    tidy = results.tidy(loaded).fillna({"score": "", "ood_dataset": ""})
    whole = {row["run"]: row for row in tidy.drop_duplicates("run").to_dict("records")}
    cells = {run.id: {} for run in loaded}  # plain dictionaries: a frame for each run would take ten times as long
    for run, score, metric, ood, value in zip(*(tidy[name] for name in ("run", "score", "metric", "ood_dataset", "value"))):
        cells[run].setdefault((score, metric), {})[ood] = value
    added = []
    for run in loaded:
        far = run.config.ood_sets
        added += [{**whole[run.id], "score": score, "metric": metric, "ood_dataset": "average",
                   "value": np.mean([found[ood] for ood in found if ood in far])}
                  for (score, metric), found in sorted(cells[run.id].items()) if set(far) <= set(found)]
        last = run.history.iloc[-1]
        added += [{**whole[run.id], "score": "", "metric": metric, "ood_dataset": where, "value": last[column]}
                  for metric, where, column in (("logit_norm_id", "", "norm_test"),
                                                ("logit_norm_ood", run.config.history_ood, "norm_ood"))]
    frame = pd.concat([tidy, pd.DataFrame(added)], ignore_index=True)
    frame["score"] = frame["score"].replace("cosine", "godin")  # the tables name GODIN's score after the method
    official = {run.id: set(map(counterpart, run.config.ood_sets)) == set(run.config.ood_sets) == set(SIX)
                for run in loaded}
    frame["paper_id"] = frame["id_dataset"].map(counterpart)
    frame["paper_set"] = frame["ood_dataset"].map(counterpart)
    frame["paper_architecture"] = frame["architecture"].map(counterpart_architecture)
    same_set = (frame["paper_set"] == frame["ood_dataset"]) & (
        (frame["ood_dataset"] != "average") | frame["run"].map(official))
    changed = {run.id: {name: value for name, value in run.config.changed.items() if name not in IN_EVERY_NAME + IN_NO_NAME} for run in loaded}
    frame["setting"] = frame["run"].map({run: str(values) for run, values in changed.items()})
    same_training = {run: not set(values) - {"dropout"} for run, values in changed.items()}
    frame["exact"] = ((frame["size"] == "full") & frame["run"].map(same_training) & (frame["id_dataset"] == frame["paper_id"])
                      & (frame["architecture"] == frame["paper_architecture"]) & same_set)
    return frame


def in_tables(method: str, tau: float, cutout: int, id_dataset: str) -> bool:
    """Whether the LogitNorm paper's tables compare such a run: LogitNorm, centred or not, at TAU of its ID set (none for SVHN, which
    that paper does not train on), and no Cutout, which it does not have, but for Learned Confidence, which comes with it.
    """
    return ((method not in WITH_TAU or math.isclose(tau, TAU.get(counterpart(id_dataset), math.nan)))
            and (cutout == 0 or method == "learned_confidence"))


def where(rows: pd.DataFrame, **values) -> pd.DataFrame:
    """The rows with the given column values; a list or tuple names several."""
    for column, value in values.items():
        rows = rows[rows[column].isin(value if isinstance(value, (list, tuple)) else [value])]
    return rows


def for_tables(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of `ours` that the tables compare."""
    settings = zip(frame["method"], frame["tau"], frame["cutout"], frame["id_dataset"])
    return frame[np.array([in_tables(*setting) for setting in settings], dtype=bool)]


def of_methods(loaded: list, *methods: str) -> list:
    """The runs of these methods that the tables compare."""
    return [run for run in loaded if run.config.method in methods
            and in_tables(run.config.method, run.config.tau, run.config.cutout, run.config.id_dataset)]


def chosen(loaded: list, method: str, paper_id: str = "cifar10") -> list:
    """The runs of a method that figures and averages over seeds show, by seed: those of one network, the main one."""
    fit = [run for run in of_methods(loaded, method) if counterpart(run.config.id_dataset) == paper_id]
    fit.sort(key=lambda run: (counterpart_architecture(run.config.architecture) != "wrn40_2", run.config.seed))
    return [run for run in fit if run.config.architecture == fit[0].config.architecture]


# ---- beside each other

def compare(frame: pd.DataFrame, *tables: str) -> pd.DataFrame:
    """The named tables' numbers, each beside ours (`frame` from `ours`, of one size) with a verdict.

    Columns: table, KEYS (the paper's names), paper, ours, sd (ddof 1, missing for one seed), n (seeds), used (our
    image set), net (our network), exact, difference, tolerance, paper_change, change, ratio (ours / paper's change), way (`direction`, also where the
    number itself is judged), verdict.
    """
    if frame["size"].nunique() > 1:
        raise ValueError(f"one size can be judged at a time, this frame holds {sorted(set(frame['size']))}: "
                         "filter it first.")
    mine = _means(for_tables(frame))
    rows = numbers(*tables).merge(mine, on=KEYS, how="left")
    base = numbers()[lambda all_: all_["method"] == BASELINE].merge(mine, on=KEYS, how="left")
    base = base.drop_duplicates(KEYS).set_index([key for key in KEYS if key != "method"])
    ran = set(zip(mine["id_dataset"], mine["architecture"], mine["method"]))
    judged = [_judge(row, base, (row.id_dataset, row.architecture, row.method) in ran) for row in rows.itertuples()]
    return pd.concat([rows, pd.DataFrame(judged, index=rows.index)], axis=1)


def floor(metric: str, paper: float, floors: dict = FLOORS) -> float:
    """The metric's entry of FLOORS or LEAST; a norm, which has none, gets its share of the printed value."""
    return floors[metric] if metric in floors else NORM_SHARE * abs(paper)


def noise(sd0: float, sd1: float, least: float) -> float:
    """What a change of ours must exceed: twice the seeds' standard deviation of the difference (NaN: one seed), or `least`."""
    return float(max(2 * np.hypot(*np.nan_to_num([sd0, sd1])), least))


def direction(paper_change: float, change: float, noise: float, least: float) -> str:
    """Compares two changes from cross-entropy: noise bounds ours, `least` the paper's."""
    theirs, mine = abs(paper_change) > least, abs(change) > noise
    if theirs and mine:
        return "same direction" if paper_change * change > 0 else "opposite direction"
    if mine:
        return "change, in the paper a small one of its sign" if paper_change * change > 0 else "change, in the paper none of its sign"
    return "no clear change" if theirs or abs(change) > least else "no change, as in the paper"


def verdict(ours: float, paper: float, tolerance: float, way: str) -> str:
    """The verdict of an exact row; `way` is what `direction` says of its change from cross-entropy, or ""."""
    off = abs(ours - paper)
    if off <= tolerance:
        return "reproduced"
    return "partly" if off <= 2 * tolerance or way == "same direction" else "not reproduced"


def judged(number: float, ours: float, sd: float, exact: bool, floor: float, least: float, base: tuple | None = None) -> dict:
    """By the module's rule, our mean beside the paper's number: difference, tolerance, paper_change, change, ratio, way, verdict.

    sd: NaN for one seed; base: (the paper's number, our mean, its sd) of cross-entropy, or None.
    """
    out = dict(difference=np.nan, tolerance=np.nan, paper_change=np.nan, change=np.nan, ratio=np.nan, way="", verdict=NOT_RUN)
    if math.isnan(ours):
        return out
    out |= dict(difference=ours - number, tolerance=max(2 * np.nan_to_num(sd), floor))
    if base is not None:
        out |= dict(paper_change=number - base[0], change=ours - base[1])
        out["way"] = direction(out["paper_change"], out["change"], noise(sd, base[2], least), least)
        if abs(out["paper_change"]) > least:  # else the ratio divides by next to nothing
            out["ratio"] = out["change"] / out["paper_change"]
    return out | dict(verdict=verdict(ours, number, out["tolerance"], out["way"]) if exact else out["way"] or "baseline")


def _means(frame: pd.DataFrame) -> pd.DataFrame:
    keys = ["paper_id", "paper_architecture", "method", "score", "paper_set", "metric"]
    # runs that differ in more than their seed make no mean: those of the setting with most seeds do
    network, setting = keys[:3], ["architecture", "setting"]
    seeds = frame.groupby([*network, *setting])["run"].nunique().sort_values(kind="stable").reset_index().drop_duplicates(network, keep="last")
    frame = frame.merge(seeds[[*network, *setting]], on=[*network, *setting])
    # where a run holds both a paper's set and a stand-in for it, only the paper's own counts; and of runs only those that are exact, where some are
    stands_in = frame["ood_dataset"] != frame["paper_set"]
    frame = frame.loc[stands_in.sort_values(kind="stable").index].drop_duplicates(["run", *keys])
    frame = frame[frame["exact"] | ~frame.groupby(keys)["exact"].transform("any").astype(bool)]
    means = frame.groupby(keys, as_index=False).agg(
        ours=("value", "mean"), sd=("value", "std"), n=("run", "nunique"), exact=("exact", "all"),
        used=("ood_dataset", lambda names: ", ".join(dict.fromkeys(names))), net=("architecture", "first"))
    return means.rename(columns=dict(zip(keys, KEYS)))


def _judge(row, base: pd.DataFrame, ran: bool) -> dict:
    # GODIN's own score does not exist for cross-entropy; its baseline is the softmax score
    key = (row.id_dataset, row.architecture, "msp" if row.score == "godin" else row.score, row.ood_dataset, row.metric)
    there = row.method != BASELINE and key in base.index and not math.isnan(base.loc[key, "ours"]) and base.loc[key, "exact"] == row.exact
    out = judged(row.paper, row.ours, row.sd, row.exact, floor(row.metric, row.paper), floor(row.metric, row.paper, LEAST),
                 tuple(base.loc[key, ["paper", "ours", "sd"]]) if there else None)
    other = {NOT_RUN: NOT_MEASURED if ran else NOT_RUN, "baseline": "baseline" if row.method == BASELINE else "no baseline"}
    return {**out, "verdict": other.get(out["verdict"], out["verdict"])}


# ---- in words

def title(name: str) -> str:
    """The reader's name of an image set, network, score or metric."""
    for titles in (SCORE_TITLES, METRIC_TITLES, ARCHITECTURE_TITLES):
        if name in titles:
            return titles[name]
    return data.SETS[name].title if name in data.SETS else name


def named(name: str) -> str:
    """An image set's title and, for a stand-in, whose part it plays."""
    played = counterpart(name)
    return title(name) if played == name or name == "digits" else f"{title(name)} (for {title(played)})"


def network(architecture: str) -> str:
    """'wrn40_2' -> 'WRN-40-2', 'resnet20' -> 'ResNet-20'."""
    if architecture in ARCHITECTURE_TITLES:
        return ARCHITECTURE_TITLES[architecture]
    kind, depth = re.match(r"([a-z_]*[a-z])_?(.*)", architecture).groups()
    known = {"wrn": "WRN-", "resnet": "ResNet-", "densenet_bc": "DenseNet-BC-"}
    return known.get(kind, kind.upper()) + depth.replace("_", "-")


def net(config) -> str:
    """'WRN-40-2, 30 epochs'."""
    return f"{network(config.architecture)}, {config.epochs} epochs"


def by_method(loaded: list) -> list:
    """The runs in the order of LABELS; those of one method keep theirs."""
    return sorted(loaded, key=lambda run: list(LABELS).index(run.config.method))


def trained(config) -> str:
    """A network with the length of its training where that is not the small size's: 'WRN-10-2', 'WRN-40-2, 30 epochs'."""
    return net(config) if config.size != "small" else network(config.architecture)


def method_title(config) -> str:
    """'LogitNorm τ = 0.04', 'Cross-entropy', 'Learned Confidence with Cutout'."""
    tau = f" τ = {config.tau:g}" if config.method in WITH_TAU else ""
    return LABELS[config.method] + tau + " with Cutout" * bool(config.cutout)


def grouped(items: list, key) -> list[tuple]:
    """[(key, items with that key)], in order of first appearance."""
    groups = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.items())


def grouped_columns(lines: list[dict]) -> pd.DataFrame:
    """Lines whose names are pairs (group, column), as plots.table shows them; an empty table where there is none."""
    table = pd.DataFrame(lines)
    if lines:
        table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table


def value(row) -> str | None:
    """'15.65 ± 0.21 (n = 5)'; None where there is no run, so that a table says 'not yet run'."""
    if row["verdict"] == NOT_RUN:
        return None
    if row["verdict"] == NOT_MEASURED:
        return NOT_MEASURED
    spread = "" if math.isnan(row["sd"]) else f" ± {row['sd']:.2f}"
    return f"{row['ours']:.2f}{spread} (n = {int(row['n'])})"


def wide(compared: pd.DataFrame, *rows: str) -> pd.DataFrame:
    """compare's rows of one metric as a table to read: per value of `rows` the methods side by side, then verdicts.

    `rows` are columns: "ood_dataset", "score", "architecture" or "metric"; several are joined by commas.
    """
    head = ", ".join({"ood_dataset": "OOD set", "id_dataset": "ID set", "architecture": "network"}.get(row, row) for row in rows)
    lines = []
    for _, group in compared.groupby(list(rows), sort=False):
        first = group.assign(ood_dataset=group["used"].fillna(group["ood_dataset"])).iloc[0]
        line = {head: ", ".join(named(first[row]) if row == "ood_dataset" else title(first[row]) for row in rows)}
        if group["method"].duplicated().any():
            raise ValueError(f"{line[head]} has two rows of one method: filter them, or name another column in rows")
        said = []
        for _, cell in group.iterrows():
            label = LABELS[cell["method"]]
            line[f"{label}, paper"] = cell["paper"]
            line[f"{label}, ours"] = value(cell)
            said.append((label, _said(cell)))
        said = [pair for pair in said if pair[1] != "baseline"] or said
        words = [text for _, text in said]
        one = len(set(words)) == 1
        line["verdict"] = words[0] if one else "; ".join(f"{label}: {text}" for label, text in said)
        lines.append(line)
    return pd.DataFrame(lines)


def long(compared: pd.DataFrame) -> pd.DataFrame:
    """compare's rows as a table to read, one number a line."""
    return pd.DataFrame([{
        "quantity": title(cell["metric"]), "loss": LABELS[cell["method"]], "paper": cell["paper"],
        "ours": value(cell), "verdict": _said(cell)} for _, cell in compared.iterrows()])


def own(frame: pd.DataFrame, sets: list, metric: str) -> pd.DataFrame:
    """Our numbers by MSP only (rows of `ours`): per image set the metric under each method, mean ± sd over seeds.

    Main network of the paper's CIFAR-10 only. What the runs of a method do not have says 'not measured'.
    """
    frame = main_network(for_tables(frame))
    lines = []
    for name in sets:
        line = {"OOD set": named(name)}
        for method in (method for method in LABELS if method in set(frame["method"])):
            values = where(frame, score="msp", ood_dataset=name, metric=metric, method=method)["value"]
            line[f"{LABELS[method]}, {title(metric)}"] = spread(values) or NOT_MEASURED
        lines.append(line)
    return pd.DataFrame(lines)


def main_network(frame: pd.DataFrame, paper_id: str = "cifar10") -> pd.DataFrame:
    """The rows of `ours` of the main network (WRN-40-2, or the wide ResNet that stands in for it) on an ID set of the paper."""
    return where(frame, paper_id=paper_id, paper_architecture="wrn40_2")


def average_fpr95(frame: pd.DataFrame, method: str, score: str) -> pd.DataFrame:
    """The rows of `ours` of the main network that hold a method's FPR95 by a score, averaged over the far OOD sets."""
    return where(main_network(frame), method=method, score=score, ood_dataset="average", metric="fpr95")


def joint(frame: pd.DataFrame, *methods: str) -> pd.DataFrame:
    """The methods on the same network and images, each by MSP and by the scores of its own head (rows of `ours`), grouped for plots.table.

    Main network of the paper's CIFAR-10 only; averages over the far OOD sets, mean ± sd over seeds. A method that was
    trained with Cutout and without has both, one that was not run none.
    """
    at_tau = frame["tau"].isna() | np.isclose(frame["tau"].astype(float), TAU["cifar10"])
    frame = main_network(frame[at_tau])
    lines = []
    for method, cutout in ((method, cutout) for method in methods
                           for cutout in sorted(set(frame.loc[frame["method"] == method, "cutout"]))):
        own = ["godin" if score == "cosine" else score for score in scoring.OWN_SCORES.get(method, ())]
        for score in ("msp", *own):
            mine = where(frame, method=method, cutout=cutout, score=["", score], ood_dataset=["", "average"])
            lines.append({("", "loss, score"): f"{LABELS[method]}{', Cutout' * bool(cutout)}, {title(score)}",
                          **{(title(metric), "%"): spread(where(mine, metric=metric)["value"]) for metric in ("accuracy", "fpr95", "auroc")}})
    return grouped_columns(lines)


def by_tau(frame: pd.DataFrame, paper_id: str = "cifar10") -> pd.DataFrame:
    """LogitNorm on the main network at each tau (rows of `ours`): columns tau, n (seeds), then means over seeds of
    accuracy, noise (FPR95 on Gaussian noise) and far (FPR95 averaged over the far OOD sets), all by MSP; noise_spread: `spread` of noise.
    """
    frame = where(main_network(frame, paper_id), method="logitnorm", score=["", "msp"])
    wanted = {"accuracy": ("", "accuracy"), "noise": ("gaussian_noise", "fpr95"), "far": ("average", "fpr95")}
    lines = []
    for tau, part in frame.groupby("tau"):
        cells = {name: where(part, ood_dataset=ood_set, metric=metric)["value"].mean()
                 for name, (ood_set, metric) in wanted.items()}
        on_noise = where(part, ood_dataset="gaussian_noise", metric="fpr95")["value"]
        lines.append({"tau": tau, "n": part["seed"].nunique(), "noise_spread": spread(on_noise, 1)} | cells)
    return pd.DataFrame(lines, columns=["tau", "n", *wanted, "noise_spread"])


def spread(values: pd.Series, decimals: int = 2) -> str | None:
    """'63.52 ± 1.20' (sample standard deviation), '63.52' for one value, None for none."""
    if len(values) == 0:
        return None
    return f"{values.mean():.{decimals}f}" + (f" ± {values.std():.{decimals}f}" if len(values) > 1 else "")


def fixed(value: float, decimals: int = 1) -> str:
    """A number with so many decimals, a half rounded up as printed tables have it: 12.95 is 13.0, where a binary float gives 12.9."""
    return str(Decimal(str(value)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)) if math.isfinite(value) else "nan"


def span(values: pd.Series, decimals: int) -> str:
    """'5.7 to 7.3', the least and the largest; '5.7' where both read the same."""
    return " to ".join(dict.fromkeys(f"{value:.{decimals}f}" for value in (values.min(), values.max())))


def listed(words: list) -> str:
    """'MSP, ODIN and Energy'."""
    return ", ".join(map(str, words[:-1])) + f" and {words[-1]}" if len(words) > 1 else str(words[0])


def _said(cell: pd.Series) -> str:
    """The verdict; where only the change is judged, with its size."""
    return cell["verdict"] + ("" if cell["exact"] is True or math.isnan(cell["ratio"])
                              else f" ({cell['ratio']:.2f} × the paper's)")


def tally(compared: pd.DataFrame) -> str:
    """One sentence that counts the verdicts, a line for each number of a method; then those of cross-entropy's own numbers, where any is judged."""
    base = compared["method"] == BASELINE
    counts = compared.loc[~base, "verdict"].value_counts()
    if counts.empty:
        return "None of these numbers is judged."
    text = f"Of {counts.sum()} lines: " + ", ".join(f"{n} {words}" for words, n in counts.items()) + "."
    own = compared.loc[base & compared["exact"].eq(True), "verdict"].value_counts()
    return text + (f" Of cross-entropy's own numbers there {own.sum()} {'is' if own.sum() == 1 else 'are'} judged: "
                   + ", ".join(f"{n} {words}" for words, n in own.items()) + ".") * bool(len(own))


def plainly(loaded: list, size: str) -> str:
    """What the runs of a size show and what they cannot, as a Markdown list of measured numbers."""
    ce, ln = chosen(loaded, "cross_entropy"), chosen(loaded, "logitnorm")
    if not (ce and ln):
        return f"Size `{size}`: {NOT_RUN}."
    frame = ours(ce + ln)
    mean = frame[frame["score"].isin(["", "msp"])].groupby(["method", "ood_dataset", "metric"])["value"].mean()
    ce_mean, ln_mean = mean["cross_entropy"], mean["logitnorm"]
    change = ln_mean - ce_mean
    printed = numbers("1").query("id_dataset == 'cifar10' and ood_dataset == 'average'").set_index(["method", "metric"])["paper"]
    theirs = printed["logitnorm"] - printed["cross_entropy"]
    text = [f"Size `{size}`, {len(ce)} + {len(ln)} runs: LogitNorm's ID accuracy is {ln_mean['', 'accuracy']:.2f} %, "
            f"cross-entropy's {ce_mean['', 'accuracy']:.2f} % ({change['', 'accuracy']:+.2f} points). Averaged over the "
            f"six far OOD sets, FPR95 by MSP goes from {ce_mean['average', 'fpr95']:.2f} to "
            f"{ln_mean['average', 'fpr95']:.2f} ({change['average', 'fpr95']:+.2f}) and AUROC from "
            f"{ce_mean['average', 'auroc']:.2f} to {ln_mean['average', 'auroc']:.2f} "
            f"({change['average', 'auroc']:+.2f}); the paper's changes are {theirs['fpr95']:+.2f} and {theirs['auroc']:+.2f}."]
    config = ln[0].config
    sd = frame[frame["score"] == "msp"].groupby(["method", "ood_dataset", "metric"])["value"].std()

    def noise_of(name: str) -> float:
        return noise(sd["cross_entropy", name, "fpr95"], sd["logitnorm", name, "fpr95"], LEAST["fpr95"])

    for kind, sets in (("Of the six far sets", config.ood_sets), ("Of the other sets", config.extra_sets)):
        worse = [f"{title(name)} ({change[name, 'fpr95']:+.2f} FPR95{', no clear change' * bool(change[name, 'fpr95'] <= noise_of(name))})"
                 for name in sets if change[name, "fpr95"] > 0]
        text.append(f"{kind} LogitNorm's FPR95 is higher than cross-entropy's on {', '.join(worse) or 'none'}.")
    ece = "higher" if change["", "ece"] > 0 else "lower"
    text.append(f"Its calibration error before temperature scaling is {ece}: {ln_mean['', 'ece']:.2f} % against "
                f"{ce_mean['', 'ece']:.2f} %.")
    stand_ins = [named(name) for name in config.ood_sets if counterpart(name) != name]
    limits = [f"the net ({network(config.architecture)}) and the training ({config.epochs} epochs) are not the paper's "
              "(WRN-40-2, 200 epochs)" if not frame["exact"].any() else "",
              f"stand-in image sets: {', '.join(stand_ins)}" if stand_ins else "",
              f"only {len(ln)} LogitNorm seed{'s' * (len(ln) > 1)}, so the spread is "
              + ("unknown" if len(ln) == 1 else "only roughly known") if len(ln) < 5 else ""]
    if any(limits):
        text.append(f"What this cannot show: {'; '.join(filter(None, limits))}."
                    + ("" if frame["exact"].any() else " The absolute numbers are therefore no verdict on the paper's."))
    return "\n".join(f"* {sentences}" for sentences in text)


def provenance(loaded: list) -> pd.DataFrame:
    """One line per run from its run.json: code, device, time, data."""
    return pd.DataFrame([{
        "run": run.id,
        "commit": (run.info["code"]["commit"] or "unknown")[:8] + (" + changes" if run.info["code"]["dirty"] else ""),
        "device": run.device, "wall time (min)": run.info["wall_seconds"] / 60,
        "images/s": str(round(run.info["images_per_second"])),
        "training images (sha256)": run.info["data"][f"{run.config.id_dataset}-train"][:12],
        "finished": run.info["finished"][:10]} for run in loaded] or [{"run": NOT_RUN}])
