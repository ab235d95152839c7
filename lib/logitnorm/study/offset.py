"""The hidden temperature: what the common offset of the logits does to LogitNorm.

Write the logits of K classes as f = m 1 + c, with m their mean and c orthogonal to 1. Softmax cannot see m. LogitNorm
divides by ||f||, which contains it: ||f||^2 = K m^2 + ||c||^2. What its softmax is trained with is therefore not 1/tau
but the effective inverse temperature s = ||c|| / (tau ||f||), anywhere in (0, 1/tau].

This is a finding of this book, not of either paper. What was predicted of it, and when, is in data/predictions.yaml.
"""

import math

import numpy as np
import pandas as pd
import safetensors.numpy
import torch
import yaml
from torch import Tensor

from logitnorm import losses, metrics, paths, scores
from logitnorm.config import OFFSET, TAU, Config

from . import label_noise, paper, results, scoring
from .paper import where
from .results import SMALL_NET

# Groups of OOD sets as OpenOOD has them for CIFAR, by the sets at hand.
NEAR = ("cifar10", "cifar100", "tinyimagenet_resize")
FAR = ("mnist", "svhn_part", "textures_part", "places_mini")

SMALL10 = {**SMALL_NET, "in_grid": True}
WRN40 = {"architecture": "wrn40_2", "id_dataset": "cifar10", "method": "logitnorm", "tau": 0.04, "seed": 1}  # the paper's own network
SECOND_NET = "wrn10_1"  # the net of the many seeds, with the settings of its size otherwise
RECORD = "no prediction but its record"  # what data/predictions.yaml says of an entry that was written after the fact
USUAL = Config(size="small")
RATE = 5.0  # the learning rate per tau of the sweep whose steps on f are alike: 0.2 at tau 0.04
NEAR_ACCURACY, NEAR_FPR95 = 0.6, 6.0  # points, by which the prediction one-offset allows them to differ
SEEDS = (1, 2, 3)  # of the runs with one offset or one temperature for all images
LENGTHS = (6, 12, 30)  # epochs of WRN-10-2 at tau 0.04, seed 1


# ---- theory


def slope_along_ones(f: Tensor, y: Tensor, tau: float) -> Tensor:
    """The derivative of each example's LogitNorm loss (eps = 0) when all its logits rise together: 1^T grad_f L, B.

    -(K m / (tau ||f||^3)) c^T (p - e_y) with p = softmax(f / (tau ||f||)). For cross-entropy it is 0. c^T (p - e_y) is
    ||c|| times the derivative of the cross-entropy in the inverse temperature s: where s is too large for the data the
    loss falls as |m| grows, and m = 0 is not stable.
    """
    c, norm = losses.centred(f), f.norm(dim=-1)
    residual = losses.grad_cross_entropy(f / (tau * norm[..., None]), y)
    return -f.shape[-1] * losses.offset(f) / (tau * norm**3) * (c * residual).sum(dim=-1)


def ratio(s, tau: float):
    """sqrt(K) |m| / ||c|| of logits of effective inverse temperature s: sqrt(1 / (tau s)^2 - 1), 0 at s = 1/tau."""
    return np.sqrt(np.maximum(1 / np.square(tau * np.asarray(s, dtype=float)) - 1, 0))


def fork(tau, s_star: float) -> np.ndarray:
    """The stationary |ratio| where the data would like s_star best: 0 for 1/tau <= s_star, else the two arms' height.

    The sign is free: (m, c) and (-m, c) have the same loss.
    """
    return np.array([float(ratio(min(s_star, 1 / t), t)) for t in np.atleast_1d(tau)])


# ---- finished runs


def described(run) -> dict[str, float]:
    """Means over the ID test images: norm, offset, centred_norm and, where the run has a tau, inverse_temperature."""
    ID = run.config.id_dataset
    if "logits" in run.info:
        found = run.info["logits"][ID]
    else:
        f = torch.from_numpy(run.tensor(f"{ID}/logits")).double()
        found = {name: value.item() for name, value in losses.geometry(f, run.config.normalised_at).items()}
    if run.config.method == "centred_logitnorm":  # its loss sees c alone
        return {**found, "inverse_temperature": 1 / run.config.tau}
    return found


def wanted_temperature(run) -> float:
    """The inverse temperature that minimises the negative log-likelihood of the test images (cross-fitted in halves),
    as the factor on f / (tau ||f||) times the effective inverse temperature."""
    s = described(run)["inverse_temperature"]
    found = run.metrics.query("metric == 'temperature_normalised'")["value"]
    if len(found):
        return s / found.item()
    ID = run.config.id_dataset
    f = scores.normalised(run.tensor(f"{ID}/logits"), run.config.tau)
    return s / metrics.geometric_mean(metrics.cross_fitted_temperature(f, run.tensor(f"{ID}/labels")))


def _settings(run) -> dict:
    """The columns that `temperatures` and `repairs` share; tau is NaN for the methods that have none."""
    c = run.config
    return {"run": run.id, "method": c.method, "size": c.size, "in_grid": run.in_grid, "id_dataset": c.id_dataset,
            "architecture": c.architecture, "net": paper.trained(c), "seed": c.seed, "epochs": c.epochs, "lr": c.lr, "cutout": c.cutout,
            "tau": c.tau if c.method in TAU else np.nan}


