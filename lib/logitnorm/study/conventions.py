"""What other projects' metric code computes, stated in our words on top of `metrics`; percent, as everything here.

Higher scores mean in-distribution (ID). id_scores and ood_scores are lists of N and M finite numbers, each function
returns one percentage unless it says otherwise. None of this judges a result of the book: it explains why the same
scores have other numbers elsewhere. `PEERS` says which functions describe which package; the page that shows both
beside each other reads what the packages themselves gave (benchmarks/peers.py).
"""

import math

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax

from logitnorm import metrics

from . import paper


def ood_positive(metric):
    """The metric with OOD as the positive class: both kinds change places, all scores change sign."""
    def swapped(id_scores, ood_scores):
        return metric(-np.asarray(ood_scores), -np.asarray(id_scores))
    return swapped


# ---- FPR95

def fpr95_nearest(id_scores, ood_scores) -> float:
    """FPR95 at the threshold whose ID recall is nearest to 95 %, the lowest such threshold among equals.

    logitnorm_ood and energy_ood; with `ood_positive` outlier-exposure, where it comes from.
    """
    tpr, fpr = metrics.roc(id_scores, ood_scores)
    end = np.searchsorted(tpr, 1) + 1  # below the lowest ID score there is only more OOD to accept
    falling = slice(None, None, -1)
    return 100 * float(fpr[:end][falling][np.argmin(np.abs(tpr[:end][falling] - 0.95))])


def fpr95_strict(id_scores, ood_scores) -> float:
    """FPR95 with OOD scores equal to the threshold refused; the threshold is ID score number round(0.05 N). knn-ood."""
    id_scores = np.sort(id_scores)
    return 100 * float(np.mean(np.asarray(ood_scores) > id_scores[round(0.05 * len(id_scores))]))


def fpr95_interpolated(id_scores, ood_scores) -> float:
    """FPR on the line that joins the two points of the ROC curve around 95 % recall. ood-metrics.

    Where points of the curve lie at 95 % exactly it is the one with the largest FPR.
    """
    tpr, fpr = metrics.roc(id_scores, ood_scores)
    return 100 * float(np.interp(0.95, tpr, fpr))


def fpr95_window(id_scores, ood_scores, steps=100_000) -> float:
    """Mean FPR over equidistant thresholds with an ID recall from 94.95 to 95.05 %; NaN where there is none.

    The released code of Learned Confidence, after ODIN's, which divides by zero where this is NaN.
    """
    id_scores, ood_scores = (np.sort(np.asarray(s, dtype=float)) for s in (id_scores, ood_scores))
    low, high = min(id_scores[0], ood_scores[0]), max(id_scores[-1], ood_scores[-1])
    thresholds = np.arange(low, high, (high - low) / steps) if high > low else np.array([low])
    tpr = (len(id_scores) - np.searchsorted(id_scores, thresholds, side="left")) / len(id_scores)
    fpr = (len(ood_scores) - np.searchsorted(ood_scores, thresholds, side="right")) / len(ood_scores)
    inside = (tpr >= 0.9495) & (tpr <= 0.9505)
    return 100 * float(fpr[inside].mean()) if inside.any() else math.nan


def roc_every_fourth(id_scores, ood_scores) -> tuple[np.ndarray, np.ndarray]:
    """Shares of OOD and of ID called OOD, falling from 1 to 0, at every fourth score only. oodeel."""
    id_scores, ood_scores = np.sort(id_scores), np.sort(ood_scores)
    thresholds = np.sort(np.concatenate([id_scores, ood_scores]))[::-1][1::4]
    caught = np.searchsorted(ood_scores, thresholds, side="right") / len(ood_scores)
    refused = np.searchsorted(id_scores, thresholds, side="right") / len(id_scores)
    return np.concatenate([[1.0], caught, [0.0]]), np.concatenate([[1.0], refused, [0.0]])


def fpr95_every_fourth(id_scores, ood_scores) -> float:
    """Percent of ID refused at the first point of `roc_every_fourth` that catches less than 95 % of OOD. oodeel."""
    caught, refused = roc_every_fourth(id_scores, ood_scores)
    return 100 * float(refused[np.argmax(caught < 0.95)])


