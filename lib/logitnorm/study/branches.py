"""Where the offset goes: the valley of the loss along it, the branch that a seed takes, the network mirrored to the other.

Write the logits of an image as f = m 1 + c with c orthogonal to 1 (study.offset). The offset ratio is
x = sqrt(K) m / ||c||; logits with the ratio x have the effective inverse temperature s = 1 / (tau sqrt(1 + x^2)).
"""

import json
import math

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.optimize import brentq, minimize_scalar
from scipy.special import softmax
from sklearn.isotonic import IsotonicRegression

from logitnorm import losses, metrics, paths, scores
from logitnorm.config import Config

from . import offset, paper, repair, results

TAUS = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2)  # of the valley: the paper's and this book's
SHARES = np.arange(-64, 65) / 8  # of the offset: beyond both arms of the fork at tau 0.01
WARM_UP = 1  # epochs in which the offset still runs away from 0, left out where s is set against the accuracy


def _parts(run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(m: N, c: N x K) of the logits that the run kept of an image set, float64."""
    f = run.tensor(f"{name}/logits").astype(np.float64)
    return f.mean(axis=1), scores.centred(f)


def with_logits(loaded: list) -> list:
    """The LogitNorm runs that kept the logits of their ID set and of all their far OOD sets."""
    return [run for run in loaded if run.config.method == "logitnorm" and run.keeps("logits")]


def _energy(run, stretched) -> np.ndarray:
    """Mean FPR95 (%) over the run's far OOD sets of Energy at T = 1 of the logits c + t m 1, for each t."""
    parts = [_parts(run, name) for name in (run.config.id_dataset, *run.config.ood_sets)]
    (m, inside), *outside = [(m, scores.energy(c)) for m, c in parts]
    return np.array([np.mean([metrics.fpr95(inside + t * m, e + t * own) for own, e in outside]) for t in stretched])


def inverse_temperatures(m: np.ndarray, length: np.ndarray, K: int, tau: float) -> np.ndarray:
    """s of each image, ||c|| / (tau sqrt(K m^2 + ||c||^2)), N; m and length = ||c||: N."""
    return length / (tau * np.sqrt(K * m**2 + length**2))


# ---- the valley


def stretched_loss(m: np.ndarray, c: np.ndarray, y: np.ndarray, tau: float, t: float) -> tuple[float, float, float]:
    """(LogitNorm's loss in nats, effective inverse temperature, largest probability) of the logits c + t m 1, means over N images.

    m: N, c: N x K, y: N classes. Only |t| counts.
    """
    length = np.linalg.norm(c, axis=1)
    s = inverse_temperatures(t * m, length, c.shape[1], tau)
    q = torch.from_numpy(c * (s / length)[:, None])
    return losses.cross_entropy(q, torch.from_numpy(y).long()).item(), float(s.mean()), float(scores.msp(q.numpy()).mean())


def deepest(m: np.ndarray, c: np.ndarray, y: np.ndarray, tau: float) -> float:
    """The t >= 0 of least `stretched_loss`: 1 for a network that stands at the bottom of its valley."""
    return float(minimize_scalar(lambda t: stretched_loss(m, c, y, tau, t)[0], bounds=(0, 10), method="bounded").x)


def valley(run, taus=TAUS) -> dict:
    """What a run's own test images say as its offset is stretched, taken away and turned round, with c left alone.

    The logits c + t m 1, where t makes the mean image's offset ratio each of SHARES (t = 1: the network as it is). Returns
    own (its share), accuracy (%), raw (loss and confidence of softmax(f), which no offset moves), shares; for each of taus loss (nats), s and confidence (mean largest probability) along the shares;
    energy, energy_own: mean FPR95 (%) over the far OOD sets of Energy at T = 1, which has no tau, along the shares and of the network as it is and its mirror
    image. All but Energy are even in t.
    """
    ID = run.config.id_dataset
    m, c = _parts(run, ID)
    y = run.tensor(f"{ID}/labels")
    own = math.sqrt(c.shape[1]) * m.mean() / np.linalg.norm(c, axis=1).mean()
    stretched = SHARES / own
    along: dict = {name: [] for name in ("loss", "s", "confidence")}
    for tau in taus:
        half = np.array([stretched_loss(m, c, y, tau, t) for t in stretched[SHARES >= 0]])
        for values, name in zip(half.T, along):
            along[name].append(np.concatenate([values[:0:-1], values]))
    raw = {"loss": losses.cross_entropy(torch.from_numpy(c), torch.from_numpy(y).long()).item(), "confidence": float(scores.msp(c).mean())}
    return {"own": own, "accuracy": 100 * run.correct.mean(), "raw": raw, "taus": list(taus), "shares": SHARES, "energy": _energy(run, stretched), "energy_own": _energy(run, (1, -1)),
            **{name: np.array(values) for name, values in along.items()}}


def bottoms(found: dict) -> np.ndarray:
    """The size of the offset ratio at which each valley of `valley` is deepest, by tau, on its grid."""
    right = found["shares"] >= 0
    return found["shares"][right][found["loss"][:, right].argmin(axis=1)]


def valley_said(found: dict) -> str:
    """At the paper's tau, in one sentence: where the bottoms lie and how deep, and what Energy says there."""
    tau = paper.TAU["cifar10"]
    at, middle = found["taus"].index(tau), len(found["shares"]) // 2
    loss, energy = found["loss"][at], found["energy_own"]
    return (f"At τ = {tau:g} the loss is {loss[middle]:.2f} nats with no offset and {loss.min():.2f} at an offset ratio of ±{bottoms(found)[at]:g}; the "
            f"network stands at {found['own']:+.2f}. Energy's mean FPR95 is {energy[0]:.1f} % there, {energy[1]:.1f} % at the mirror image and "
            f"{found['energy'][middle]:.1f} % with no offset.")


# ---- the mirror


def mirrored(loaded: list) -> pd.DataFrame:
    """Energy at T = 1 of each LogitNorm run with its logits, without the offset, and with the offset's sign turned round.

    The logits c - m 1 have on every image the LogitNorm loss, the predicted class and the softmax of c + m 1. Columns run,
    architecture, tau, seed, offset (mean over the ID test images), own, centred, mirrored: mean FPR95 (%) over the far OOD sets.
    """
    rows = []
    for run in with_logits(loaded):
        own, centred, turned = _energy(run, (1, 0, -1))
        rows.append({"run": run.id, "architecture": run.config.architecture, "tau": run.config.tau, "seed": run.config.seed,
                     "offset": _parts(run, run.config.id_dataset)[0].mean(), "own": own, "centred": centred, "mirrored": turned})
    return pd.DataFrame(rows, columns=["run", "architecture", "tau", "seed", "offset", "own", "centred", "mirrored"])


def mirror_said(found: pd.DataFrame) -> str:
    """Markdown: what the sign alone does to Energy at the paper's tau; "" without such a run."""
    rows = found[np.isclose(found["tau"], paper.TAU["cifar10"])]
    if not len(rows):
        return ""
    told = ", ".join(f"from {row.own:.1f} to {row.mirrored:.1f} % in seed {row.seed}" for row in rows.itertuples())
    without = ", ".join(f"{value:.1f}" for value in rows["centred"])
    return (f"**Flip the sign of the offset, the mean of an image's logits, and nothing that LogitNorm sees has changed**: every loss, every predicted "
            f"class and every probability is the same. But the mean FPR95 of Energy (T = 1) goes {told} (with no offset: {without} %; "
            f"{paper.network(rows['architecture'].iloc[0])}, τ = {rows['tau'].iloc[0]:g}).")


# ---- each image its own temperature


def kept_logits(loaded: list) -> list:
    """The CIFAR-10 runs of LogitNorm that kept the logits of their test images."""
    return [run for run in loaded if run.config.method == "logitnorm" and run.config.id_dataset == "cifar10" and run.has("cifar10/logits")]


def lengths(run) -> tuple[np.ndarray, np.ndarray]:
    """||c|| and the inverse temperature s of each CIFAR-10 test image: N, N."""
    m, c = _parts(run, "cifar10")
    length = np.linalg.norm(c, axis=1)
    return length, inverse_temperatures(m, length, c.shape[1], run.config.tau)


def of_images(loaded: list) -> pd.DataFrame:
    """How the inverse temperature s differs between the test images, for the runs of `kept_logits`.

    Columns architecture, net, tau, seed, s (mean), spread (standard deviation in % of it), spread_m and spread_c (of m and ||c||),
    with_length (rank correlation of s and ||c||), right (AUROC in % of s for right against wrong predictions), own, scaled and common: NLL
    in nats of the softmax at s, at s times one factor for all images, and at one inverse temperature for all images, the last two the best on
    these very images; as_max (rank correlation of the MSP of f and the largest of c).
    """
    rows = []
    for run in kept_logits(loaded):
        c, (m, centred) = run.config, _parts(run, "cifar10")
        length, s = lengths(run)
        y = run.tensor("cifar10/labels").astype(int)
        direction = centred / length[:, None]
        common = minimize_scalar(lambda at, direction=direction, y=y: metrics.nll(at * direction, y), bounds=(0.1, 1 / c.tau), method="bounded")
        own = s[:, None] * direction
        scaled = minimize_scalar(lambda by, own=own, y=y: metrics.nll(by * own, y), bounds=(0.05, 5), method="bounded")
        rows.append({"architecture": c.architecture, "net": paper.trained(c), "tau": c.tau, "seed": c.seed, "s": s.mean(),
                     **{name: 100 * values.std() / values.mean() for name, values in
                        (("spread", s), ("spread_m", np.abs(m)), ("spread_c", length))},
                     "with_length": stats.spearmanr(s, length).statistic,
                     "right": np.nan if run.correct.all() else metrics.auroc(s[run.correct], s[~run.correct]),
                     "own": metrics.nll(own, y), "scaled": scaled.fun, "common": common.fun,
                     "as_max": stats.spearmanr(scores.msp(run.tensor("cifar10/logits")), centred.max(axis=1)).statistic})
    return pd.DataFrame(rows, columns=["architecture", "net", "tau", "seed", "s", "spread", "spread_m", "spread_c", "with_length", "right",
                                       "own", "scaled", "common", "as_max"])


def images_said(found: pd.DataFrame) -> str:
    """Markdown: that s is each image's own, at the paper's tau, and what that is good for; "" without such a run."""
    rows = found[np.isclose(found["tau"], paper.TAU["cifar10"]) & (found["architecture"] == offset.USUAL.architecture)]
    if not len(rows):
        return ""
    mean = rows.mean(numeric_only=True)
    gain = "smaller" if (rows["own"] < rows["common"]).all() else "not smaller in every run"
    return (f"**Each image gets a temperature of its own.** At τ = {rows['tau'].iloc[0]:g} (WRN-10-2, test images) the offset varies by "
            f"{mean['spread_m']:.0f} % from image to image and ‖c‖ by {mean['spread_c']:.0f} %, so s varies by {mean['spread']:.0f} %, in the order of ‖c‖ "
            f"(rank correlation {mean['with_length']:.2f}). It is larger where the prediction is right (AUROC {mean['right']:.0f} %), and the loss is {gain} "
            f"with it, {mean['own']:.3f} nats, than at the best temperature that is common to all images, {mean['common']:.3f}.{_worse_said(found)}")


def _worse_said(found: pd.DataFrame) -> str:
    """A sentence with the networks at the paper's tau whose images' own temperatures are worse than the best common one, and whether one factor on
    all of them is enough to be better; "" without one."""
    rows = found[np.isclose(found["tau"], paper.TAU["cifar10"])].groupby("net", sort=False)[["own", "scaled", "common"]].mean()
    rows = rows[rows["own"] > rows["common"]]
    told = ", ".join(f"{row.Index} ({row.own:.3f} against {row.common:.3f} nats; with one factor on all {row.scaled:.3f})" for row in rows.itertuples())
    order = ": their level is wrong on test images, their order is not" if (rows["scaled"] < rows["common"]).all() else ""
    return f" Not so in {told}{order}." if told else ""


def as_max_said(found: pd.DataFrame) -> str:
    """A sentence: that MSP of LogitNorm's raw logits ranks images as the largest centred logit does; "" without runs."""
    return f"MSP of logits so short ranks the images almost as the largest logit of f − m does (rank correlation {paper.span(found['as_max'], 3)})." if len(found) else ""


def images_table(found: pd.DataFrame) -> pd.DataFrame:
    """`of_images` as a table to read: means over seeds by network and tau."""
    lines = []
    for (net, tau), part in found.groupby(["net", "tau"]):
        lines.append({("", "network"): net, ("", "τ"): f"{tau:g}", ("", "n"): str(len(part)),
                      ("inverse temperature of an image", "mean"): paper.spread(part["s"], 1),
                      ("inverse temperature of an image", "varies by (%)"): paper.spread(part["spread"], 0),
                      ("inverse temperature of an image", "rank correlation with ‖c‖"): paper.spread(part["with_length"]),
                      ("inverse temperature of an image", "AUROC for right answers (%)"): paper.spread(part["right"], 0),
                      ("NLL (nats)", "at its own"): paper.spread(part["own"], 3), ("NLL (nats)", "with one factor"): paper.spread(part["scaled"], 3),
                      ("NLL (nats)", "at the best common one"): paper.spread(part["common"], 3)})
    return paper.grouped_columns(lines)


# ---- where the fork opens


def tips(c: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(s*, tip) of centred logits c: N x K with classes y: N.

    s* is the common inverse temperature that is best for the directions c / ||c||, where the mean of CE'(s) is 0. The mean LogitNorm loss
    has at no offset a second derivative of -(K / tau) times the mean of CE'(1/tau) / ||c||^2 in an offset that all images share, so the fork
    opens where that mean is 0: at 1/tau = tip. inf where no image is wrong.
    """
    length = np.linalg.norm(c, axis=1)
    direction, each = c / length[:, None], np.arange(len(c))
    if (direction.argmax(axis=1) == y).all():
        return math.inf, math.inf

    def slope(s: float, weight: np.ndarray) -> float:
        p = softmax(s * direction, axis=1)
        return float((weight * ((direction * p).sum(axis=1) - direction[each, y])).sum())

    return tuple(brentq(slope, 1e-6, 1e4, args=(weight,)) for weight in (np.ones(len(c)), 1 / length**2))


def tips_said(loaded: list) -> str:
    """Markdown: s* of the directions, the tip of the fork for a common offset, and s, for the runs of the usual network that kept their logits."""
    rows = []
    for run in kept_logits(results.small_net(loaded)):
        s_star, tip = tips(_parts(run, "cifar10")[1], run.tensor("cifar10/labels").astype(int))
        rows.append({"tau": run.config.tau, "s_star": s_star, "tip": tip, "s": lengths(run)[1].mean()})
    if not rows:
        return ""
    means = pd.DataFrame(rows).groupby("tau").mean()
    told = "; ".join(f"τ = {tau:g}: {row.s_star:.1f}, {row.tip:.1f} and {row.s:.1f}" for tau, row in means.iterrows())
    return (f"In WRN-10-2 (test images) the best common s of the directions, the 1/τ at which a shared offset leaves 0, and the mean s of the network are {told}. "
            f"So the fork opens {100 * (1 - (means['tip'] / means['s_star']).max()):.0f} to {100 * (1 - (means['tip'] / means['s_star']).min()):.0f} % before 1/τ reaches that "
            "best s, and a network in which each image has its own s goes beyond it.")


# ---- the branches


def histories(loaded: list) -> pd.DataFrame:
    """The epochs of the CIFAR-10 runs of LogitNorm whose history.csv has the offset.

    Columns run, size, architecture, tau, seed, lr (of the run), epoch, rate (the learning rate of that epoch), share (sqrt(K) m /
    ||c|| of the mean test image), s and s_test (effective inverse temperature on the training images of that epoch and on the test
    images), nominal (1/tau), train_accuracy (%). Epoch 0 is before the first step.
    """
    parts = []
    for run in loaded:
        c = run.config
        if c.method == "logitnorm" and c.id_dataset == "cifar10" and "offset_test" in run.history:
            h = run.history
            parts.append(pd.DataFrame({
                "run": run.id, "size": c.size, "architecture": c.architecture, "tau": c.tau, "seed": c.seed, "lr": c.lr,
                "epoch": h["epoch"], "rate": h["lr"], "share": math.sqrt(c.num_classes) * h["offset_test"] / h["centred_norm_test"],
                "s": h["inverse_temperature_train"], "s_test": h["inverse_temperature_test"], "nominal": 1 / c.tau, "train_accuracy": h["train_accuracy"]}))
    columns = ["run", "size", "architecture", "tau", "seed", "lr", "epoch", "rate", "share", "s", "s_test", "nominal", "train_accuracy"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def seeds_of(found: pd.DataFrame) -> pd.DataFrame:
    """Of `histories` LogitNorm's runs of the net that was trained with many seeds."""
    return found[found["architecture"] == results.SECOND_NET]


def branch_said(found: pd.DataFrame) -> str:
    """Markdown: how many seeds went up and down, and whether the untrained network already leans that way; "" without runs."""
    rows = seeds_of(found)
    ends = rows.sort_values("epoch").groupby("seed")["share"].agg(["first", "last"])
    if len(ends) < 2:
        return ""
    kept = int((np.sign(ends["first"]) == np.sign(ends["last"])).sum())
    chance = stats.fisher_exact(pd.crosstab(ends["first"] > 0, ends["last"] > 0), alternative="greater").pvalue
    early = rows[rows["epoch"] == 1].set_index("seed")["share"].reindex(ends.index)
    means = rows.assign(size=rows["share"].abs()).groupby("epoch")["size"].mean()
    return (f"**{(ends['last'] > 0).sum()} of {len(ends)} seeds go up, {(ends['last'] < 0).sum()} go down**, none nearer to 0 than "
            f"{ends['last'].abs().min():.1f}. After one epoch the offset ratio is {means.loc[1]:.1f} on either side, at the end "
            f"{means.iloc[-1]:.1f}. "
            f"The untrained network's lean predicts the branch in {kept} of {len(ends)} (Fisher's exact test, p = {chance:.2g}), the side after one epoch in "
            f"{(np.sign(early) == np.sign(ends['last'])).sum()}.")


def fitted(found: pd.DataFrame) -> pd.DataFrame:
    """Of `histories` what `fitting_said` compares: the short trainings of LogitNorm with an offset to choose (1/tau above 10),
    after the first epoch."""
    return found[(found["nominal"] > 10.01) & (found["epoch"] > WARM_UP) & (found["size"] != "full")]


def fitting_said(found: pd.DataFrame) -> str:
    """Markdown: how s goes with the accuracy on the training images within a run, and what orders the runs at their last epoch; "" without runs."""
    rows = fitted(found)
    if rows["tau"].nunique() < 2:
        return ""
    every = found[found["run"].isin(rows["run"]) & (found["epoch"] > 0)]
    risen, from_first = ([part.sort_values("train_accuracy")["s"].is_monotonic_increasing for _, part in epochs.groupby("run")] for epochs in (rows, every))
    ends = _ends(rows)
    last = ends[(ends["architecture"] == offset.USUAL.architecture) & np.isclose(ends["lr"], offset.USUAL.lr)]
    said = (f"**While a network learns, its softmax gets sharper**: order the epochs of a short run by training accuracy, the first left out, and s rises all the way in "
            f"{sum(risen)} of {len(risen)} runs; with the first epoch too in {sum(from_first)}{_against(own_training(found))}.")
    last = last[last["nominal"] > last["s"].max()]  # what 1/tau does not bound
    if last["tau"].nunique() < 2:
        return said
    return (f"{said} But the accuracy is not the whole cause. At the same epoch, the last of {len(last)} runs of WRN-10-2, s also rises with what τ asks for, from "
            f"{last['s'].min():.1f} to {last['s'].max():.1f} ({100 * (last['s'].max() / last['s'].min() - 1):.0f} %) for {last['nominal'].min():.3g} to "
            f"{last['nominal'].max():.3g}, though all are right on {paper.span(last['train_accuracy'], 1)} % of their training images: a theory with one s* for all "
            f"images does not predict that.{networks_said(rows)}")


def _ends(rows: pd.DataFrame) -> pd.DataFrame:
    """The last epoch of each run that has all the epochs of its size and no more."""
    last = rows[rows["epoch"] == rows.groupby("run")["epoch"].transform("max")]
    return last[last["epoch"] == last["size"].map(lambda size: Config(size=size).epochs)]


def _against(own: pd.DataFrame) -> str:
    """How many pairs of epochs of the paper's own training have the higher accuracy and the lower s: a clause, "" without it."""
    if own.empty:
        return ""
    accuracy, s = (np.subtract.outer(values, values) for values in (own["train_accuracy"].to_numpy(), own["s"].to_numpy()))
    share = 100 * ((accuracy > 0) & (s < 0)).sum() / (accuracy > 0).sum()
    return f" (in the paper's own training {share:.0f} % of the pairs of epochs are in the other order)"


def networks_said(rows: pd.DataFrame) -> str:
    """A sentence with the two networks whose order by accuracy and by s at the paper's tau differ most; "" where none do."""
    ends = _ends(rows[np.isclose(rows["tau"], paper.TAU["cifar10"]) & np.isclose(rows["lr"], offset.USUAL.lr)])
    ends = ends.groupby("architecture")[["train_accuracy", "s"]].mean()
    pairs = [(a, b) for a in ends.itertuples() for b in ends.itertuples() if a.train_accuracy > b.train_accuracy and a.s < b.s]
    if not pairs:
        return ""
    a, b = max(pairs, key=lambda pair: pair[0].train_accuracy - pair[1].train_accuracy)
    return (f" And {paper.network(a.Index)} is right on {a.train_accuracy:.0f} % of its training images at s = {a.s:.1f}, {paper.network(b.Index)} on "
            f"{b.train_accuracy:.0f} % at {b.s:.1f}: how far apart the classes lie counts as well.")


# ---- the paper's own training


def own_training(found: pd.DataFrame) -> pd.DataFrame:
    """Of `histories` the epochs of one run, the first of the longest of size full of the paper's network at its tau, without epoch 0."""
    rows = found[(found["size"] == "full") & (found["architecture"] == offset.WRN40["architecture"])
                 & np.isclose(found["tau"], paper.TAU["cifar10"]) & (found["epoch"] > 0)]
    return rows[rows["run"] == rows.loc[rows["epoch"].idxmax(), "run"]] if len(rows) else rows


def own_stages(found: pd.DataFrame) -> pd.DataFrame:
    """The last epoch of each stage of `own_training`, in which the rate is the same."""
    rows = own_training(found)
    return rows.groupby("rate", sort=False).tail(1).reset_index(drop=True)


def own_short(found: pd.DataFrame) -> str:
    """The same in one sentence; "" without such a run."""
    ends = own_stages(found)
    if len(ends) < 2:
        return ""
    first, last = ends.iloc[0], ends.iloc[-1]
    return (f"Our training of the paper's network, for which 1/τ = {first['nominal']:g}, is at {first['s']:.0f} after {first['epoch']} epochs and at {last['s']:.0f} at the end, "
            f"after {last['epoch']} (training images).")


def finding(found: pd.DataFrame, frame: pd.DataFrame, repaired: pd.DataFrame) -> str:
    """Markdown, the page's finding: the paper's own network first where it was trained; `histories`, offset.temperatures and .repairs."""
    own = own_short(found)
    if not own:
        return repair.finding(frame, repaired)
    return (f"**LogitNorm's τ bounds the temperature of its softmax and does not set it.** The norm by which it divides contains the mean logit, which softmax ignores: "
            f"by raising or lowering all logits of an image together a network makes its softmax softer than 1/τ, the inverse temperature that τ asks for. {own} "
            f"{offset.temperature_said(frame, plain=True)} Up or down is the seed's accident, and Energy adds it to its score. {repair.own_repair_said(repaired)}")


def own_said(found: pd.DataFrame) -> str:
    """Markdown: what temperature the paper's own network trains at in its own schedule, stage by stage; "" without such a run."""
    ends = own_stages(found)
    if len(ends) < 2:
        return ""
    first, last = ends.iloc[0], ends.iloc[-1]
    between = ", ".join(f"{row.s:.1f} at epoch {row.epoch}" for row in ends.iloc[1:-1].itertuples())
    rows = own_training(found)
    late = rows[rows["epoch"] >= last["epoch"] - 10]["s"]
    most = rows.loc[rows["rate"] == first["rate"], "s"].max()
    top = rows.assign(share=rows["share"].abs()).sort_values("share").iloc[-1]
    return (f"**In the first {first['epoch']} of {last['epoch']} epochs {paper.network(first['architecture'])} trains at an inverse temperature of at most {most:.1f}, not at "
            f"the {first['nominal']:g} that τ = {first['tau']:g} asks for**: at their end it is right on {first['train_accuracy']:.0f} % of its training images, on which s is measured here. "
            f"Each cut of the learning rate brings errors down and s up: {between}{', ' if between else ''}and {last['s']:.1f} at the end, with "
            f"{last['train_accuracy']:.1f} % right. The offset ratio falls from {top['share']:.1f} in epoch {top['epoch']} and {abs(first['share']):.2f} at epoch {first['epoch']} to "
            f"{abs(last['share']):.2f} (test images). So the hidden temperature is not peculiar to small networks. But it rules the way more than the end, where s has come within "
            f"{100 * (1 - last['s'] / last['nominal']):.0f} % of 1/τ; in the last ten epochs it still rises by {late.iloc[-1] - late.iloc[0]:.1f}.")


def same_curve_said(found: pd.DataFrame) -> str:
    """Markdown: whether two trainings of the paper's network, of size medium and its own, have one s at one training accuracy; "" without them.

    Between the epochs of its own training a rising function is fitted (isotonic regression) and read at the accuracies of the other.
    """
    own = own_training(found)
    short = found[(found["size"] == "medium") & (found["epoch"] > WARM_UP) & np.isclose(found["tau"], paper.TAU["cifar10"])]
    if own.empty or short.empty:
        return ""
    known = np.sort(own["train_accuracy"])
    above = np.searchsorted(known, short["train_accuracy"]).clip(1, len(known) - 1)
    short = short[known[above] - known[above - 1] <= 1]  # between two epochs a point apart or less
    there = IsotonicRegression(out_of_bounds="nan").fit(own["train_accuracy"], own["s"]).predict(short["train_accuracy"])
    apart = 100 * (short["s"] / there - 1).abs().dropna()
    if apart.empty:
        return ""
    return (f"In two trainings of {paper.network(own['architecture'].iloc[0])}, one run each, s is alike at like accuracy: in 30 epochs without dropout on one cycle of "
            f"rates and in {len(own)} with dropout on three it differs by {apart.median():.1f} % in the median and {apart.max():.0f} % at most, in the {len(apart)} epochs of the "
            f"shorter one whose accuracy the longer one passed through, while s goes from {short['s'].min():.1f} to {short['s'].max():.1f}.")


# ---- on the training images


def training_valleys() -> list[dict]:
    """What benchmarks/valley.py measured: for each run that kept its weights `training` and `test`, each with images, accuracy (%),
    factor (`deepest`), own and bottom (inverse temperatures), loss, least_loss and
    loss_without an offset (nats)."""
    return json.loads((paths.ROOT / "data" / "benchmarks" / "valley.json").read_text())["runs"]


NO_OFFSET = 0.01  # a factor on the offset below which the bottom of a valley has none
MOST = 95.0  # percent of the loss that an offset can save, above which a network is said to stand at the bottom


def _saved(found: dict) -> float:
    """Percent of the loss between no offset and the bottom of the valley that the network's own offset saves."""
    return 100 * (found["loss_without"] - found["loss"]) / (found["loss_without"] - found["least_loss"])


def training_said(stands: list[dict]) -> str:
    """Markdown: which networks stand at the bottom of their valley on training images, and where the temperatures lie."""
    closed = [row["training"] for row in stands if row["training"]["factor"] < NO_OFFSET]
    stands = [row for row in stands if row["training"]["factor"] >= NO_OFFSET]
    on = [row["training"] for row in stands]
    there = [found for found in on if _saved(found) >= MOST]
    short = [100 * (1 - found["own"] / found["bottom"]) for found in on]
    between = sum(row["test"]["bottom"] <= row["training"]["own"] <= row["training"]["bottom"] for row in stands)
    said = (f"**{len(there)} of {len(on)} networks have saved more than {MOST:g} % of the loss that an offset can save on their training "
            f"images**")
    for found in (found for found in on if found not in there):
        said += (f"; one, right on {found['accuracy']:.0f} % of them, has saved {_saved(found):.0f} % of what is only "
                 f"{found['loss_without'] - found['least_loss']:.3f} nats there")
    said += (f". Their inverse temperatures are {min(short):.0f} to {max(short):.0f} % below the bottom's. In {between} of {len(on)} networks s lies "
             "between what the test images want and what the training images want.")
    for found in closed:
        said += (f" **And where {found['accuracy']:.1f} % of the training images are right, the fork has closed**: without dropout the bottom lies at no offset, s = "
                 f"{found['bottom']:.0f}, and the network, at {found['own']:.1f}, has {found['loss'] - found['least_loss']:.4f} nats to gain there. It was trained with "
                 "dropout, with which it errs more; that valley was not measured.")
    return said


def training_table(stands: list[dict], loaded: list) -> pd.DataFrame:
    """`training_valleys` of these runs as a table to read."""
    configs = {run.id: run.config for run in loaded}
    lines = []
    for row in (row for row in stands if row["run"] in configs):
        c = configs[row["run"]]
        line = {("", "network"): f"{paper.title(c.id_dataset)}, {paper.trained(c)}, seed {c.seed}"}
        for name in ("training", "test"):
            found = row[name]
            line |= {(f"{name} images", "accuracy (%)"): f"{found['accuracy']:.1f}", (f"{name} images", "s"): f"{found['own']:.1f}",
                     (f"{name} images", "bottom"): f"{found['bottom']:.1f}",
                     (f"{name} images", "saved (%)"): f"{_saved(found):.0f}" if found["factor"] >= NO_OFFSET else "–"}
        lines.append(line)
    return paper.grouped_columns(lines)