def temperatures(loaded: list) -> pd.DataFrame:
    """One line for each run that has a tau: nominal and effective 1/tau, what the data wanted, the offset, the fork, and
    tau ||f||, the divisor of LogitNorm's gradient."""
    rows = []
    for run in (run for run in loaded if run.config.method in TAU):
        c, g = run.config, described(run)
        last = run.history.iloc[-1]
        rows.append({**_settings(run), "nominal": 1 / c.tau, "effective": g["inverse_temperature"],
                     "wanted": wanted_temperature(run), "offset": g["offset"], "divisor": c.tau * g["norm"],
                     "signed_ratio": math.sqrt(c.num_classes) * g["offset"] / g["centred_norm"],
                     "train_accuracy": last["train_accuracy"], "test_accuracy": run.info["test_accuracy"]})
    return pd.DataFrame(rows)


def by_setting(frame: pd.DataFrame) -> pd.DataFrame:
    """`temperatures` as a table to read: a line for each loss, network, length, rate and tau; mean ± sd over seeds."""
    keys = ["method", "id_dataset", "architecture", "epochs", "lr", "tau"]
    lines = []
    for (method, ID, net, epochs, lr, tau), part in frame.groupby(keys):
        usual = (part["in_grid"] & (part["size"] == "small")).all() or net == SECOND_NET
        lines.append({
            "loss": paper.LABELS[method], "ID": paper.title(ID),
            "net": paper.network(net) + ("" if usual else f", rate {lr:g}" if epochs == USUAL.epochs else f", {epochs} epochs"),
            "τ": f"{tau:g}", "n": str(len(part)), "s": paper.spread(part["effective"], 1),
            "s wanted": paper.spread(part["wanted"], 1), "√K |m| / ‖c‖": paper.spread(part["signed_ratio"].abs()),
            "m above 0 in": f"{(part['offset'] > 0).sum()} of {len(part)}",
            "train (%)": paper.spread(part["train_accuracy"], 1), "test (%)": paper.spread(part["test_accuracy"], 1)})
    return pd.DataFrame(lines)


def groups(run) -> dict[str, list[str]]:
    """The OOD sets of a run: the six that play the paper's, and OpenOOD's near and far ones among those scored."""
    return {"six": list(run.config.ood_sets), "near": [name for name in NEAR if name in run.sets[1:]],
            "far": [name for name in FAR if name in run.sets[1:]]}


def separated(run, score: str, ood_set: str) -> tuple[float, float]:
    """FPR95 and AUROC (percent) of a score on one OOD set: as metrics.csv has them, which the build measures again, or,
    in a run that was written before it had this score, measured here."""
    found = run.measured
    if (score, ood_set, "fpr95") not in found:
        inside, outside = run.score(score, run.config.id_dataset), run.score(score, ood_set)
        found[score, ood_set, "fpr95"], found[score, ood_set, "auroc"] = metrics.fpr95(inside, outside), metrics.auroc(inside, outside)
    return found[score, ood_set, "fpr95"], found[score, ood_set, "auroc"]


def repairs(loaded: list) -> pd.DataFrame:
    """Mean FPR95 and AUROC (percent) over each group of OOD sets, for each run and score.

    Energy at the paper's temperature, at T = 1, and at T = 1 without the offset; MSP; and for runs with a tau the MSP
    of the normalised softmax. A cross-entropy run has one Energy at T = 1.
    """
    rows = []
    for run in loaded:
        of_run = {**_settings(run), "offset": described(run)["offset"]}
        for score in ("msp", "energy", *(name for name in scoring.OFFSET_SCORES if name in scoring.of_run(run.config))):
            found = {name: separated(run, score, name) for name in run.sets[1:]}
            for group, names in groups(run).items():
                if names:
                    fpr95, auroc = np.mean([found[name] for name in names], axis=0)
                    rows.append({**of_run, "score": score, "group": group, "fpr95": fpr95, "auroc": auroc})
    return pd.DataFrame(rows)


def set_temperatures(loaded: list) -> pd.Series:
    """The mean inverse temperature that CIFAR-10 runs of LogitNorm train with, by tau."""
    runs = [run for run in results.small_net(loaded) if run.config.method == "logitnorm"]
    return temperatures(runs).groupby("tau")["effective"].mean() if runs else pd.Series(dtype=float)


def fitted_s(frame: pd.DataFrame) -> float:
    """The one s* of the theory's line: the mean effective inverse temperature of the small CIFAR-10 runs at the papers' tau and below."""
    rows = where(frame, **SMALL10, method="logitnorm")
    return rows.loc[rows["tau"] <= paper.TAU["cifar10"], "effective"].mean()


def finding(frame: pd.DataFrame, repaired: pd.DataFrame) -> str:
    """The page's one sentence with its numbers, from the small CIFAR-10 runs of the paper's loss."""
    return f"{temperature_said(frame)} {repair_said(repaired)}".strip()


def temperature_said(frame: pd.DataFrame, plain: bool = False) -> str:
    """The inverse temperatures that were asked for, and those that came, in one sentence; plain: after that of another network."""
    rows = where(frame, **SMALL10, method="logitnorm")
    if not len(rows):
        return f"The runs that would show it: {paper.NOT_RUN}."
    ends = rows.groupby("tau")["effective"].mean()
    asked, trained = f"{1 / ends.index.max():.0f} to {1 / ends.index.min():.0f}", f"{ends.min():.1f} to {ends.max():.1f}"
    means = f"(means of {len(ends)} τ, {len(rows)} runs)"
    if plain:
        return f"Small networks that are asked for {asked} train at {trained} {means}."
    return f"**Asked for an inverse temperature of {asked}, the network trains at {trained}** {means}."


def repair_said(repaired: pd.DataFrame) -> str:
    """What taking the offset off does to Energy at T = 1 on either side of 0, in one sentence."""
    rows = where(repaired, **SMALL10, group="six", cutout=0)
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
    return f"Taking the mean logit off moves the mean FPR95 of Energy at T = 1 {' and '.join(parts)}{beside}."


