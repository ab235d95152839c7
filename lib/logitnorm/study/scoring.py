"""From a trained net to metrics.csv: the scores of every image set, what a run keeps of them, what they measure.

Format 1 of scores.safetensors holds the logits of every image in float32, 3 MB and more a run. Format 2 holds of each
score its rank among all images of the run: what detection is about is their order, so FPR95, AUROC, AUPR and ties are
exact at two bytes an image. A table of the score at evenly spaced ranks gives the values back for a histogram.
"""

import csv
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.special import expit

from logitnorm import data, metrics, scores
from logitnorm.config import TAU, Config
from logitnorm.runs import Run, RunError

SCORES = ("msp", "odin", "energy", "gradnorm")
# This book's own, of the logits alone: Energy at T = 1 with and without the logits' common offset, and the MSP of the
# softmax that LogitNorm trains.
OFFSET_SCORES = ("energy_t1", "energy_centred", "msp_normalised")
# What a method's own head gives: GODIN's largest cosine; the logit of Learned Confidence's c, without and with a
# step on the input. They are stored as they come, the logit because c itself rounds to 1.
OWN_SCORES = {"godin": ("cosine",), "learned_confidence": ("confidence", "confidence_step")}
# Temperature of the energy score by (method, number of classes), from page 6 of the LogitNorm paper. For
# cross-entropy the paper does not say; 1 is the energy score's own default.
ENERGY_T = {("logitnorm", 10): 0.1, ("logitnorm", 100): 0.01}

FORMAT = 2
KEPT = 500  # so many evenly spaced images of a set leave their features
KNOTS = 1025  # values of a score that are kept beside the ranks


# Which scores a run has -----------------------------------------------------------------------------------------

def energy_temperature(config: Config) -> float:
    """The paper's temperature of the energy score: 0.1 / 0.01 for LogitNorm with 10 / 100 classes, else 1."""
    return ENERGY_T.get((config.method, config.num_classes), 1.0)


def of_method(method: str) -> tuple[str, ...]:
    """The scores of a run: the four that read logits and features, and those of the method's own head.

    Three for GODIN: GradNorm's closed form is the gradient in a linear last layer, which GODIN does not have.
    """
    usual = tuple(score for score in SCORES if (method, score) != ("godin", "gradnorm"))
    return usual + OWN_SCORES.get(method, ())


def of_run(config: Config) -> tuple[str, ...]:
    """What a run of this book is measured by: of_method, and those of OFFSET_SCORES that say something new of it."""
    own = [name for name in OFFSET_SCORES if (name != "energy_t1" or energy_temperature(config) != 1)
           and (name != "msp_normalised" or config.method in TAU)]
    return of_method(config.method) + tuple(own)


# From the net ---------------------------------------------------------------------------------------------------

def input_steps(config: Config) -> dict[str, scores.InputStep]:
    """The scores of a run that take a step on the input, by name."""
    steps = {"odin": scores.odin_step(config.odin_temperature, config.odin_epsilon)}
    if config.method == "learned_confidence":
        steps["confidence_step"] = scores.confidence_step(config.confidence_epsilon)
    return steps


def outputs(config: Config, net: torch.nn.Module, images: torch.Tensor,
            steps: dict[str, scores.InputStep] | None = None) -> dict[str, np.ndarray]:
    """What `score` reads of the images: scores.collect, with the score of a method's own head under its name."""
    found = scores.collect(net, images, steps=steps)
    if config.method in OWN_SCORES:
        found[OWN_SCORES[config.method][0]] = found.pop("own")
    return found


def trained_logits(config: Config, f: np.ndarray) -> np.ndarray:
    """The logits N x K of the softmax that a loss with a tau trains: f / (tau ||f||), without its mean logit where the loss subtracts it."""
    return scores.normalised(scores.centred(f) if config.method == "centred_logitnorm" else f, config.tau)


