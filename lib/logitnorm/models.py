"""The classifiers. Each maps normalised images B x 3 x 32 x 32 to (logits B x K, features B x D).

Wide ResNets (Zagoruyko & Komodakis, 2016), initialised as in the LogitNorm authors' released code:
convolutions N(0, sqrt(2 / (k k C_out))), BatchNorm weight 1 and bias 0, classifier bias 0 and
PyTorch's default classifier weight.
"""

import math
import re

import torch.nn.functional as F
from torch import Tensor, nn


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
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x), inplace=True)
        residual = self.conv2(self.dropout(F.relu(self.bn2(self.conv1(a)), inplace=True)))
        return residual + (x if self.shortcut is None else self.shortcut(a))


class WideResNet(nn.Module):
    """WRN-depth-width for 32 x 32 images; WRN-40-2 has 2.24 M parameters and 327.6 million multiply-adds."""

    def __init__(self, depth: int, width: int, num_classes: int, dropout: float):
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"WRN depth must be 6n + 4 (10, 16, 22, 28, 40, ...), got {depth}")
        n = (depth - 4) // 6
        c = [16, 16 * width, 32 * width, 64 * width]
        self.stem = nn.Conv2d(3, c[0], 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*[
            Block(c[g] if i == 0 else c[g + 1], c[g + 1], stride if i == 0 else 1, dropout)
            for g, stride in enumerate((1, 2, 2)) for i in range(n)
        ])
        self.bn = nn.BatchNorm2d(c[3])
        self.fc = nn.Linear(c[3], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu(self.bn(self.blocks(self.stem(x))), inplace=True).mean(dim=(2, 3))
        return self.fc(features), features


def initialise(net: nn.Module) -> None:
    """The released code's initialisation; the classifier's weight keeps PyTorch's default."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, 0, math.sqrt(2 / (m.kernel_size[0] * m.kernel_size[1] * m.out_channels)))
        elif isinstance(m, nn.Linear):
            nn.init.zeros_(m.bias)


def build(architecture: str, num_classes: int, dropout: float = 0.3) -> nn.Module:
    """A net by name: wrn40_2 is the paper's; wrnD_W is any Wide ResNet of depth D and width W."""
    match = re.fullmatch(r"wrn(\d+)_(\d+)", architecture)
    if not match:
        raise ValueError(f"unknown architecture {architecture!r}; known: wrnDEPTH_WIDTH, e.g. wrn40_2 or wrn10_1")
    return WideResNet(int(match[1]), int(match[2]), num_classes, dropout)
