"""The claims ledger: every claim, table and figure of both papers, ours beside it, and a verdict.

The rule
--------
data/paper/claims.yaml names for each claim the numbers that stand for it. Each number is judged by the rule of
logitnorm.study.paper; for a measure of this module, by the same functions with the tolerance given there. Then

    not yet run              one of the claim's numbers is missing at every size asked for
    reproduced               every number is reproduced
    partly                   some are, or some are partly
    not reproduced           none is
    not judged               nothing can be compared; the entry says why

and where the image set is a stand-in, or network or training are smaller than the paper's, only the change from
cross-entropy counts:

    stand-in: direction agrees            each change has the paper's direction, or there is none in both
    stand-in: direction agrees in part    some have
    stand-in: no clear change             the paper has changes, ours are within twice the spread of the difference over seeds
    stand-in: direction does not agree    otherwise

Where more numbers are counted beside those that decide (the whole table, say) and fewer than half of them agree,
'reproduced' becomes 'partly' and 'direction agrees' becomes 'direction agrees in part'.

The first of the sizes asked for at which all of the claim's numbers exist is the one that is shown.

When it was written: the rule for a single number (logitnorm.study.paper, which says what changed) before any run; this one when seed 1 of the first
two runs of size small was there; the paragraph on lowering, 'no clear change', and what figure5, godin and the lines of
learned confidence are compared with (see claims.yaml) after more of them. No run of size full was there at any of
these times.
"""

import re
from collections import Counter

import numpy as np
import pandas as pd
import torch
import yaml
from scipy.stats import gaussian_kde

from logitnorm import losses, paths

from . import paper, repair

SIZES = ("full", "medium", "small")
PAPERS = {"logitnorm": "LogitNorm (Wei et al., ICML 2022)",
          "confidence": "Learned Confidence (DeVries and Taylor, 2018)"}
NOT_JUDGED = "not judged"
AGREES = ("same direction", "no change, as in the paper")
LOWER = {"reproduced": "partly", "stand-in: direction agrees": "stand-in: direction agrees in part"}
# What a line says beside two changes, where their signs do not already say it.
ASIDES = {"no change, as in the paper": " (no change in either)", "no clear change": " (within twice the spread of the difference over seeds, or too small to count)",
          "change, in the paper a small one of its sign": " (too small to count)", "change, in the paper none of its sign": " (too small to count)"}
VERDICTS = {"reproduced": "good", "partly": "fair", "not reproduced": "bad", "stand-in: direction agrees": "good",
            "stand-in: direction agrees in part": "fair", "stand-in: no clear change": "unclear",
            "stand-in: direction does not agree": "bad",
            paper.NOT_RUN: "open", paper.NOT_MEASURED: "open", NOT_JUDGED: "open"}  # verdict -> how it is marked
MARKS = {"good": "✓", "fair": "≈", "bad": "✗", "unclear": "?", "open": "○"}  # a sign beside each verdict, never colour alone
# Learned Confidence's own trainings (the commands in its released code), by ID set, of the network that is trained here as there.
OWN_TRAINING = {"cifar10": dict(epochs=200, lr=0.1, milestones=(60, 120, 160), gamma=0.2, nesterov=True, cutout=16),
                "svhn": dict(epochs=160, lr=0.01, milestones=(80, 120), nesterov=True, cutout=20)}
OWN_NETWORK = "vgg13"
OVERLAP_POINTS = 5.0  # tolerance for the shared area of two densities, which the paper's figure gives roughly


# ---- the entries