def auroc_every_fourth(id_scores, ood_scores) -> float:
    """Area under `roc_every_fourth`. oodeel."""
    caught, refused = roc_every_fourth(id_scores, ood_scores)
    return 100 * float(-np.trapezoid(1 - refused, caught))


# ---- AUPR, and what is done to scores

def aupr_as_given(id_scores, ood_scores) -> float:
    """Average precision at the base rate that the sets happen to have. scikit-learn and all who call it."""
    return metrics.aupr_in(id_scores, ood_scores, len(id_scores) / len(ood_scores))


def aupr_trapezoid(id_scores, ood_scores) -> float:
    """Area by trapezoids under the curve of precision against recall, from precision 1 at recall 0; base rate as given.

    OpenOOD, pytorch-ood, detectors, ood-metrics. It joins by a line points between which precision is no line.
    """
    tpr, fpr = metrics.roc(id_scores, ood_scores)
    accepted = len(id_scores) * tpr[1:] + len(ood_scores) * fpr[1:]
    precision = np.concatenate([[1.0], len(id_scores) * tpr[1:] / accepted])
    return 100 * float(np.trapezoid(precision, tpr))


def aupr_out_unnegated(id_scores, ood_scores) -> float:
    """AUPR with OOD positive, yet with high scores taken for OOD: the sign was forgotten. detectors."""
    return aupr_trapezoid(ood_scores, id_scores)


def after_sigmoid(metric):
    """The metric of sigmoid(score) if any score lies outside [0, 1], in the scores' own precision. torchmetrics.

    A sigmoid keeps the order, but in float32 all scores from about 17 become 1 and tie; negative ones keep apart down
    to about -100. Within a unit of these limits the ties depend on how the machine rounds.
    """
    def squashed(id_scores, ood_scores):
        id_scores, ood_scores = np.asarray(id_scores), np.asarray(ood_scores)
        both = np.concatenate([id_scores, ood_scores])
        if both.min() < 0 or both.max() > 1:
            both = torch.from_numpy(both).sigmoid().numpy()
        return metric(both[:len(id_scores)], both[len(id_scores):])
    return squashed


# ---- detection error

def detection_error_weighed(id_scores, ood_scores) -> float:
    """Smallest share of all images, ID and OOD together, on the wrong side of a threshold. detectors.

    `metrics.detection_error` gives both kinds the weight one half, as the papers do.
    """
    tpr, fpr = metrics.roc(id_scores, ood_scores)
    id_share = len(id_scores) / (len(id_scores) + len(ood_scores))
    return 100 * float(np.min(id_share * (1 - tpr) + (1 - id_share) * fpr))


def detection_error_exchanged(id_scores, ood_scores) -> float:
    """Detection error at 95 % ID recall or more, refused ID weighed by the share of OOD and the reverse. ood-metrics.

    Smallest value over those thresholds.
    """
    tpr, fpr = metrics.roc(id_scores, ood_scores)
    id_share = len(id_scores) / (len(id_scores) + len(ood_scores))
    return 100 * float(np.min(((1 - id_share) * (1 - tpr) + id_share * fpr)[tpr >= 0.95]))


# ---- GradNorm, calibration

def gradnorm_batches(logits, features, batch_size: int) -> np.ndarray:
    """One GradNorm score for each full batch of images: the L1 norm of the batch's mean gradient. logitnorm_ood.

    logits N x K, features N x D in the order of evaluation; N // batch_size values, the remainder is left out.
    The gradient of one image is the outer product of K p - 1 and its features (scores.gradnorm); their mean
    over a batch is one matrix product. Opposite gradients cancel, and a set has as many scores as batches.
    """
    count = len(logits) // batch_size
    f = np.asarray(logits[:count * batch_size], dtype=np.float64).reshape(count, batch_size, np.shape(logits)[1])
    phi = np.asarray(features[:count * batch_size], dtype=np.float64).reshape(count, batch_size, np.shape(features)[1])
    error = f.shape[2] * softmax(f, axis=2) - 1
    return np.abs(error.transpose(0, 2, 1) @ phi).sum(axis=(1, 2)) / batch_size


