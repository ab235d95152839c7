"""Detection and calibration metrics, all in percent.

In-distribution (ID) is the positive class and higher scores mean ID, as in the paper's code. OpenOOD and
pytorch-ood take OOD as positive: their FPR95 is another quantity, only the AUROC can be compared.
Equal scores are never ordered: a threshold accepts or rejects all of them together.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from .scores import energy, matrix, msp

PAPER_ID_PER_OOD = 5.0  # 10,000 ID test images against 2,000 OOD images: chance AUPR is 83.33 %


def roc(id_scores: ArrayLike, ood_scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The shares (0 to 1) of ID and of OOD accepted, for thresholds from above all scores to the lowest one.

    Two arrays (tpr, fpr), one entry per distinct score after the leading (0, 0); the last entry is (1, 1). They are
    those of scikit-learn's roc_curve, in a quarter of its time; with its functions for the areas every build would
    take a minute longer to measure the hundred committed runs again.
    """
    inside, outside = _scores("ID", id_scores), _scores("OOD", ood_scores)
    both, n = np.concatenate([inside, outside]), len(inside)
    order = np.argsort(both)[::-1]
    last = np.append(np.flatnonzero(both[order][1:] != both[order][:-1]), len(both) - 1)  # of those with one score
    accepted = np.cumsum(order < n)[last]
    # Counts before division: 19/20 is then the same double as 0.95.
    return np.append(0.0, accepted / n), np.append(0.0, (last + 1 - accepted) / (len(both) - n))


def threshold95(id_scores: ArrayLike) -> float:
    """The highest threshold that accepts at least 95 % of ID (score >= threshold)."""
    id_scores = _scores("ID", id_scores)
    rejected = len(id_scores) // 20  # floor(0.05 n) scores may lie below it; integers, so no rounding
    return float(np.partition(id_scores, rejected)[rejected])