def own_repair_said(repaired: pd.DataFrame) -> str:
    """What taking the offset off does to Energy at T = 1 of the paper's own training, in one sentence; "" without its runs."""
    if repaired.empty:
        return ""
    rows = where(repaired, size="full", architecture="wrn40_2", id_dataset="cifar10", group="six", cutout=0, in_grid=True)
    ln, ce = (where(rows, method=method).groupby("score")["fpr95"].mean() for method in ("logitnorm", "cross_entropy"))
    if "energy_t1" not in ln or "energy" not in ce:
        return ""
    return (f"**Taking the mean logit off brings Energy at T = 1 of the paper's own network from an FPR95 of {ln['energy_t1']:.1f} to {ln['energy_centred']:.1f} %** "
            f"(MSP {ln['msp']:.1f} %; Energy at T = 0.1 {ln['energy']:.1f} %, and under cross-entropy {ce['energy']:.1f} %; means over the six sets).")


def turned(run) -> float:
    """Mean FPR95 (%) over the six OOD sets of Energy at T = 1 with the sign of each image's offset turned round.

    Energy at T = 1 is m + log sum exp(c), so that of the mirror image -m 1 + c is twice the second part less the whole.
    """
    of = {name: 2 * run.score("energy_centred", name) - run.score("energy_t1", name) for name in (run.config.id_dataset, *run.config.ood_sets)}
    return float(np.mean([metrics.fpr95(of[run.config.id_dataset], of[name]) for name in run.config.ood_sets]))


def own_turned_said(loaded: list) -> str:
    """What the other sign of the offset would do to Energy in the paper's own training, in one sentence; "" without its run."""
    runs = [run for run in loaded if run.config.size == "full" and run.in_grid and all(getattr(run.config, name) == value for name, value in WRN40.items())]
    return f"With the sign of its offset turned round, which no loss would notice, it has {turned(runs[0]):.1f} %." if runs else ""


def sides(loaded: list) -> pd.DataFrame:
    """Mean FPR95 (%) over the six OOD sets of Energy with and without the offset, of LogitNorm on CIFAR-10, by the side of the offset.

    A line for each network, tau and side: n, msp, and Energy of f and of f - m at the paper's T (paper, paper_centred) and at T = 1 (one,
    one_centred), means over the seeds. Per image Energy of f - m is that of f less m, at any T, and m is the difference of the two at T = 1.
    """
    rows = []
    for run in loaded:
        c = run.config
        if c.method == "logitnorm" and c.id_dataset == "cifar10" and not c.cutout and (run.in_grid or c.architecture == SECOND_NET):
            of = {name: {score: run.score(score, name) for score in ("msp", "energy", "energy_t1", "energy_centred")}
                  for name in (c.id_dataset, *c.ood_sets)}
            for values in of.values():
                values["paper_centred"] = values["energy"] - (values["energy_t1"] - values["energy_centred"])
            found = {score: np.mean([metrics.fpr95(of[c.id_dataset][score], of[name][score]) for name in c.ood_sets])
                     for score in ("msp", "energy", "paper_centred", "energy_t1", "energy_centred")}
            rows.append({"net": paper.trained(c), "tau": c.tau, "side": "below 0" if described(run)["offset"] < 0 else "above 0", **found})
    keys = ["net", "tau", "side"]
    frame = pd.DataFrame(rows, columns=[*keys, "msp", "energy", "paper_centred", "energy_t1", "energy_centred"])
    return frame.groupby(keys).agg(n=("msp", "size"), msp=("msp", "mean"), paper=("energy", "mean"), paper_centred=("paper_centred", "mean"),
                                   one=("energy_t1", "mean"), one_centred=("energy_centred", "mean")).reset_index()


def sides_said(found: pd.DataFrame) -> str:
    """Markdown: in how many lines of `sides` the offset is better taken off, at the paper's T and at T = 1; "" without one."""
    if not len(found):
        return ""
    better = {name: int((found[f"{name}_centred"] < found[name] - paper.LEAST["fpr95"]).sum()) for name in ("one", "paper")}
    worse = {name: int((found[f"{name}_centred"] > found[name] + paper.LEAST["fpr95"]).sum()) for name in ("one", "paper")}
    beside = found["paper_centred"] - found["msp"]
    return (f"Of {len(found)} networks, τ and sides, Energy gets better by more than {paper.LEAST['fpr95']:g} points without the offset in {better['one']} at "
            f"T = 1 and worse in {worse['one']}; at the paper's T = 0.1 better in {better['paper']} and worse in {worse['paper']}. There it ends within "
            f"{beside.abs().max():.1f} points of MSP: without its offset Energy is about as good a score as that.")


def sides_table(found: pd.DataFrame) -> pd.DataFrame:
    """`sides` as a table to read."""
    names = {"paper": ("T = 0.1, the paper's", "f"), "paper_centred": ("T = 0.1, the paper's", "f − m"), "one": ("T = 1", "f"),
             "one_centred": ("T = 1", "f − m"), "msp": ("", "MSP")}
    return paper.grouped_columns([{("", "network"): f"{row.net}, τ = {row.tau:g}", ("", "m"): f"{row.side} ({row.n})",
                                   **{place: f"{getattr(row, name):.1f}" for name, place in names.items()}} for row in found.itertuples()])


SCORE_NAMES = {"msp": "MSP", "energy": "Energy, paper's T", "energy_t1": "Energy, T = 1",
               "energy_centred": "Energy of f − m, T = 1", "msp_normalised": "MSP of f / (τ‖f‖)"}


