"""Learned Confidence at toy size, the price of its hints, and its threshold (DeVries & Taylor 2018).

The toy is the paper's Figure 3: points in a square, labelled by quadrant like XOR, some labels flipped. The author
describes the data in issue 5 of the released code; net, optimiser and number of points are ours, as neither says them.
"""

from copy import deepcopy
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from torch import Tensor, nn

from logitnorm import losses, metrics, models
from logitnorm.train import LAMBDA

from . import scoring


class Toy(NamedTuple):
    """A trained toy: the net maps points N x 2 to (logits N x 2, features, logit of c N)."""

    net: nn.Module
    accuracy: float  # percent, on clean labels of fresh points
    confidence_loss: float  # mean L_c of the last 100 steps, which the budget pulls towards beta
    weight: float  # lambda at the end


class Points(models.Classifier):
    """Two hidden layers of 32, then the same head as every Learned Confidence net of this book."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.fc = models.Confidence(32, 2)


def xor(count: int, flipped: float, jitter: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points uniform in [-1, 1]^2 (count x 2) and labels: 1 where the signs differ.

    Two ways to make them noisy: a share `flipped` of the labels is wrong, anywhere in the square; or, after they
    were labelled, all points move by Gaussian steps of standard deviation `jitter`, which mixes the labels at the
    borders of the quadrants only.
    """
    x = 2 * torch.rand(count, 2, generator=generator) - 1
    y = (x[:, 0] * x[:, 1] < 0).long()
    wrong = torch.rand(count, generator=generator) < flipped
    return x + jitter * torch.randn(count, 2, generator=generator), torch.where(wrong, 1 - y, y)


class Setting(NamedTuple):
    """Of one toy: its noise (see xor), beta, and the share of the batch that may see its label, anew each step."""

    flipped: float = 0.0
    jitter: float = 0.0
    budget: float = 0.3
    hints: float = 0.5


def train_toys(*settings: Setting, seed: int = 1, steps: int = 600) -> list[Toy]:
    """A toy for each setting, on 1,000 noisy points, with the full-batch loss of Learned Confidence.

    All start from the same weights and draw the same numbers, so that only the settings make a difference. They are
    trained side by side as one stack of parameters, in a fraction of the time of one after the other.
    """
    torch.manual_seed(seed)
    nets = [Points()]
    nets += [deepcopy(nets[0]) for _ in settings[1:]]
    draw = torch.Generator()
    points = [xor(1000, setting.flipped, setting.jitter, draw.manual_seed(seed)) for setting in settings]
    x, y = (torch.stack(part) for part in zip(*points))
    budget, hints = (torch.tensor([[getattr(setting, name)] for setting in settings]) for name in ("budget", "hints"))
    parameters, _ = torch.func.stack_module_state(nets)
    weight, history = torch.full((len(nets),), LAMBDA), []

    def of_one(parameters, x, y, hinted):
        f, _, c = torch.func.functional_call(nets[0], parameters, (x,))
        return losses.learned_confidence(f, c, y, hinted)

    optimizer = torch.optim.Adam(parameters.values(), 0.003)
    for _ in range(steps):
        L_t, L_c = torch.vmap(of_one)(parameters, x, y, torch.rand(x.shape[1], generator=draw) < hints)
        optimizer.zero_grad()
        (L_t + weight * L_c).sum().backward()
        optimizer.step()
        weight = losses.next_lambda(weight, L_c.detach(), budget[:, 0])
        history.append(L_c.detach())
    fresh, label = xor(5000, 0.0, 0.0, draw)
    met = torch.stack(history[-100:]).mean(dim=0)
    for i, net in enumerate(nets):
        net.load_state_dict({name: values[i].detach() for name, values in parameters.items()})
    with torch.no_grad():
        return [Toy(net, 100 * (net(fresh)[0].argmax(1) == label).double().mean().item(), met[i].item(), weight[i].item())
                for i, net in enumerate(nets)]


def grid(net: nn.Module) -> np.ndarray:
    """c on a grid of 81 x 81 points over [-1, 1]^2; row 0 is at the bottom."""
    axis = torch.linspace(-1, 1, 81)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)
    with torch.no_grad():
        return net(points)[2].sigmoid().reshape(81, 81).numpy()


def threshold_from_errors(score, correct) -> float:
    """The threshold that best separates right from wrong predictions on ID images: no OOD image is needed.

    score: N, higher for ID; correct: N bool. Minimises the detection error, the mean of the share of right
    predictions below and of wrong ones at or above the threshold, as DeVries and Taylor propose in their abstract; an
    image is accepted at or above it. Raises ValueError where all predictions are right, or all wrong.
    """
    score, correct = np.asarray(score, dtype=np.float64), np.asarray(correct, dtype=bool)
    if correct.all() or not correct.any():
        raise ValueError("a threshold from errors needs both right and wrong predictions on ID images")
    candidates = np.append(np.unique(score), np.inf)
    right, wrong = np.sort(score[correct]), np.sort(score[~correct])
    return float(candidates[np.argmin(_error(right, wrong, candidates))])


