"""The temperature by design: LogitNorm where a label is wrong with a probability that one sets.

Let a label be wrong with probability e, every other class equally likely. The expected loss is then cross-entropy against
q = (1 - e, e/(K-1), ...), which is label smoothing. By Gibbs' inequality it is at least the entropy of q, and equal to it only
where the softmax is q: a regular simplex direction at the inverse temperature `wanted`. LogitNorm reaches it by an offset if
1/tau is larger; else its best is 1/tau with none. Nothing here is fitted.

The law is of the expected loss. CONTROLS say what is left of it where labels are wrong for good and can be memorised, where none
is wrong, and without what else might make an offset: a bias, weight decay, SGD.
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
EPOCHS, BATCH, WIDTH, K = 300, 128, 512, 10
FILE, CONTROLS_FILE = (paths.ROOT / "data" / "benchmarks" / f"{name}.json" for name in ("label_noise", "label_controls"))
# What is changed in each control: (tau, noise, what `train` takes beside).
CONTROLS = {
    "expected loss, as above": (0.04, 0.1, {}),
    "a wrong label drawn anew at each step": (0.04, 0.1, dict(labels="redrawn")),
    "wrong labels for good, 512 hidden units": (0.04, 0.1, dict(labels="fixed")),
    "wrong labels for good, 32 hidden units": (0.04, 0.1, dict(labels="fixed", width=32)),
    "expected loss, no bias in the last layer": (0.04, 0.1, dict(bias=False)),
    "expected loss, no weight decay": (0.04, 0.1, dict(decay=0.0)),
    "expected loss, Adam, no weight decay": (0.04, 0.1, dict(decay=0.0, adam=True)),
    **{f"no wrong label, {epochs:,} epochs, τ = {tau:g}": (tau, 0.0, dict(epochs=epochs)) for tau in (0.04, 0.01) for epochs in (300, 3000)},
}
NEAR = 0.1  # of the theory's s: what the prediction allows


def wanted(noise: float, K: int) -> float:
    """s*: the inverse temperature at which the softmax of a simplex direction is right with probability 1 - noise."""
    return math.sqrt((K - 1) / K) * math.log((K - 1) * (1 - noise) / noise) if noise else math.inf


def predicted(noise: float, tau: float, K: int) -> float:
    """The inverse temperature at the least expected loss of LogitNorm: s* where tau allows it, else 1/tau."""
    return min(1 / tau, wanted(noise, K))


def expected_loss(f: Tensor, y: Tensor, tau: float | None, noise: float) -> Tensor:
    """Mean loss of logits f (B x K) over labels y (B) that are wrong with probability `noise`; tau None: cross-entropy."""
    smoothing = noise * f.shape[1] / (f.shape[1] - 1)
    return F.cross_entropy(f if tau is None else losses.normalise(f, tau), y, label_smoothing=smoothing)


def flipped(y: Tensor, noise: float) -> Tensor:
    """The labels y (N), each with probability `noise` replaced by one of the other K - 1 classes."""
    return torch.where(torch.rand(len(y)) < noise, (y + torch.randint(1, K, (len(y),))) % K, y)


def train(x: Tensor, y: Tensor, tau: float | None, noise: float, seed: int, labels: str = "expected", width: int = WIDTH,
          epochs: int = EPOCHS, bias: bool = True, decay: float = 5e-4, adam: bool = False) -> dict:
    """A perceptron with one hidden layer on x (N x D), y (N), by SGD with plain momentum and this book's one-cycle schedule;
    cross-entropy (tau None) without weight decay, which would shorten its logits, and at ten times the rate.

    labels: "expected", the loss over all labels that may come; "redrawn", one that is drawn at each step; "fixed", drawn once. bias: of the
    last layer. Returns s (mean over the images, of cross-entropy ||c||), share (of the offset of the mean image), accuracy (%) and fit,
    the accuracy on the labels as they were drawn.
    """
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(x.shape[1], width), nn.ReLU(), nn.Linear(width, K, bias=bias))
    config = Config(size="small", epochs=epochs, warmup=0.1, **(dict(lr=1.0, weight_decay=0.0) if tau is None else dict(lr=0.1, weight_decay=decay)))
    drawn = flipped(y, noise) if labels == "fixed" else y
    optimizer = (torch.optim.Adam(net.parameters(), weight_decay=config.weight_decay) if adam else
                 torch.optim.SGD(net.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay))
    peak, steps = optimizer.param_groups[0]["lr"], len(x) // BATCH
    for step in range(epochs * steps):
        optimizer.param_groups[0]["lr"] = peak * learning_rate(config, step, steps) / config.lr
        batch = torch.randint(len(x), (BATCH,))
        target = flipped(drawn[batch], noise) if labels == "redrawn" else drawn[batch]
        loss = expected_loss(net(x[batch]), target, tau, noise if labels == "expected" else 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        f = net(x)
        found = losses.geometry(f, 1.0 if tau is None else tau)
    accuracy, fit = (100 * (f.argmax(dim=1) == of).double().mean().item() for of in (y, drawn))
    return {"s": (found["centred_norm"] if tau is None else found["inverse_temperature"]).item(),
            "share": (math.sqrt(K) * found["offset"] / found["centred_norm"]).item(), "accuracy": accuracy, "fit": fit}


def _runs(file: Path, columns: list[str]) -> pd.DataFrame:
    """What benchmarks/label_noise.py wrote; no line where it did not run."""
    return pd.DataFrame(json.loads(file.read_text(encoding="utf-8"))["runs"] if file.is_file() else [], columns=columns)


def controls(file: Path = CONTROLS_FILE) -> pd.DataFrame:
    """What benchmarks/label_noise.py measured of CONTROLS: columns name, seed, s, share, accuracy, fit."""
    return _runs(file, ["name", "seed", "s", "share", "accuracy", "fit"])


def controls_table(found: pd.DataFrame) -> pd.DataFrame:
    """`controls` as a table to read, a line for each, beside the theory's s."""
    lines = []
    for name, part in found.groupby("name", sort=False):
        tau, noise, _ = CONTROLS[name]
        lines.append({"control": name, "n": str(len(part)), "e (%)": f"{100 * noise:g}", "1/τ": f"{1 / tau:g}",
                      "theory's s": f"{predicted(noise, tau, K):.1f}", "s": paper.spread(part["s"], 1),
                      "√K |m| / ‖c‖": paper.spread(part["share"].abs()), "right on the labels given (%)": paper.spread(part["fit"], 1)})
    return pd.DataFrame(lines)