def _at_papers_tau(repaired: pd.DataFrame) -> pd.DataFrame:
    """Of `repairs` cross-entropy and LogitNorm, every network with its size's settings, without Cutout, at the papers' tau."""
    rows = where(repaired, cutout=0, method=("cross_entropy", "logitnorm"))
    rows = rows[rows["in_grid"] | (rows["architecture"] == SECOND_NET)]
    return rows[rows["tau"].isna() | (rows["tau"] == rows["id_dataset"].map(paper.TAU))]


def repair_pairs(repaired: pd.DataFrame) -> pd.DataFrame:
    """Mean FPR95 over the far sets of MSP, Energy at T = 1 and Energy of f - m, a line for each network: a table to read."""
    lines = []
    for (ID, net), part in where(_at_papers_tau(repaired), group="six").groupby(["id_dataset", "net"]):
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
    for (ID, net, method), part in _at_papers_tau(repaired).groupby(["id_dataset", "net", "method"]):
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
    Energy against ours, by the rule of paper.direction with the spread of the seeds. At T = 1 cross-entropy has its Energy.
    """
    rows = where(repaired, group="six", cutout=0, in_grid=True)
    rows = rows[rows["tau"].isna() | (rows["tau"] == rows["id_dataset"].map(paper.TAU))]
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
            found.append({"id_dataset": ID, "net": net, "score": score, "n": min(len(start), len(end)),
                          "start": paper.spread(start, 1), "end": paper.spread(end, 1),
                          "verdict": paper.direction(change, end.mean() - start.mean(), noise, paper.LEAST["fpr95"])})
    return pd.DataFrame(found, columns=["id_dataset", "net", "score", "n", "start", "end", "verdict"])


def energies_table(found: pd.DataFrame) -> pd.DataFrame:
    """`energies` as a table to read."""
    table = pd.DataFrame({("", "ID set, network"): [f"{paper.title(ID)}, {net}" for ID, net in zip(found["id_dataset"], found["net"])],
                          ("", "score"): found["score"].map(ENERGIES), ("", "n"): found["n"].astype(str),
                          ("mean FPR95 (%)", "cross-entropy"): found["start"], ("mean FPR95 (%)", "LogitNorm"): found["end"],
                          ("beside the paper's change", "verdict"): found["verdict"]})
    return table


def on_softmax(run, normalised: bool) -> dict[str, float]:
    """ECE before and after temperature scaling (percent) and NLL (nats) of the raw or the normalised softmax."""
    which = "_normalised" * normalised
    stored = run.metrics[run.metrics["score"] == ""].set_index("metric")["value"]
    if f"nll{which}" in stored:
        return {"ece": stored[f"ece{which}"], "ece_ts": stored[f"ece{which}_ts"], "nll": stored[f"nll{which}"]}
    ID = run.config.id_dataset
    f, labels = run.tensor(f"{ID}/logits"), run.tensor(f"{ID}/labels")
    f = scores.normalised(f, run.config.tau) if normalised else f
    found = metrics.calibration(f, labels)
    return {"ece": found["ece"], "ece_ts": found["ece_ts"], "nll": metrics.nll(f, labels)}


def _by_setting(loaded: list):
    """Groups of runs that differ in the seed alone: (settings, runs), the papers' losses before this book's.

    Runs of a length or a learning rate of their own are left out.
    """

    def key(run):
        c = run.config
        return c.id_dataset, c.size, c.architecture, c.cutout, list(paper.LABELS).index(c.method), c.tau

    grouped: dict = {}
    of_size = [run for run in loaded if run.in_grid or run.config.architecture == SECOND_NET]
    for run in sorted(of_size, key=key):
        grouped.setdefault(key(run), []).append(run)
    return [(group[0].config, group) for group in grouped.values()]


def interventions(loaded: list) -> pd.DataFrame:
    """LogitNorm and centred LogitNorm on CIFAR-10, small WRN-10-2: method, tau, seed, accuracy and mean FPR95 by MSP (percent)."""
    rows = [{"method": c.method, "tau": c.tau, "seed": c.seed, "accuracy": run.info["test_accuracy"],
             "msp": np.mean([separated(run, "msp", name)[0] for name in c.ood_sets])}
            for run in results.small_net(loaded) for c in (run.config,) if c.method in TAU]
    return pd.DataFrame(rows, columns=["method", "tau", "seed", "accuracy", "msp"])


def intervention_said(found: pd.DataFrame) -> str:
    """Markdown: what tau does to the accuracy with and without the offset; "" where one of them was not run."""
    means = found.groupby(["method", "tau"])["accuracy"].mean().unstack(0)
    if not {"logitnorm", "centred_logitnorm"} <= set(means):
        return ""
    both = means.dropna()
    spans = {method: (both[method].min(), both[method].max()) for method in both}
    (low, high), (least, most) = spans["logitnorm"], spans["centred_logitnorm"]
    real = most - least > 2 * (high - low)
    return (f"**Without the offset τ {'is real' if real else 'matters little more'}**: from τ = {both.index.min():g} to {both.index.max():g} the test accuracy of LogitNorm "
            f"lies between {low:.1f} and {high:.1f} %, that of the loss without an offset between {least:.1f} and {most:.1f} %.")


def alternatives(loaded: list) -> pd.DataFrame:
    """LogitNorm, and it with one offset or one temperature for all images, in the net of the many seeds, seeds 1 to 3.

    Columns method, seed, accuracy (%), s (mean over the ID test images), nll (nats, of the softmax that is trained), msp (mean FPR95, %).
    """
    rows = [{"method": c.method, "seed": c.seed, "accuracy": run.info["test_accuracy"], "s": described(run)["inverse_temperature"],
             "nll": on_softmax(run, True)["nll"], "msp": np.mean([separated(run, "msp", name)[0] for name in c.ood_sets])}
            for run in paper.by_method(loaded) for c in (run.config,) if c.method in OFFSET and c.size == "small" and c.architecture == SECOND_NET
            and c.tau == 0.04 and c.seed in SEEDS]
    return pd.DataFrame(rows, columns=["method", "seed", "accuracy", "s", "nll", "msp"])


def _beside(found: pd.DataFrame, method: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of a method and LogitNorm's of the same seeds, both by seed."""
    rows, plain = (where(found, method=name).set_index("seed").drop(columns="method") for name in (method, "logitnorm"))
    both = rows.index.intersection(plain.index)
    return rows.loc[both], plain.loc[both]