def claims() -> list[dict]:
    """The entries of claims.yaml, checked. Raises ValueError for an entry that cannot be judged as it stands."""
    entries = yaml.safe_load((paths.PAPER_DATA / "claims.yaml").read_text(encoding="utf-8"))
    for entry in entries:
        keys, kinds = set(entry), {"table", "measure", "unjudged"} & set(entry)
        if not {"id", "topic", "paper", "where", "says", "page"} <= keys or len(kinds) != 1:
            raise ValueError(f"claims.yaml, entry {entry.get('id')!r}: an entry has id, topic, paper, where, says, "
                             "page and one of table, measure and unjudged")
        if entry.get("beside", "energy_centred") not in repair.ENERGIES:
            raise ValueError(f"claims.yaml, entry {entry['id']!r}: beside names {entry['beside']!r}; known: {', '.join(repair.ENERGIES)}")
        if "measure" in entry and entry["measure"] not in MEASURES:
            raise ValueError(f"claims.yaml, entry {entry['id']!r}: no measure {entry['measure']!r}; known: "
                             f"{', '.join(MEASURES)}")
    for key in ("id", "topic"):
        if twice := [name for name, n in Counter(entry[key] for entry in entries).items() if n > 1]:
            raise ValueError(f"claims.yaml has two entries with the {key} {twice[0]!r}")
    return entries


# ---- judging

def build(loaded: dict[str, list]) -> pd.DataFrame:
    """The ledger of the loaded runs ({size: runs}, the most telling size first), one row per entry.

    Columns: id, topic, paper, where, says, page, size, theirs, ours, difference, verdict, tally, runs (list of run ids), changes
    (list of pairs, the paper's change and ours); theirs_short, ours_short: '61.6 → 26.8', "" where ours is missing.
    Raises ValueError for a run that may stand in no average.
    """
    if odd := [run.id for found in loaded.values() for run in found if not run.in_grid]:
        raise ValueError(f"{odd[0]} may not stand in an average over seeds (Result.in_grid); leave it out of the ledger")
    frames = {size: paper.ours(found) for size, found in loaded.items()}
    tables = sorted({entry["table"] for entry in claims() if "table" in entry})
    compared = {size: paper.compare(frame, *tables) for size, frame in frames.items()}
    keys = ["run", "paper_id", "paper_architecture", "method"]
    networks = {size: paper.for_tables(frame)[keys].drop_duplicates() for size, frame in frames.items()}
    return pd.DataFrame([_row(entry, loaded, frames, compared, networks) for entry in claims()])


def _row(entry: dict, loaded: dict, frames: dict, compared: dict, networks: dict) -> dict:
    row = {key: entry[key] for key in ("id", "topic", "paper", "where", "says", "page")}
    if "unjudged" in entry:
        return row | dict(size="", theirs="", ours="", theirs_short="", ours_short="", difference=entry["unjudged"],
                          verdict=NOT_JUDGED, tally="", runs=[], changes=[])
    found = {}
    for size in loaded:  # the first that has all numbers; without one, the first of all, whose row then says what is missing
        found[size] = _judged(entry, loaded[size], frames[size], compared[size], networks[size])
        if found[size][0]["ours"].notna().all():
            break
    else:
        size = next(iter(found))
    shown, among, used = found[size]
    computed, complete = "computed" in shown, shown["ours"].notna().all()
    tally = _tally(among)
    if "beside" in entry and complete:
        alone = ["one seed; Energy depends on it ([How many seeds](../notebooks/seeds.html))"] * bool((shown["n"] == 1).any())
        tally = "; ".join(filter(None, [tally, *_beside(entry["beside"], [run for run in loaded[size] if run.id in used]), *alone]))
    if complete and shown.attrs.get("beside"):
        tally = "; ".join(filter(None, [tally, shown.attrs["beside"]]))
    ours = [_numbers(shown, "ours", short) for short in (False, True)] if complete else [verdict(shown), ""]
    return row | dict(size="" if computed or not complete else size, theirs=_numbers(shown, "paper"), ours=ours[0],
                      theirs_short=_numbers(shown, "paper", short=True), ours_short=ours[1], difference=_difference(shown),
                      verdict=lowered(verdict(shown), among), tally=tally, runs=used if complete else [],
                      changes=_changes(shown) if complete and not computed else [])


def _beside(score: str, runs: list) -> list[str]:
    """What the same runs give by a score of this book's own, which decides nothing: ['... 42.6 → 28.0 (...)'], a network."""
    rows = repair.energies(repair.repairs(runs)).query("score == @score")
    return [f"this book's own {paper.title(score)}: {row.start} → {row.end} ({row.verdict})" for row in rows.itertuples()]


