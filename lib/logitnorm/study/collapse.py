"""Do the features collapse? Lengths and spread of the penultimate features, on ID and on OOD images.

Features are the inputs of the last linear layer, N x D, as runs with `keep_features` store them. Only K - 1
directions are needed to tell K classes apart; a network whose features vary in little else has collapsed onto
them. Ding et al. (CVPR 2026) report this of networks trained with LogitNorm.
"""

import numpy as np
import pandas as pd

from logitnorm import data

from . import paper


def spectrum(features: np.ndarray) -> np.ndarray:
    """Standard deviation along each principal direction, largest first: min(N, D) values.

    These are the singular values of the centred N x D matrix divided by sqrt(N). Raises ValueError for anything
    but a finite matrix of at least two rows.
    """
    features = _matrix(features)
    return np.linalg.svd(features - features.mean(axis=0), compute_uv=False) / np.sqrt(len(features))


def effective_rank(deviations: np.ndarray) -> float:
    """How many directions share the variance: (sum v)^2 / sum v^2 of the variances v, the participation ratio.

    1 if one direction has it all, d if d directions have equal parts; deviations as `spectrum` gives them.
    """
    variances = np.square(np.asarray(deviations, dtype=float))
    if not variances.sum() > 0:
        raise ValueError("the features do not vary at all, so no direction can be counted")
    return float(variances.sum() ** 2 / np.square(variances).sum())


def share(deviations: np.ndarray, directions: int) -> float:
    """Percentage of the variance that lies in the first `directions` principal directions."""
    variances = np.square(np.asarray(deviations, dtype=float))
    return float(100 * variances[:directions].sum() / variances.sum())


def within_to_between(features: np.ndarray, labels: np.ndarray) -> float:
    """Variance of the features within the classes, divided by the variance between the classes' means (traces).

    0 if every image of a class has the same features. Classes weigh by their number of images.
    """
    features, labels = _matrix(features), np.asarray(labels)
    if labels.shape != (len(features),):
        raise ValueError(f"there must be one label for each of the {len(features)} rows of features, "
                         f"got shape {labels.shape}")
    means = pd.DataFrame(features).groupby(labels).transform("mean").to_numpy()
    return float(np.square(features - means).sum() / np.square(means - features.mean(axis=0)).sum())


def keeping(loaded: list, every_set: bool = False) -> list:
    """Of some runs, those that kept their features; every_set: of all images of all sets, as runs of format 1 do."""
    return [run for run in loaded if run.config.keep_features and not (every_set and run.format > 1)]


def table(run) -> pd.DataFrame:
    """One line per image set whose features a run kept, ID first: lengths of the features, effective rank, share of K - 1 directions.

    The OOD sets' spread is measured around their own mean. The last column is for the ID set only.
    """
    K = run.config.num_classes
    labels, rows = run.tensor(f"{run.config.id_dataset}/labels"), []
    for name in (name for name in run.sets if run.has(f"{name}/features")):
        features = run.tensor(f"{name}/features")
        lengths = np.linalg.norm(features.astype(np.float64), axis=1)
        deviations = spectrum(features)
        is_id = name == run.config.id_dataset
        rows.append({"image set": paper.named(name), "mean norm": lengths.mean(), "sd of the norm": lengths.std(ddof=1),
                     "effective rank": effective_rank(deviations),
                     f"variance in {K - 1} directions (%)": share(deviations, K - 1),
                     "within / between classes":
                         within_to_between(features, labels[data.evenly(len(labels), len(features))])
                         if is_id else "–"})
    return pd.DataFrame(rows)


def _matrix(features) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)  # they are stored as float16, too coarse to compute in
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be a matrix of N >= 2 images by D features, got shape {features.shape}")
    if bad := np.sum(~np.isfinite(features)):
        raise ValueError(f"features must be finite; {bad} of {features.size} are not")
    return features