def alternatives_said(found: pd.DataFrame) -> str:
    """Markdown: whether one offset, and one temperature, for all images do what LogitNorm's own does, as near as the predictions ask."""
    said, alike = [], {}
    for method, words in (("one_offset", "one learned offset for all images"), ("one_temperature", "one learned temperature for all images")):
        rows, plain = _beside(found, method)
        if not len(rows):
            return f"The runs of the two: {paper.NOT_RUN}."
        change = (rows - plain).mean()
        alike[method] = abs(change["accuracy"]) <= NEAR_ACCURACY and change["msp"] <= NEAR_FPR95
        said.append(f"with {words} the test accuracy changes by {change['accuracy']:+.1f} points and the FPR95 of MSP by {change['msp']:+.1f} (s = "
                    f"{rows['s'].mean():.1f} beside {plain['s'].mean():.1f}, n = {len(rows)})")
    meaning = {(True, True): "Either comes near: what counts most is a temperature that may move while the network learns, not the length of c in the loss.",
               (True, False): "So the offset counts for what it makes of each image, not for its temperature alone.",
               (False, True): "So a temperature that may move is what counts, and the length of c in the loss does harm.",
               (False, False): "So neither is what LogitNorm's own offset does."}
    missing = min(where(found, method=name)["seed"].nunique() for name in alike) < len(SEEDS)
    return (f"**{meaning[alike['one_offset'], alike['one_temperature']]}**{' That is so far: three seeds were planned.' * missing} "
            f"{said[0][0].upper()}{said[0][1:]}; {said[1]}.")


def alternatives_table(found: pd.DataFrame) -> pd.DataFrame:
    """`alternatives` as a table to read."""
    return pd.DataFrame([{"loss": paper.LABELS[method], "n": str(len(part)), "accuracy (%)": paper.spread(part["accuracy"]),
                          "s": paper.spread(part["s"], 1), "NLL (nats)": paper.spread(part["nll"], 3), "FPR95 by MSP (%)": paper.spread(part["msp"], 1)}
                         for method, part in found.groupby("method", sort=False)])


def intervention_table(loaded: list) -> pd.DataFrame:
    """LogitNorm and centred LogitNorm at each tau: accuracy, effective 1/tau, NLL and ECE, FPR95 of MSP and Energy."""
    found = []
    small = [run for run in loaded if run.config.method in TAU and run.config.size == "small" and run.in_grid]
    for c, group in _by_setting([run for run in small if run.config.architecture.startswith("wrn")]):
        repaired = repairs(group)
        raw = "energy_t1" if "energy_t1" in scoring.of_run(c) else "energy"
        six = where(repaired, group="six").set_index("score")["fpr95"]
        soft = pd.DataFrame([on_softmax(run, True) for run in group])
        found.append({"loss": paper.LABELS[c.method], "ID": paper.title(c.id_dataset), "τ": f"{c.tau:g}", "n": str(len(group)),
                      "accuracy": paper.spread(pd.Series([run.info["test_accuracy"] for run in group])),
                      "s": paper.spread(pd.Series([described(run)["inverse_temperature"] for run in group]), 1),
                      "NLL": paper.spread(soft["nll"], 3), "ECE": paper.spread(soft["ece"], 1),
                      "MSP": paper.spread(six[["msp"]], 1), "Energy, T = 1": paper.spread(six[[raw]], 1),
                      "of f − m": paper.spread(six[["energy_centred"]], 1)})
    return pd.DataFrame(found)


def calibration_table(loaded: list, every: bool = True) -> pd.DataFrame:
    """ECE of the raw and, where there is a tau, of the normalised softmax, before and after temperature scaling.

    every: with this book's own loss and every tau; else cross-entropy and LogitNorm at the papers' tau.
    """
    found = []
    for c, group in _by_setting(
        [run for run in loaded if run.config.method in ("cross_entropy", *TAU) and not run.config.cutout
         and (every or run.config.method == "cross_entropy"
              or (run.config.method == "logitnorm" and run.config.tau == paper.TAU[run.config.id_dataset]))]
    ):
        for normalised in (False, True) if c.method in TAU else (False,):
            soft = pd.DataFrame([on_softmax(run, normalised) for run in group])
            found.append({"loss": paper.LABELS[c.method] + (f", τ {c.tau:g}" if c.method in TAU else ""),
                          "softmax of": "f / (τ‖f‖)" if normalised else "f", "ID": paper.title(c.id_dataset),
                          "net": paper.trained(c), "n": str(len(group)),
                          "ECE": paper.spread(soft["ece"], 1), "ECE after TS": paper.spread(soft["ece_ts"], 1)})
    return pd.DataFrame(found)


