"""The temperature by decree: LogitNorm where a label is wrong with a probability that one sets.

Let a label be wrong with probability e, every other class equally likely. The expected loss is then cross-entropy against
q = (1 - e, e/(K-1), ...), which is label smoothing. By Gibbs' inequality it is at least the entropy of q, and equal to it only
where the softmax is q: a regular simplex direction at the inverse temperature `wanted`. LogitNorm reaches it by an offset if
1/tau is larger; else its best is 1/tau with none. Nothing here is fitted.
"""

import json
import math
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from logitnorm import losses, paths
from logitnorm.config import Config
from logitnorm.train import learning_rate

from . import paper

NOISE, TAUS, SEEDS = (0.01, 0.03, 0.1, 0.2, 0.4), (0.01, 0.04, 0.1, 0.3), (1, 2, 3)
EPOCHS, BATCH, WIDTH = 300, 128, 512
FILE = paths.ROOT / "data" / "benchmarks" / "label_noise.json"
NEAR = 0.1  # of the theory's s: what the prediction allows


def wanted(noise: float, K: int) -> float:
    """s*: the inverse temperature at which the softmax of a simplex direction is right with probability 1 - noise."""
    return math.sqrt((K - 1) / K) * math.log((K - 1) * (1 - noise) / noise)


def predicted(noise: float, tau: float, K: int) -> float:
    """The inverse temperature at the least expected loss of LogitNorm: s* where tau allows it, else 1/tau."""
    return min(1 / tau, wanted(noise, K))


def expected_loss(f: Tensor, y: Tensor, tau: float | None, noise: float) -> Tensor:
    """Mean loss of logits f (B x K) over labels y (B) that are wrong with probability `noise`; tau None: cross-entropy."""
    K = f.shape[1]
    return F.cross_entropy(f if tau is None else losses.normalise(f, tau), y, label_smoothing=noise * K / (K - 1))


def train(x: Tensor, y: Tensor, tau: float | None, noise: float, seed: int) -> dict:
    """A perceptron with one hidden layer on x (N x D), y (N), by SGD with plain momentum and this book's one-cycle schedule;
    cross-entropy without weight decay, which would shorten its logits, and at ten times the rate.

    Returns s (mean over the images, of cross-entropy ||c||), share (of the offset of the mean image), accuracy (%).
    """
    torch.manual_seed(seed)
    K = int(y.max()) + 1
    net = nn.Sequential(nn.Linear(x.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, K))
    config = Config(size="small", epochs=EPOCHS, warmup=0.1, **(dict(lr=1.0, weight_decay=0.0) if tau is None else dict(lr=0.1)))
    optimizer = torch.optim.SGD(net.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay)
    steps = len(x) // BATCH
    for step in range(EPOCHS * steps):
        optimizer.param_groups[0]["lr"] = learning_rate(config, step, steps)
        batch = torch.randint(len(x), (BATCH,))
        loss = expected_loss(net(x[batch]), y[batch], tau, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        f = net(x)
        found = losses.geometry(f, 1.0 if tau is None else tau)
    return {"s": (found["centred_norm"] if tau is None else found["inverse_temperature"]).item(),
            "share": (math.sqrt(K) * found["offset"] / found["centred_norm"]).item(),
            "accuracy": 100 * (f.argmax(dim=1) == y).double().mean().item()}


def load(file: Path = FILE) -> pd.DataFrame:
    """What benchmarks/label_noise.py measured: columns noise, tau (NaN: cross-entropy), seed, s, share, accuracy, and theory (s)."""
    columns = ["noise", "tau", "seed", "s", "share", "accuracy"]
    rows = json.loads(file.read_text(encoding="utf-8"))["runs"] if file.is_file() else []
    found = pd.DataFrame(rows, columns=columns).astype(float)
    found["theory"] = [wanted(row.noise, 10) if math.isnan(row.tau) else predicted(row.noise, row.tau, 10) for row in found.itertuples()]
    return found


def judged(found: pd.DataFrame) -> tuple[bool | None, str]:
    """(whether the prediction held, the numbers that say so); None where runs are missing."""
    rows = found[found["tau"].notna()]
    if len(rows) < len(NOISE) * len(TAUS) * len(SEEDS):
        return None, ""
    off = (rows["s"] / rows["theory"] - 1).abs()
    asked = 1 / (rows["tau"] * rows["noise"].map(lambda noise: wanted(noise, 10)))  # 1/tau in units of s*
    without, beyond = (rows["share"].abs()[part] for part in (asked < 0.9, asked > 1.25))
    said = (f"{(off <= NEAR).sum()} of {len(rows)} within {100 * NEAR:g} %, the farthest {100 * off.max():.0f} % off; share of the offset at "
            f"most {without.max():.2f} where 1/tau < 0.9 s*, at least {beyond.min():.2f} where 1/tau > 1.25 s*")
    return bool((off <= NEAR).mean() >= 0.9 and (without < 0.2).all() and (beyond > 0.5).all()), said


def _means(part: pd.DataFrame, column: str = "s") -> str:
    return ", ".join(f"{value:.1f}" for value in part.groupby("noise")[column].mean())


def law_said(found: pd.DataFrame) -> str:
    """Markdown: the temperatures that came of the errors where tau allows them, beside the theory's."""
    held, _ = judged(found)
    if held is None:
        return f"The trainings: {paper.NOT_RUN}."
    free = found[found["theory"] < 1 / found["tau"]]
    return (f"**{'Errors set the temperature' if held else 'Errors alone do not set the temperature'}**: with "
            f"{', '.join(f'{100 * noise:g}' for noise in sorted(free['noise'].unique()))} % of the labels wrong, perceptrons on scikit-learn's digits that are "
            f"asked for more train at {_means(free)}. The theory, in which nothing is fitted, says {_means(free, 'theory')}.")


def said(found: pd.DataFrame) -> str:
    """Markdown: `law_said`, then cross-entropy and the networks that are asked for less."""
    if judged(found)[0] is None:
        return law_said(found)
    bound = found[found["theory"] == 1 / found["tau"]]
    return (f"{law_said(found)} Cross-entropy, free to choose its length, ends at {_means(found[found['tau'].isna()])}. Networks that are asked "
            f"for less, {1 / bound['tau'].max():.1f}, train at {_means(bound)} with a share of the offset of at most "
            f"{bound['share'].abs().max():.2f}.")


def smoothing_said(smoothing: float = 0.1) -> str:
    """Markdown: what label smoothing makes of tau, for ten, a hundred and a thousand classes."""
    s = [wanted(smoothing * (K - 1) / K, K) for K in (10, 100, 1000)]
    return (f"Label smoothing is the same expectation. At {smoothing:g}, as many recipes have it, s\\* is {s[0]:.1f} for 10 classes, {s[1]:.1f} for 100 "
            f"and {s[2]:.1f} for 1,000, however long one trains: every τ below {1 / s[0]:.2f}, {1 / s[1]:.2f} and {1 / s[2]:.2f} is then one method.")
