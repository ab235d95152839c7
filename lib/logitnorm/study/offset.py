"""The hidden temperature: what the common offset of the logits does to LogitNorm.

Write the logits of K classes as f = m 1 + c, with m their mean and c orthogonal to 1. Softmax cannot see m. LogitNorm
divides by ||f||, which contains it: ||f||^2 = K m^2 + ||c||^2. What its softmax is trained with is therefore not 1/tau
but the effective inverse temperature s = ||c|| / (tau ||f||), anywhere in (0, 1/tau].

This is a finding of this book, not of either paper. What it does to Energy is in repair.py, what trainings without it
do in intervention.py, what was predicted of it, and when, in predictions.py and data/predictions.yaml.
"""

import math

import numpy as np
import pandas as pd
import safetensors.numpy
import torch
from torch import Tensor

from logitnorm import losses, metrics
from logitnorm.config import TAU, Config

from . import paper, results, scoring
from .paper import where
from .results import SMALL_NET

SMALL10 = {**SMALL_NET, "in_grid": True}
WRN40 = {"architecture": "wrn40_2", "id_dataset": "cifar10", "method": "logitnorm", "tau": 0.04, "seed": 1}  # the paper's own network
USUAL = Config(size="small")
RATE = 5.0  # the learning rate per tau of the sweep whose steps on f are alike: 0.2 at tau 0.04
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
    f = scoring.trained_logits(run.config, run.tensor(f"{ID}/logits"))
    return s / metrics.geometric_mean(metrics.cross_fitted_temperature(f, run.tensor(f"{ID}/labels")))


SETTINGS = ["run", "method", "size", "in_grid", "counted", "id_dataset", "architecture", "net", "seed", "epochs", "lr", "cutout", "tau"]
TEMPERATURES = ["nominal", "effective", "wanted", "offset", "divisor", "signed_ratio", "train_accuracy", "test_accuracy"]


def settings(run) -> dict:
    """The columns that `temperatures` and `repairs` share; tau is NaN for the methods that have none."""
    c = run.config
    return dict(zip(SETTINGS, (run.id, c.method, c.size, run.in_grid, run.counted, c.id_dataset, c.architecture, paper.trained(c), c.seed, c.epochs,
                               c.lr, c.cutout, c.tau if c.method in TAU else np.nan)))


def temperatures(loaded: list) -> pd.DataFrame:
    """One line for each run that has a tau: nominal and effective 1/tau, what the data wanted, the offset, the fork, and
    tau ||f||, the divisor of LogitNorm's gradient."""
    rows = []
    for run in (run for run in loaded if run.config.method in TAU):
        c, g = run.config, described(run)
        last = run.history.iloc[-1]
        rows.append({**settings(run), "nominal": 1 / c.tau, "effective": g["inverse_temperature"],
                     "wanted": wanted_temperature(run), "offset": g["offset"], "divisor": c.tau * g["norm"],
                     "signed_ratio": math.sqrt(c.num_classes) * g["offset"] / g["centred_norm"],
                     "train_accuracy": last["train_accuracy"], "test_accuracy": run.info["test_accuracy"]})
    return pd.DataFrame(rows, columns=[*SETTINGS, *TEMPERATURES])


def by_setting(frame: pd.DataFrame) -> pd.DataFrame:
    """`temperatures` as a table to read: a line for each loss, network, length, rate and tau; mean ± sd over seeds."""
    keys = ["method", "id_dataset", "architecture", "epochs", "lr", "tau"]
    lines = []
    for (method, ID, net, epochs, lr, tau), part in frame.groupby(keys):
        usual = (part["counted"] & (part["size"] == "small")).all()
        lines.append({
            "loss": paper.LABELS[method], "ID": paper.title(ID),
            "net": paper.network(net) + ("" if usual else f", rate {lr:g}" if epochs == USUAL.epochs else f", {epochs} epochs"),
            "τ": f"{tau:g}", "n": str(len(part)), "s": paper.spread(part["effective"], 1),
            "s wanted": paper.spread(part["wanted"], 1), "√K |m| / ‖c‖": paper.spread(part["signed_ratio"].abs()),
            "m above 0 in": f"{(part['offset'] > 0).sum()} of {len(part)}",
            "train (%)": paper.spread(part["train_accuracy"], 1), "test (%)": paper.spread(part["test_accuracy"], 1)})
    return pd.DataFrame(lines)


def set_temperatures(loaded: list) -> pd.Series:
    """The mean inverse temperature that CIFAR-10 runs of LogitNorm train with, by tau."""
    runs = [run for run in results.small_net(loaded) if run.config.method == "logitnorm"]
    return temperatures(runs).groupby("tau")["effective"].mean() if runs else pd.Series(dtype=float)