def score(config: Config, name: str, output: Callable[[str], np.ndarray]) -> np.ndarray:
    """The named score of every image of a set: float64, N values, higher for ID.

    output: gives an array of `outputs` by its name. What needed the net is passed on. Raises KeyError for a score or an
    array that there is not.
    """
    of_logits: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "msp": scores.msp, "energy": lambda f: scores.energy(f, energy_temperature(config)), "energy_t1": scores.energy,
        "energy_centred": lambda f: scores.energy(scores.centred(f)),
        "msp_normalised": lambda f: scores.msp(trained_logits(config, f))}
    if name in of_logits:
        return of_logits[name](output("logits"))
    if name == "gradnorm":
        return scores.gradnorm(output("logits"), output("feature_l1"))
    return np.asarray(output(name), dtype=np.float64)


def score_sets(config: Config, net: torch.nn.Module, test_sets: dict[str, data.ImageSet]) -> dict[str, np.ndarray]:
    """SET/NAME: per image set one forward pass for all scores, one more per step on the input; and the ID labels."""
    labels = test_sets[config.id_dataset].labels
    assert labels is not None
    arrays = {f"{config.id_dataset}/labels": labels.numpy()}
    for name, image_set in test_sets.items():
        found = outputs(config, net, image_set.images, input_steps(config))
        features = found.pop("features")
        arrays |= {f"{name}/{key}": value for key, value in found.items()}
        if config.keep_features:
            arrays[f"{name}/features"] = features.astype(np.float16)
    return arrays


def confidence_summary(c_logit) -> dict:
    """Mean and standard deviation of c = sigmoid(c_logit) over N images, and whether the branch has collapsed.

    Collapsed: c is the same for (nearly) every image, standard deviation below 0.01, so it ranks nothing. This is
    the failure reported in issue 4 of the released code.
    """
    c = expit(np.asarray(c_logit, dtype=np.float64))
    return {"mean": float(c.mean()), "sd": float(c.std()), "collapsed": bool(c.std() < 0.01)}


# What a run keeps -----------------------------------------------------------------------------------------------

def of_set(arrays: Mapping[str, np.ndarray], name: str) -> Callable[[str], np.ndarray]:
    """The arrays of one image set of score_sets, as `score` reads them."""
    return lambda key: arrays[f"{name}/{key}"]