def _judged(entry: dict, loaded: list, frame: pd.DataFrame, compared: pd.DataFrame, networks: pd.DataFrame):
    """(numbers that decide, numbers that are counted, ids of the runs behind them) of one entry at one size."""
    if "measure" in entry:
        shown = MEASURES[entry["measure"]](loaded, frame, **entry.get("given", {}))
        return shown, shown, list(shown.attrs.get("runs", ()))
    table = compared[compared["table"] == entry["table"]]
    shown = paper.where(table, **entry["show"])
    if shown.empty:
        raise ValueError(f"claims.yaml, entry {entry['id']!r}: table {entry['table']} has no such numbers")
    among = paper.where(table, **entry.get("among", {}))
    wanted = set(map(tuple, shown[["id_dataset", "architecture", "method"]].to_numpy()))
    used = [run for run, *key in networks.to_numpy() if tuple(key) in wanted]
    return shown, among, used


def verdict(shown: pd.DataFrame) -> str:
    """The verdict of a claim from its numbers (columns ours, exact, method, verdict); see the module's rule."""
    said = list(shown["verdict"])
    if shown["ours"].isna().any():
        return paper.NOT_MEASURED if paper.NOT_MEASURED in said and paper.NOT_RUN not in said else paper.NOT_RUN
    if shown["exact"].all():
        if all(word == "reproduced" for word in said):
            return "reproduced"
        return "partly" if any(word in ("reproduced", "partly") for word in said) else "not reproduced"
    said = [word for word in said if word not in ("baseline", "no baseline")]
    if not said:
        return paper.NOT_RUN
    agree = [word in AGREES for word in said]
    if all(agree):
        return "stand-in: direction agrees"
    if all(word == "no clear change" for word in said):
        return "stand-in: no clear change"
    return "stand-in: direction agrees in part" if any(agree) else "stand-in: direction does not agree"


def lowered(word: str, among: pd.DataFrame) -> str:
    """The verdict of the deciding numbers, one step lower where fewer than half of the numbers counted beside agree."""
    agreeing, judged = _agreeing(among)
    return LOWER.get(word, word) if 2 * agreeing < judged else word


def _agreeing(among: pd.DataFrame) -> tuple[int, int]:
    """How many of the numbers that were run are reproduced or, on stand-ins, change as the paper's do; of how many."""
    judged = among[among["ours"].notna() & ~among["verdict"].isin(["baseline", "no baseline"])]
    return int(judged["verdict"].isin(["reproduced", *AGREES]).sum()), len(judged)


def judge(theirs: list[float], mine: list, exact: bool, tolerance: list[float], least: float) -> pd.DataFrame:
    """Rows like those of paper.compare for numbers that are in no table; the first one is the baseline.

    theirs: the paper's numbers; mine: for each, our values (one per run; an empty list: not yet run);
    tolerance: for each, the floor; least: the smallest change from the first number that counts as one.
    """
    mine = [np.asarray(values, dtype=float) for values in mine]
    mean = [values.mean() if len(values) else np.nan for values in mine]
    sd = [values.std(ddof=1) if len(values) > 1 else np.nan for values in mine]
    base = theirs[0], mean[0], sd[0]
    return pd.DataFrame([
        dict(paper=number, ours=mean[i], sd=sd[i], n=len(mine[i]), exact=exact, least=least,
             **paper.judged(number, mean[i], sd[i], exact, tolerance[i], least, base if i else None))
        for i, number in enumerate(theirs)])


# ---- measures: claims that are in no table

def norm_growth(loaded: list, frame: pd.DataFrame) -> pd.DataFrame:
    """Figure 1: mean logit norm of the ID test images after the first and after the last epoch, cross-entropy."""
    curve = paper.figure(1)["id_test"]
    found = paper.chosen(loaded, "cross_entropy")
    return _with_runs(judge(
        [curve.iloc[0], curve.iloc[-1]],
        [[run.history.set_index("epoch")["norm_test"][1] for run in found],
         [run.history["norm_test"].iloc[-1] for run in found]],
        _exact(found), [paper.NORM_SHARE * curve.iloc[0], paper.NORM_SHARE * curve.iloc[-1]],
        least=paper.NORM_SHARE * curve.iloc[0]), found)