def calibration_pairs(runs: list) -> pd.DataFrame:
    """ECE as it is and after temperature scaling, the paper's (of the raw softmax) beside ours: a table to read."""
    theirs = paper.numbers("4").set_index(["id_dataset", "method", "metric"])["paper"]
    lines = []
    for (ID, method), group in paper.grouped(runs, lambda run: (run.config.id_dataset, run.config.method)):
        for normalised in (False, True) if method in TAU else (False,):
            soft = pd.DataFrame([on_softmax(run, normalised) for run in group])
            line = {("", "ID set, loss"): f"{paper.title(ID)}, {paper.LABELS[method]}",
                    ("", "softmax of"): "f / (τ‖f‖)" if normalised else "f"}
            for metric, name in (("ece", "ECE ↓"), ("ece_ts", "ECE, temperature scaled ↓")):
                line[name, "paper"] = "–" if normalised else f"{theirs[paper.counterpart(ID), method, metric]:.2f}"
                line[name, "this book"] = paper.spread(soft[metric])
            lines.append(line)
    return paper.grouped_columns(lines)


def along(features: np.ndarray, direction: np.ndarray) -> float:
    """Percent of the variance of features N x D along a direction D."""
    phi, w = np.asarray(features, dtype=np.float64), np.asarray(direction, dtype=np.float64)
    return 100 * float((phi @ (w / np.linalg.norm(w))).var() / phi.var(axis=0).sum())


def direction_table(loaded: list) -> pd.DataFrame:
    """Variance of the ID features along the offset's direction, the last layer's mean row, and along the mean feature, of the runs
    that kept both."""
    found = []
    for run in loaded:
        c = run.config
        if c.method in ("cross_entropy", *TAU) and c.keep_model and c.keep_features:
            weight = safetensors.numpy.load_file(run.file("model.safetensors"))["fc.weight"]
            phi = run.tensor(f"{c.id_dataset}/features")
            found.append({"network": f"{paper.title(c.id_dataset)}, {paper.trained(c)}, {paper.method_title(c)}, seed {c.seed}",
                          "along the offset": along(phi, weight.mean(axis=0)), "along the mean feature": along(phi, phi.mean(axis=0, dtype=np.float64)),
                          "by chance": 100 / weight.shape[1]})
    return pd.DataFrame(found or [{"network": paper.NOT_RUN}])


# ---- the predictions and what became of them


def predictions() -> list[dict]:
    """data/predictions.yaml: id, when it was written, what was known then, what it says."""
    return yaml.safe_load((paths.ROOT / "data" / "predictions.yaml").read_text(encoding="utf-8"))


def judged(loaded: list, frame: pd.DataFrame, repaired: pd.DataFrame) -> pd.DataFrame:
    """The predictions in the order in which they were made, with what the finished runs say of each.

    frame, repaired: `temperatures` and `repairs` of the runs.
    """
    plain = [run for run in loaded if run.config.size == "small" and run.config.architecture == "wrn10_2"
             and run.in_grid]
    rows = []
    for entry in predictions():
        held, said = JUDGES[entry["id"]](plain, frame, repaired, loaded)
        became = {True: "held", False: "did not hold", None: paper.NOT_RUN}[held]
        rows.append({"written": entry["written"], "prediction": entry["says"], "known then": entry["known then"], "numbers": said,
                     "became": RECORD if RECORD in entry["known then"] else became})
    return pd.DataFrame(rows)


def judged_said(found: pd.DataFrame) -> str:
    """Markdown: how many of the predictions held."""
    count = found["became"].value_counts()
    return (f"**{count.get('held', 0)} held, {count.get('did not hold', 0)} did not**; {count.get(paper.NOT_RUN, 0)} wait for runs, and {count.get(RECORD, 0)} is the record "
            "of what was already seen.")


def _metric(loaded: list, name: str, **values) -> pd.Series:
    """A metric of the ID set of the runs with these settings, by seed."""
    return pd.Series({run.config.seed: run.metrics.set_index("metric")["value"].get(name) for run in loaded
                      if all(getattr(run.config, key) == value for key, value in values.items())}, dtype=float).dropna()


def _trains_worse(plain, frame, repaired, loaded):
    accuracy = [_metric(plain, "accuracy", id_dataset="cifar10", method=method, tau=0.01)
                for method in ("logitnorm", "centred_logitnorm")]
    if min(map(len, accuracy)) < 3:
        return None, _so_far(accuracy[1])
    return bool(accuracy[1].mean() < accuracy[0].mean()), "; ".join(
        f"{name}: {paper.spread(values)} %" for name, values in zip(("with the offset", "without"), accuracy)
    )


def _best_tau(plain, frame, repaired, loaded):
    nll = {tau: _metric(plain, "nll_normalised", id_dataset="cifar10", method="centred_logitnorm", tau=tau)
           for tau in (0.01, 0.04, 0.07, 0.1)}
    said = "; ".join(f"tau {tau:g}: {paper.spread(values, 3)} nats" for tau, values in nll.items() if len(values))
    if min(map(len, nll.values())) < 3:
        return None, said
    return min(nll, key=lambda tau: nll[tau].mean()) == 0.07, said


def _energy(plain, frame, repaired, loaded):
    here = where(repaired, **SMALL10, method="centred_logitnorm", tau=0.04, group="six")
    raw, centred = (where(here, score=score).set_index("seed")["fpr95"] for score in ("energy", "energy_centred"))
    said = "; ".join(f"seed {seed}: {raw[seed]:.1f} %, centred {centred[seed]:.1f} %" for seed in raw.index)
    held = bool((raw < 60).all() and ((raw - centred).abs() < 1).all())
    return (None if held and len(raw) < 3 else held), said


