"""Learned Confidence at toy size, and its threshold (DeVries & Taylor 2018).

The toy is the paper's Figure 3: points in a square, labelled by quadrant like XOR, some labels flipped. The author
describes the data in issue 5 of the released code; net, optimiser and number of points are ours, as neither says them.
"""

from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from logitnorm import losses, models
from logitnorm.train import LAMBDA


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


def grid(net: nn.Module, side: int = 81) -> np.ndarray:
    """c on a side x side grid over [-1, 1]^2; row 0 is at the bottom."""
    axis = torch.linspace(-1, 1, side)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)
    with torch.no_grad():
        return net(points)[2].sigmoid().reshape(side, side).numpy()


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
    low = high = int(np.argmin(error))
    good = error <= error[low] + 2
    while low > 0 and good[low - 1]:
        low -= 1
    while high < points - 1 and good[high + 1]:
        high += 1
    return ThresholdCurve(threshold, error, (float(threshold[low]), float(threshold[high])))


def _error(inside: np.ndarray, outside: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    below = np.searchsorted(inside, thresholds, side="left") / len(inside)
    above = 1 - np.searchsorted(outside, thresholds, side="left") / len(outside)
    return (below + above) / 2