def fitted_s(frame: pd.DataFrame) -> float:
    """The one s* of the theory's line: the mean effective inverse temperature of the small CIFAR-10 runs at the papers' tau and below."""
    rows = where(frame, **SMALL10, method="logitnorm")
    return rows.loc[rows["tau"] <= paper.TAU["cifar10"], "effective"].mean()


def temperature_said(frame: pd.DataFrame, plain: bool = False) -> str:
    """The inverse temperatures that were asked for, and those that came, in one sentence; plain: after that of another network."""
    rows = where(frame, **SMALL10, method="logitnorm")
    if not len(rows):
        return f"The runs that would show it: {paper.NOT_RUN}."
    ends = rows.groupby("tau")["effective"].mean()
    asked, trained = f"{1 / ends.index.max():.0f} to {1 / ends.index.min():.0f}", f"{ends.min():.1f} to {ends.max():.1f}"
    means = f"(means of {len(ends)} τ, {len(rows)} runs)"
    if plain:
        return f"WRN-10-2, with 1/τ from {asked}, trains at {trained} (test images; {means[1:-1]})."
    return f"**Asked for an inverse temperature of {asked}, the network trains at {trained}** {means}."


def on_softmax(run, normalised: bool) -> dict[str, float]:
    """ECE before and after temperature scaling (percent) and NLL (nats) of the raw or the normalised softmax."""
    which = "_normalised" * normalised
    stored = run.metrics[run.metrics["score"] == ""].set_index("metric")["value"]
    if f"nll{which}" in stored:
        return {"ece": stored[f"ece{which}"], "ece_ts": stored[f"ece{which}_ts"], "nll": stored[f"nll{which}"]}
    ID = run.config.id_dataset
    f, labels = run.tensor(f"{ID}/logits"), run.tensor(f"{ID}/labels")
    f = scoring.trained_logits(run.config, f) if normalised else f
    found = metrics.calibration(f, labels)
    return {"ece": found["ece"], "ece_ts": found["ece_ts"], "nll": metrics.nll(f, labels)}


def grouped(loaded: list):
    """Groups of runs that differ in the seed alone: (settings, runs), the papers' losses before this book's.

    Runs of a length or a learning rate of their own are left out.
    """

    def key(run):
        c = run.config
        return c.id_dataset, c.size, c.architecture, c.cutout, list(paper.LABELS).index(c.method), c.tau

    counted = sorted((run for run in loaded if run.counted), key=key)
    return [(group[0].config, group) for _, group in paper.grouped(counted, key)]


def calibration_table(loaded: list, every: bool = True) -> pd.DataFrame:
    """ECE of the raw and, where there is a tau, of the normalised softmax, before and after temperature scaling.

    every: with this book's own loss and every tau; else cross-entropy and LogitNorm at the papers' tau.
    """
    found = []
    for c, group in grouped(
        [run for run in loaded if run.config.method in ("cross_entropy", *TAU) and not run.config.cutout
         and (every or run.config.method == "cross_entropy"
              or (run.config.method == "logitnorm" and run.config.tau == paper.TAU.get(run.config.id_dataset)))]
    ):
        for normalised in (False, True) if c.method in TAU else (False,):
            soft = pd.DataFrame([on_softmax(run, normalised) for run in group])
            found.append({("", "run"): f"{paper.title(c.id_dataset)}, {paper.trained(c)}, {paper.LABELS[c.method]}"
                                       + f" τ {c.tau:g}" * (c.method in TAU) + f" ({len(group)})",
                          ("", "softmax of"): "f / (τ‖f‖)" if normalised else "f", ("ECE", "raw"): paper.spread(soft["ece"], 1),
                          ("ECE", "after TS"): paper.spread(soft["ece_ts"], 1)})
    return paper.grouped_columns(found)


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


def normalised_said(runs: list) -> str:
    """Markdown: the ECE of LogitNorm's raw and normalised softmax beside cross-entropy's, by ID set; "" without both losses."""
    said = []
    for ID, group in paper.grouped(runs, lambda run: run.config.id_dataset):
        of = {method: [run for run in group if run.config.method == method] for method in ("cross_entropy", "logitnorm")}
        if all(of.values()):
            plain, raw, soft = (np.mean([on_softmax(run, normalised)["ece"] for run in of[method]]) for method, normalised in
                                (("cross_entropy", False), ("logitnorm", False), ("logitnorm", True)))
            said.append(f"On {paper.title(ID)} its ECE is {soft:.1f} %, the raw softmax's {raw:.1f} and cross-entropy's {plain:.1f}.")
    return " ".join(said)