def overlap(loaded: list, frame: pd.DataFrame) -> pd.DataFrame:
    """Figure 4: area (%) that the densities of the softmax score on ID images and on SVHN share, per method."""
    theirs, mine, used = [], [], []
    for method, panel in (("cross_entropy", "a_CE"), ("logitnorm", "b_LogitNorm")):
        curves = paper.figure(4).query("panel == @panel").groupby("series")
        grid = np.linspace(0, 1.2, 2401)
        inside, outside = (np.interp(grid, curve["msp"], curve["density"], left=0, right=0)
                           for curve in (curves.get_group("ID_cifar10"), curves.get_group("OOD_svhn")))
        theirs.append(100 * np.minimum(inside, outside).sum() * (grid[1] - grid[0]))
        found = paper.chosen(loaded, method)
        used += found
        mine.append([shared_area(*(run.score("msp", name) for name in (run.config.id_dataset, run.config.history_ood)))
                     for run in found])
    exact = _exact(used) and all(run.config.history_ood == "svhn" for run in used)
    return _with_runs(judge(theirs, mine, exact, [OVERLAP_POINTS] * 2, least=OVERLAP_POINTS), used)


def shared_area(a: np.ndarray, b: np.ndarray) -> float:
    """The area in percent under both of two densities: 100 if they are equal, 0 if they are apart.

    Kernel density estimates with Scott's bandwidth, as in the paper's Figure 4 by all appearances.
    """
    densities = [gaussian_kde(values, bw_method="scott") for values in (a, b)]
    reach = [3 * np.sqrt(density.covariance.item()) for density in densities]
    # the two kernels may differ in width by far, so the grid is fine around every quantile of either sample
    quantiles = np.quantile(np.concatenate([a, b]), np.linspace(0, 1, 801))
    ends = [min(a.min() - reach[0], b.min() - reach[1]), max(a.max() + reach[0], b.max() + reach[1])]
    grid = np.unique(np.concatenate([np.linspace(*ends, 801), quantiles]))
    both = np.minimum(densities[0](grid), densities[1](grid))
    return float(100 * np.trapezoid(both, grid))


def tau_curve(loaded: list, frame: pd.DataFrame, taus: list) -> pd.DataFrame:
    """Figure 5: average FPR95 by MSP at some temperatures; the changes are those from the first of them."""
    curve, mine = paper.figure(5), paper.average_fpr95(frame, "logitnorm", "msp")
    theirs = [curve.loc[np.isclose(curve["tau"], tau), "fpr95"].item() for tau in taus]
    return _fpr95s(theirs, [mine[np.isclose(mine["tau"].astype(float), tau)] for tau in taus]).assign(tau=taus)


def against_godin(loaded: list, frame: pd.DataFrame) -> pd.DataFrame:
    """Table 6: average FPR95 of GODIN by its own score, then of LogitNorm by MSP."""
    table = paper.numbers("6").query("metric == 'fpr95'").set_index("method")["paper"]
    tables = paper.for_tables(frame)
    return _fpr95s([table["godin"], table["logitnorm"]], [paper.average_fpr95(tables, "godin", "godin"),
                                                          paper.average_fpr95(tables, "logitnorm", "msp")])


def _fpr95s(theirs: list[float], ours: list[pd.DataFrame]) -> pd.DataFrame:
    """`judge` of average FPR95s, each of our numbers given by its rows of `paper.ours`."""
    shown = judge(theirs, [part["value"] for part in ours], all(part["exact"].all() for part in ours),
                  [paper.FLOORS["fpr95"]] * len(ours), paper.LEAST["fpr95"]).assign(method="")  # no arrow in between
    shown.attrs["runs"] = [run for part in ours for run in part["run"]]
    return shown