def pack(config: Config, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a run of format 2 keeps of a network's outputs (score_sets).

    NAME/ranks: of each score the dense rank of every image, set after set in the order of config.sets, equal scores
    equal; NAME/knots: the score at evenly spaced ranks. Of the ID test set: labels, whether each prediction is right,
    the largest probability before and after temperature scaling and the negative log-likelihood, of the raw softmax and,
    where the loss has a tau, of the one that it trains. With keep_features, of the ID set and the set of history_ood: the
    logits, and the features of 500 images, in float16.
    """
    ID = config.id_dataset
    packed = {"sizes": np.array([len(arrays[f"{name}/logits"]) for name in config.sets])}
    for name in of_run(config):
        values, ranks = np.unique(np.concatenate([score(config, name, of_set(arrays, each)) for each in config.sets]),
                                  return_inverse=True)
        packed[f"{name}/ranks"] = ranks.astype(np.uint16 if len(values) <= 1 << 16 else np.uint32)
        packed[f"{name}/knots"] = values[np.linspace(0, len(values) - 1, min(KNOTS, len(values))).round().astype(int)]
        packed[f"{name}/distinct"] = np.array(len(values))
    logits, labels = arrays[f"{ID}/logits"], arrays[f"{ID}/labels"]
    packed[f"{ID}/labels"] = labels.astype(np.uint8)
    packed[f"{ID}/correct"] = logits.argmax(axis=1) == labels
    softmaxes = {"": logits} | ({"_normalised": trained_logits(config, logits)} if config.method in TAU else {})
    for which, f in softmaxes.items():
        T = metrics.cross_fitted_temperature(f, labels)
        packed[f"{ID}/msp{which}"] = scores.msp(f).astype(np.float32)
        packed[f"{ID}/msp{which}_ts"] = scores.msp(f / T).astype(np.float32)
        packed[f"{ID}/temperature{which}"] = np.array(metrics.geometric_mean(T))
        packed[f"{ID}/nll{which}"] = np.array(metrics.nll(f, labels))
    if config.keep_features:
        for name in dict.fromkeys((ID, config.history_ood)):
            packed[f"{name}/logits"] = arrays[f"{name}/logits"].astype(np.float16)
            features = arrays[f"{name}/features"]
            packed[f"{name}/features"] = features[data.evenly(len(features), KEPT)].astype(np.float16)
    return packed


def ranks(config: Config, array: Callable[[str], np.ndarray], name: str, image_set: str) -> np.ndarray:
    """A score's ranks of every image of a set of a packed run, whose arrays `array` gives."""
    sizes, at = array("sizes"), config.sets.index(image_set)
    start = sizes[:at].sum()
    return array(f"{name}/ranks")[start:start + sizes[at]]


def values(config: Config, array: Callable[[str], np.ndarray], name: str, image_set: str) -> np.ndarray:
    """A score of every image of a set of a packed run: in the true order, in value as near as the knots are."""
    found, knots = ranks(config, array, name, image_set), array(f"{name}/knots")
    return np.interp(found, np.linspace(0, int(array(f"{name}/distinct")) - 1, len(knots)).round(), knots)


# What they measure ----------------------------------------------------------------------------------------------

def measure(config: Config, arrays: Mapping[str, np.ndarray]) -> list[dict]:
    """metrics.csv: every score and metric of every image set against the ID test set, in percent.

    arrays: the content of scores.safetensors, or what score_sets gives.
    """
    ID = config.id_dataset
    if "sizes" in arrays:
        names, correct = of_run(config), arrays[f"{ID}/correct"]
        calibration = {}
        for which in ("", "_normalised") if config.method in TAU else ("",):
            calibration |= {f"ece{which}": metrics.ece_of(arrays[f"{ID}/msp{which}"], correct),
                            f"ece{which}_ts": metrics.ece_of(arrays[f"{ID}/msp{which}_ts"], correct),
                            f"temperature{which}": arrays[f"{ID}/temperature{which}"],
                            f"nll{which}": arrays[f"{ID}/nll{which}"]}
    else:
        names, labels, logits = of_method(config.method), arrays[f"{ID}/labels"], arrays[f"{ID}/logits"]
        correct, calibration = logits.argmax(1) == labels, metrics.calibration(logits, labels)

    def of(name: str, image_set: str) -> np.ndarray:
        if "sizes" in arrays:
            return ranks(config, arrays.__getitem__, name, image_set)
        return score(config, name, of_set(arrays, image_set))

    rows = [("", "", metric, value) for metric, value in ({"accuracy": 100 * np.mean(correct)} | calibration).items()]
    for name in names:
        inside = of(name, ID)
        for image_set in config.sets[1:]:
            rows += [(name, image_set, metric, value)
                     for metric, value in metrics.ood_metrics(inside, of(name, image_set)).items()]
    return [dict(zip(("score", "ood_dataset", "metric", "value"), (*cell, float(value)))) for *cell, value in rows]


def require_metrics(run: Run) -> None:
    """Raise RunError, naming the cell, where metrics.csv is not what the run's own scores give: a checksum cannot tell."""
    path = run.path / "metrics.csv"
    with open(path, newline="", encoding="utf-8") as file:
        stated = {(row["score"], row["ood_dataset"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}
    measured = {(row["score"], row["ood_dataset"], row["metric"]): row["value"]
                for row in measure(run.config, run.arrays())}
    for cell in measured | stated:
        if cell not in stated or cell not in measured or not math.isclose(stated[cell], measured[cell], rel_tol=1e-6):
            name = " ".join(filter(None, cell))
            raise RunError(f"{path} says {stated.get(cell, 'nothing')} for {name}, but the run's scores give "
                           f"{measured.get(cell, 'nothing')}; restore the file or train the run again")
