"""The training losses, in the paper's symbols: logits f (B x K), labels y (B), temperature tau.

Source: Wei et al., "Mitigating Neural Network Overconfidence with Logit Normalization", ICML 2022.
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
    """The vector f / (tau ||f||) that LogitNorm trains, B x K; its norm is 1/tau for every f other than 0.

    Raises ValueError if tau is not positive.
    """
    _require_positive(tau)
    return f / (tau * (f.norm(dim=-1, keepdim=True) + eps))


def logitnorm(f: Tensor, y: Tensor, tau: float, eps: float = EPS) -> Tensor:
    """Mean LogitNorm loss (Eq. 4): cross-entropy of the logits divided by tau times their L2 norm, in nats.

    Only the training loss normalises; every test score uses the raw logits f.
    Raises ValueError if tau is not positive.
    """
    return F.cross_entropy(normalise(f, tau, eps), y)


def grad_cross_entropy(f: Tensor, y: Tensor) -> Tensor:
    """Gradient of the per-example cross-entropy in f: softmax(f) - e_y, B x K."""
    return f.softmax(dim=-1) - F.one_hot(y, f.shape[-1])


def grad_logitnorm(f: Tensor, y: Tensor, tau: float) -> Tensor:
    """Gradient of the per-example LogitNorm loss in f (eps = 0), B x K.

    (1 / (tau ||f||)) (I - f^ f^T)(softmax(f / (tau ||f||)) - e_y) with f^ = f / ||f||.
    It is orthogonal to f, so a gradient step cannot change the norm to first order; its size goes with
    1 / (tau ||f||).  Not defined at f = 0.  Raises ValueError if tau is not positive.
    """
    _require_positive(tau)
    norm = f.norm(dim=-1, keepdim=True)
    direction = f / norm
    residual = grad_cross_entropy(f / (tau * norm), y)
    tangent = residual - direction * (direction * residual).sum(dim=-1, keepdim=True)
    return tangent / (tau * norm)


def lower_bound(tau: float, K: int) -> float:
    """The lower bound printed in Proposition 3.3: log(1 + (K-1) exp(-2/tau)), in nats.

    It lets coordinate y reach 1/tau and all others -1/tau at once; that vector has norm sqrt(K)/tau, not
    1/tau, so no f attains the bound, for any K >= 2.  Raises ValueError if tau is not positive.
    """
    _require_positive(tau)
    return math.log1p((K - 1) * math.exp(-2 / tau))


def infimum(tau: float, K: int) -> float:
    """Smallest value of the LogitNorm loss (eps = 0): log(1 + (K-1) exp(-(1/tau) sqrt(K/(K-1)))), in nats.

    Attained exactly where f is a positive multiple of e_y - 1/K: one coordinate up, all others equally down
    (a vertex of the regular simplex centred at 0).  Raises ValueError if tau is not positive.
    """
    _require_positive(tau)
    return math.log1p((K - 1) * math.exp(-math.sqrt(K / (K - 1)) / tau))