def learned_confidence(loaded: list, frame: pd.DataFrame, id_dataset: str, architecture: str,
                       metric: str) -> pd.DataFrame:
    """Table 1 of Learned Confidence: a metric of the softmax score of an ordinary network, then of learned confidence.

    OOD set: iSUN, the one of its five that comes unchanged. A smaller network of the same family stands in. The
    ordinary network has the same Cutout, as in that paper's released code.
    """
    ood = "" if metric == "accuracy" else "isun"
    cell = {"ood_dataset": ood, "metric": metric}
    table = paper.where(confidence_table(), id_dataset=id_dataset, architecture=architecture, **cell).set_index("method")["paper"]
    family = re.match("[a-z]+", architecture)[0]
    mine = paper.where(frame[frame["architecture"].str.match(f"{family}\\d*(_|$)")], paper_id=id_dataset, **cell)
    methods = {"cross_entropy": "msp", "learned_confidence": "confidence"}
    mine = mine[mine["cutout"].isin(mine.loc[mine["method"] == "learned_confidence", "cutout"])]
    same = mine[mine["architecture"].str.startswith(architecture)]
    if set(methods) <= set(same["method"]):  # the paper's own network, if both methods have it
        mine = same
    parts = [paper.where(mine, method=method, score=["", score]) for method, score in methods.items()]
    both = pd.concat(parts)
    exact = bool(len(both)) and mine is same and architecture == OWN_NETWORK and bool((both["size"] == "full").all()) and all(
        getattr(run.config, name) == value for run in loaded if run.id in set(both["run"]) for name, value in OWN_TRAINING[id_dataset].items())
    out = judge([table[method] for method in methods], [part["value"] for part in parts], exact,
                [paper.FLOORS[metric]] * 2, least=paper.LEAST[metric])
    out.attrs.update(runs=list(both["run"].unique()), decimals=2 if metric == "accuracy" else 1)  # as printed
    six = [paper.where(frame, run=list(part["run"]), method=method, score=score, ood_dataset="average", metric=metric)["value"].mean()
           for part, (method, score) in zip(parts, methods.items())] if ood else [np.nan]
    if not np.isnan(six).any():
        out.attrs["beside"] = f"over the six sets {' → '.join(f'{value:.1f}' for value in six)}"
    return out


def confidence_table() -> pd.DataFrame:
    """Table 1 of Learned Confidence: id_dataset, architecture, method, score, ood_dataset, metric, paper (percent).

    Classification error is given as accuracy. OOD set "all" is the five image sets together, not their average.
    """
    frame = pd.read_csv(paths.PAPER_DATA / "confidence_table1.csv", keep_default_na=False)
    frame = frame.rename(columns={"loss": "method", "value": "paper"})
    error = frame["metric"] == "error"
    frame["paper"] = frame["paper"].where(~error, 100 - frame["paper"]).round(2)
    return frame.assign(metric=frame["metric"].where(~error, "accuracy"))