def along(features: np.ndarray, direction: np.ndarray) -> float:
    """Percent of the variance of features N x D along a direction D."""
    phi, w = np.asarray(features, dtype=np.float64), np.asarray(direction, dtype=np.float64)
    return 100 * float((phi @ (w / np.linalg.norm(w))).var() / phi.var(axis=0).sum())


def directions(loaded: list) -> pd.DataFrame:
    """Percent of the variance of the ID features along the offset's direction, the last layer's mean row, and along the mean feature.

    A line for each run that kept both, columns network (in words), method, offset, class_row (the mean over the last layer's rows), mean_feature, chance.
    """
    found = []
    for run in loaded:
        c = run.config
        if c.method in ("cross_entropy", *TAU) and c.keep_model and c.keep_features:
            weight = safetensors.numpy.load_file(run.file("model.safetensors"))["fc.weight"]
            phi = run.tensor(f"{c.id_dataset}/features")
            found.append({"network": f"{paper.title(c.id_dataset)}, {paper.trained(c)}, {paper.method_title(c)}, seed {c.seed}", "method": c.method,
                          "offset": along(phi, weight.mean(axis=0)), "class_row": np.mean([along(phi, row) for row in weight]), "mean_feature": along(phi, phi.mean(axis=0, dtype=np.float64)),
                          "chance": 100 / weight.shape[1]})
    return pd.DataFrame(found, columns=["network", "method", "offset", "class_row", "mean_feature", "chance"])


def direction_said(found: pd.DataFrame) -> str:
    """Markdown: how much of the features' variance the offset is, under LogitNorm and under cross-entropy; "" without both."""
    of = {method: part["offset"] for method, part in found.groupby("method")}
    if not {"logitnorm", "cross_entropy"} <= set(of):
        return ""
    ends = {method: paper.span(of[method], 1) for method in ("logitnorm", "cross_entropy")}
    row = paper.span(found.loc[found["method"] == "logitnorm", "class_row"], 1)
    return (f"Along it lies {ends['logitnorm']} % of the variance of the features under LogitNorm, and {ends['cross_entropy']} % under cross-entropy, where the offset "
            f"means nothing to the loss; along the row of a class, LogitNorm's mean, {row} %.")


def direction_table(found: pd.DataFrame) -> pd.DataFrame:
    """`directions` as a table to read."""
    names = {"offset": "along the offset", "class_row": "along a class row, mean", "mean_feature": "along the mean feature", "chance": "by chance"}
    return found.drop(columns="method").rename(columns=names) if len(found) else pd.DataFrame([{"network": paper.NOT_RUN}])


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
    said = (f"{'Nor does τ set the step' if means.max() / means.min() < 1 + (asked - 1) / 10 else 'τ sets the step too'}: at one "
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


def scaled_minimum_said(repaired: pd.DataFrame) -> str:
    """Markdown: where the sweep with a rate in proportion to tau has its lowest mean FPR95 by MSP, and whether one seed of each
    tau can say so; "" before every tau of the sweep at one rate has its run."""
    msp = where(repaired, score="msp", group="six")
    found, plain = scaled(msp).set_index("tau")["fpr95"], where(msp, **SMALL10, method="logitnorm")
    if len(found) < 2 or set(plain["tau"]) - set(found.index):
        return ""
    best = found.idxmin()
    gap, sd = found.drop(best).min() - found[best], plain.groupby("tau")["fpr95"].std().mean()
    others = where(plain, tau=best).query("seed > 1")["fpr95"] if np.isclose(RATE * best, USUAL.lr) else []
    aside = f"; at τ = {best:g}, where this rate is the usual one, the other seeds have {', '.join(f'{value:.1f}' for value in others)} %" if len(others) else ""
    return (f"Over all {len(found)} τ, one seed each, such a rate gives an FPR95 by MSP of {found.min():.1f} to {found.max():.1f} %, the lowest at τ = {best:g}. "
            f"{'So there is a minimum' if gap > 2 * sd else 'One seed each cannot place a minimum'}: the second best τ is {gap:.1f} points above, and the seeds of "
            f"one τ have a standard deviation of {sd:.1f} points (mean of the sweep at one rate{aside}).")


def lengths(frame: pd.DataFrame) -> pd.DataFrame:
    """Of `temperatures` the runs of LENGTHS epochs at tau 0.04, seed 1, by epochs."""
    rows = where(frame, **SMALL_NET, method="logitnorm", tau=0.04, seed=1)
    return rows[np.isclose(rows["lr"], USUAL.lr)].sort_values("epochs")


def load(runs_dir="") -> list:
    """Every finished run in the folder ("": the repository's) but those of size smoke."""
    return [run for run in results.load_all(runs_dir, everything=True) if run.config.size != "smoke"]
