"""The training losses, in the paper's symbols: logits f (B x K), labels y (B), temperature tau.

Source: Wei et al., "Mitigating Neural Network Overconfidence with Logit Normalization", ICML 2022; for
learned_confidence DeVries & Taylor, "Learning Confidence for Out-of-Distribution Detection in Neural Networks", 2018.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-7  # "a small positive value (e.g., 10^-7) is added to the denominator" (section 3.2)


def _require_positive(tau: float) -> None:
    if not tau > 0:
        raise ValueError(f"tau must be positive, got {tau}; the paper uses 0.04 for CIFAR-10")


def cross_entropy(f: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy L_CE of logits f (B x K) and labels y (B), in nats (Eq. 1)."""
    return F.cross_entropy(f, y)


def normalise(f: Tensor, tau: float, eps: float = EPS) -> Tensor:
    """The vector f / (tau ||f||) that LogitNorm trains, B x K.

    Its norm is 1/tau for every f other than 0. Raises ValueError if tau is not positive.
    """
    _require_positive(tau)
    return f / (tau * (f.norm(dim=-1, keepdim=True) + eps))


def logitnorm(f: Tensor, y: Tensor, tau: float, eps: float = EPS) -> Tensor:
    """Mean LogitNorm loss (Eq. 4), in nats: cross-entropy of f / (tau ||f||).

    Only the training loss normalises; every test score uses the raw logits f.
    Raises ValueError if tau is not positive.
    """
    return F.cross_entropy(normalise(f, tau, eps), y)


def offset(f: Tensor) -> Tensor:
    """The mean logit m, B: what softmax cannot see and ||f|| can."""
    return f.mean(dim=-1)


def centred(f: Tensor) -> Tensor:
    """The logits without their offset, c = f - m, B x K; orthogonal to ones."""
    return f - offset(f)[..., None]


def geometry(f: Tensor, tau: float | None = None) -> dict[str, Tensor]:
    """Batch means of what a run records of its logits f (B x K).

    Norm, common offset m, norm of c = f - m and, for a tau, the inverse
    temperature ||c|| / (tau ||f||) that the offset leaves to LogitNorm's
    softmax: 1/tau only where m = 0.
    """
    norm, centred_norm = f.norm(dim=-1), centred(f).norm(dim=-1)
    found = {"norm": norm, "offset": offset(f), "centred_norm": centred_norm}
    if tau is not None:
        found["inverse_temperature"] = centred_norm / (tau * norm)
    return {name: value.mean() for name, value in found.items()}


def centred_logitnorm(f: Tensor, y: Tensor, tau: float) -> Tensor:
    """LogitNorm of the centred logits, in nats: this book's, not the paper's.

    ||c|| has no offset in it, so the softmax is trained at 1/tau and at no
    other inverse temperature. Raises ValueError if tau is not positive.
    """
    return logitnorm(centred(f), y, tau)


def logit_penalty(f: Tensor, y: Tensor, weight: float) -> Tensor:
    """LogitPenalty (Wei et al., section 5): L_CE + weight * mean ||f||_2, in nats.

    The norm is not squared.
    """
    return F.cross_entropy(f, y) + weight * f.norm(dim=-1).mean()


def learned_confidence(f: Tensor, c: Tensor, y: Tensor, hinted: Tensor) -> tuple[Tensor, Tensor]:
    """The terms (L_t, L_c) of Learned Confidence; the loss is L_t + lambda L_c.

    f: logits B x K; c: logit of the confidence, B; y: labels, B; hinted: bool,
    B. Means over the batch, in nats. A hinted example sees p' = c p + (1 - c) y
    (Eq. 2), so L_t = -log(c p_y + 1 - c), computed in log space: exact where
    the released code clamps p and c to [1e-12, 1 - 1e-12]. An example without a
    hint sees p' = p. L_c = -log c is over all examples. Raises ValueError for c
    or hinted of another shape than y, which would broadcast.
    """
    if not y.shape == c.shape == hinted.shape:
        raise ValueError(f"c {tuple(c.shape)} and hinted {tuple(hinted.shape)} should have the shape of y, {tuple(y.shape)}; squeeze the last axis")
    log_p = F.log_softmax(f, dim=-1).gather(1, y[:, None]).squeeze(1)
    with_hint = torch.logaddexp(F.logsigmoid(c) + log_p, F.logsigmoid(-c))
    return -torch.where(hinted, with_hint, log_p).mean(), F.softplus(-c).mean()


def next_lambda(weight: Tensor, L_c: Tensor, budget: float) -> Tensor:
    """The budget rule of Learned Confidence, once per step.

    Hints get cheaper (lambda / 1.01) while L_c is below the budget beta, dearer
    (lambda / 0.99) otherwise, which pulls L_c towards beta.
    """
    return torch.where(L_c < budget, weight / 1.01, weight / 0.99)


def grad_cross_entropy(f: Tensor, y: Tensor) -> Tensor:
    """Gradient of the per-example cross-entropy in f: softmax(f) - e_y, B x K."""
    return f.softmax(dim=-1) - F.one_hot(y, f.shape[-1])


def grad_logitnorm(f: Tensor, y: Tensor, tau: float) -> Tensor:
    """Gradient of the per-example LogitNorm loss in f (eps = 0), B x K.

    (1 / (tau ||f||)) (I - f^ f^T)(softmax(f / (tau ||f||)) - e_y), with
    f^ = f / ||f||. It is orthogonal to f, so a gradient step cannot change the
    norm to first order; its size goes with 1 / (tau ||f||). Not defined at
    f = 0. Raises ValueError if tau is not positive.
    """
    _require_positive(tau)
    norm = f.norm(dim=-1, keepdim=True)
    direction = f / norm
    residual = grad_cross_entropy(f / (tau * norm), y)
    along = (direction * residual).sum(dim=-1, keepdim=True)
    return (residual - along * direction) / (tau * norm)


def lower_bound(tau: float, K: int) -> float:
    """Proposition 3.3's lower bound, log(1 + (K-1) exp(-2/tau)), in nats.

    It lets coordinate y reach 1/tau and all others -1/tau at once; that vector
    has norm sqrt(K)/tau, not 1/tau, so no f attains the bound, for any K >= 2.
    Raises ValueError if tau is not positive.
    """
    _require_positive(tau)
    return math.log1p((K - 1) * math.exp(-2 / tau))


def infimum(tau: float, K: int) -> float:
    """Smallest value of the LogitNorm loss (eps = 0), in nats.

    log(1 + (K-1) exp(-(1/tau) sqrt(K/(K-1)))), attained exactly where f is a
    positive multiple of e_y - 1/K: one coordinate up, all others equally down
    (a vertex of the regular simplex centred at 0). Raises ValueError if tau is
    not positive.
    """
    _require_positive(tau)
    return math.log1p((K - 1) * math.exp(-math.sqrt(K / (K - 1)) / tau))