def detection_error_at(id_score, ood_score, threshold: float) -> float:
    """Mean of the share of ID below and of OOD at or above a threshold, percent."""
    error = _error(np.sort(id_score), np.sort(ood_score), np.array([threshold]))
    return float(100 * error[0])


class ThresholdCurve(NamedTuple):
    """The detection error (percent) at each threshold, and the range of thresholds around the best one that are
    nearly as good.
    """

    threshold: np.ndarray
    error: np.ndarray
    flat: tuple[float, float]


def threshold_curve(id_score, ood_score, points=201) -> ThresholdCurve:
    """The detection error against a threshold in [0, 1] (Figure 4 of the paper). Nearly as good: at most 2
    points above the lowest."""
    threshold = np.linspace(0, 1, points)
    error = 100 * _error(np.sort(id_score), np.sort(ood_score), threshold)
    best = np.argmin(error)
    bad = np.flatnonzero(error > error[best] + 2)
    low, high = bad[bad < best].max(initial=-1) + 1, bad[bad > best].min(initial=points) - 1
    return ThresholdCurve(threshold, error, (float(threshold[low]), float(threshold[high])))


def _error(inside: np.ndarray, outside: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    below = np.searchsorted(inside, thresholds, side="left") / len(inside)
    above = 1 - np.searchsorted(outside, thresholds, side="left") / len(outside)
    return (below + above) / 2


def best_confidence(p, weight: float):
    """The c that costs least where a hint may be seen: min(1, lambda / ((1 + lambda)(1 - p))), p the probability of the true class.

    The root of the derivative of -log(c p + 1 - c) - lambda log c; p: array in [0, 1].
    """
    with np.errstate(divide="ignore"):  # at p = 1 a hint is worth nothing: c = 1
        return np.minimum(1, weight / ((1 + weight) * (1 - np.asarray(p, dtype=float))))


def hinted_loss(p, c, weight: float):
    """The loss of an example that may see its hint, -log(c p + 1 - c) - lambda log c, in nats; arrays that fit each other."""
    return -np.log(c * p + 1 - c) - weight * np.log(c)


MIDDLES, AXIS = np.ix_((20, 60), (20, 60)), 40  # of a grid of side 81: the middles of the quadrants, and their borders


def middle_and_border(c: np.ndarray) -> tuple[float, float]:
    """Mean c in the middles of the four quadrants and on the borders between them, of `grid` at side 81."""
    return float(c[MIDDLES].mean()), float(np.concatenate([c[AXIS], c[:, AXIS]]).mean())


def toy_finding(flipped: np.ndarray, moved: np.ndarray) -> str:
    """What kind of doubt c learned, from its grids under flipped labels and under moved points, as Markdown."""
    inside, border = middle_and_border(moved)
    return (f"**Moved points** give low confidence where the classes meet: c is {inside:.2f} in the middles of the quadrants and "
            f"{border:.2f} on their borders. **Flipped labels** make every place equally doubtful, and then the budget fixes the "
            f"answer: c is {flipped.mean():.2f} on average with a standard deviation of {flipped.std():.2f}, near exp(−β) = "
            f"{np.exp(-Setting().budget):.2f}, the constant that costs exactly the budget. Such a c hardly ranks.")


class FromErrors(NamedTuple):
    """A threshold from the errors among one half of a run's ID test images, tried on the other half and the far OOD sets."""

    score: str
    threshold: float  # of c or of the MSP, between 0 and 1
    error: float  # detection error there, percent, on all far OOD images together
    curve: ThresholdCurve
    by_set: pd.DataFrame  # columns ood_dataset, error, best (the lowest error of any threshold), percent


def from_errors(run) -> FromErrors:
    """`threshold_from_errors` on every second ID test image of a run, by c where the network has it, else by MSP."""
    score = "confidence" if "confidence" in scoring.OWN_SCORES.get(run.config.method, ()) else "msp"
    as_share = expit if score == "confidence" else np.asarray  # c is stored as its logit
    inside, half = as_share(run.score(score, run.config.id_dataset)), np.arange(len(run.correct)) % 2 == 0
    threshold = threshold_from_errors(inside[half], run.correct[half])
    outside = {name: as_share(run.score(score, name)) for name in run.config.ood_sets}
    by_set = pd.DataFrame([{"ood_dataset": name, "error": detection_error_at(inside[~half], values, threshold),
                            "best": metrics.detection_error(inside[~half], values)} for name, values in outside.items()])
    everything = np.concatenate(list(outside.values()))
    return FromErrors(score, threshold, detection_error_at(inside[~half], everything, threshold),
                      threshold_curve(inside[~half], everything), by_set)