def _random_logits() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits 10,000 x 10 and a factor above 1 for each, 10,000 x 1."""
    generator = torch.Generator().manual_seed(0)
    return (10 * torch.randn(10_000, 10, dtype=torch.float64, generator=generator),
            torch.linspace(1.001, 50, 10_000, dtype=torch.float64)[:, None])


def argmax_kept(loaded: list, frame: pd.DataFrame) -> pd.DataFrame:
    """Proposition 3.1 on random logits and factors."""
    f, s = _random_logits()
    return _holds((s * f).argmax(1) == f.argmax(1))


def confidence_raised(loaded: list, frame: pd.DataFrame) -> pd.DataFrame:
    """Proposition 3.2 on random logits and factors."""
    f, s = _random_logits()
    # the last digit of a softmax near 1 is rounding, so equality is allowed to that digit
    return _holds((s * f).softmax(1).amax(1) >= f.softmax(1).amax(1) - 1e-15)


def bound_holds(loaded: list, frame: pd.DataFrame) -> pd.DataFrame:
    """Proposition 3.3: the loss of random logits, and of logits that aim at one class, against the bound."""
    f, _ = _random_logits()
    y = torch.arange(len(f)) % 10
    f = torch.cat([f, f + 1000 * (torch.eye(10)[y] - 0.1)])  # the second half aims at the best direction
    loss = {tau: torch.func.vmap(lambda f, y, tau=tau: losses.logitnorm(f[None], y[None], tau))(f, y.repeat(2))
            for tau in (0.1, 0.3, 1.0)}
    bound = losses.lower_bound(1.0, 10)
    holds = all(bool((values >= losses.lower_bound(tau, 10)).all()) for tau, values in loss.items())
    return _computed("0.7966 for K = 10, τ = 1", f"{bound:.4f}",
                     "reproduced" if holds and abs(bound - 0.7966) < 5e-5 else "not reproduced",
                     f"kept by the loss of {3 * len(f):,} logits, but not tight: the smallest at τ = 1 is "
                     f"{loss[1.0].min():.4f}, the exact infimum {losses.infimum(1.0, 10):.4f}")


def bound_explains_figure5(loaded: list, frame: pd.DataFrame) -> pd.DataFrame:
    """Whether the bound is anything but zero where Figure 5 rises."""
    curve = paper.figure(5)
    top = curve["tau"].max()
    bound, exact = losses.lower_bound(top, 10), losses.infimum(top, 10)
    word = "reproduced" if bound > 0.01 else "not reproduced"  # 0.01: the training loss that the released log ends at
    return _computed("stated", f"bound at τ = {top:g}: {bound:.1e}", word,
                     f"too small to matter in a training, and so is the exact infimum, {exact:.1e}")


def _holds(kept: torch.Tensor) -> pd.DataFrame:
    count = int(kept.sum())
    return _computed("proved", f"{count:,} of {len(kept):,}", "reproduced" if count == len(kept) else "not reproduced",
                     "random logits and factors; proved anew on the page")


def _computed(theirs: str, mine: str, word: str, difference: str) -> pd.DataFrame:
    return pd.DataFrame([dict(paper=theirs, ours=mine, sd=np.nan, n=0, exact=True, difference=difference,
                              tolerance=np.nan, verdict=word, computed=True)])


MEASURES = {function.__name__: function for function in (
    norm_growth, overlap, tau_curve, against_godin, learned_confidence, argmax_kept, confidence_raised, bound_holds,
    bound_explains_figure5)}


def _exact(found: list) -> bool:
    return bool(found) and all(run.config.size == "full" and run.config.id_dataset == "cifar10"
                               and run.config.architecture == "wrn40_2" for run in found)


def _with_runs(frame: pd.DataFrame, found: list) -> pd.DataFrame:
    frame.attrs["runs"] = [run.id for run in found]
    return frame


# ---- in words

def _numbers(shown: pd.DataFrame, column: str, short: bool = False) -> str:
    """'49.52 → 15.65', ours with ± and n; short: without, and from ten up with one decimal."""
    if "computed" in shown:
        return str(shown[column].iloc[0])
    decimals = shown.attrs.get("decimals", 2) if column == "paper" else 2
    told = column == "ours" and not short
    spread = {i: f" ± {sd:.2f}" for i, sd in enumerate(shown["sd"]) if told and not pd.isna(sd)}
    parts = [f"{paper.fixed(value, 1 if short and abs(value) >= 10 else decimals)}{spread.get(i, '')}" for i, value in enumerate(shown[column])]
    counts = sorted({int(n) for n in shown["n"].dropna() if n > 0})
    # an arrow leads from cross-entropy to the method, or from before to after; other numbers stand side by side
    join = " → " if "method" not in shown or shown["method"].iloc[0] == paper.BASELINE else ", "
    return join.join(parts) + (f" (n = {'–'.join(map(str, counts[:1] + counts[1:][-1:]))})" if told else "")


def _difference(shown: pd.DataFrame) -> str:
    if "computed" in shown:
        return str(shown["difference"].iloc[0])
    if shown["ours"].isna().any():
        return ""
    if shown["exact"].all():
        parts = [f"{row['difference']:+.2f} (tolerance {row['tolerance']:.2f})" for row in shown.to_dict("records")]
        return ", ".join(parts)
    changes = shown[shown["change"].notna()]
    parts = [f"change {row['change']:+.2f}, the paper's {row['paper_change']:+.2f}{ASIDES.get(row['verdict'], '')}{_by_a_hair(row, shown)}"
             for row in changes.to_dict("records")]
    return "; ".join(parts)


def _by_a_hair(row: dict, shown: pd.DataFrame) -> str:
    """Of a change in single seeds how near it is to the least change, where that is within half of it; "" elsewhere."""
    least = row["least"] if "least" in row else paper.floor(row["metric"], row["paper"], paper.LEAST)
    beyond = abs(row["change"]) - least
    if (shown["n"] > 1).any() or abs(beyond) > least / 2:
        return ""
    return f" (one seed, {abs(beyond):.2f} {'beyond' if beyond > 0 else 'short of'} the least change of {least:g})"


def _changes(shown: pd.DataFrame) -> list[tuple[float, float]]:
    """Where something changes: how much in the paper, how much here."""
    changes = shown.loc[shown["change"].notna(), ["paper_change", "change"]]
    return list(changes.itertuples(index=False, name=None))


def _tally(among: pd.DataFrame) -> str:
    """'61 of 84 numbers reproduced', for changes '30 of 42 changes agree'; empty for a single number."""
    agreeing, judged = _agreeing(among)
    if len(among) < 3 or not judged:
        return ""
    exact = among.loc[among["ours"].notna(), "exact"].eq(True)
    if exact.all():
        return f"{agreeing} of {judged} numbers reproduced"
    return f"{agreeing} of {judged} {'numbers and changes' if exact.any() else 'changes'} agree"


GROUPS = (("Held", ("good",)), ("Did not hold, or in part", ("fair", "bad")), ("No clear change here", ("unclear",)), ("Open", ("open",)))


def kinds(ledger: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The ledger's rows as (heading, rows): what held, what did not or in part, what the spread over seeds hides, what is open."""
    kind = ledger["verdict"].map(VERDICTS)
    return [(name, ledger[kind.isin(wanted)]) for name, wanted in GROUPS]