def _plateau(plain, frame, repaired, loaded):
    rows = where(frame, **SMALL10, method="logitnorm", tau=[0.02, 0.03, 0.04, 0.05, 0.06])
    new = rows[rows["tau"] != 0.04]
    if not len(new):
        return None, ""
    accuracy = rows.groupby("tau")["test_accuracy"].mean()
    said = (f"s* {new['effective'].min():.1f} to {new['effective'].max():.1f}; test accuracy of a tau "
            f"{accuracy.min():.2f} to {accuracy.max():.2f} % (n = {len(new)})")
    if not new["effective"].between(13, 14.5).all():  # one seed is enough to refute
        return False, said
    if new.groupby("tau")["seed"].nunique().reindex([0.02, 0.03, 0.05, 0.06], fill_value=0).min() < 3:
        return None, said
    return bool(accuracy.max() - accuracy.min() <= 1), said


def _threshold(plain, frame, repaired, loaded):
    rows = where(frame, **SMALL10, method="logitnorm", tau=0.08)
    said = "; ".join(f"seed {row.seed}: offset {row.offset:+.2f}, s* {row.effective:.1f}" for row in rows.itertuples())
    held = bool((rows["offset"].abs() < 0.2).all() and (rows["effective"] >= 0.95 * 12.5).all())
    return (None if held and len(rows) < 3 else held), said  # one seed is enough to refute


def _sign(plain, frame, repaired, loaded):
    rows = where(frame, **SMALL10, method="logitnorm", tau=[0.02, 0.03, 0.05]).sort_values(["tau", "seed"])
    said = "; ".join(f"tau {row.tau:g}, seed {row.seed}: {row.offset:+.2f}" for row in rows.itertuples())
    held = bool(((rows["offset"] < 0) == (rows["seed"] == 1)).all())
    return (None if held and len(rows) < 9 else held), said


def _cifar100(plain, frame, repaired, loaded):
    nll = {tau: _metric(plain, "nll_normalised", id_dataset="cifar100", method="centred_logitnorm", tau=tau, seed=1)
           for tau in (0.0085, 0.0263)}
    said = "; ".join(f"tau {tau:g}: {values.iloc[0]:.3f} nats" for tau, values in nll.items() if len(values))
    if min(map(len, nll.values())) < 1:
        return None, said
    return bool(nll[0.0263].iloc[0] < nll[0.0085].iloc[0]), said


def _larger(plain, frame, repaired, loaded):
    rows = where(frame, id_dataset="cifar10", method="logitnorm", tau=0.04, in_grid=True, size=["small", "medium"])
    small, large = (rows[rows["architecture"] == name]["effective"] for name in ("wrn10_2", "wrn40_2"))
    if not len(large) or not len(small):
        return None, ""
    return bool(large.min() > small.max()), f"WRN-40-2: {paper.spread(large, 1)}; WRN-10-2: {paper.spread(small, 1)}"


def _larger_energy(plain, frame, repaired, loaded):
    return _repaired_at(repaired, "medium")


def _repaired_at(repaired: pd.DataFrame, size: str) -> tuple[bool | None, str]:
    """Whether the repair takes 5 points from Energy's mean FPR95 for LogitNorm, and not 1 for cross-entropy: WRN-40-2, seed 1."""
    here = where(repaired, architecture="wrn40_2", size=size, id_dataset="cifar10", group="six", cutout=0, seed=1, in_grid=True)
    here = here[here["tau"].isna() | np.isclose(here["tau"], paper.TAU["cifar10"])]
    found = {}
    for method, raw in (("logitnorm", "energy_t1"), ("cross_entropy", "energy")):
        fpr95 = where(here, method=method).set_index("score")["fpr95"]
        if raw not in fpr95:
            return None, ""
        found[method] = (fpr95[raw], fpr95["energy_centred"])
    said = "; ".join(f"{paper.LABELS[method]}: {raw:.1f} to {centred:.1f} %"
                     for method, (raw, centred) in found.items())
    (a, b), (x, y) = found["logitnorm"], found["cross_entropy"]
    return bool(a - b > 5 and abs(x - y) < 1), said


def scaled(frame: pd.DataFrame) -> pd.DataFrame:
    """Of `temperatures` or `repairs` the LogitNorm runs whose learning rate goes with tau, seed 1, one line a tau."""
    rows = where(frame, **SMALL_NET, method="logitnorm", seed=1, epochs=USUAL.epochs)
    return rows[np.isclose(rows["lr"], RATE * rows["tau"])].sort_values("tau")


def step_said(frame: pd.DataFrame, repaired: pd.DataFrame) -> str:
    """Markdown: tau ||f|| at one learning rate for all tau, and what a rate in proportion to tau does; "" without runs."""
    rows = where(frame, **SMALL10, method="logitnorm")
    means = rows.groupby("tau")["divisor"].mean()
    if len(means) < 2:
        return ""
    asked = means.index.max() / means.index.min()
    said = (f"**{'Nor does τ set the step' if means.max() / means.min() < 1 + (asked - 1) / 10 else 'τ sets the step too'}**: at one "
            f"learning rate τ‖f‖ is {means.min():.3f} to {means.max():.3f} (means over seeds) while τ goes from "
            f"{means.index.min():g} to {means.index.max():g}.")
    slow = scaled(frame).set_index("tau")
    slow = slow[slow["lr"] < USUAL.lr]
    plain = where(rows, seed=1).set_index("tau").reindex(slow.index)
    if slow.empty or plain["effective"].isna().any():
        return said
    msp = where(repaired, score="msp", group="six")
    slow = slow.assign(msp=scaled(msp).set_index("tau")["fpr95"])
    plain = plain.assign(msp=where(msp, **SMALL10, method="logitnorm", seed=1).set_index("tau")["fpr95"])

    def both(column: str) -> str:
        return " instead of ".join(", ".join(f"{value:.1f}" for value in part[column]) for part in (slow, plain))

    return (f"{said} With a rate in proportion to τ, so a smaller one for τ = {', '.join(f'{tau:g}' for tau in slow.index)}, the network "
            f"trains at {both('effective')}, with a training accuracy of {both('train_accuracy')} % and an FPR95 by MSP of "
            f"{both('msp')} % (seed 1).")