def fpr95(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Percent of OOD accepted by the highest threshold that accepts at least 95 % of ID.

    The official code takes the threshold whose recall is nearest to 95 % instead; without ties the two
    thresholds are at most one ID score apart.
    """
    return 100 * float(np.mean(_scores("OOD", ood_scores) >= threshold95(id_scores)))


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Percent of pairs in which the ID score is above the OOD score, ties counting one half."""
    return _area(*roc(id_scores, ood_scores))


def _area(tpr: np.ndarray, fpr: np.ndarray) -> float:
    return 100 * float(np.trapezoid(tpr, fpr))


def aupr_in(id_scores: ArrayLike, ood_scores: ArrayLike, id_per_ood: float = 1.0) -> float:
    """Average precision (percent) with ID positive, as if there were id_per_ood ID images per OOD image.

    sum_i (R_i - R_{i-1}) P_i over the thresholds, as in scikit-learn's average_precision_score. Precision
    depends on the base rate, so the classes are weighed to the stated one: all images count, and
    id_per_ood = 5 is the limit of the paper's random draws of 2,000 OOD images against 10,000 ID.
    """
    if not id_per_ood > 0:
        raise ValueError(f"the number of ID images per OOD image must be positive, got {id_per_ood}")
    return _average_precision(*roc(id_scores, ood_scores), id_per_ood)


def _average_precision(tpr: np.ndarray, fpr: np.ndarray, id_per_ood: float) -> float:
    precision = id_per_ood * tpr[1:] / (id_per_ood * tpr[1:] + fpr[1:])
    return 100 * float(np.sum(np.diff(tpr) * precision))


def aupr(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """The paper's AUPR (percent): ID positive at 5 ID images per OOD image."""
    return aupr_in(id_scores, ood_scores, PAPER_ID_PER_OOD)


def aupr_out(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Average precision (percent) with OOD positive and as many OOD images as ID images."""
    return aupr_in(-_scores("OOD", ood_scores), -_scores("ID", id_scores))


def detection_error(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Smallest (share of ID rejected + share of OOD accepted) / 2 over all thresholds, percent; at most 50.

    DeVries & Taylor (2018), after Liang et al. (2018).
    """
    return _least_error(*roc(id_scores, ood_scores))


def _least_error(tpr: np.ndarray, fpr: np.ndarray) -> float:
    return 100 * float(np.min((1 - tpr + fpr) / 2))


def ties(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Percent of all scores, ID and OOD together, that equal at least one other."""
    scores = np.concatenate([_scores("ID", id_scores), _scores("OOD", ood_scores)])
    counts = np.unique(scores, return_counts=True)[1]
    return 100 * float(counts[counts > 1].sum() / len(scores))


def ood_metrics(id_scores: ArrayLike, ood_scores: ArrayLike) -> dict[str, float]:
    """Every detection metric by name, percent: aupr is the paper's (5:1), aupr_in and aupr_out are at 1:1."""
    curve = roc(id_scores, ood_scores)  # one for four of them: the build measures some thousand pairs
    return {"fpr95": fpr95(id_scores, ood_scores), "auroc": _area(*curve),
            "aupr": _average_precision(*curve, PAPER_ID_PER_OOD), "aupr_in": _average_precision(*curve, 1.0),
            "aupr_out": aupr_out(id_scores, ood_scores), "detection_error": _least_error(*curve),
            "ties": ties(id_scores, ood_scores)}


def ece(logits: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error (percent) of softmax(f) for logits N x K and labels N (Guo et al. 2017).

    sum_b (|b| / N) |accuracy(b) - confidence(b)| over equal-width bins (lo, hi] of the largest probability.
    """
    f, y = _logits_labels(logits, labels)
    return ece_of(msp(f), f.argmax(axis=1) == y, bins)


def ece_of(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """ECE (percent) of the largest probabilities (N, in [0, 1]) and of whether each prediction is right (N bool)."""
    edges = np.linspace(0, 1, bins + 1)
    # side="left" gives i with edges[i - 1] < confidence <= edges[i]: the upper edge belongs to the bin.
    b = np.searchsorted(edges[1:-1], confidence, side="left")
    gaps = np.bincount(b, weights=correct - confidence, minlength=bins)
    return 100 * float(np.abs(gaps).sum() / len(correct))


def nll(logits: ArrayLike, labels: ArrayLike, T: float = 1.0) -> float:
    """Mean negative log-likelihood -log softmax_y(f / T) in nats, for logits N x K and labels N."""
    f, y = _logits_labels(logits, labels, T)
    return float(np.mean(energy(f / T) - f[np.arange(len(y)), y] / T))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature T that minimises the mean negative log-likelihood of softmax(f / T).

    The likelihood has one minimum in log T (it is convex in 1/T), searched within a factor 1,000 of the
    logits' own spread, so that LogitNorm's small logits with T far below 1 are found as well. Where every
    prediction is right (T -> 0), or the logits are worse than no information (T -> infinity), there is no
    minimum and a temperature near that end of the range comes out.
    """
    f, y = _logits_labels(logits, labels)
    f = f - f.mean(axis=1, keepdims=True)
    spread = f.std()
    if spread == 0:
        raise ValueError("every image has equal logits for all classes, so no temperature changes anything")
    centre = np.log(spread)
    best = minimize_scalar(lambda log_T: nll(f, y, np.exp(log_T)), method="bounded",
                           bounds=(centre - np.log(1000), centre + np.log(1000)), options={"xatol": 1e-7})
    return float(np.exp(best.x))


def calibration(logits: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """ECE before and after temperature scaling of ID test logits: {"ece", "ece_ts", "temperature"}."""
    T = cross_fitted_temperature(logits, labels)
    f, y = _logits_labels(logits, labels)
    return {"ece": ece(f, y), "ece_ts": ece(f / T, y), "temperature": geometric_mean(T)}


def geometric_mean(T: np.ndarray) -> float:
    """Of the two temperatures that `cross_fitted_temperature` gives the images, N x 1: both halves count alike."""
    return float(np.sqrt(T.min() * T.max()))


def cross_fitted_temperature(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """The temperature by which each ID test image is scaled, N x 1, fitted on images that it is not among.

    The images are split into two random halves and each half is scaled by the temperature fitted on the
    other, so no image helps to fit its own. ece_ts is over all images together (the ECE of fewer images is
    larger by chance alone), temperature is the geometric mean of the two. The official code fits the
    temperature on the very images it then measures.
    """
    f, y = _logits_labels(logits, labels)
    first, second = np.array_split(np.random.default_rng(0).permutation(len(y)), 2)
    T = np.empty((len(y), 1))
    T[first] = fit_temperature(f[second], y[second])
    T[second] = fit_temperature(f[first], y[first])
    return T


def _scores(which: str, scores: ArrayLike) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0:
        raise ValueError(f"the {which} scores must be a non-empty list of numbers, got shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError(f"{np.sum(~np.isfinite(scores))} of {len(scores)} {which} scores are not finite: "
                         "find the images or the score that made them")
    return scores


def _logits_labels(logits: ArrayLike, labels: ArrayLike, T: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    f, y = matrix(logits, T), np.asarray(labels)
    if y.shape != (len(f),):
        raise ValueError(f"there must be one label for each of the {len(f)} rows of logits, got {y.shape}")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= f.shape[1]:
        raise ValueError(f"labels must be integers from 0 to {f.shape[1] - 1}, one per class of the logits")
    return f, y