def ece_of_logits(logits, labels) -> float:
    """Expected calibration error with the largest logit as confidence, logits N x K, labels N. OpenOOD.

    15 bins are [lo, hi) in [0, 1); images whose largest logit lies outside fall in no bin and do not count, and where
    all do the result is 0. metrics.ece takes the largest probability.
    """
    confidence, correct = np.max(logits, axis=1).astype(np.float64), np.argmax(logits, axis=1) == labels
    inside = (confidence >= 0) & (confidence < 1)
    if not inside.any():
        return 0.0
    b = np.searchsorted(np.linspace(0, 1, 16), confidence[inside], side="right") - 1
    return 100 * float(np.abs(np.bincount(b, weights=(correct - confidence)[inside])).sum() / inside.sum())


# ---- which package is described by which functions

# Of packages on PyPI: benchmarks/peers.py runs them, and the tests hold these functions against what they gave.
PEERS = {
    "pytorch-ood": {"fpr95": ood_positive(metrics.fpr95), "auroc": metrics.auroc, "aupr_in": aupr_trapezoid,
                    "aupr_out": ood_positive(aupr_trapezoid)},
    "oodeel": {"fpr95": fpr95_every_fourth, "auroc": auroc_every_fourth},
    "torch-uncertainty": {"fpr95": ood_positive(metrics.fpr95), "auroc": ood_positive(after_sigmoid(metrics.auroc)),  # of minus the score
                          "aupr_out": ood_positive(after_sigmoid(aupr_as_given))},
    "torchmetrics": {"auroc": after_sigmoid(metrics.auroc), "aupr_in": after_sigmoid(aupr_as_given)},
    "detectors": {"fpr95": metrics.fpr95, "auroc": metrics.auroc, "aupr_in": aupr_trapezoid,
                  "aupr_out": aupr_out_unnegated, "detection_error": detection_error_weighed},
    "ood-metrics": {"fpr95": fpr95_interpolated, "auroc": metrics.auroc, "aupr_in": aupr_trapezoid,
                    "detection_error": detection_error_exchanged},
    "scikit-learn": {"auroc": metrics.auroc, "aupr_in": aupr_as_given, "aupr_out": ood_positive(aupr_as_given)},
}
# Of code that is on no package index: read, and stated here without running it.
READ_ONLY = {
    "OpenOOD 1.5": PEERS["pytorch-ood"],
    "outlier-exposure": {"fpr95": ood_positive(fpr95_nearest), "auroc": metrics.auroc,
                         "aupr_out": ood_positive(aupr_as_given)},
    "logitnorm_ood, energy_ood": {"fpr95": fpr95_nearest, "auroc": metrics.auroc, "aupr_in": aupr_as_given},
    "Learned Confidence, ODIN": {"fpr95": fpr95_window},
    "knn-ood": {"fpr95": fpr95_strict},
}
# Every way to say FPR95, for one comparison under all of them.
FPR95 = {
    "this book; detectors": metrics.fpr95,
    "recall nearest to 95 % (logitnorm_ood)": fpr95_nearest,
    "equal scores refused (knn-ood)": fpr95_strict,
    "between two points (ood-metrics)": fpr95_interpolated,
    "mean of a window (Learned Confidence)": fpr95_window,
    "OOD positive (OpenOOD, pytorch-ood)": ood_positive(metrics.fpr95),
    "OOD positive, nearest (outlier-exposure)": ood_positive(fpr95_nearest),
    "OOD positive, every 4th (oodeel)": fpr95_every_fourth,
}


# ---- the draws of the official code