def summary(ledger: pd.DataFrame) -> str:
    """The finding in one sentence, as Markdown: how many claims held, how many did not, how many are undecided or open."""
    held, failed, unclear, still = (part for _, part in kinds(ledger))
    computed = int(((held["size"] == "") & held["verdict"].eq("reproduced")).sum())
    exact = int(held["verdict"].eq("reproduced").sum()) - computed
    how = [f"{exact} in their numbers"] * bool(exact) + [f"{computed} proved or computed"] * bool(computed)
    how += [f"{len(held) - exact - computed} in direction, on smaller networks, shorter trainings or other images"] * (len(held) > exact + computed)
    return (f"**Of {len(ledger)} claims, tables and figures {len(held)} held, {len(failed)} did not or only in part, {len(unclear)} show "
            f"no clear change here, and {len(still)} are open**" + (f". Of those that held: {', '.join(how)}." if how else "."))


def short(verdict: str) -> str:
    """A verdict for a narrow column: 'agrees' of 'stand-in: direction agrees'."""
    return verdict.removeprefix("stand-in: ").removeprefix("direction ")


def groups(run_ids: list[str]) -> dict[str, str]:
    """{'RUN-seed{1,2}': id of the first} for runs that differ in their seed only."""
    seeds = {}
    for run in run_ids:
        stem, seed = run.rsplit("-seed", 1)
        seeds.setdefault(stem, []).append(seed)
    return {f"{stem}-seed{{{','.join(numbers)}}}": f"{stem}-seed{numbers[0]}" for stem, numbers in seeds.items()}


def cost(loaded: dict[str, list]) -> str:
    """Markdown table of what the runs of each size took: device, minutes, images a second; from their run.json."""
    lines = ["| size | network, images, epochs | device | runs | minutes a run | images a second |",
             "|---|---|---|---|---|---|"]
    def kind(run) -> tuple[str, str]:
        c, elsewhere = run.config, run.info.get("scored", run.info)["device"]
        return (f"{paper.network(c.architecture)}, {paper.title(c.id_dataset)}, {c.epochs}",
                run.device + f", scored on {elsewhere}" * (elsewhere != run.info["device"]))

    for size, found in loaded.items():
        for (what, device), same in paper.grouped(found, kind):
            minutes = np.mean([run.info["wall_seconds"] / 60 for run in same])
            speed = np.mean([run.info["images_per_second"] for run in same])
            lines.append(f"| {size} | {what} | {device} | {len(same)} | {minutes:.1f} | {speed:,.0f} |")
        if not found:
            lines.append(f"| {size} | {paper.NOT_RUN} | | 0 | | |")
    return "\n".join(lines)
