"""Detection scores, all of them higher for inputs that look in-distribution (ID).

Logits f (N x K) are evaluated in float32, scores are computed in float64: a float32 softmax rounds confident
predictions to exactly 1 and so makes ties. Every score uses the raw logits, LogitNorm normalises in training
only. One forward pass gives the logits and features for MSP, Energy and GradNorm, and the gradient of ODIN's
step on the input; only the stepped image needs another.
Networks return (logits B x K, features B x D), the features being the input of the final linear layer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from scipy.special import logsumexp, softmax
from torch import Tensor, nn

from . import data
from .losses import EPS

# ODIN's step is epsilon in pixels of [0, 1], so in normalised units it is epsilon divided by a standard
# deviation per channel. The official code divides here by its ancestors' constants, another rounding of
# data.STD (0.2471, 0.2435, 0.2616 against 0.247, 0.244, 0.262); kept, as the printed numbers come from it.
ODIN_STD = (63.0 / 255, 62.1 / 255, 66.7 / 255)

# Images scored at once. A CPU is a third faster where what the layers pass on stays in its caches.
BATCH, CPU_BATCH = 500, 125


def msp(logits: ArrayLike, T: float = 1.0) -> np.ndarray:
    """Maximum softmax probability max_k softmax_k(f / T) of logits N x K: N values in [1/K, 1]."""
    return softmax(matrix(logits, T) / T, axis=1).max(axis=1)


def energy(logits: ArrayLike, T: float = 1.0) -> np.ndarray:
    """Negative free energy T log sum_k exp(f_k / T) of logits N x K (Liu et al. 2020): N values."""
    return T * logsumexp(matrix(logits, T) / T, axis=1)


def gradnorm(logits: ArrayLike, feature_l1: ArrayLike, T: float = 1.0) -> np.ndarray:
    """GradNorm (Huang et al. 2021) of logits N x K and the features' L1 norms (N): N values.

    The score is the L1 norm of d/dW sum_k -log softmax_k(f / T) for the final layer f = W phi + b. The target
    is a vector of ones, as in the official code (the paper's uniform target 1/K only rescales the score). The
    gradient is the outer product of (K p - 1) / T and phi, so its L1 norm is the product of two L1 norms:
    sum_k |K p_k - 1| * ||phi||_1 / T with p = softmax(f / T). No backward pass is needed.
    """
    p = softmax(matrix(logits, T) / T, axis=1)
    feature_l1 = np.asarray(feature_l1, dtype=np.float64)
    if feature_l1.shape != (len(p),) or not np.isfinite(feature_l1).all():
        raise ValueError(f"feature_l1 must hold one finite number for each of the {len(p)} rows of logits, got shape {feature_l1.shape} "
                         f"with {np.sum(~np.isfinite(feature_l1))} that are not finite")
    K = p.shape[1]
    return np.abs(K * p - 1).sum(axis=1) * feature_l1 / T


class InputStep(NamedTuple):
    """A score of the image after a small step, x' = x - size * sign(d loss / dx): what ODIN does.

    loss: from the net's outputs (f, phi, ...) on x to one number; size: in units of normalised pixels, a number or
    one per channel (1 x C x 1 x 1); score: from the net's outputs on x' to B values.
    """

    loss: Callable[[tuple], Tensor]
    size: Tensor
    score: Callable[[tuple], Tensor]


def odin_step(T: float = 1000.0, epsilon: float = 0.0014) -> InputStep:
    """ODIN (Liang et al. 2018): max_k softmax_k(f(x') / T), float64.

    x' = x - epsilon sign(d/dx CE(f(x) / T, y^)) / std with y^ the predicted class: a small step that raises
    the confidence, more so for ID images. T = 1000 and epsilon = 0.0014 are the paper's, after ODIN's;
    epsilon is in units of pixels in [0, 1] and ODIN_STD takes it to the normalised ones. Nothing is clipped.
    """
    def loss(out: tuple) -> Tensor:
        # The sum keeps each image's gradient apart from the batch size; the mean has the same sign.
        return F.cross_entropy(out[0] / T, out[0].argmax(dim=1), reduction="sum")

    return InputStep(loss, epsilon / torch.tensor(ODIN_STD).view(1, -1, 1, 1),
                     lambda out: torch.from_numpy(msp(out[0].cpu(), T)))


def confidence_step(epsilon: float = 0.001) -> InputStep:
    """Learned Confidence with its input preprocessing (its section 3.1): the logit of c(x'), float32.

    x' = x - epsilon sign(d L_c / dx) with L_c = -log c: a small step that raises the confidence. epsilon is in
    units of normalised pixels, as in the released code.
    """
    return InputStep(lambda out: F.softplus(-out[2]).sum(), torch.tensor(epsilon), lambda out: out[2].float())


def collect(net: nn.Module, images: Tensor, batch_size: int | None = None, precision: str = "float32",
            steps: dict[str, InputStep] | None = None) -> dict[str, np.ndarray]:
    """One forward pass over uint8 images N x H x W x C: everything the scores need; one more pass for each input step.

    Returns float32 arrays: logits N x K, features N x D, feature_l1 N (the features' L1 norms, for GradNorm), for a
    net with a head of its own that head's score, own N, and by its name what each of `steps` gives, N. Evaluation
    mode; each module's own mode is restored afterwards. batch_size=None: BATCH, or CPU_BATCH images. precision: float32, or
    bfloat16 / float16 for a quick look. Raises ValueError for images of another kind and for a net that returns logits alone.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
        raise ValueError("images must be a non-empty uint8 tensor N x H x W x C as data.load gives it, "
                         f"got {images.dtype} of shape {tuple(images.shape)}")
    steps = steps or {}
    found: dict[str, list[Tensor]] = {}
    with _evaluation(net) as device:
        for batch in images.split(batch_size or (CPU_BATCH if device.type == "cpu" else BATCH)):
            x = data.to_float(batch.to(device))
            with torch.set_grad_enabled(bool(steps)), torch.autocast(
                    device.type, getattr(torch, precision), enabled=precision != "float32"):
                x.requires_grad_(bool(steps))
                if not isinstance(out := net(x), tuple):
                    raise ValueError("the network should return (logits, features) and gives one thing; wrap it as the page on your own network shows")
                gradients = {name: torch.autograd.grad(step.loss(out), x, retain_graph=True)[0] for name, step in steps.items()}
            values = dict(zip(("logits", "features", "own"), (value.detach().float() for value in out)))
            del out  # with its graph: the step needs room for another pass
            for name, step in steps.items():
                values[name] = step.score(net(x.detach() - torch.as_tensor(step.size, device=device) * gradients[name].sign()))
            for name, value in values.items():
                found.setdefault(name, []).append(value.cpu())
    arrays = {name: torch.cat(values).numpy() for name, values in found.items()}
    feature_l1 = np.abs(arrays["features"]).sum(axis=1, dtype=np.float64).astype(np.float32)
    return arrays | {"feature_l1": feature_l1}


def centred(logits: ArrayLike) -> np.ndarray:
    """The logits N x K without their mean over the classes, in float64: softmax cannot tell, Energy can."""
    f = matrix(logits)
    return f - f.mean(axis=1, keepdims=True)


def normalised(logits: ArrayLike, tau: float) -> np.ndarray:
    """f / (tau ||f||), N x K in float64: what the softmax of LogitNorm is trained on (Eq. 4)."""
    f = matrix(logits, tau)
    return f / (tau * (np.linalg.norm(f, axis=1, keepdims=True) + EPS))


def matrix(logits: ArrayLike, T: float = 1.0) -> np.ndarray:
    """The logits as a float64 matrix, refused when a score of them would mean nothing."""
    f = np.asarray(logits, dtype=np.float64)
    if f.ndim != 2 or f.shape[0] == 0 or f.shape[1] < 2:
        raise ValueError(f"logits must be a matrix of N >= 1 images by K >= 2 classes, got shape {f.shape}")
    if not np.isfinite(f).all():  # its rows are counted only then: fits of a temperature come by here hundreds of times
        bad = (~np.isfinite(f)).any(axis=1)
        raise ValueError(f"the logits of {bad.sum()} of {len(f)} images are not finite: training diverged")
    if not T > 0:
        raise ValueError(f"the temperature T must be positive, got {T}")
    return f


@contextmanager
def _evaluation(net: nn.Module) -> Iterator[torch.device]:
    """No gradients, no dropout, BatchNorm's running statistics, true float32; yields the net's device.

    Autocast is off, and so is TF32: by default a GPU's convolutions round their inputs to 10 bits.
    """
    device = next(net.parameters(), torch.zeros(())).device
    modes = [(module, module.training) for module in net.modules()]
    # cudnn.rnn only because PyTorch refuses to read its older, common flag when conv and rnn differ. These attributes
    # are made when PyTorch is imported, where a type checker does not see them.
    cudnn: Any = torch.backends.cudnn
    operators = [cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul]
    precisions = [operator.fp32_precision for operator in operators]
    net.eval()
    for operator in operators:
        operator.fp32_precision = "ieee"
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield device
    finally:
        for module, mode in modes:
            module.training = mode
        for operator, precision in zip(operators, precisions):
            operator.fp32_precision = precision