def controls_said(found: pd.DataFrame) -> str:
    """Markdown: where the law ends, or that the controls were not run."""
    if set(found["name"]) != set(CONTROLS):
        return f"The controls: {paper.NOT_RUN}."
    s, fit = (found.groupby("name")[column].mean() for column in ("s", "fit"))
    wide, narrow = (f"wrong labels for good, {width} hidden units" for width in (512, 32))
    same = [s[name] for name, (_, _, what) in CONTROLS.items() if what.get("bias") is False or "decay" in what]
    of = {name: part.sort_values("seed")["s"] for name, part in found.groupby("name")}
    each = {name: ", ".join(f"{value:.1f}" for value in values) for name, values in of.items()}
    near, far, early = (f"no wrong label, {epochs} epochs, τ = {tau}" for epochs, tau in (("3,000", "0.04"), ("3,000", "0.01"), ("300", "0.01")))
    return (f"**The law holds for errors that cannot be memorised.** Where a tenth of the labels is wrong for good, a wide network memorises them "
            f"({fit[wide]:.0f} % of the labels as given) and ends at s = {s[wide]:.1f} instead of {wanted(0.1, K):.1f}, a narrow one "
            f"({fit[narrow]:.0f} %) at {paper.span(of[narrow], 1)}. Drawn anew at each step, they give {s['a wrong label drawn anew at each step']:.1f}. Without a bias, without weight "
            f"decay and with Adam it is {min(same):.1f} to {max(same):.1f}: none of these makes the offset. Without any wrong label "
            f"3,000 epochs bring τ = 0.04 near its 1/τ ({paper.spread(of[near], 1)} of 25); τ = 0.01 is then, seed by seed, at {each[far]} of 100, where 300 epochs gave "
            f"{each[early]}. So the theory's end need not be reached.")


