"""The classifiers. Each maps normalised images B x 3 x 32 x 32 to (logits B x K, features B x D).

A net with a head of its own (GODIN, Learned Confidence) gives a third value: one score per image, B, higher for
images that look in-distribution.

Wide ResNets (Zagoruyko & Komodakis, 2016) are written out here; the other bodies are torchvision's with the first
layers that 32 x 32 images need. All are initialised as in the LogitNorm authors' released code: convolutions
N(0, sqrt(2 / (k k C_out))), BatchNorm weight 1 and bias 0, classifier bias 0 and PyTorch's default classifier weight.
"""

import math
import re
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Heads: features B x D -> logits B x K, or (logits, own score B) ------------------------------------------------

class Godin(nn.Module):
    """GODIN's head as the LogitNorm paper states it: f_i = h_i / g with h_i = cos(w_i, phi), g = exp(BN(w.phi + b)).

    Its score is the largest cosine. (Hsu et al., CVPR 2020, take a sigmoid in place of the exponential.)
    """

    def __init__(self, features: int, num_classes: int):
        super().__init__()
        self.h = nn.Linear(features, num_classes, bias=False)
        self.g = nn.Sequential(nn.Linear(features, 1), nn.BatchNorm1d(1))

    def forward(self, phi: Tensor) -> tuple[Tensor, Tensor]:
        h = F.normalize(phi, dim=1) @ F.normalize(self.h.weight, dim=1).T
        return h / self.g(phi).exp(), h.max(dim=1).values


class Confidence(nn.Module):
    """Learned Confidence (DeVries & Taylor 2018): a classifier and, beside it, one linear unit, the logit of c."""

    def __init__(self, features: int, num_classes: int):
        super().__init__()
        self.classifier = nn.Linear(features, num_classes)
        self.confidence = nn.Linear(features, 1)

    def forward(self, phi: Tensor) -> tuple[Tensor, Tensor]:
        return self.classifier(phi), self.confidence(phi).squeeze(1)


class OneOffset(nn.Linear):
    """Logits whose offset is one learned number for all images, f = c + a 1: an experiment of this book on LogitNorm."""

    def __init__(self, features: int, num_classes: int):
        super().__init__(features, num_classes)
        self.a = nn.Parameter(torch.tensor(0.1))  # at 0 LogitNorm's loss is level in a

    def forward(self, phi: Tensor) -> Tensor:
        f = super().forward(phi)
        return f - f.mean(dim=1, keepdim=True) + self.a


class OneTemperature(OneOffset):
    """Logits whose offset goes with ||c||, sqrt(K) m = a ||c||: all images get the inverse temperature 1 / (tau sqrt(1 + a^2))."""

    def forward(self, phi: Tensor) -> Tensor:
        c = super().forward(phi) - self.a
        return c + self.a * c.norm(dim=1, keepdim=True) / math.sqrt(c.shape[1])


Head = Callable[[int, int], nn.Module]  # (features, classes) -> nn.Linear or one of the above


# Bodies ---------------------------------------------------------------------------------------------------------

class Classifier(nn.Module):
    """A body (images -> features B x D) and a head: (logits, features), and the head's own score if it has one."""

    body: nn.Module
    fc: nn.Module

    def embed(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        phi = self.embed(x)
        with torch.autocast(x.device.type, enabled=False):  # the head, like the loss, is always in float32
            phi = phi.float()
            out = self.fc(phi)
        return (out, phi) if isinstance(out, Tensor) else (out[0], phi, out[1])


class Dropout(nn.Dropout):
    """Dropout whose mask on a CPU is cut from random 64-bit words, 16 bits a number: p in steps of 1/65536.

    PyTorch draws it number by number there where the processor is not Intel's, a quarter of a WRN's training time.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not self.training or not self.p:
            return super().forward(x)
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-2**63, None).view(torch.int16)
        keep = bits[:x.numel()].ge_(round(self.p * 2**16) - 2**15).as_strided(x.shape, x.stride())
        return x * keep.to(x.dtype).div_(1 - self.p)


class Block(nn.Module):
    """Pre-activation residual block: BN, ReLU, 3x3, BN, ReLU, dropout, 3x3, plus the shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int, dropout: float):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        # Where the width changes, the shortcut is a 1x1 convolution of the activated input.
        self.shortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False) if c_in != c_out else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x), inplace=True)
        residual = self.conv2(self.dropout(F.relu(self.bn2(self.conv1(a)), inplace=True)))
        return residual.add_(x if self.shortcut is None else self.shortcut(a))


class WideResNet(Classifier):
    """WRN-depth-width for 32 x 32 images; WRN-40-2 has 2.24 M parameters and 327.6 million multiply-adds."""

    def __init__(self, depth: int, width: int, num_classes: int, dropout: float, head: Head):
        super().__init__()
        n = (depth - 4) // 6
        c = [16, 16 * width, 32 * width, 64 * width]
        self.stem = nn.Conv2d(3, c[0], 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*[Block(c[g] if i == 0 else c[g + 1], c[g + 1], stride if i == 0 else 1, dropout)
                                      for g, stride in enumerate((1, 2, 2)) for i in range(n)])
        self.bn = nn.BatchNorm2d(c[3])
        self.fc = head(c[3], num_classes)
        initialise(self)

    def embed(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.blocks(self.stem(x))), inplace=True).mean(dim=(2, 3))