def aupr_of_draws(id_scores, ood_scores) -> tuple[float, float]:
    """AUPR with ID positive as the official code estimates it: mean and standard deviation (ddof 1) of ten draws, percent.

    Each draw takes a fifth as many OOD images as there are ID images (2,000 against 10,000), without
    replacement; there must be so many. The standard deviation is the noise of the draws; it says nothing about training
    seeds. `metrics` uses every image instead, and so needs no draws.
    """
    rng = np.random.default_rng(0)
    values = [aupr_as_given(id_scores, rng.choice(ood_scores, len(id_scores) // 5, replace=False)) for _ in range(10)]
    return float(np.mean(values)), float(np.std(values, ddof=1))


# ---- on runs

def scores_of(run, score: str, ood_set: str) -> tuple[np.ndarray, np.ndarray]:
    """(ID scores, OOD scores) of a run; "msp_float32" is the float64 MSP rounded to float32, and so for each score.

    A softmax that is computed in float32 throughout can only tie more, and differs in the last bit between machines.
    """
    name = score.removesuffix("_float32")
    both = (run.score(name, image_set) for image_set in (run.config.id_dataset, ood_set))
    return tuple(values.astype(np.float32) if score.endswith("_float32") else values for values in both)


OWN = {"fpr95": metrics.fpr95, "auroc": metrics.auroc, "aupr_in": aupr_as_given, "aupr_out": ood_positive(aupr_as_given),
       "detection_error": metrics.detection_error}  # this book's, at the base rate that two sets have


def beside(measured: list[dict], runs: list, metric: str, score: str, ood_set: str) -> pd.DataFrame:
    """One row per peer that has the metric, and this book's: for each run what the package gave and what we compute.

    measured: the rows of data/benchmarks/peers.json. Where no package was run on any of the runs there is no column
    for packages. AUPR, this book's too, is at the base rate that the two sets happen to have.
    """
    given = {(row["run"], row["peer"]): row["values"].get(metric) for row in measured
             if row["score"] == score and row["ood_set"] == ood_set}
    was_run = any((run.id, peer) in given for run in runs for peer in PEERS)
    lines = []
    for peer, functions in {"this book": OWN, **PEERS, **READ_ONLY}.items():
        if metric not in functions:
            continue
        line = {"code": peer}
        for run in runs:
            label = paper.LABELS[run.config.method]
            if was_run:
                other = "–" if peer == "this book" else "not on PyPI" if peer in READ_ONLY else "not run"
                line[f"{label}, package"] = given.get((run.id, peer), other)
            value = functions[metric](*scores_of(run, score, ood_set))
            line[f"{label}, our function"] = "no threshold" if math.isnan(value) else value
        lines.append(line)
    return pd.DataFrame(lines)


def differences(measured: list[dict], runs: list) -> pd.DataFrame:
    """Every measured value of these runs beside our function's: peer, metric, score, ood_set, run, package, ours."""
    found = {run.id: run for run in runs}
    columns = ["peer", "metric", "score", "ood_set", "run", "package", "ours"]
    lines = []
    for row in (row for row in measured if row["run"] in found):
        both = scores_of(found[row["run"]], row["score"], row["ood_set"])
        lines += [{**row, "metric": metric, "package": value, "ours": PEERS[row["peer"]][metric](*both)}
                  for metric, value in row["values"].items()]
    return pd.DataFrame(lines, columns=columns)


def fpr95_by_convention(runs: list, score: str) -> pd.DataFrame:
    """FPR95 of each run under each of FPR95, averaged over the run's OOD sets: convention, method, seed, fpr95."""
    return pd.DataFrame([
        {"convention": name, "method": run.config.method, "seed": run.config.seed,
         "fpr95": float(np.mean([function(*scores_of(run, score, ood_set)) for ood_set in run.config.ood_sets]))}
        for name, function in FPR95.items() for run in runs])


def overview(runs: list, score: str, ood_set: str) -> pd.DataFrame:
    """One row per code and this book's: each metric that it has of each run by our function, columns (metric, loss) for plots.table."""
    scores = {paper.LABELS[run.config.method]: scores_of(run, score, ood_set) for run in runs}
    lines = []
    for code, functions in {"this book": OWN, **PEERS, **READ_ONLY}.items():
        values = {(paper.title(metric), label): f"{functions[metric](*both):.1f}" if metric in functions else "–"
                  for metric in ("fpr95", "auroc", "aupr_in", "aupr_out") for label, both in scores.items()}
        if set(values.values()) != {"–"}:
            lines.append({("", "code"): code} | values)
    table = pd.DataFrame(lines)
    table.columns = pd.MultiIndex.from_tuples([(metric, label.replace("Norm", "\u00adNorm")) for metric, label in table.columns])
    return table  # a soft hyphen, so that eight columns fit the page


def finding(runs: list, ood_set: str, frames: list[pd.DataFrame]) -> str:
    """The page's finding as Markdown: both FPR95s of the first run by MSP, its AUROC, and whether the order of the losses depends on
    the rule; frames: of `fpr95_by_convention`.
    """
    if not runs:
        return f"**FPR95 is a word for two numbers**; our own scores: {paper.NOT_RUN}."
    both = scores_of(runs[0], "msp", ood_set)
    same, other = metrics.fpr95(*both), ood_positive(metrics.fpr95)(*both)
    depends = [one for frame in frames for one in orders(frame)["rules"].between(1, len(FPR95) - 1)]
    word = f" Which loss is better by FPR95 depends on the program in {sum(depends) or 'none'} of {len(depends)} comparisons (each score and seed is one)." if depends else ""
    return (f"**The same scores have an FPR95 of {same:.1f} or of {other:.1f} %, depending on which class the program calls positive; their AUROC is "
            f"{metrics.auroc(*both):.1f} % in every program** ({paper.LABELS[runs[0].config.method]}, MSP, {paper.title(ood_set)}).{word}")


def orders(frame: pd.DataFrame) -> pd.DataFrame:
    """Per seed under how many rules of `fpr95_by_convention` LogitNorm's FPR95 is below cross-entropy's: columns seed, rules.

    Empty where one of the losses has not run.
    """
    if not {"logitnorm", "cross_entropy"} <= set(frame["method"]):
        return pd.DataFrame({"seed": [], "rules": []})
    wide = frame.pivot(index=["convention", "seed"], columns="method", values="fpr95").dropna()
    lower = (wide["logitnorm"] < wide["cross_entropy"]).groupby("seed").sum()
    return lower.rename("rules").reset_index()


def orders_in_words(frame: pd.DataFrame) -> str:
    """'seed 1 under 8, seed 2 under 8 of 8 rules: which loss is better does not depend on the rule'."""
    found = orders(frame)
    if found.empty:
        return f"both losses: {paper.NOT_RUN}"
    word = "depends" if found["rules"].between(1, len(FPR95) - 1).any() else "does not depend"
    each = ", ".join(f"seed {row.seed} under {row.rules}" for row in found.itertuples())
    return f"LogitNorm's FPR95 is below that of cross-entropy with {each} of {len(FPR95)} rules: which loss is better {word} on the rule"


def ties_by_precision(runs: list, ood_set: str) -> pd.DataFrame:
    """MSP in float64 and rounded to float32: how many scores tie, and what the ties do to FPR95 and AUROC."""
    rows = []
    for run in runs:
        for score in ("msp", "msp_float32"):
            both = scores_of(run, score, ood_set)
            rows.append({"loss, precision": f"{paper.method_title(run.config)}, float{32 if '_' in score else 64}",
                         "scores that tie (%)": metrics.ties(*both), "FPR95 (%)": metrics.fpr95(*both),
                         "FPR95, OOD positive (%)": ood_positive(metrics.fpr95)(*both), "AUROC (%)": f"{metrics.auroc(*both):.4f}"})
    return pd.DataFrame(rows)


def ece_by_code(runs: list, measured: list[dict]) -> pd.DataFrame:
    """ECE of the raw logits on the ID test set: ours, torchmetrics' where it was run (rows `ece` of peers.json), OpenOOD's."""
    theirs = {row["run"]: row["values"]["float32"] for row in measured}
    rows = []
    for run in runs:
        logits, labels = (run.tensor(f"{run.config.id_dataset}/{name}") for name in ("logits", "labels"))
        package = {"torchmetrics": theirs[run.id]} if run.id in theirs else {}
        rows.append({"loss": paper.method_title(run.config), "this book": metrics.ece(logits, labels), **package,
                     "largest logit (OpenOOD)": ece_of_logits(logits, labels),
                     "images with largest logit below 1": f"{(logits.max(axis=1) < 1).sum():,} of {len(labels):,}"})
    return pd.DataFrame(rows)


def spread_by_divisor(frame: pd.DataFrame) -> pd.DataFrame:
    """The spread over seeds of the book's FPR95 in a frame of `fpr95_by_convention`, with divisor n - 1 and n."""
    ours = frame[frame["convention"] == next(iter(FPR95))]
    return pd.DataFrame([{"loss": paper.LABELS[method], "seeds": str(len(part)), "mean FPR95": part["fpr95"].mean(),
                          "± of this book": part["fpr95"].std() if len(part) > 1 else "one seed",
                          "± of OpenOOD": part["fpr95"].std(ddof=0) if len(part) > 1 else "one seed"}
                         for method, part in ours.groupby("method")])


def in_words(frame: pd.DataFrame) -> str:
    """One sentence on a frame of `fpr95_by_convention`: for each positive class the range of each method's means."""
    means = frame.groupby(["convention", "method"], sort=False)["fpr95"].mean().dropna().reset_index()
    kinds = means["convention"].str.startswith("OOD positive").map({False: "ID", True: "OOD"})
    return "; ".join(f"{paper.LABELS[method]} {part['fpr95'].min():.1f} to {part['fpr95'].max():.1f} % with {kind} "
                     "as positive" for (kind, method), part in means.groupby([kinds, "method"])) + "."


def gradnorm_both(run) -> pd.DataFrame:
    """GradNorm by image and by batch of 200 for each OOD set of a run that keeps all features: FPR95, AUROC, number of scores.

    OOD images are shuffled before they are cut into batches, the ID test set is not, as in logitnorm_ood.
    """
    def by_batch(image_set, order=slice(None)):
        logits, features = (run.tensor(f"{image_set}/{name}")[order] for name in ("logits", "features"))
        return gradnorm_batches(logits, features, 200)

    lines, batches = [], by_batch(run.config.id_dataset)
    for ood_set in run.config.ood_sets:
        images = scores_of(run, "gradnorm", ood_set)
        other = by_batch(ood_set, np.random.default_rng(0).permutation(len(images[1])))
        lines.append({"OOD set": paper.named(ood_set), "FPR95, by image": metrics.fpr95(*images),
                      "AUROC, by image": metrics.auroc(*images),
                      "batches, ID and OOD": f"{len(batches)} and {len(other)}",
                      "FPR95, by batch": metrics.fpr95(batches, other) if len(other) else "no full batch",
                      "AUROC, by batch": metrics.auroc(batches, other) if len(other) else "no full batch"})
    return pd.DataFrame(lines)


def aupr_by_base_rate(runs: list) -> pd.DataFrame:
    """AUPR of MSP with ID positive on each run's largest OOD set under four base rates, one row per run."""
    lines = []
    for run in runs:
        ood_set = max(run.config.ood_sets, key=lambda name: len(run.score("msp", name)))
        both = scores_of(run, "msp", ood_set)
        count = [len(values) for values in both]
        enough = count[1] >= count[0] // 5
        mean, sd = aupr_of_draws(*both) if enough else (math.nan, math.nan)
        lines.append({"loss": paper.method_title(run.config),
                      "OOD set": f"{paper.title(ood_set)}, {count[0]:,} ID and {count[1]:,} OOD images",
                      "ten random fifths (the paper's code)": f"{mean:.2f} ± {sd:.2f}" if enough else "too few images",
                      "all, weighed 5:1": metrics.aupr(*both), "all, as they are": aupr_as_given(*both),
                      "all, weighed 1:1": metrics.aupr_in(*both)})
    return pd.DataFrame(lines)