def _scaled_step(plain, frame, repaired, loaded):
    fpr95 = where(scaled(repaired), score="msp", group="six").set_index("tau")["fpr95"]
    said = "; ".join(f"tau {tau:g}: {value:.1f} %" for tau, value in fpr95.items())
    others = where(repaired, **SMALL10, method="logitnorm", tau=0.04, seed=[2, 3], score="msp", group="six")["fpr95"]
    if len(fpr95) and len(others):
        said += f" (seeds 2 and 3 of tau 0.04: {', '.join(f'{value:.1f}' for value in others)} %)"
    beaten = 0.04 in fpr95 and bool((fpr95 < fpr95[0.04]).any())  # one tau is enough for it to hold
    return (True if beaten else False if len(fpr95) == 8 else None), said


def _scaled_temperature(plain, frame, repaired, loaded):
    s = scaled(frame).set_index("tau")["effective"].reindex([0.01, 0.02, 0.03, 0.05]).dropna()
    said = "; ".join(f"tau {tau:g}: {value:.1f}" for tau, value in s.items())
    held = bool(s.between(12, 15).all())
    return (None if held and len(s) < 4 else held), said


def lengths(frame: pd.DataFrame) -> pd.DataFrame:
    """Of `temperatures` the runs of LENGTHS epochs at tau 0.04, seed 1, by epochs."""
    rows = where(frame, **SMALL_NET, method="logitnorm", tau=0.04, seed=1)
    return rows[np.isclose(rows["lr"], 0.2)].sort_values("epochs")


def _longer(plain, frame, repaired, loaded):
    rows = lengths(frame)
    said = "; ".join(f"{row.epochs} epochs: s* {row.effective:.1f}, offset ratio {abs(row.signed_ratio):.2f}, training "
                     f"accuracy {row.train_accuracy:.1f} %" for row in rows.itertuples())
    held = bool(rows["effective"].is_monotonic_increasing and rows["signed_ratio"].abs().is_monotonic_decreasing)
    return (None if held and len(rows) < len(LENGTHS) else held), said  # two lengths are enough to refute


def _one_offset(plain, frame, repaired, loaded):
    rows, same = _beside(alternatives(loaded), "one_offset")
    change = (rows - same).mean()
    held = abs(change["accuracy"]) <= NEAR_ACCURACY and abs(change["msp"]) <= NEAR_FPR95 and abs(rows["s"].mean() / same["s"].mean() - 1) <= 0.1
    return (bool(held) if len(rows) == len(SEEDS) else None), _changes(rows, same)


def _one_temperature(plain, frame, repaired, loaded):
    rows, same = _beside(alternatives(loaded), "one_temperature")
    change = (rows - same).mean()
    return (bool(change["accuracy"] <= -0.8 and change["msp"] >= 5) if len(rows) == len(SEEDS) else None), _changes(rows, same)


def _changes(rows: pd.DataFrame, same: pd.DataFrame) -> str:
    if not len(rows):
        return ""
    return "; ".join(f"{name} {paper.spread(rows[column], digits)}, LogitNorm's {paper.spread(same[column], digits)}" for name, column, digits in
                     (("accuracy", "accuracy", 2), ("FPR95 by MSP", "msp", 1), ("s*", "s", 1)))


def _so_far(values: pd.Series) -> str:
    return f"so far {paper.spread(values)} %" if len(values) else ""


def _full_temperature(plain, frame, repaired, loaded):
    rows = where(frame, size="full", **WRN40, in_grid=True)
    short = where(frame, size="medium", **WRN40, in_grid=True)
    if not len(rows) or not len(short):
        return None, ""
    s, before = rows["effective"].iloc[0], short["effective"].iloc[0]
    return bool(before < s < 23), f"s* {s:.1f} after {rows['epochs'].iloc[0]} epochs, {before:.1f} after {short['epochs'].iloc[0]}"


JUDGES = {"centred-trains-worse": _trains_worse, "centred-best-tau": _best_tau, "centred-energy": _energy,
          "sweep-plateau": _plateau, "sweep-threshold": _threshold, "sweep-sign": _sign, "cifar100-centred": _cifar100,
          "wrn40-temperature": _larger, "wrn40-energy": _larger_energy, "scaled-step": _scaled_step,
          "scaled-temperature": _scaled_temperature, "longer-training": _longer,
          "label-noise": lambda plain, frame, repaired, loaded: label_noise.judged(label_noise.load()),
          "one-offset": _one_offset, "one-temperature": _one_temperature,
          "full-temperature": _full_temperature,
          "full-energy": lambda plain, frame, repaired, loaded: _repaired_at(repaired, "full")}


def load(runs_dir="") -> list:
    """Every finished run in the folder ("": the repository's) but those of size smoke."""
    return [run for run in results.load_all(runs_dir, everything=True) if run.config.size != "smoke"]