class TorchvisionNet(Classifier):
    """A torchvision body for 32 x 32 images: features B x D of its last pooling layer."""

    def __init__(self, body: nn.Module, features: int, num_classes: int, head: Head):
        super().__init__()
        self.body, self.fc = body, head(features, num_classes)
        initialise(self)


def resnet34() -> tuple[nn.Module, int]:
    """ResNet-34 with a 3 x 3 stem of stride 1 and no first pooling, as is usual for CIFAR; 21.3 M parameters."""
    from torchvision.models.resnet import BasicBlock, ResNet

    body = ResNet(BasicBlock, [3, 4, 6, 3])
    body.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    body.maxpool = body.fc = nn.Identity()
    return body, 512


def resnet20() -> tuple[nn.Module, int]:
    """The narrow ResNet of He et al. (2016) for CIFAR: three stages of 16, 32 and 64 channels; 0.27 M parameters.

    Shortcuts between stages are 1 x 1 convolutions as in resnet34, for which it stands in where time is short.
    """
    from torchvision.models.resnet import BasicBlock, ResNet

    body = ResNet(BasicBlock, [3, 3, 3, 1])
    body.inplanes = 16
    body.conv1, body.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
    for stage, (channels, stride) in enumerate(((16, 1), (32, 2), (64, 2)), start=1):
        setattr(body, f"layer{stage}", body._make_layer(BasicBlock, channels, 3, stride))
    body.maxpool = body.layer4 = body.fc = nn.Identity()
    return body, 64


def densenet_bc(depth: int, growth: int) -> tuple[nn.Module, int]:
    """DenseNet-BC (Huang et al. 2017): depth 100, growth rate 12 has 0.77 M parameters; 22, 12 has 0.07 M.

    The LogitNorm paper says "DenseNet-BC" and prints neither depth nor growth; 100 and 12 are its literature's.
    """
    from torchvision.models.densenet import DenseNet

    body = DenseNet(growth_rate=growth, block_config=3 * ((depth - 4) // 6,), num_init_features=2 * growth)
    body.features.conv0 = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
    for name in ("norm0", "relu0", "pool0"):  # for CIFAR the first dense block follows the stem directly
        delattr(body.features, name)
    features, body.classifier = body.classifier.in_features, nn.Identity()
    return body, features


def vgg13() -> tuple[nn.Module, int]:
    """VGG13 with BatchNorm and a single linear classifier, the first net of Learned Confidence; 9.4 M parameters."""
    from torchvision.models.vgg import cfgs, make_layers

    return nn.Sequential(make_layers(cfgs["B"], batch_norm=True), nn.Flatten()), 512


TORCHVISION: dict[str, Callable[[], tuple[nn.Module, int]]] = {
    "resnet34": resnet34, "resnet20": resnet20, "densenet_bc_100_12": partial(densenet_bc, 100, 12),
    "densenet_bc_22_12": partial(densenet_bc, 22, 12), "vgg13": vgg13}


def initialise(net: nn.Module) -> None:
    """The released code's initialisation; the classifier's weight keeps PyTorch's default."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, 0, math.sqrt(2 / (m.kernel_size[0] * m.kernel_size[1] * m.out_channels)))
        elif isinstance(m, nn.Linear) and m.bias is not None:
            nn.init.zeros_(m.bias)


def require(architecture: str, dropout: float) -> tuple[int, int] | None:
    """(depth, width) of a Wide ResNet, None for a net of TORCHVISION, without building it.

    Raises ValueError for an unknown name, and for dropout in a net that has none.
    """
    if match := re.fullmatch(r"wrn(\d+)_([1-9]\d*)", architecture):
        depth, width = int(match[1]), int(match[2])
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"WRN depth must be 6n + 4 (10, 16, 22, 28, 40, ...), got {depth}")
        return depth, width
    if architecture not in TORCHVISION:
        known = ", ".join(("wrnDEPTH_WIDTH, e.g. wrn40_2 or wrn10_1", *TORCHVISION))
        raise ValueError(f"unknown architecture {architecture!r}; known: {known}")
    if dropout:
        raise ValueError(f"{architecture} has no dropout; set dropout to 0, got {dropout}")
    return None


def build(architecture: str, num_classes: int, dropout: float = 0.3, head: Head = nn.Linear) -> Classifier:
    """A net by name: wrn40_2 is the paper's, wrnD_W any Wide ResNet; the others are the keys of TORCHVISION.

    head: nn.Linear, or one of this module's. Raises ValueError as `require` does.
    """
    if shape := require(architecture, dropout):
        return WideResNet(*shape, num_classes, dropout, head)
    return TorchvisionNet(*TORCHVISION[architecture](), num_classes, head)