def load(file: Path = FILE) -> pd.DataFrame:
    """What benchmarks/label_noise.py measured: columns noise, tau (NaN: cross-entropy), seed, s, share, accuracy, and theory (s)."""
    found = _runs(file, ["noise", "tau", "seed", "s", "share", "accuracy"]).astype(float)
    found["theory"] = [wanted(row.noise, K) if math.isnan(row.tau) else predicted(row.noise, row.tau, K) for row in found.itertuples()]
    return found


def judged(found: pd.DataFrame) -> tuple[bool | None, str]:
    """(whether the prediction held, the numbers that say so); None where runs are missing."""
    rows = found[found["tau"].notna()]
    if len(rows) < len(NOISE) * len(TAUS) * len(SEEDS):
        return None, ""
    off = (rows["s"] / rows["theory"] - 1).abs()
    asked = 1 / (rows["tau"] * rows["noise"].map(lambda noise: wanted(noise, K)))  # 1/tau in units of s*
    without, beyond = (rows["share"].abs()[part] for part in (asked < 0.9, asked > 1.25))
    said = (f"{(off <= NEAR).sum()} of {len(rows)} within {100 * NEAR:g} %, the farthest {100 * off.max():.0f} % off; offset ratio at "
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
    return (f"**{'Errors set the temperature' if held else 'Errors alone do not set the temperature'}**: trained as if "
            f"{', '.join(f'{100 * noise:g}' for noise in sorted(free['noise'].unique()))} % of the labels were wrong (label smoothing), perceptrons on "
            f"scikit-learn's digits reach an inverse temperature of {_means(free)} wherever 1/τ is larger. A formula with nothing fitted says {_means(free, 'theory')}.")


def said(found: pd.DataFrame) -> str:
    """Markdown: `law_said`, then cross-entropy and the networks that are asked for less."""
    if judged(found)[0] is None:
        return law_said(found)
    rows, bound = found[found["tau"].notna()], found[found["theory"] == 1 / found["tau"]]
    off = (rows["s"] / rows["theory"] - 1).abs()
    return (f"{law_said(found)} Of {len(rows)} runs {(off <= NEAR).sum()} lie within {100 * NEAR:g} % of it, the farthest {100 * off.max():.0f} % off. Cross-entropy, free to "
            f"choose its length (so without weight decay, and at ten times the rate), ends at {_means(found[found['tau'].isna()])}. Where 1/τ is smaller, {1 / bound['tau'].max():.1f}, "
            f"the networks train at {paper.span(bound['s'], 1)}, and no offset ratio is above {math.ceil(1000 * bound['share'].abs().max()) / 1000:.3f}.")


def smoothing_said() -> str:
    """Markdown: what label smoothing of 0.1 makes of tau, for ten, a hundred and a thousand classes."""
    s = [wanted(0.1 * (K - 1) / K, K) for K in (10, 100, 1000)]
    return (f"Label smoothing is the same expectation. At 0.1, as many recipes have it, s\\* is {s[0]:.1f} for 10 classes, {s[1]:.1f} for 100 "
            f"and {s[2]:.1f} for 1,000, however long one trains: a τ below {1 / s[0]:.2f}, {1 / s[1]:.2f} or {1 / s[2]:.2f} then asks for more than the loss can use.")
